"""The unit under systemd: it starts, is taken over after a kill and at a restart, reloads, and ends without a trace."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.wait import wait_until
from tests.machines.machine import Machine, machine
from tests.machines.unit import PACKAGES, ROOT, UNIT, Unit


@pytest.fixture(scope="module")
def debian() -> Path:
    """Return the root of a minimal Debian with what the service needs."""
    place = Path("/var/cache/snf-roots/unit")
    if not (place / "sbin/init").exists():
        subprocess.run([ROOT / "deploy" / "base", place, *PACKAGES], check=True)
    return place


@pytest.fixture
def host(debian: Path) -> Iterator[Machine]:
    with machine(debian, [ROOT]) as made:
        yield made


@pytest.fixture
def unit(host: Machine, tmp_path: Path) -> Unit:
    return Unit(host, tmp_path)


class TestStart:
    """The unit is inactive without a configuration, and with one it is ready when it answers."""

    def test_without_a_configuration_it_waits_and_says_for_what(self, unit):
        unit.start()

        assert unit.state == "inactive"
        said = unit.machine.run("systemctl", "status", UNIT, check=False)
        assert "/etc/supernetflow/startup.xml" in said

    def test_it_starts_and_stops(self, unit):
        unit.configure()
        unit.start()
        print(unit.machine.run("systemctl", "status", UNIT, "--no-pager", check=False))
        print(unit.machine.shell("ls -lR /sys/fs/bpf | head -20; ip link show n3; cat /proc/%d/status" % unit.main))
        print(
            unit.machine.shows(UNIT, "NFileDescriptorStore"),
            unit.machine.shows(UNIT, "MemoryCurrent"),
            unit.machine.shows(UNIT, "TasksCurrent"),
        )
        first = unit.kill()
        second = unit.restarted(first)
        print(unit.said())
        unit.machine.run("systemctl", "restart", UNIT)
        print(unit.said())
        unit.machine.run("systemctl", "reload", UNIT)
        unit.machine.run("systemctl", "stop", UNIT)
        print(unit.said())
        print(unit.machine.shell("ls -lR /sys/fs/bpf | head -20; ip link show n3"))
        assert 0
