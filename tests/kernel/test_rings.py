"""Rings to user space: a record that does not fit is counted, and each CPU has its own."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from nf.abi import SNF_RING_EVENTS
from nf.kernel import source, syscall
from nf.kernel.dataplane import DataPlane
from nf.settings import Limits, Role
from tests.kernel.hellos_and_answers import named_hello, over_tcp
from tests.kernel.packets import SERVER, UE, ether, udp
from tests.kernel.rig import Rig

HEADER = 8  # of a record in a ring (kernel/bpf/ringbuf.c)
APP = 9


def room(rig: Rig, ring_bytes: int, record: str) -> int:
    """Return how many records a ring takes."""
    return ring_bytes // (HEADER + rig.plane._types[record].itemsize)


def flows_of(frame: bytes, count: int) -> Iterator[bytes]:
    """Yield *count* frames that differ in the port of their sender, so that each begins a flow."""
    made = bytearray(frame)
    at = made.index((40000).to_bytes(2, "big"))
    for number in range(count):
        made[at : at + 2] = (1 + number % 60_000).to_bytes(2, "big")
        yield bytes(made)


def begin(rig: Rig, frames: Iterator[bytes]) -> None:
    """Begin more flows than the table has places for."""
    for number, frame in enumerate(frames):
        rig.plane.run(frame, rig.now_ns, Role.N6)
        rig.plane.read_ended()
        if not number % 100:
            rig.plane.read_events()


def moved(rig: Rig, before: dict[str, int]) -> dict[str, int]:
    return {name: value - before[name] for name, value in rig.plane.read_counters().items()}


class TestPayloads:
    """Payloads of flows without a name."""

    def test_what_does_not_fit_is_counted_and_its_packet_too(self, rig: Rig) -> None:
        most, before = room(rig, source.PAYLOAD_RING_BYTES, "payload"), rig.plane.read_counters()
        begin(rig, flows_of(ether(udp()), most + 50))

        counters = moved(rig, before)
        assert counters["payload_ring_full"] >= 50
        assert counters["handed_off"] + counters["payload_ring_full"] == counters["counted"] == most + 50

    def test_after_a_reading_there_is_room(self, rig: Rig) -> None:
        most = room(rig, source.PAYLOAD_RING_BYTES, "payload")
        begin(rig, flows_of(ether(udp()), most + 50))
        rig.plane.read_payloads()
        before = rig.plane.read_counters()
        rig.plane.run(ether(udp(sport=61_000)), rig.now_ns, Role.N6)

        assert moved(rig, before)["payload_ring_full"] == 0


class TestNames:
    """Names that the kernel found."""

    def test_a_name_that_does_not_fit_goes_to_user_space_as_payload(self, rig: Rig) -> None:
        most, before = room(rig, source.NAME_RING_BYTES, "named"), rig.plane.read_counters()
        begin(rig, flows_of(over_tcp(named_hello(b"www.example.org")), most + 50))

        counters = moved(rig, before)
        assert counters["name_ring_full"] >= 50
        assert counters["handed_off"] == counters["name_ring_full"]
        assert counters["sni_named"] + counters["name_ring_full"] == most + 50


class TestChunks:
    """Request-answer pairs of media flows."""

    @pytest.fixture
    def media(self, rig: Rig) -> Iterator[Rig]:
        rig.plane.set_policies({}, detailed=[APP])
        rig.run(ether(udp(10)), "n6")
        keys, flows = rig.plane.read_flows()
        rig.plane.put_verdicts(keys, flows["number"], np.array([APP], np.uint16), np.ones(1, np.bool_))
        yield rig
        rig.plane.read_chunks()

    def test_what_does_not_fit_is_counted(self, media: Rig) -> None:
        most, before = room(media, source.CHUNK_RING_BYTES, "chunk"), media.plane.read_counters()
        request = ether(udp(400))
        answer = ether(IP(src=SERVER, dst=UE) / UDP(sport=443, dport=40000) / Raw(bytes(3000)))
        for _ in range(most + 51):
            for frame in (request, answer, answer, answer):
                media.plane.run(frame, media.now_ns, Role.N6)

        counters = moved(media, before)
        assert counters["chunk_ring_full"] >= 50
        assert counters["chunks"] + counters["chunk_ring_full"] == most + 50


class TestCpus:
    """A live data plane: each CPU has rings of its own."""

    @pytest.fixture
    def live(self) -> Iterator[DataPlane]:
        before = os.sched_getaffinity(0)
        plane = DataPlane(Limits(flows=1024, sessions=256))
        try:
            plane.take_test_runs()
            yield plane
        finally:
            plane.close()
            os.sched_setaffinity(0, before)

    def test_records_of_all_cpus_come_in_the_order_of_their_time(self, live: DataPlane) -> None:
        run = syscall.TestRun(live.program(Role.N6), 2048)
        ports = []
        for number, frame in enumerate(flows_of(ether(udp()), 40)):
            os.sched_setaffinity(0, {number % os.cpu_count()})
            run(frame)
            ports.append(1 + number)

        events = live.read_events()
        ends = [{socket.ntohs(int(key["port_a"])), socket.ntohs(int(key["port_b"]))} for key in events["key"]]
        assert ends == [{port, 443} for port in ports]
        assert len(live.read_payloads()) == 40

    def test_a_ring_gets_what_its_cpu_saw(self, live: DataPlane) -> None:
        run = syscall.TestRun(live.program(Role.N6), 2048)
        os.sched_setaffinity(0, {1})
        for frame in flows_of(ether(udp()), 7):
            run(frame)

        assert [len(ring.read()) for ring in live._rings[SNF_RING_EVENTS]._rings[:2]] == [0, 7]
