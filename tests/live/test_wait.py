"""Waiting ends with what is waited for, with the death of who should do it, or when a quiet machine would be done."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from lab import wait
from lab.lab import Lab
from lab.net import LabError
from lab.wait import Patience, Progress, slowness, wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def machine(monkeypatch):
    """A machine whose slowness the test sets, and whose clock moves with each look and each pause."""

    class Machine:
        slow, now_s = 1.0, 1000.0

        def sleep(self, seconds: float) -> None:
            self.now_s += seconds

    made = Machine()
    monkeypatch.setattr(wait, "slowness", lambda: made.slow)
    monkeypatch.setattr(wait.time, "monotonic", lambda: made.now_s)
    monkeypatch.setattr(wait.time, "sleep", made.sleep)
    return made


class TestPatience:
    """A deadline is seconds of a quiet machine, and a busy one moves it."""

    def test_a_quiet_machine_has_what_was_given(self, machine):
        patience = Patience(60)
        machine.now_s += 59
        assert patience.left_s() == pytest.approx(1)
        machine.now_s += 1
        assert patience.left_s() == 0

    def test_a_machine_that_is_busy_from_the_start_has_more(self, machine):
        machine.slow = 4
        patience = Patience(60)
        machine.now_s += 239
        assert patience.left_s() == pytest.approx(1)

    def test_one_that_became_busy_is_asked_before_it_is_given_up(self, machine):
        patience = Patience(60)
        machine.now_s += 60
        machine.slow = 3
        assert patience.left_s() == pytest.approx(120)
        machine.slow = 1
        assert patience.left_s() == pytest.approx(120), "what was granted is not taken back"


class TestWaitUntil:
    """A wait returns what became true, and raises with the last words of what did not."""

    def test_it_returns_what_became_true(self, machine):
        answers = iter(["", None, 0, "here"])
        assert wait_until(lambda: next(answers), "an answer") == "here"

    def test_a_death_ends_it_at_once(self, machine):
        def dead() -> None:
            raise LabError("gnb ended with status 1. Its last words: no such device")

        begun_s = machine.now_s
        with pytest.raises(LabError, match="no such device"):
            wait_until(lambda: False, "gnb is up", check=dead)
        assert machine.now_s == begun_s

    def test_what_hangs_is_told_with_its_last_words(self, machine):
        machine.slow = 2
        begun_s = machine.now_s
        with pytest.raises(LabError, match=r"Not within 120 s: gnb is up\. It said: waiting"):
            wait_until(lambda: False, "gnb is up", 60, last_words=lambda: "It said: waiting")
        assert machine.now_s - begun_s == pytest.approx(120, abs=0.1)

    def test_a_log_gets_a_line_now_and_then_and_one_at_the_end(self, machine):
        said = io.StringIO()
        until_s = machine.now_s + 25

        wait_until(
            lambda: machine.now_s >= until_s, "snf is up", progress=Progress(said), phase=lambda: "compiles snf_n3"
        )

        lines = said.getvalue().splitlines()
        assert lines == [
            "  snf is up: compiles snf_n3 ... 10 s", "  snf is up: compiles snf_n3 ... 20 s", "  snf is up: 25.0 s",
        ]  # fmt: skip


class TestSlowness:
    """Slowness is never less than one, and one measurement serves for a while."""

    def test_it_is_measured_and_kept(self, monkeypatch):
        monkeypatch.setattr(wait, "_measured", (-100.0, 0.0))
        first = slowness()
        assert first >= 1
        assert wait._measured[1] == first == slowness()


class TestLab:
    """A part of the lab that dies is told by its last words, whatever is waited for."""

    def test_a_part_that_dies_ends_the_wait_for_another(self):
        with Lab(()) as lab:
            lab.start("dying", "-c", "import sys; sys.exit('the disk is full')")
            with pytest.raises(LabError, match=r"dying ended with status 1\. Its last words: the disk is full"):
                lab.wait_until(lambda: False, "dn has a cache", part="dn")


class TestTimeouts:
    """A time-out of a test is seconds of a quiet machine: it ends what hangs, not what is slow."""

    @pytest.mark.parametrize(("slow", "outcome"), [(1, "1 failed"), (1000, "1 passed")])
    def test_a_slow_machine_has_longer(self, tmp_path, slow, outcome):
        (tmp_path / "test_x.py").write_text("import time\ndef test_x():\n    time.sleep(1.5)\n")
        (tmp_path / "slow.py").write_text(f"import lab.wait\nlab.wait.slowness = lambda: {slow}\n")
        words = ["-p", "slow", "-p", "tests.conftest", "--timeout", "0.1", "-c", "/dev/null", "--rootdir", tmp_path]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *map(str, words), str(tmp_path)],
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert outcome in done.stdout, done.stdout + done.stderr

    def test_the_end_says_what_the_tests_cost(self, tmp_path):
        (tmp_path / "test_x.py").write_text(
            "import subprocess, sys\n"
            "def test_x():\n"
            "    code = 'import os\\nwhile os.times().user < 1.5: pass'\n"
            "    subprocess.run([sys.executable, '-c', code], check=True)\n"
        )
        words = ["-p", "tests.conftest", "-c", "/dev/null", "--rootdir", str(tmp_path), str(tmp_path)]
        command = [sys.executable, "-m", "pytest", "-q", *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

        (line,) = [text for text in done.stdout.splitlines() if text.startswith("processor time: ")]
        assert int(line.split()[2]) >= 2, "the child's 1.5 s, and pytest itself"
