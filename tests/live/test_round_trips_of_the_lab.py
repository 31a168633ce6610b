"""Round trips that the function publishes beside what the clients of the lab measured themselves (TCP_INFO, QUIC)."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections import Counter

import pytest

from feed.consumer import Subscriber
from lab import plan, tcpinfo
from lab.demo import records
from lab.lab import Lab
from lab.net import inside
from lab.operator import ENDPOINT, Operator
from lab.roundtrips import ABOVE_MS, apps_over_quic, judge, round_trip_ms
from lab.tcpinfo import Readings, tcp_info
from lab.wait import slowness
from nf.privacy import Pseudonymiser

KEY = b"a key of the tests of the lab ..."
EACH = 15  # records of each subscriber: its applications in about ten intervals
NOBODY = "0" * 32


def record(app: str = "WhatsApp", access: float = 20.0, core: float = 5.0, t_ms: int = 10_000) -> dict[str, object]:
    sides = {"rtt_access_ms": access, "rtt_core_ms": core}
    return {"t_ms": t_ms, "interval_ms": 1000, "subscriber": NOBODY, "app": app, **sides}


def reading(t: float, rtt_ms: float, deviation_ms: float = 0.0, transport: str = "tcp") -> dict[str, object]:
    return {"t": t, "transport": transport, "rtt_ms": rtt_ms, "deviation_ms": deviation_ms}


@pytest.fixture
def pair():
    """A TCP connection over loopback on which data was acknowledged."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as near,
        server.accept()[0] as far,
    ):
        yield near, far


def exchange(near, far):
    near.sendall(b"question")
    assert far.recv(100)
    far.sendall(b"answer")  # with the acknowledgement of the question
    assert near.recv(100)


class TestReading:
    """A reading is what the kernel says of a socket, as ss says it too."""

    def test_is_what_ss_shows(self, pair):
        near, far = pair
        exchange(near, far)

        port = near.getsockname()[1]
        words = ["ss", "--info", "--tcp", "--no-header", "--numeric", f"sport = :{port}"]
        shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout

        rtt, deviation = map(float, re.search(r" rtt:([\d.]+)/([\d.]+)", shown).groups())
        acked = int(re.search(r"bytes_acked:(\d+)", shown).group(1))
        now = tcp_info(near)
        assert (now.rtt_ms, now.deviation_ms, now.acked_bytes) == (rtt, deviation, acked)
        assert now.segment_bytes == int(re.search(r"rcvmss:(\d+)", shown).group(1))
        assert now.received_bytes == len(b"answer") == int(re.search(r"bytes_received:(\d+)", shown).group(1))

    def test_is_written_when_something_was_acknowledged(self, pair, tmp_path):
        near, far = pair
        with Readings(tmp_path / "tcp.jsonl") as readings:
            with readings.of(near):
                readings.take()  # the handshake
                readings.take()
                exchange(near, far)
                readings.take()
            readings.take()  # it is open no more

        lines = [json.loads(line) for line in (tmp_path / "tcp.jsonl").read_text().splitlines()]
        assert len(lines) == 2
        assert lines[-1]["rtt_ms"] == tcp_info(near).rtt_ms

    def test_a_full_file_begins_anew(self, tmp_path, monkeypatch):
        monkeypatch.setattr(tcpinfo, "FULL_BYTES", 1000)
        with Readings(tmp_path / "tcp.jsonl") as readings:
            for n in range(100):
                readings.add("quic", n, 1)

        text = (tmp_path / "tcp.jsonl").read_text()
        assert len(text) < 1100
        assert json.loads(text.splitlines()[-1])["rtt_ms"] == 99


class TestJudgement:
    """A record is held beside the largest reading of its own interval."""

    @staticmethod
    def above(records, readings):
        return [j.above_ms for j in judge(records, {NOBODY: readings}, frozenset({"Google"}))]

    def test_both_sides_are_one_round_trip(self):
        assert round_trip_ms(record(access=30, core=7)) == 37
        assert round_trip_ms(record(access=30, core=float("nan"))) == 30

    def test_what_the_client_saw_at_most_is_four_deviations_more(self):
        """RFC 6298, 2.3: after 20 ms for long, one sample of 100 leaves 30 and 20 (a = 1/8, b = 1/4): 110 at most."""
        assert self.above([record(access=900, core=25)], [reading(9.5, 30, 20), reading(9.7, 20)]) == [815]

    def test_readings_of_other_intervals_are_none(self):
        assert self.above([record()], [reading(8.9, 30), reading(10.2, 30)]) == []

    def test_a_record_without_a_round_trip_is_not_judged(self):
        assert self.above([record(access=float("nan"), core=float("nan"))], [reading(9.5, 30)]) == []

    def test_what_quic_measured_is_for_what_runs_over_quic(self):
        readings = [reading(9.5, 20), reading(9.6, 120, transport="quic")]

        assert self.above([record(), record("Google")], readings) == [5, -95]

    def test_a_client_that_was_late_itself_says_so_for_quic(self):
        readings = [reading(9.5, 20), reading(9.6, 200, transport="process")]

        assert self.above([record(), record("Google", access=220)], readings) == [5, 5]

    def test_who_was_late_and_measured_nothing_is_not_judged(self):
        assert self.above([record("Google")], [reading(9.6, 200, transport="process")]) == []

    def test_one_application_of_the_lab_is_over_quic(self):
        assert apps_over_quic() == {"Google"}


class TestHealthySubscribers:
    """Published round trips of a subscriber on a good radio are not far above those that the clients measured."""

    def test_each_interval_agrees_with_the_clients(self):
        uses = (("chat", "video"), ("social",), ("web", "web3"), ("download",))
        with Lab(plan.subscribers(*uses)) as lab, Operator(lab) as operator:
            operator.start_function()
            operator.configure(KEY)
            name_of = Pseudonymiser(KEY, 1).name
            names = {name: name_of(ue.imsi) for name, ue in lab.subscribers.items()}
            with inside(lab.net.path("ops")), Subscriber(ENDPOINT, ["qoe.v1/"]) as bus:
                lab.announce_all()
                lab.start_clients()
                heard, counts = [], Counter()
                for message in bus.messages(60 * slowness(), quiet_s=0.2):
                    rows = list(records(message)) if message is not None else []
                    heard += rows
                    counts.update(r["subscriber"] for r in rows if round_trip_ms(r) > 0)
                    if all(counts[who] >= EACH for who in names.values()):
                        break
            measured = {names[name]: list(lab.measured(name)) for name in names}

        judged = list(judge(heard, measured, apps_over_quic()))

        assert set(Counter(j.subscriber for j in judged)) == set(names.values())
        assert len(judged) >= EACH * len(names) / 2
        assert [j for j in judged if j.above_ms > ABOVE_MS] == []
