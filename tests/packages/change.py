"""Upgrade, downgrade and start while packets pass: what is lost, what goes on, what nobody read, what a start costs."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from lab.wait import comes_true, slowness, wait_until
from tests.packages.built import NEW, OLD
from tests.packages.installed import HOME, UNIT, Installed
from tests.packages.report import Report
from tests.packages.traffic import Traffic

__all__ = ["show"]

MOST_START_S = 1.0  # of the processor, from exec to the first counted packet
MOST_GAP_S = 2.0  # of user space, at an upgrade
_LINE = "# kept by the operator\n"
_BEFORE = 500  # packets
_FUNCTION = '<network-function xmlns="urn:supernetflow:yang:snf-function"><state/></network-function>'
_PARTS = Path(__file__).with_name("parts.py")


def show(report: Report, place: Installed, packages: list[Path]) -> None:
    """Upgrade to the second package and back, and measure a start of the second."""
    default = place.machine.root / "etc/default/supernetflow"
    default.write_text(default.read_text() + _LINE)
    old, new = packages
    _change(report, place, "upgrade", new, NEW)
    with report.step("a conffile that the operator changed") as said:
        assert default.read_text().endswith(_LINE)
        said.append("is as he left it")
    _start(report, place)
    _parts(report, place)
    _change(report, place, "downgrade", old, OLD)
    _change(report, place, "upgrade again", new, NEW)


def _change(report: Report, place: Installed, what: str, package: Path, version: str) -> None:
    with report.step(what) as said:
        programs, begun, main = place.programs(), place.counters()["frames"], place.main
        with Traffic(place.network, "gnb", "upf") as traffic:
            comes_true(lambda: traffic.sent >= _BEFORE, 60)
            started = time.monotonic()
            place.apt("install", "--allow-downgrades", f"/srv/{package.name}")
            apt_s = time.monotonic() - started
            wait_until(lambda: place.main not in (0, main), "another process runs", last_words=place.said)
            place.ready()
            more = traffic.sent + _BEFORE
            comes_true(lambda: traffic.sent >= more, 60)
            traffic.stop()
            lost = traffic.missing()
            counted = place.counters()["frames"] - begun
        assert place.machine.run("snf", "--version").split()[-1] == version
        said.append(f"{traffic.sent} packets, {len(lost)} lost, {counted} counted by one counter")
        assert not lost, f"lost {lost[:5]}..."
        assert counted == traffic.sent, place.said()
        assert programs != place.programs(), "the programs are those of before"
        gap_s = _outage_s(place)
        # A figure, no check: it is of a host that others use as well.
        said.append(f"nobody read for {gap_s:.1f} s ({MOST_GAP_S:.0f} is the goal on a quiet machine)")
        said.append(f"a CPU is {slowness():.1f} times slower than undisturbed; apt took {apt_s:.0f} s")


def _outage_s(place: Installed) -> float:
    def told() -> str | None:
        with place.client() as client:
            return client.state(_FUNCTION).findtext(".//{*}takeover/{*}outage")

    return float(wait_until(told, "the takeover is told", last_words=place.said)) / 1e3


def _start(report: Report, place: Installed) -> None:
    with report.step("start to first counted packet") as said:
        place.machine.run("systemctl", "stop", UNIT)
        assert not place.programs(), "a stop leaves programs"
        with Traffic(place.network, "gnb", "upf") as traffic, _Sampler(place) as sampler:
            comes_true(lambda: traffic.sent >= 100, 60)
            place.machine.run("systemctl", "start", UNIT)
            place.ready()
            traffic.stop()
            wait_until(lambda: place.counters()["frames"] >= 1, "packets are counted")
            first = traffic.sent - place.counters()["frames"]
        used_s = sampler.used_s(traffic.sent_at(first))
        said.append(f"{used_s:.2f} s of the processor (at most {MOST_START_S:.0f}), the unit's process from exec on")
        assert used_s <= MOST_START_S


class _Sampler:
    """The processor time of the service's process as time goes on, by samples."""

    def __init__(self, place: Installed) -> None:
        self._place, self._samples = place, list[tuple[float, float]]()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        process = 0
        ticks_hz = os.sysconf("SC_CLK_TCK")
        while not self._ended.wait(0.002):
            try:
                if not process:
                    group = Path(f"/sys/fs/cgroup/systemd/{self._group()}/system.slice/{UNIT}/cgroup.procs")
                    process = next((int(each) for each in group.read_text().split()), 0)
                    continue
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                self._samples.append((time.monotonic(), (int(fields[11]) + int(fields[12])) / ticks_hz))
            except OSError:
                continue

    def _group(self) -> str:
        lines = Path(f"/proc/{self._place.machine.pid}/cgroup").read_text().splitlines()
        path = next(line.split(":", 2)[2] for line in lines if line.split(":")[1] == "name=systemd")
        return path.strip("/").removesuffix("/init.scope")

    def used_s(self, at_s: float) -> float:
        """Return the time that was used by *at_s* or a moment later."""
        return next(used for when, used in self._samples if when >= at_s)


def _parts(report: Report, place: Installed) -> None:
    with report.step("a start by its parts") as said:
        script = place.machine.root / "tmp/parts.py"
        script.write_text(_PARTS.read_text())
        said.append(place.machine.run(f"/{HOME}/bin/python3", "-I", "/tmp/parts.py").strip())
