"""docs/first-port.md as a person with the package follows it, with real traffic on the ports."""

from __future__ import annotations

import re
from pathlib import Path

from lab.net import inside
from lab.wait import wait_until
from tests.deploy.page import blocks
from tests.deploy.person import PORTS, Shell, crosses, traffic
from tests.packages.built import ROOT
from tests.packages.installed import Installed
from tests.packages.report import Report

__all__ = ["show"]

_PAGE = ROOT / "docs/first-port.md"
_UES = 5  # in the captures; PFCP tells of each
_DIGITS = 8  # of a name, of which a screen shows these at least


def show(report: Report, place: Installed, packages: list[Path], shared: Path) -> None:
    """Type each command of the page, from the first package to the purge of the second."""
    with report.step("docs/first-port.md, typed") as said:
        here = place.machine.root / "root/packages"
        here.mkdir()
        place.pairs((name, f"{name}-far") for name in PORTS)
        shell = Shell(place.machine.words("env", "HOME=/root", "bash", "-c", "cd ~/packages && exec bash --norc"))
        try:
            _types(place, shell, here, packages, shared)
        finally:
            shell.close()
        rows = [line.split() for line in shell.said["First rows"].splitlines()]
        subscribers = {row[0][:_DIGITS] for row in rows if row and re.fullmatch("[0-9a-f]{8,32}", row[0])}
        assert len(subscribers) == _UES, shell.said["First rows"]
        assert f"{_UES} shown of {_UES} sessions" in shell.said["First rows"]
        assert "Nothing is left of a function that died." in shell.said["Stop"]
        links = place.machine.run("ip", "-d", "link")
        assert "prog/xdp" not in links
        assert "PROMISC" not in links
        said.append(f"{len(subscribers)} subscribers in rows, a pair forwards, nothing is left on a port")


def _types(place: Installed, shell: Shell, here: Path, packages: list[Path], shared: Path) -> None:
    old, new = packages
    (place.machine.root / "srv" / old.name).rename(here / old.name)
    with inside(place.network), traffic(shared):
        for block in blocks(_PAGE, "package"):
            if block.heading == "Upgrade":
                (here / old.name).unlink()
                (place.machine.root / "srv" / new.name).rename(here / new.name)
            shell.types(block)
            if block.heading == "An inline pair":
                wait_until(lambda: crosses("enp6s0-far", "enp7s0-far"), "frames cross the pair")
