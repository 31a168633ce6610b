"""A flow whose end was seen leaves the table ten seconds after its last packet, others after five minutes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import IP, TCP, UDP

from nf.apps.signatures import Signatures
from nf.flows.over import are_over
from nf.pipeline import Pipeline
from nf.privacy import Pseudonymiser
from nf.replay.records import Collector
from nf.sessions import BindingStore
from tests.kernel.packets import SERVER, UE, ether, tcp
from tests.kernel.rig import A_SECOND_NS, ROLES, Rig
from tests.kernel.ways import MS, WAYS, Way

SIGNATURES = Signatures.load()


@pytest.fixture(params=WAYS.values(), ids=WAYS.keys())
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


def connection(way: Way, *ends: bytes) -> list[bytes]:
    """Return a connection that is open, and then what *ends* it."""
    return [
        way.tcp(1000, 0, flags="S", ack=0),
        way.tcp(3000, 0, back=True, ack=1001, flags="SA"),
        way.tcp(1001, 0, ack=3001),
        way.tcp(1001, 100, ack=3001, flags="PA"),
        *ends,
    ]


def run(rig: Rig, role: str, frames: list[bytes]) -> None:
    for frame in frames:
        rig.run(frame, role, MS)


def is_over(rig: Rig) -> bool:
    keys, flows = rig._table()
    (over,) = are_over(keys, flows, np.arange(len(flows)))
    return bool(over)


class TestConnection:
    """Both ends said that they send no more, or one gave it up (RFC 9293, 3.6 and 3.5.3)."""

    def test_an_open_one_is_not_over(self, rig: Rig, way: Way) -> None:
        run(rig, way.role, connection(way))

        assert not is_over(rig)

    def test_one_fin_closes_half_of_it(self, rig: Rig, way: Way) -> None:
        """The other end may send for hours."""
        run(rig, way.role, connection(way, way.tcp(1101, 0, ack=3001, flags="FA")))

        assert not is_over(rig)

    def test_the_same_fin_again_closes_no_more(self, rig: Rig, way: Way) -> None:
        fin = way.tcp(1101, 0, ack=3001, flags="FA")
        run(rig, way.role, connection(way, fin, fin))

        assert not is_over(rig)

    def test_two_fins_close_it(self, rig: Rig, way: Way) -> None:
        fins = way.tcp(1101, 0, ack=3001, flags="FA"), way.tcp(3001, 0, back=True, ack=1102, flags="FA")
        run(rig, way.role, connection(way, *fins))

        assert is_over(rig)

    @pytest.mark.parametrize("back", [False, True])
    @pytest.mark.parametrize("flags", ["R", "RA"])
    def test_a_reset_ends_it(self, rig: Rig, way: Way, back: bool, flags: str) -> None:
        reset = way.tcp(3001 if back else 1101, 0, back=back, ack=1101 if back else 3001, flags=flags)
        run(rig, way.role, connection(way, reset))

        assert is_over(rig)

    def test_the_next_one_on_its_ports_is_open(self, rig: Rig, way: Way) -> None:
        run(rig, way.role, connection(way, way.tcp(1101, 0, ack=3001, flags="RA")))
        run(rig, way.role, [way.tcp(9000, 0, flags="S", ack=0)])

        assert not is_over(rig)


def query(number: int, *, response: bool = False) -> bytes:
    message = DNS(id=number, qr=response, qd=DNSQR(qname="www.example.org"))
    return datagram(message, 53, back=response)


def datagram(message: DNS, port: int, *, back: bool = False) -> bytes:
    if back:
        return ether(IP(src=SERVER, dst=UE) / UDP(sport=port, dport=40_000) / message)
    return ether(IP(src=UE, dst=SERVER) / UDP(sport=40_000, dport=port) / message)


class TestQuestion:
    """A DNS flow is over when each query has its answer."""

    @pytest.mark.parametrize(
        ("asked", "answered", "over"),
        [([1], [], False), ([1], [1], True), ([1, 2], [2], False), ([1, 2], [2, 1], True), ([], [1], False)],
    )
    def test_its_answers_are_there(self, rig: Rig, asked: list[int], answered: list[int], over: bool) -> None:
        run(rig, "n6", [query(n) for n in asked] + [query(n, response=True) for n in answered])

        assert is_over(rig) == over

    def test_the_same_bytes_of_another_port_are_no_answer(self, rig: Rig) -> None:
        run(rig, "n6", [datagram(DNS(id=1), 443), datagram(DNS(id=1, qr=1), 443, back=True)])

        assert not is_over(rig)


@pytest.fixture
def pipeline(rig: Rig) -> Iterator[Pipeline]:
    store, nobody = BindingStore(16), Pseudonymiser(b"a key for the tests of endings ....", 1)
    made = Pipeline(rig.plane, SIGNATURES, store, nobody, Collector())
    yield made
    made.close()
    rig.plane.set_suffixes({})


def after(rig: Rig, pipeline: Pipeline, seconds: float, step_s: float = 1.0) -> None:
    """Pass *seconds* of time, with a sweep each *step_s*."""
    for _ in range(round(seconds / step_s)):
        rig.now_ns += round(step_s * A_SECOND_NS)
        rig.plane._clock[0] = rig.now_ns  # a replay's stands between frames
        pipeline.sweep(rig.now_ns / 1e9)


class TestTable:
    """The table and the book have room again for flows that will still send."""

    FIN = ether(tcp(flags="FA", seq=43)), ether(IP(src=SERVER, dst=UE) / TCP(sport=443, dport=40_000, flags="FA"))

    def begin(self, rig: Rig, *more: bytes) -> None:
        """Run a SYN and *more*; the events stay in the ring, for the pipeline."""
        for frame in (ether(tcp(flags="S", seq=10)), *more):
            rig.now_ns += MS
            rig.plane.run(frame, rig.now_ns, ROLES["n6"])
        rig._moved()

    @pytest.mark.parametrize("step_s", [0.5, 1.0, 4.0])
    def test_a_closed_flow_leaves_after_ten_seconds(self, rig: Rig, pipeline: Pipeline, step_s: float) -> None:
        self.begin(rig, *self.FIN)
        after(rig, pipeline, 8, step_s)
        assert (len(rig._table()[0]), len(pipeline.book)) == (1, 1)

        after(rig, pipeline, 8, step_s)
        assert (len(rig._table()[0]), len(pipeline.book)) == (0, 0)

    def test_an_open_one_stays_for_five_minutes(self, rig: Rig, pipeline: Pipeline) -> None:
        self.begin(rig)
        after(rig, pipeline, 296, 4.0)
        assert (len(rig._table()[0]), len(pipeline.book)) == (1, 1)

        after(rig, pipeline, 12, 4.0)
        assert (len(rig._table()[0]), len(pipeline.book)) == (0, 0)

    def test_a_packet_that_comes_later_is_no_connection_and_is_counted(self, rig: Rig, pipeline: Pipeline) -> None:
        self.begin(rig, *self.FIN)
        after(rig, pipeline, 14)
        before = rig.plane.read_counters()["tcp_midway"]
        outcome = rig.run(self.FIN[1], "n6", MS)

        assert outcome.counters["tcp_midway"] == 1
        assert rig.flow()["connect_us"] == 0
        assert rig.plane.read_counters()["tcp_midway"] == before + 1

    def test_a_syn_is_not_counted_so(self, rig: Rig) -> None:
        assert "tcp_midway" not in rig.run(ether(tcp(flags="S", seq=10)), "n6", MS).counters

    def test_its_bytes_are_in_the_records(self, rig: Rig, pipeline: Pipeline) -> None:
        self.begin(rig, *self.FIN)
        octets = int(rig.flow()["bytes"].sum())
        after(rig, pipeline, 14)
        assert isinstance(pipeline.sink, Collector)

        columns = [batch.columns for batch in pipeline.sink.batches]
        assert sum(int(c["ul_bytes"].sum() + c["dl_bytes"].sum()) for c in columns) == octets > 0
