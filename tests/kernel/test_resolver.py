"""A resolver's answers, measured in the kernel: time, errors, and queries sent again (RFC 1035; RFC 6298, 3)."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from tests.kernel.packets import UE, UE6, downlink, ether, uplink
from tests.kernel.rig import ROLES, Rig

RESOLVER, RESOLVER6 = "192.0.2.53", "2001:db8:53::53"
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, REFUSED = 0, 1, 2, 3, 5
MS = 1_000_000


class Client:
    """Asks a resolver from one port, and lets time pass."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig

    def send(self, up: bool, message: Any, *, after_ms: float = 1, port: int = 40_000, tunnel: Any = None) -> None:
        self.rig.now_ns += round(after_ms * MS)
        ends = {"src": UE, "dst": RESOLVER} if up else {"src": RESOLVER, "dst": UE}
        ports = {"sport": port, "dport": 53} if up else {"sport": 53, "dport": port}
        packet = IP(**ends) / UDP(**ports) / message
        frame = ether(tunnel(packet) if tunnel else packet)
        self.rig.plane.run(frame, self.rig.now_ns, ROLES["n3" if tunnel else "n6"])
        self.rig._moved()

    def ask(self, number: int, *, after_ms: float = 1, **more: Any) -> None:
        self.send(True, DNS(id=number, rd=1, qd=DNSQR(qname="www.example.org")), after_ms=after_ms, **more)

    def answer(self, number: int, *, after_ms: float, rcode: int = NOERROR, **more: Any) -> None:
        message = DNS(id=number, qr=1, rcode=rcode, qd=DNSQR(qname="www.example.org"))
        self.send(False, message, after_ms=after_ms, **more)

    def seen(self) -> dict[str, int]:
        (flow,) = self.rig._table()[1]
        dns = flow["transport"]["dns"]
        return {n: int(dns[n]) for n in ("queries", "answers", "failed", "again", "timed", "sum_us")}


@pytest.fixture
def client(rig: Rig) -> Client:
    return Client(rig)


class TestTimes:
    """A query's time lasts until the answer with its identifier."""

    def test_one(self, client: Client) -> None:
        client.ask(7)
        client.answer(7, after_ms=23)

        assert client.seen() == {"queries": 1, "answers": 1, "failed": 0, "again": 0, "timed": 1, "sum_us": 23_000}

    def test_two_at_once_answered_in_the_other_order(self, client: Client) -> None:
        client.ask(7)
        client.ask(8, after_ms=2)
        client.answer(8, after_ms=10)
        client.answer(7, after_ms=10)

        assert client.seen() == {"queries": 2, "answers": 2, "failed": 0, "again": 0, "timed": 2, "sum_us": 32_000}

    def test_a_third_takes_the_place_of_the_oldest(self, client: Client) -> None:
        for number in (7, 8, 9):
            client.ask(number)
        for number in (7, 8, 9):
            client.answer(number, after_ms=10)

        assert (client.seen()["queries"], client.seen()["answers"]) == (3, 2)

    def test_through_a_tunnel(self, client: Client) -> None:
        client.ask(7, tunnel=uplink)
        client.answer(7, after_ms=40, tunnel=downlink)

        assert client.seen()["sum_us"] == 40_000

    def test_ipv6(self, client: Client) -> None:
        rig = client.rig
        query = DNS(id=9, rd=1, qd=DNSQR(qname="www.example.org", qtype="AAAA"))
        rig.plane.run(ether(IPv6(src=UE6, dst=RESOLVER6) / UDP(sport=40000, dport=53) / query), rig.now_ns, ROLES["n6"])
        reply = ether(IPv6(src=RESOLVER6, dst=UE6) / UDP(sport=53, dport=40000) / DNS(id=9, qr=1, qd=query.qd))
        rig.plane.run(reply, rig.now_ns + 5 * MS, ROLES["n6"])
        rig._moved()

        assert client.seen()["sum_us"] == 5000


class TestErrors:
    """An error is the resolver's; a name that does not exist is an answer."""

    @pytest.mark.parametrize(
        ("rcode", "failed"), [(NOERROR, 0), (FORMERR, 1), (SERVFAIL, 1), (NXDOMAIN, 0), (REFUSED, 1)]
    )
    def test_codes(self, client: Client, rcode: int, failed: int) -> None:
        client.ask(7)
        client.answer(7, after_ms=5, rcode=rcode)

        assert client.seen()["failed"] == failed

    def test_an_answer_to_nothing_is_none(self, client: Client) -> None:
        client.ask(7)
        client.answer(8, after_ms=5, rcode=SERVFAIL)
        client.answer(7, after_ms=5)
        client.answer(7, after_ms=5)  # a copy

        assert client.seen() == {"queries": 1, "answers": 1, "failed": 0, "again": 0, "timed": 1, "sum_us": 10_000}

    def test_an_answer_after_ten_seconds_is_to_something_else(self, client: Client) -> None:
        client.ask(7)
        client.answer(7, after_ms=10_001)

        assert client.seen()["answers"] == 0


class TestRetries:
    """A query that is sent again is one query, and its answer times nothing."""

    def test_once(self, client: Client) -> None:
        client.ask(7)
        client.ask(7, after_ms=5000)
        client.answer(7, after_ms=20)

        assert client.seen() == {"queries": 1, "answers": 1, "failed": 0, "again": 1, "timed": 0, "sum_us": 0}

    def test_the_next_query_is_timed_again(self, client: Client) -> None:
        client.ask(7)
        client.ask(7)
        client.answer(7, after_ms=20)
        client.ask(8)
        client.answer(8, after_ms=30)

        assert client.seen() == {"queries": 2, "answers": 2, "failed": 0, "again": 1, "timed": 1, "sum_us": 30_000}


class TestOther:
    """A datagram that is no query or answer changes nothing, and RTP is not sought in it."""

    @pytest.mark.parametrize("payload", [bytes(3), bytes(11), bytes.fromhex("0007 2800 0001 0000 0000 0000")])
    def test_short_messages_and_other_operations(self, client: Client, payload: bytes) -> None:
        client.send(True, payload)

        assert set(client.seen().values()) == {0}
