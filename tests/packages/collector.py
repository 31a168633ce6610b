"""The package of the collector beside that of the probe: alone, collecting from it, upgraded, and gone again.

It is installed first, so that the probe's comes and goes while it is there: `snf` is the probe's meanwhile.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from lab.wait import comes_true, wait_until
from tests.packages import modules
from tests.packages.built import NEW, OLD, unpacked_mb
from tests.packages.installed import Installed
from tests.packages.report import Report
from tests.packages.traffic import INNER_BYTES, Traffic

__all__ = ["alone", "collects", "leaves"]

MOST_MB = 400.0  # installed, with byte code
_HOME = Path("usr/lib/supernetflow-collector")
_UNIT = "supernetflow-collector.service"
_PAGE = "supernetflow-web.service"
_PLACE = "/etc/supernetflow-collector"
_READER = "nobody"  # who may read the history as a member of the group
# Names that the probe's package has as well.
_NAMES = [
    "/usr/bin/snf",
    "/usr/share/bash-completion/completions/snf",
    "/usr/share/fish/vendor_completions.d/snf.fish",
    "/usr/share/zsh/vendor-completions/_snf",
]
_PACKETS = 500
_CALLS = (("collect", "--help"), ("query",), ("web", "--help"), ("bridge", "--help"))


def alone(report: Report, place: Installed, package: Path) -> None:
    """Install it on a host without a probe; each step needs those before it."""
    machine = place.machine
    with report.step(f"apt install {package.name}", needed=True) as said:
        place.apt("install", f"/srv/{package.name}")
        in_mb = unpacked_mb(machine.root / _HOME)
        said.append(f"{in_mb:.0f} MB (at most {MOST_MB:.0f})")
        assert list((machine.root / _HOME).rglob("*.pyc"))
        assert in_mb <= MOST_MB
    with report.step("the collector waits for a function") as said:
        machine.run("systemctl", "start", _UNIT)
        assert (machine.shows(_UNIT, "UnitFileState"), machine.shows(_UNIT, "ActiveState")) == ("enabled", "inactive")
        assert f"There is no [[from]] in {_PLACE}/collector.toml" in machine.journal(_UNIT)
        said.append("enabled, inactive, and its journal says why")
    with report.step("its environment and commands") as said:
        script = machine.root / "tmp/modules.py"
        script.write_text(Path(modules.__file__).read_text())
        count = machine.run(f"/{_HOME}/bin/python3", "-I", "/tmp/modules.py").split()[-1]
        assert machine.run("snf", "--version").split()[-1] == OLD
        for words in _CALLS:
            machine.run("snf", *words)
        told = machine.run("snf", "doctor", check=False)
        assert told == "snf: The probe is not installed here. Install supernetflow.\n", told
        pages = list((machine.root / "usr/share/man/man1").glob("snf*.1snf.gz"))
        assert pages
        assert _there(place) == _NAMES
        said.append(f"{count} modules import, {len(pages)} pages; snf is its own, and says that the probe is not there")


def collects(report: Report, place: Installed, package: Path) -> None:
    """Collect from the probe that runs, ask, erase, and upgrade."""
    machine = place.machine
    with report.step("snf of both packages") as said:
        assert machine.shell("readlink -f /usr/bin/snf").strip() == "/usr/lib/supernetflow/bin/snf"
        assert "worst" in machine.run("snf", "query")
        said.append("snf is the probe's, and hands the history's commands over")
    with report.step("the collector collects", needed=True) as said:
        machine.shell(f"""
            install -o supernetflow-collector -m 0400 /etc/supernetflow/keys/watch.curve {_PLACE}/keys/
            printf '[[from]]\\nendpoint = "tcp://127.0.0.1:5556"\\ncurve = "{_PLACE}/keys/watch.curve"\\n' \\
                >>{_PLACE}/collector.toml
            systemctl start {_UNIT}
            usermod --append --groups supernetflow-collector {_READER}
        """)
        wait_until(lambda: _state(place) == "active", "it is active", last_words=lambda: _said(place))
        heard = "table of health in the history"
        wait_until(
            lambda: any(file.startswith("health/") for file in _files(place)),
            heard,
            60,
            last_words=lambda: _said(place),
        )
        # The probe tells what it said in the last half minute, of the packets of the steps before.
        settled = "select max(t_ms + interval_ms) as n from records"
        wait_until(lambda: (_asked(place, settled)[0]["n"] or 0) < time.time() * 1e3, "what was before is over", 60)
        since_ms = round(time.time() * 1e3)
        with Traffic(place.network, "gnb", "upf") as traffic:
            comes_true(lambda: traffic.sent >= _PACKETS, 60)
            traffic.stop()
        comes_true(lambda: _bytes(place, since_ms) >= traffic.sent * INNER_BYTES, 60)
        came = _bytes(place, since_ms)
        said.append(f"of {traffic.sent} packets {came / INNER_BYTES:.0f} are in its files, no capability")
        assert came == traffic.sent * INNER_BYTES
        assert _rights(place) == {"CapEff": 0, "CapBnd": 0, "CapAmb": 0}
        worst = _query(place, "worst", "--by", "subscriber")
        said.append(f"a member of its group asks; snf query worst has {len(worst)} rows, as the flow has no name")
    with report.step("the page over the history") as said:
        assert (machine.shows(_PAGE, "UnitFileState"), machine.shows(_PAGE, "ActiveState")) == ("disabled", "inactive")
        machine.run("systemctl", "start", _PAGE)
        page = _page(place)
        assert "<title>" in page
        assert "content-security-policy: " in page.lower()
        said.append("disabled; once it is started the page answers on the loopback address")
    with report.step("snf collect erase") as said:
        name = _asked(place, "select distinct subscriber from records where ul_bytes > 0")[0]["subscriber"]
        told = machine.run("snf", "collect", "erase", str(name))
        assert told == "They were erased by the collector that writes there.\n", told
        assert _bytes(place) == 0
        said.append("root asks, the service does it")
    with report.step("the collector's upgrade") as said:
        before, main, page = _files(place), machine.shows(_UNIT, "MainPID"), machine.shows(_PAGE, "MainPID")
        place.apt("install", f"/srv/{package.name}")
        wait_until(lambda: machine.shows(_UNIT, "MainPID") not in {"0", main}, "another process runs")
        wait_until(lambda: _state(place) == "active", "it is active", last_words=lambda: _said(place))
        assert machine.run(f"/{_HOME}/bin/snf", "--version").split()[-1] == NEW
        wait_until(lambda: machine.shows(_PAGE, "MainPID") not in {"0", page}, "another process has the page")
        assert "<title>" in _page(place)
        assert before
        assert before <= _files(place)
        assert "[[from]]" in (machine.root / _PLACE[1:] / "collector.toml").read_text().splitlines()
        said.append(f"other processes, the {len(before)} closed files and collector.toml are as they were")
    machine.run("systemctl", "stop", _UNIT, _PAGE)


def leaves(report: Report, place: Installed) -> None:
    """Remove and purge it, on a host from which the probe went."""
    machine = place.machine
    with report.step("the probe went") as said:
        assert machine.shell("readlink -f /usr/bin/snf").strip() == f"/{_HOME}/bin/snf"
        assert _there(place) == _NAMES
        machine.run("snf", "query", "gaps")
        said.append("snf is the collector's again")
    with report.step("apt remove, the collector") as said:
        kept = _files(place)
        place.apt("remove", "supernetflow-collector")
        assert kept == _files(place)
        assert not _there(place)
        assert not (machine.root / _HOME).exists()
        said.append(f"neither snf nor its environment is there; the history ({len(kept)} files) is kept")
    with report.step("apt purge, the collector") as said:
        place.apt("purge", "supernetflow-collector")
        said.append("files are compared below")


def _page(place: Installed) -> str:
    """Return the head and the text of the page."""
    ask = "import urllib.request as u; a = u.urlopen('http://127.0.0.1:8080/'); print(a.headers, a.read().decode())"
    return place.machine.run(f"/{_HOME}/bin/python3", "-I", "-c", ask)


def _there(place: Installed) -> list[str]:
    """Return which of the names are there, and lead to a file; links are followed in the machine."""
    return place.machine.shell(f"for name in {' '.join(_NAMES)}; do [ ! -f $name ] || echo $name; done").split()


def _state(place: Installed) -> str:
    return place.machine.shows(_UNIT, "ActiveState")


def _said(place: Installed) -> str:
    return place.machine.journal(_UNIT, "--lines=30")


def _query(place: Installed, *words: str) -> list[dict[str, Any]]:
    """Return the rows of a question, as somebody who is a member of the group gets them."""
    command = ("runuser", "-u", _READER, "--", "snf", "query", *words, "--output", "json")
    done = subprocess.run(place.machine.words(*command), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _asked(place: Installed, sql: str) -> list[dict[str, Any]]:
    (place.machine.root / "tmp/asked.sql").write_text(sql)
    return _query(place, "--sql", "/tmp/asked.sql")


def _bytes(place: Installed, since_ms: int = 0) -> int:
    return int(_asked(place, f"select sum(ul_bytes) as n from records where t_ms > {since_ms}")[0]["n"] or 0)


def _rights(place: Installed) -> dict[str, int]:
    """Return the capabilities of the collector's process."""
    process = place.machine.process(int(place.machine.shows(_UNIT, "MainPID")))
    lines = (line.split() for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return {line[0][:-1]: int(line[1], 16) for line in lines if line[0] in {"CapEff:", "CapBnd:", "CapAmb:"}}


def _files(place: Installed) -> set[str]:
    """Return the closed files of the history."""
    folder = place.machine.root / "var/lib/supernetflow-collector"
    return {str(file.relative_to(folder)) for file in folder.rglob("*.parquet") if not file.name.startswith(".")}
