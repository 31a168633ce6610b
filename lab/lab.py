"""The lab as a context manager: namespaces, wires, processes, subscribers; all gone when it is left.

with Lab(subscribers(("video",), ("call", "chat"))) as lab:
    lab.announce_all()
    lab.start_clients()
    lab.radio("ue1", uplink=..., downlink=...)
    lab.handover("ue2")
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from lab import plan
from lab.certificate import write_certificate
from lab.impair import Impairment
from lab.loop import ask
from lab.net import PARENT, LabError, Net, undisturbed
from lab.plan import Subscriber
from lab.smf import Smf, n4_socket
from lab.wait import Progress, wait_until

__all__ = ["Lab"]

_REPOSITORY = Path(__file__).resolve().parent.parent
_FOLDER = "snf-lab-"
_T = TypeVar("_T")


class Lab:
    """A running network. Methods are for the thread that entered it; *progress* is told the phase that it waits for."""

    def __init__(
        self,
        subscribers: Sequence[Subscriber],
        *,
        n6_port: bool = False,
        seed: int = 1,
        steady: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.subscribers = {s.name: s for s in subscribers}
        self.net = Net()
        self.seed, self.steady = seed, steady
        self.progress = progress
        self._n6_port = n6_port
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stack = ExitStack()
        self._at_site: dict[str, tuple[str, int]] = {}

    # -- up and down ------------------------------------------------------

    def __enter__(self) -> Lab:
        _sweep_folders()
        try:
            self._stack.enter_context(self.net)
            self.folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-"))
            self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self._stack.callback(self._stop_all)
            self._wire()
            self._start_nodes()
            sock = self.net.call("smf", lambda: n4_socket(plan.N4_SMF))
            self.smf = self._stack.enter_context(Smf(sock, plan.N4_UPF, self.check))
            self.smf.associate()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        with undisturbed():
            self._stack.close()

    def _wire(self) -> None:
        net, ues = self.net, self.subscribers.values()
        net.add("gnb", "upf", "smf", "dn", "probe", "ops", *self.subscribers)
        net.veth(("gnb", "n3"), ("upf", "n3"))
        net.veth(("smf", "n4"), ("upf", "n4"))
        net.veth(("upf", "n6"), ("dn", "n6"))
        net.veth(("ops", "mg0"), ("probe", "mg0"))
        net.ip("gnb", *(f"address add {a}/24 dev n3" for a in plan.GNB_SITES))
        net.ip("smf", f"address add {plan.N4_SMF}/24 dev n4")
        net.ip(
            "upf",
            f"address add {plan.UPF_N3}/24 dev n3",
            f"address add {plan.N4_UPF}/24 dev n4",
            f"address add {plan.UPF_N6}/24 dev n6",
            f"tuntap add mode tun name {plan.UPF_DEVICE}",
            f"link set {plan.UPF_DEVICE} mtu {plan.UE_MTU} txqueuelen 1000 up",
            f"route add {plan.POOL} dev {plan.UPF_DEVICE}",
            f"route add 198.18.0.0/15 via {plan.DN}",
        )
        net.call("upf", lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii"))
        services = {plan.DNS, *(s.address for s in plan.SERVICES.values())}
        net.ip("dn", f"address add {plan.DN}/24 dev n6", f"route add {plan.POOL} via {plan.UPF_N6}")
        net.ip("dn", *(f"address add {a}/32 dev lo" for a in sorted(services)))
        net.ip("ops", f"address add {plan.OPS}/24 dev mg0")
        net.ip("probe", f"address add {plan.PROBE}/24 dev mg0")
        for ue in ues:
            net.ip(
                ue.name,
                f"tuntap add mode tun name {plan.UE_DEVICE}",
                f"address add {ue.address}/32 dev {plan.UE_DEVICE}",
                f"link set {plan.UE_DEVICE} mtu {plan.UE_MTU} txqueuelen 1000 up",
                f"route add default dev {plan.UE_DEVICE}",
            )
        for port in ("n3", "n4", "n6") if self._n6_port else ("n3", "n4"):
            net.veth(("upf", f"m-{port}"), ("probe", port))
            net.mirror("upf", port, f"m-{port}")

    def _start_nodes(self) -> None:
        net, folder = self.net, self.folder
        write_certificate((n for s in plan.SERVICES.values() for n in s.names), folder / "lab.pem", folder / "lab.key")
        ready = self._start_servers()
        common = ("--seed", str(self.seed), "--control")
        words = [w for name in self.subscribers for w in ("--ue", f"{name}={net.path(name)}")]
        self.start("gnb", "-m", "lab.gnb", "--netns", net.path("gnb"), *common, folder / "gnb.sock", *words)
        self.start("upf", "-m", "lab.upf", "--netns", net.path("upf"), *common, folder / "upf.sock")
        for file in (folder / "gnb.sock", folder / "upf.sock", *ready):
            self.wait_until(file.exists, f"{file.stem} is up", part=file.stem)

    def _start_servers(self) -> Sequence[Path]:
        """Start the data network; returns the file that each part makes when it is up, the part's name its stem."""
        folder, ready = self.folder, self.folder / "dn.ready"
        self.start(
            "dn", "-m", "lab.servers", "--netns", self.net.path("dn"), "--certificate", folder / "lab.pem",
            "--key", folder / "lab.key", "--ready", ready,
        )  # fmt: skip
        return (ready,)

    def wait_until(self, holds: Callable[[], _T], what: str, *, part: str) -> _T:
        """Wait for something that *part* does, and end with its last words when it, or any other part, has ended."""
        return wait_until(
            holds,
            what,
            check=self.check,
            last_words=lambda: self.log(part),
            phase=lambda: self.log_lines(part, 1),
            progress=self.progress,
        )

    # -- processes --------------------------------------------------------

    def start(self, name: str, *words: str | Path, program: Sequence[str] = (sys.executable,)) -> None:
        """Start a part of the lab in the background; its output goes to its log in the folder."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [*program, *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=_REPOSITORY,
                env=os.environ | {PARENT: str(os.getpid())},
                start_new_session=True,
            )

    def start_inside(self, name: str, namespace: str, *words: str | Path) -> None:
        """Start any program in a namespace; it gets SIGTERM when the lab's process dies."""
        self.start(name, *self.net.prefix(namespace), *words, program=("setpriv", "--pdeathsig", "TERM"))

    def pid(self, name: str) -> int:
        """Return the process id of a part."""
        return self._processes[name].pid

    def stop(self, *names: str, how: int = signal.SIGTERM, seconds: float = 10) -> None:
        """Stop parts; one that a quiet machine would have ended within *seconds* is killed."""
        parts = [self._processes.pop(n) for n in names if n in self._processes]
        for part in parts:
            part.send_signal(how)
        for part in parts:
            try:
                wait_until(lambda part=part: part.poll() is not None, "it ends", seconds)  # type: ignore[misc]
            except LabError:
                part.kill()
                part.wait()

    def _stop_all(self) -> None:
        first = [n for n in self._processes if n not in ("gnb", "upf", "dn")]
        self.stop(*first)
        self.stop(*self._processes)

    def check(self) -> None:
        """Raise LabError if a part of the lab has ended."""
        for name, part in self._processes.items():
            if part.poll() is not None:
                raise LabError(f"{name} ended with status {part.returncode}. {self.log(name)}")

    def log(self, name: str, lines: int = 8) -> str:
        """Return the last words of a part."""
        text = self.log_lines(name, lines)
        return f"Its last words: {text}" if text else "It said nothing."

    def log_lines(self, name: str, lines: int) -> str:
        """Return the last lines of a part's log, joined."""
        file = self.folder / f"{name}.log"
        text = file.read_text(errors="replace").strip().splitlines() if file.exists() else []
        return " | ".join(text[-lines:])

    # -- subscribers ------------------------------------------------------

    def announce(self, name: str) -> None:
        """Give a subscriber its PDU session: PFCP establishment, tunnel at the first gNB, PFCP modification."""
        ue = self.subscribers[name]
        self.radio(name, uplink=ue.uplink, downlink=ue.downlink)
        upf, upf_teid = self.smf.establish(ue)
        site = plan.GNB_SITES[0]
        teid = self._setup(ue, site, upf, upf_teid)
        self.smf.modify(name, site, teid)

    def announce_all(self) -> None:
        """Announce every subscriber."""
        for name in self.subscribers:
            self.announce(name)

    def _setup(self, ue: Subscriber, site: str, upf: str, upf_teid: int) -> int:
        answer = ask(self.folder / "gnb.sock", "setup", name=ue.name, site=site, upf=upf, upf_teid=upf_teid, qfi=ue.qfi)
        self._at_site[ue.name] = site, answer["teid"]
        return int(answer["teid"])

    def handover(self, name: str) -> str:
        """Move a subscriber to the other gNB (TS 23.502, 4.9.1.2) and return that gNB's address."""
        ue, (old, old_teid) = self.subscribers[name], self._at_site[name]
        site = next(s for s in plan.GNB_SITES if s != old)
        teid = self._setup(ue, site, *self.smf.uplink(name))
        before = self.stats("gnb")["end_marker"]
        self.smf.modify(name, site, teid)
        with suppress(LabError):  # it comes behind the last packets of the old tunnel, and may be lost as they may
            wait_until(lambda: self.stats("gnb")["end_marker"] > before, "an end marker", 1, check=self.check)
        self.check()
        ask(self.folder / "gnb.sock", "release", site=old, teid=old_teid)
        return site

    def release(self, name: str) -> None:
        """End a subscriber's PDU session."""
        self.smf.delete(name)
        site, teid = self._at_site.pop(name)
        ask(self.folder / "gnb.sock", "release", site=site, teid=teid)

    def radio(self, name: str, *, uplink: Impairment | None = None, downlink: Impairment | None = None) -> None:
        """Change a subscriber's radio, now."""
        for direction, how in (("out", uplink), ("home", downlink)):
            if how is not None:
                ask(self.folder / "gnb.sock", "impair", name=name, direction=direction, **asdict(how))
        ue = self.subscribers[name]
        self.subscribers[name] = replace(ue, uplink=uplink or ue.uplink, downlink=downlink or ue.downlink)

    def core(self, name: str, *, uplink: Impairment | None = None, downlink: Impairment | None = None) -> None:
        """Change the impairment behind the UPF for a subscriber, now."""
        address = self.subscribers[name].address
        for direction, how in (("home", uplink), ("out", downlink)):
            if how is not None:
                ask(self.folder / "upf.sock", "impair", name=address, direction=direction, **asdict(how))

    def stats(self, node: str) -> dict[str, Any]:
        """Return the packet counts of ``gnb`` or ``upf``."""
        return ask(self.folder / f"{node}.sock", "stats")

    # -- clients ----------------------------------------------------------

    def start_clients(self, *names: str) -> None:
        """Start the applications of some subscribers, or of all."""
        for name in names or self.subscribers:
            ue = self.subscribers[name]
            if ue.uses:
                self.start(
                    f"{name}-apps", "-m", "lab.clients", "--netns", self.net.path(name), "--name", name,
                    "--address", ue.address, "--uses", ",".join(ue.uses), "--ca", self.folder / "lab.pem",
                    "--truth", self.folder / f"{name}.truth.jsonl",
                    "--measured", self.folder / f"{name}.tcp.jsonl", "--seed", str(self.seed),
                    *(("--steady",) if self.steady else ()),
                )  # fmt: skip

    def truth(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the truth that the applications of a subscriber wrote so far."""
        return self._lines(f"{name}.truth.jsonl")

    def measured(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the round trips that the clients of a subscriber measured so far (`lab.tcpinfo`)."""
        return self._lines(f"{name}.tcp.jsonl")

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        file = self.folder / name
        if file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                yield json.loads(line)


def _sweep_folders() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*-*"):
        pid = folder.name.removeprefix(_FOLDER).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)
