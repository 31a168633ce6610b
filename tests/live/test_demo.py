"""The demonstration ends without a trace, also in the middle; its whole story is what ``make demo`` runs."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from lab import plan
from lab.demo import UNLUCKY, USES, Demo
from lab.net import leftovers
from lab.roundtrips import Judged


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


class TestVerdict:
    """The bad radio has to show: in a score, or, on a host that was short of time, in the delay that it adds."""

    @pytest.fixture
    def demo(self) -> Demo:
        """A demonstration of 100 s that nothing was heard of yet."""
        lab = SimpleNamespace(subscribers={ue.name: ue for ue in plan.subscribers(*USES)})
        return Demo(lab, None, Console(file=io.StringIO()), 100, bytes(32))

    @staticmethod
    def hear(demo: Demo, scores: tuple[float, float], access_ms: tuple[float, float]) -> None:
        who = demo.pseudonyms[UNLUCKY]
        for at_s, mos, delay_ms in ((20, scores[0], access_ms[0]), (80, scores[1], access_ms[1])):
            row = {"subscriber": who, "app": "YouTube", "class": "video", "mos": mos, "rtt_access_ms": delay_ms}
            demo.board.feed(row, at_s)

    def radio(self, demo: Demo) -> list[str]:
        return [sentence for sentence in demo.failures() if "bad radio" in sentence]

    def test_a_score_that_fell_shows_it_on_any_host(self, demo):
        self.hear(demo, (4.8, 3.0), (40, 41))
        for slow in ([1.0], [9.0]):
            demo.slow = slow
            assert self.radio(demo) == []

    def test_a_score_that_stayed_is_a_failure_on_a_quiet_host(self, demo):
        self.hear(demo, (4.8, 4.7), (40, 240))
        demo.slow = [1.0, 1.2]
        assert len(self.radio(demo)) == 1

    def test_on_a_host_short_of_time_the_added_delay_decides_and_it_is_said(self, demo):
        self.hear(demo, (3.0, 2.9), (240, 440))
        demo.slow = [2.0, 6.0]
        assert self.radio(demo) == []
        assert "4.0 times as long" in demo.load()
        assert "judged by the delay" in demo.load()

    def test_without_either_it_is_a_failure_there_too(self, demo):
        self.hear(demo, (3.0, 2.9), (240, 250))
        demo.slow = [4.0]
        assert len(self.radio(demo)) == 1

    @pytest.mark.parametrize(("said_ms", "slow", "failures"), [(79, 1.0, 0), (81, 1.0, 1), (81, 4.0, 0)])
    def test_a_healthy_round_trip_is_at_most_50_ms_above_the_clients(self, demo, said_ms, slow, failures):
        demo.judged = [Judged("0" * 32, "WhatsApp", 0, ms, 30) for ms in (20, said_ms)]
        demo.slow = [slow]

        assert len([sentence for sentence in demo.failures() if "round trip" in sentence]) == failures
        assert f"{said_ms - 30} ms above" in demo.round_trips()

    def test_none_that_could_be_judged_is_a_failure(self, demo):
        demo.slow = [1.0]

        assert len([sentence for sentence in demo.failures() if "round trip" in sentence]) == 1


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
