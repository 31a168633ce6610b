"""The demonstration ends without a trace, also in the middle; its whole story is what ``make demo`` runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.net import leftovers


class TestInterrupt:
    """Ctrl-C, or an end from outside, takes everything along."""

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_nothing_is_left(self, until, number):
        words = [sys.executable, "-m", "lab.demo", "--seconds", "60"]
        root = Path(__file__).parents[2]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root) as demo:
            assert demo.stdout
            assert demo.stderr
            for line in demo.stdout:
                if "their applications start" in line:
                    break
            children = _children(demo.pid)
            assert len(children) > 10  # nodes, function and clients

            demo.send_signal(number)

            assert demo.wait() == 130
            assert demo.stderr.read().strip() == "Interrupted; the network is gone."
        assert leftovers(demo.pid) == []
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "all processes end")


class TestArguments:
    """A wrong use is a sentence."""

    def test_a_story_of_a_second_is_refused(self):
        words = [sys.executable, "-m", "lab.demo", "--seconds", "1"]
        done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)

        assert done.returncode == 2
        assert "40 to 170" in done.stderr


def _children(pid: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except FileNotFoundError:
                continue
            if int(stat[1]) == pid:
                found.append(int(entry))
    return found
