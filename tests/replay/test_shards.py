"""Two shards publish, row by row, what one process publishes of the same packets."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from feed.records import RecordBatch
from gtp.pfcp import build
from nf.apps.signatures import Signatures
from nf.kernel.dataplane import DataPlane
from nf.naming.explain import Question
from nf.pipeline import Shards
from nf.pipeline.process import Process
from nf.pipeline.talk import Done
from nf.privacy import Pseudonymiser
from nf.replay.records import Collector
from nf.replay.run import Replay, Result
from nf.settings import QoeProfile
from tests.replay.conftest import KEY, empty
from tests.replay.test_handover import GNB, PLAN, UPF, Film

# Of phones, of cores with several subscribers and their signalling, of a call, with addresses of both families.
CAPTURES = (
    "open5gs__testregistration.pcapng",
    "open5gs__ipsec_to_nonipsec_call.pcapng",
    "ndpi__wechat.pcap",
    "ndpi__http_ipv6.pcap",
)
PROFILES = (QoeProfile("web", (("content_s", 30.0),)),)
NOBODYS = Question(6, "192.0.2.1", 1, "192.0.2.2", 2)
Row = tuple[Any, ...]


class Spread(Replay):
    """A replay whose flows are read by two shards."""

    def __init__(self, plane: DataPlane, sink: Collector, count: int = 2) -> None:
        signatures, names = Signatures.load(), Pseudonymiser(KEY, 1)
        super().__init__(signatures, names, sink, plane=plane)
        self.shards = Shards(count, plane, signatures, self.store, names, sink, idle_s=math.inf)
        self.pipeline: Any = self.shards
        self.shards.set_profiles(PROFILES)

    def _drain(self) -> None:
        super()._drain()
        self.settle()

    def settle(self) -> None:
        """Wait until the shards took what they were given: no packet comes before the answer to the one before."""
        self.shards.explain(NOBODYS)

    def _look_once_more(self) -> None:
        pass

    def _finish(self, paths: Sequence[Path]) -> Result:
        return self.result

    def close(self) -> None:
        self.shards.close()


class Alone(Replay):
    """A replay whose flows are read by one process."""

    def __init__(self, plane: DataPlane, sink: Collector) -> None:
        super().__init__(Signatures.load(), Pseudonymiser(KEY, 1), sink, plane=plane)
        self.pipeline.set_profiles(PROFILES)


def rows(batches: Sequence[RecordBatch]) -> list[Row]:
    """Return the rows of batches as texts and numbers, each with its interval and class, in an order of their own."""
    found = []
    for batch in batches:
        names = sorted(batch.columns)
        columns = [list(batch.columns[name]) for name in names]
        for values in zip(*columns, strict=True):
            cells = (f"{name}={value}" for name, value in zip(names, values, strict=True))
            found.append((batch.t_start_s, batch.t_end_s, batch.app_class, *cells))
    return sorted(found)


Run = Callable[[type[Any], Path], list[Row]]


@pytest.fixture
def run(plane: DataPlane) -> Run:
    def replay(kind: type[Any], path: Path) -> list[Row]:
        empty(plane)
        sink = Collector()
        with contextlib.closing(kind(plane, sink)) as replayed:
            replayed.run([path], [None])
        return rows(sink.batches)

    return replay


class TestSameRows:
    """All columns of all records, in each interval."""

    @pytest.mark.parametrize("name", CAPTURES)
    def test_of_a_capture(self, run: Run, shared: Path, name: str) -> None:
        path = shared / "captures" / "pcap" / name

        spread = run(Spread, path)
        assert spread == run(Alone, path)
        web = [row for row in spread if row[2] == "web"]
        assert web or "http" not in name
        assert all("model=G.1030 v2*" in row for row in web)  # a shard judges by the profiles that it was told


class TestIdentity:
    """The IMSI stays in the function."""

    @pytest.fixture
    def words(self, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
        """Return what is said to shards, as bytes."""
        said: list[bytes] = []

        def say(process: Process, message: object) -> None:
            said.append(pickle.dumps(message))
            spoken(process, message)

        spoken = Process.say
        monkeypatch.setattr(Process, "say", say)
        return said

    def test_no_word_to_a_shard_has_one(self, run: Run, words: list[bytes], tmp_path: Path) -> None:
        film = Film(tmp_path / "late.pcap")
        film.traffic(5, GNB, 0xB2)  # and no packet after its session is known: a shard asks whose the tunnel is
        film.n4(build.establishment_request(1, PLAN), build.establishment_response(1, 11, UPF, 22))

        published = run(Spread, film.path)

        name = Pseudonymiser(KEY, 1).name(PLAN.identity.imsi)
        assert {cell for row in published for cell in row if f"{cell}".startswith("subscriber=")} == {
            f"subscriber={name}"
        }
        assert any(name.encode() in word for word in words)
        assert not [word for word in words if PLAN.identity.imsi.encode() in word]


class TestKilled:
    """A shard that is killed is started anew, and what it had read and not told is counted."""

    @pytest.fixture
    def sink(self) -> Collector:
        return Collector()

    @pytest.fixture
    def spread(self, plane: DataPlane, sink: Collector) -> Iterator[Spread]:
        empty(plane)
        with contextlib.closing(Spread(plane, sink)) as spread:
            yield spread

    def packets(self, spread: Spread, first_s: int) -> None:
        """Have each of 64 UEs send a packet to a server, and end the interval a second later."""
        for n in range(64):
            ip = IP(src=f"10.45.0.{n + 1}", dst="198.51.100.7") / UDP(sport=5000, dport=6000) / (b"x" * 100)
            frame = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / ip)
            spread.plane.run(frame, (first_s * 1000 + n) * 1_000_000)
        spread.shards.begin(first_s)
        spread.shards.sweep(first_s + 1)

    def published(self, sink: Collector) -> int:
        return sum(int(batch.columns["ul_bytes"].sum() + batch.columns["dl_bytes"].sum()) for batch in sink.batches)

    def victim(self) -> int:
        """Return the process of one shard."""
        return min(child.pid or 0 for child in multiprocessing.active_children() if child.name == "shard-1")

    def test_between_intervals_nothing_is_lost(self, spread: Spread, sink: Collector) -> None:
        self.packets(spread, 1000)
        os.kill(self.victim(), signal.SIGKILL)

        self.packets(spread, 1001)
        self.packets(spread, 1002)

        assert self.published(sink) == 3 * 64 * 128
        assert spread.shards.unread_octets == 0
        assert spread.shards.status()["restarts"] == 1

    def test_flows_have_their_subscribers_again(self, spread: Spread, sink: Collector) -> None:
        self.packets(spread, 1000)
        os.kill(self.victim(), signal.SIGKILL)
        self.packets(spread, 1001)
        sink.batches.clear()

        self.packets(spread, 1002)

        names = {name for batch in sink.batches for name in batch.columns["subscriber"]}
        assert names == {spread.shards.pseudonymiser.unknown(f"ue::10.45.0.{n + 1}") for n in range(64)}

    def test_in_the_middle_of_an_interval_the_missing_bytes_are_told(
        self, spread: Spread, sink: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.packets(spread, 1000)
        told = spread.shards._until

        def kill(is_last: Callable[[Any], bool]) -> dict[int, Any]:
            last = told(is_last)
            if isinstance(last[1], Done):  # its word goes with it, as it was killed before it said it
                os.kill(self.victim(), signal.SIGKILL)
                del last[1]
            return last

        with monkeypatch.context() as patch:
            patch.setattr(spread.shards, "_until", kill)
            self.packets(spread, 1001)
        self.packets(spread, 1002)
        self.packets(spread, 1003)

        missing = 4 * 64 * 128 - self.published(sink)
        assert 0 < missing < 64 * 128
        assert spread.shards.unread_octets == missing
        assert spread.shards.left_out()["unread_bytes"] == missing
