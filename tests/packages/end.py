"""Removal and purge: what is kept, what goes, and that the machine is as it was."""

from __future__ import annotations

from pathlib import Path

from lab.wait import wait_until
from tests.packages import marks
from tests.packages.installed import HOME, UNIT, Installed
from tests.packages.report import Report

__all__ = ["Before", "show", "unchanged"]

# Debian's packages keep the user that they made, so that no later one gets its files.
_NAMES = ("passwd", "group", "shadow", "gshadow")
_USERS = tuple(f"{how}: /etc/{name}" for how in ("changed", "came") for name in _NAMES)  # and name-, the one before


class Before:
    """Files and ports of a machine, to be compared with later."""

    def __init__(self, place: Installed) -> None:
        self.files, self.ports = marks.files(place.machine), marks.ports(place.machine)


def show(report: Report, place: Installed, package: Path, before: Before) -> None:
    """Remove, install again, kill, and purge."""
    machine = place.machine
    with report.step("apt remove") as said:
        kept = place.kept()
        place.apt("remove", "supernetflow")
        wrong = marks.unlike(before.ports, marks.ports(machine))
        assert not wrong, "\n".join(wrong)
        assert kept == place.kept()
        assert not (machine.root / HOME).exists()
        said.append(f"no program, name or promiscuous port; the {len(kept)} files of /etc/supernetflow are kept")
    with report.step("apt install again") as said:
        place.apt("install", f"/srv/{package.name}")
        wait_until(lambda: place.state == "active", "the service starts with what was kept", last_words=place.said)
        said.append("the service starts with the configuration that was kept")
    with report.step("apt purge after SIGKILL") as said:
        drop_in = machine.root / f"run/systemd/system/{UNIT}.d/kill.conf"
        drop_in.parent.mkdir(parents=True)
        drop_in.write_text("[Service]\nRestart=no\n")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "kill", "--signal=KILL", UNIT)
        wait_until(lambda: place.state == "failed", "it is dead")
        left = place.programs()
        assert left, "a killed function leaves its programs"
        place.apt("purge", "supernetflow")
        drop_in.unlink()
        wrong = marks.unlike(before.ports, marks.ports(machine))
        assert not wrong, "\n".join(wrong)
        said.append(f"the programs of {len(left)} ports were left, and are gone; ports are as before")


def unchanged(report: Report, place: Installed, before: Before) -> None:
    """Compare the files of the machine, once nothing is installed any more."""
    with report.step("files as before") as said:
        wrong = [line for line in marks.unlike(before.files, marks.files(place.machine)) if not line.startswith(_USERS)]
        said.append(f"{len(before.files)} files; users and groups stay, as with Debian's packages")
        assert not wrong, "\n".join(wrong[:20])
