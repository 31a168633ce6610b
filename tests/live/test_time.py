"""The clock on the wall is stepped by an hour, to and fro: intervals go on, and nobody is forgotten."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from scapy.contrib.gtp import GTP_U_Header
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from feed.consumer import Subscriber
from lab.net import Net, inside
from nf.settings import Export, Interface, Privacy, Role, Settings, StaticSession
from tests.live.conftest import wait_until
from tests.live.frames import sender

FAKETIME = "/usr/$LIB/faketime/libfaketimeMT.so.1"  # of Debian's package faketime; ld.so(8) has $LIB
SUBSCRIBERS = 20
UPF = "192.0.2.2"
HOUR_MS = 3_600_000
STEPS_S = (3600, 0, -3600, 0)  # times of the clock on the wall, relative to the true time
INTERVALS = 3  # to wait for after each step
LATE_MS = 10_000  # a busy machine may turn the loop so late, which is an hour less than what is looked for
SETTINGS = Settings(
    interfaces=(Interface("n3", Role.N3),),
    sessions=tuple(
        StaticSession(f"ue{n}", f"0010100000000{n:02}", f"10.45.0.{n}", uplink=((UPF, n),))
        for n in range(1, SUBSCRIBERS + 1)
    ),
    export=Export(endpoint="ipc:///tmp/snf-time.sock", batch_ms=1000),
    privacy=Privacy(key=bytes(32)),
)
CHILD = """
import sys
import threading
from pathlib import Path
from lab.net import child_of_the_lab
child_of_the_lab(sys.argv[1])
from mgmt.cli.run import state_of
from nf.service import Service
from nf.settings import Settings
from nf.sessions.restart.statedir import hold
from tests.live.test_time import SETTINGS
with hold(Path(sys.argv[2])) as held, Service(held.folder / "sessions.snapshot", held) as service:
    service.apply(Settings(), SETTINGS)
    print("ready", flush=True)
    threading.Thread(target=lambda: (sys.stdin.readline(), service.stop()), daemon=True).start()
    service.run()
    print(state_of(service)["clock"]["steps"], len(service.store), flush=True)
"""


def frame(n: int) -> bytes:
    """Return an uplink frame of a subscriber."""
    outer = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="192.0.2.1", dst=UPF)
    inner = IP(src=f"10.45.0.{n}", dst="198.51.100.7") / UDP(sport=40000, dport=9999) / Raw(bytes(64))
    return bytes(outer / UDP(sport=2152, dport=2152) / GTP_U_Header(teid=n) / inner)


@dataclass
class Heard:
    """Results of a subscriber of the bus: (t_ms, interval_ms) of each subscriber, heartbeats, gaps."""

    records: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    spans_s: list[float] = field(default_factory=list)
    beats: list[tuple[int, int, int]] = field(default_factory=list)
    log: str = ""
    words: list[str] = field(default_factory=list)

    def intervals(self) -> int:
        """Return how many intervals had all subscribers."""
        return min(map(len, self.records.values())) if len(self.records) == SUBSCRIBERS else 0

    def take(self, message) -> None:
        columns, rows = message.columns, message.header.rows
        if message.topic.startswith("health.v1/"):
            self.beats.append(tuple(int(columns[c][0]) for c in ("clock_steps", "clock_step_ms", "intervals")))
            return
        self.spans_s.append(message.header.t_end - message.header.t_start)
        for i in range(rows):
            moment = int(columns["t_ms"][i]), int(columns["interval_ms"][i])
            self.records.setdefault(columns["subscriber"][i], []).append(moment)


def stepped(bus: Subscriber, clock: Path) -> Heard:
    """Listen while the clock is put to one time after the other."""
    heard = Heard()

    def wait(holds: Callable[[], bool], what: str) -> None:
        def come() -> bool:
            while (message := bus.receive(0)) is not None:
                heard.take(message)
            return holds()

        wait_until(come, what, 90)

    for step, at_s in enumerate((0, *STEPS_S)):
        if step:
            clock.write_text(f"{at_s:+}\n", encoding="ascii")
        wait(lambda n=step: heard.beats and heard.beats[-1][0] == n, f"a heartbeat tells of {step} steps")
        enough = heard.intervals() + INTERVALS
        wait(lambda n=enough: heard.intervals() >= n, f"{INTERVALS} intervals of all {SUBSCRIBERS} subscribers")
    every = INTERVALS * (1 + len(STEPS_S))  # a heartbeat may come before the records of its interval
    wait(lambda: heard.beats[-1][2] >= every, f"a heartbeat tells of {every} intervals")
    return heard


@pytest.fixture(scope="module")
def heard(tmp_path_factory) -> Iterator[Heard]:
    """A function whose clock on the wall is libfaketime's, while twenty subscribers talk."""
    folder = tmp_path_factory.mktemp("time")
    clock, log = folder / "clock", folder / "log"
    clock.write_text("+0\n", encoding="ascii")
    env = {
        **os.environ,
        "LD_PRELOAD": FAKETIME,
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
    }
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(Net())
        net.add("host")
        net.veth(("host", "gnb"), ("host", "n3"))
        stack.enter_context(inside(net.path("host")))
        words = [sys.executable, "-c", CHILD, net.path("host"), str(folder / "state")]
        child = stack.enter_context(
            subprocess.Popen(
                words, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.open("w")
            )
        )
        stack.callback(child.kill)
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "ready\n", log.read_text()
        bus = stack.enter_context(Subscriber(SETTINGS.export.endpoint, ["qoe.v1/", "health.v1/"]))
        stack.enter_context(sender("gnb", [frame(n) for n in range(1, SUBSCRIBERS + 1)]))
        found = stepped(bus, clock)
        child.stdin.write("\n")
        child.stdin.flush()
        found.words = child.stdout.readline().split()
        child.wait()
        found.log = log.read_text()
        yield found
    assert not [t for t in threading.enumerate() if t.name == "sender"]


class TestSteps:
    """Intervals of a function are those of a clock that goes on evenly; its records say the time of the wall."""

    def test_an_interval_follows_the_one_before_and_is_as_long_as_it_says(self, heard):
        for moments in heard.records.values():
            for (t, _), (next_t, interval) in pairwise(moments):
                beyond = next_t - t - interval
                late = (beyond + HOUR_MS // 2) % HOUR_MS - HOUR_MS // 2  # beside the step, if there was one
                assert -5 <= late < LATE_MS
                assert 0 < interval < LATE_MS

    def test_each_record_has_the_time_of_the_wall(self, heard):
        for moments in heard.records.values():
            first = moments[0][0]
            hours = [round((t - first) / HOUR_MS) for t, _ in moments]
            changes = [b for a, b in pairwise([0, *hours]) if a != b]
            assert changes == [1, 0, -1, 0]

    def test_no_batch_has_times_of_both(self, heard):
        assert max(heard.spans_s) < LATE_MS / 1e3

    def test_each_step_is_in_the_heartbeat_in_the_state_and_in_the_log(self, heard):
        told = list(dict.fromkeys((steps, round(ms / HOUR_MS, 3)) for steps, ms, _ in heard.beats))

        assert told == [(0, 0), (1, 1), (2, -1), (3, -1), (4, 1)]
        assert heard.words == ["4", str(SUBSCRIBERS)]
        assert heard.log.count("the clock was stepped by +3600.") == heard.log.count("stepped by -3600.") == 2

    def test_the_heartbeat_counts_intervals(self, heard):
        counted = [intervals for _, _, intervals in heard.beats]

        assert counted == sorted(counted)
        assert heard.intervals() - INTERVALS <= counted[-1] <= heard.intervals() + INTERVALS
