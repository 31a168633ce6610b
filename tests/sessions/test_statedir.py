"""The state directory has one holder at a time, whose end needs no witness."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from nf.errors import SnfError
from nf.sessions.restart.statedir import StateDir, hold

HOLDER = """
import sys, time
from pathlib import Path
from nf.sessions.restart.statedir import hold
held = hold(Path(sys.argv[1]))
if len(sys.argv) > 2:
    held.note(float(sys.argv[2]), float(sys.argv[3]))
print("held", flush=True)
time.sleep(99)
"""


def holder(folder, *numbers: str) -> subprocess.Popen[str]:
    """Return a process that holds a directory."""
    child = subprocess.Popen([sys.executable, "-c", HOLDER, folder, *numbers], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def kill(child: subprocess.Popen[str]) -> None:
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdout:
        child.stdout.close()


class TestHold:
    """A second holder is refused; one that comes after a death is not."""

    def test_the_second_is_refused_with_the_holders_process(self, tmp_path):
        child = holder(tmp_path / "state")
        try:
            with pytest.raises(SnfError, match=rf"state is in use by another snf \(process {child.pid}\)"):
                hold(tmp_path / "state")
        finally:
            kill(child)

    def test_the_holder_is_the_latest_one(self, tmp_path):
        kill(holder(tmp_path))
        child = holder(tmp_path)
        try:
            with pytest.raises(SnfError, match=rf"\(process {child.pid}\)"):
                hold(tmp_path)
        finally:
            kill(child)

    def test_snf_run_is_refused_before_anything_else(self, tmp_path):
        users = tmp_path / "users"
        users.write_text("")
        with hold(tmp_path / "state"):
            words = [sys.executable, "-m", "mgmt.cli.main", "run", "--state-dir", tmp_path / "state", "--users", users]
            done = subprocess.run(words, capture_output=True, text=True, check=False)

        assert done.returncode == os.EX_TEMPFAIL
        assert done.stderr == (
            f"snf: The state directory {tmp_path / 'state'} is in use by another snf (process {os.getpid()}). "
            "Stop it, or choose another --state-dir.\n"
        )
        assert {p.name for p in (tmp_path / "state").iterdir()} == {"lock"}

    def test_a_directory_that_cannot_be_made_is_one_sentence(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(SnfError, match="cannot be made: Not a directory"):
            hold(tmp_path / "file" / "state")

    def test_a_lock_that_says_nothing_is_as_good_as_a_new_one(self, tmp_path):
        (tmp_path / "lock").write_bytes(b"\xff\xfe what is this")
        with hold(tmp_path) as held:
            assert held.before is None


class TestBefore:
    """The next holder is told what the one before noted."""

    def test_its_process_its_clock_and_when_it_read(self, tmp_path):
        begun_s = time.monotonic()
        child = holder(tmp_path, "12.5", "3600.0")
        kill(child)

        with hold(tmp_path) as held:
            assert held.before is not None
            assert (held.before.pid, held.before.offset_s, held.before.shift_s) == (child.pid, 12.5, 3600.0)
            assert held.before.here
            assert begun_s < held.before.read_s < time.monotonic()
            assert held.clock_offset_s(999.0) == 12.5

    def test_who_held_it_and_never_read_leaves_the_time_of_who_did(self, tmp_path):
        kill(holder(tmp_path, "1.0", "0.0"))
        with hold(tmp_path) as held:
            assert held.before is not None
            read_s = held.before.read_s
        kill(holder(tmp_path))

        with hold(tmp_path) as held:
            assert held.before is not None
            assert held.before.read_s == read_s
            assert held.clock_offset_s(999.0) == 1.0

    def test_in_another_boot_the_time_goes_on_by_the_clock_on_the_wall(self, tmp_path):
        """The wall clock's lead over the function's is kept, as the monotonic clock begins anew."""
        (tmp_path / "lock").write_text("1 another-boot 1000.0 -3600.0 50.0\n")
        with hold(tmp_path) as held:
            assert held.before is not None
            assert not held.before.here
            assert held.clock_offset_s(500.0) == 4100.0

    def test_a_first_start_knows_of_none(self, tmp_path):
        with hold(tmp_path / "state") as held:
            assert isinstance(held, StateDir)
            assert held.before is None
            assert held.clock_offset_s(500.0) is None
