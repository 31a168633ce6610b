"""A function in a process of its own, under a hundred flows that go on and on, while something happens to it.

Each frame is of the next subscriber in turn, so all send all the time, and each has one flow from the first frame to
the last: whatever the function goes through, a flow that is begun anew, a byte that is in no record or an interval
without a subscriber is a defect of it.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from nf.kernel import flows
from nf.service import Service
from nf.settings import Application, Export, Limits, Settings
from tests.live.conftest import wait_until
from tests.live.flood import KNOWN, SESSIONS, UNKNOWN, user_frame
from tests.live.full_table import PACKET_BYTES
from tests.live.told import Told, endpoint, listening
from tests.live.wire import CHUNK, N3, N6, Wire, wire

__all__ = ["Function", "Outcome", "change_signatures", "kill", "kill_shards", "settings", "swap"]

INTERVAL_MS = 500
PACED = {"count": 64 * KNOWN, "pace_s": 0.1}  # 64 frames of each subscriber, ten times a second
FULL_SPEED = {"count": CHUNK, "pace_s": 0.0}
FRAMES = 20_000  # that pass before the next thing happens
INTERVALS = 3  # between two things, where each is to be seen
ROUNDING_MS = 1
READING_MS = 100  # from the end of an interval until the table is read: frames in that time are still of it
SERVER = "198.51.100.7/32"  # of `user_frame`
CHILD = """
import sys
from lab.net import child_of_the_lab
child_of_the_lab(sys.argv[1])
from tests.live.steady import serve
serve(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
"""


def settings(where: str, application: str = "", shards: int = 1) -> Settings:
    """Return the settings of the function, which publishes at *where*; one application may have all the flows."""
    own = (Application(application, "messaging", prefixes=(SERVER,)),) if application else ()
    return Settings(
        interfaces=(N3, N6),
        sessions=SESSIONS,
        limits=Limits(shards=shards),
        applications=own,
        export=Export(endpoint=where, interval_ms=INTERVAL_MS, batch_ms=INTERVAL_MS),
    )


def serve(where: str, hold_s: float, shards: int) -> None:
    """Be the function: run, and answer each line of standard input with one. A held place waits for *hold_s*."""
    flows._HOLD_S = hold_s
    with Service() as service:
        service.apply(Settings(), settings(where, shards=shards))
        begun = service.pipeline._counted  # what is counted before is of an earlier process
        loop = threading.Thread(target=service.run)
        loop.start()

        def answer(word: str, *arguments: str) -> object:
            if word == "swap":
                service.plane.swap()
            elif word == "application":
                service.apply(service.settings, settings(where, *arguments, shards=shards))
            elif word == "shards":
                return sorted(child.pid or 0 for child in multiprocessing.active_children())
            elif word == "hold":
                service.plane.flows.hold(service.plane.flows.present())
            elif word == "counts":
                states = service.plane.read_flows()[1]
                return service.plane.read_counters("n3") | {
                    "begun_octets": begun,
                    "flows": len(states),
                    "flow_octets": int(states["bytes"].sum()),
                }
            return time.time()

        print(json.dumps(service.plane.taken_over), flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(*line.split())), flush=True)
        service.stop()
        loop.join()


class Function:
    """The process."""

    def __init__(self, path: str, where: str, hold_s: float, shards: int) -> None:
        words = [sys.executable, "-c", CHILD, path, where, str(hold_s), str(shards)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.taken_over = self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline() or '"it ended"')

    def ask(self, *words: str) -> Any:
        """Tell it to do something, and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        self._process.kill()
        self._process.communicate()

    def end(self) -> None:
        """Close its input, at which it ends by itself."""
        self._process.communicate()


@dataclass
class Outcome:
    """The frames of the source, the counts of the kernel, and what a consumer was told by each process in turn."""

    sent_bytes: int
    arrived_bytes: int
    counts: dict[str, int]
    told: Told
    boots: list[str]
    sends_s: list[tuple[float, float]]  # begin and end of each number of frames
    times_ms: list[float]  # when it had happened

    def left_out(self, boot: str) -> int:
        """Return the bytes that a process says are in no record."""
        return sum(self.told.left_out[boot].values())

    def flaws(self, boot: str) -> list[str]:
        """Return the intervals of a process that lack a subscriber, and the times between two that are in none.

        The first and the last interval are left out: the load began and ended in them. So is a time in which a busy
        machine sent no frames: all have sent when a whole number of `PACED` or `FULL_SPEED` lies in it.
        """
        found, ends = [], sorted(end for b, end in self.told.by_interval if b == boot)
        for before, end in pairwise(ends[:-1]):
            begun = end - self.told.lengths_ms[boot, end]
            there = sum(n > 0 for n in self.told.by_interval[boot, end].values())
            if there != KNOWN and self._all_sent(begun, end):
                found.append(f"{there} subscribers in the interval that ended at {end}")
            if abs(begun - before) > ROUNDING_MS and self._all_sent(before, begun):
                found.append(f"no interval from {before} to {begun}")
        return found

    def _all_sent(self, from_ms: int, until_ms: int) -> bool:
        least_ms = from_ms + READING_MS
        return any(least_ms < 1e3 * begun and 1e3 * end < until_ms - ROUNDING_MS for begun, end in self.sends_s)

    def apps_after(self, from_ms: float, until_ms: float) -> list[set[str]]:
        """Return the applications in each interval that ended between two times."""
        return [apps for (_, end), apps in self.told.apps.items() if from_ms < end <= until_ms]

    def misnamed(self, names: list[str]) -> list[tuple[str, list[set[str]]]]:
        """Return the names that are not those of all flows in the two intervals after each was given, with those seen.

        A name that is taken away leaves a flow with its next packet, and a busy machine may send none for an interval.
        """
        wrong = []
        for name, from_ms, until_ms in zip(names, self.times_ms, [*self.times_ms[1:], math.inf], strict=True):
            # The next change may be in force some time before it answers.
            seen = self.apps_after(from_ms, until_ms)[0 if name else 1 :][:2]
            if seen[:1] != [{name}] or seen[-1] != {name}:
                wrong.append((name, seen))
        return wrong


@contextmanager
def _ground(hold_s: float = flows._HOLD_S, shards: int = 1) -> Iterator[tuple[Wire, Told, Callable[[], Function]]]:
    """Make the wire, the listener and a maker of functions; end all that were made."""
    made: list[Function] = []
    with endpoint() as where, wire(**UNKNOWN | {"STRIDE": 1}) as bump, listening(where) as told:

        def function() -> Function:
            made.append(Function(bump.path, where, hold_s, shards))
            return made[-1]

        try:
            yield bump, told, function
        finally:
            for one in made:
                one.kill()


def _outcome(
    bump: Wire,
    told: Told,
    function: Function,
    boots: list[str],
    sends_s: list[tuple[float, float]],
    times_ms: Sequence[float] = (),
) -> Outcome:
    told.to_the_end()
    counts = function.ask("counts")
    sent, seen = bump.sent() * PACKET_BYTES, bump.seen() * PACKET_BYTES
    outcome = Outcome(sent, seen, counts, told, boots, sends_s, list(times_ms))
    function.end()
    return outcome


def _more_pass(bump: Wire, told: Told) -> None:
    passed = bump.seen()
    wait_until(lambda: told.take() or bump.seen() > passed + FRAMES, "frames pass")


def kill(times: int, *, leaving: bool = False, shards: int = 1) -> Outcome:
    """Kill the function under load as often, with frames that nobody reads before the next one takes over.

    *leaving*: all flows are on their way out of the table then, and still are when the next one looks at it.
    """
    with _ground(2.0 if leaving else flows._HOLD_S, shards) as (bump, told, make):
        function, boots = make(), []
        with bump.load(user_frame(), **PACED) as sends_s:
            for _ in range(times):
                told.wait(INTERVALS, not_of="".join(boots[-1:]))
                boots.append(told.boot)
                if leaving:
                    function.ask("hold")
                function.kill()
                _more_pass(bump, told)
                function = make()
                assert function.taken_over is True
            told.wait(INTERVALS, not_of=boots[-1])
        return _outcome(bump, told, function, [*boots, told.boot], sends_s)


def kill_shards(times: int) -> Outcome:
    """Kill one of two shards as often while frames pass."""
    with _ground(shards=2) as (bump, told, make):
        function = make()
        with bump.load(user_frame(), **PACED):
            for _ in range(times):
                told.wait(INTERVALS)
                victim = function.ask("shards")[0]
                os.kill(victim, signal.SIGKILL)
                wait_until(lambda v=victim: told.take() or v not in function.ask("shards"), "it is missed")
            told.wait(INTERVALS)
        return _outcome(bump, told, function, [told.boot], [])


def swap(times: int) -> Outcome:
    """Swap the programs as often while frames pass as fast as one processor sends them."""
    with _ground() as (bump, told, make):
        function = make()
        with bump.load(user_frame(), **FULL_SPEED) as sends_s:
            told.wait(1)
            for _ in range(times):
                function.ask("swap")
                _more_pass(bump, told)
        return _outcome(bump, told, function, [told.boot], sends_s)


def change_signatures(names: list[str], *, shards: int = 1) -> Outcome:
    """Give all flows to one application after the other; an empty name: to none."""
    with _ground(shards=shards) as (bump, told, make):
        function, times_ms = make(), []
        with bump.load(user_frame(), **PACED) as sends_s:
            told.wait(INTERVALS)
            for name in names:
                times_ms.append(1e3 * function.ask("application", name))
                told.wait(INTERVALS)
        return _outcome(bump, told, function, [told.boot], sends_s, times_ms)
