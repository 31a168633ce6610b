"""The data plane of the unit over kills, restarts, updates and downgrades, under traffic through an inline pair."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.wait import slowness, wait_until
from tests.machines.unit import ROOT, UNIT, Unit, another_tree

# The program of N3 has an instruction more, and does the same.
ANOTHER_PROGRAM = "\treturn run(ctx, SNF_N3);", "\tvolatile int version = 2;\n\n\treturn run(ctx, SNF_N3);"


def gap_s(said: str) -> float:
    """Return how long nobody read the data plane, as the log says it last."""
    return float(re.findall(r"the data plane is read again after (\d+\.\d) s", said)[-1])


def goes_on(unit: Unit, change: Callable[[], None], *, counters: bool = True) -> None:
    """Assert that no frame is lost over a change of the process, and that the counters go on."""
    unit.configure()
    unit.start()
    with unit.traffic() as traffic:
        wait_until(lambda: traffic.came > 100, "frames come through")
        change()
        wait_until(lambda: "takes over the data plane" in unit.said() or not counters, "it is taken over")
        more = traffic.came + 100
        wait_until(lambda: traffic.came > more, "frames come through")
        traffic.end()
        if counters:
            assert traffic.came == traffic.sent
            wait_until(lambda: "read again after" in unit.said(), "it is read again")
            said = f"nobody read for {gap_s(unit.said()):.1f} s, at a slowness of {slowness():.1f}"
            print(f"{said}; {unit.used_s():.1f} s of the processor since the start")
            # Beside the traffic there are the trial frames of the pair, and those of the ports' own hosts.
            assert unit.frames() >= traffic.sent
        else:
            print(f"{traffic.sent - traffic.came} of {traffic.sent} frames were lost between one port and the other")
    unit.machine.run("systemctl", "stop", UNIT)
    assert unit.traces() == ""


class TestKilled:
    """SIGKILL loses no packet and no count, with names, and without any by the descriptors that systemd keeps."""

    def test_with_names(self, unit):
        goes_on(unit, lambda: print(unit.restarted(unit.kill())))

    def test_without_names(self, unit):
        def kill() -> None:
            unit.machine.run("find", "/sys/fs/bpf/supernetflow", "-type", "f", "-delete")
            unit.restarted(unit.kill())

        goes_on(unit, kill)


class TestRestarted:
    """`systemctl restart` is an update: packets pass, counters go on, and nobody reads for about two seconds."""

    def test_the_same_version(self, unit):
        def restart() -> None:
            begun_s = time.monotonic()
            unit.machine.run("systemctl", "restart", UNIT)
            print(f"restarted in {time.monotonic() - begun_s:.1f} s")

        goes_on(unit, restart)

    @pytest.mark.parametrize("way", ["update", "downgrade"])
    def test_a_changed_program(self, unit, way):
        """Its text is another one, and its tables are the same: the next process swaps the programs."""
        another_tree(unit.machine.root / "opt/other", "bpf/snf.c", *ANOTHER_PROGRAM)
        trees = [ROOT, Path("/opt/other")]
        first, second = trees if way == "update" else trees[::-1]
        unit.use(first)

        def replace() -> None:
            unit.use(second)
            unit.machine.run("systemctl", "restart", UNIT)

        goes_on(unit, replace)

    def test_other_tables_begin_anew_and_the_log_says_so(self, unit):
        another_tree(unit.machine.root / "opt/other", "bpf/abi.h", "/*", "/* another version. ")

        def replace() -> None:
            unit.use(Path("/opt/other"))
            unit.machine.run("systemctl", "restart", UNIT)

        goes_on(unit, replace, counters=False)

        assert "n3: its program has tables of other sizes or of another version: counts begin anew" in unit.said()
