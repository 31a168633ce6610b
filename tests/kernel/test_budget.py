"""Payloads that a flow hands over: enough for its hello, whatever comes before, between and twice, and no more."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import dns.message
import dns.rrset
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from nf.abi import SNF_HANDOFF, SNF_HELLO, SNF_HELLOS
from nf.apps.basis import Basis
from nf.apps.signatures import Signatures
from nf.flows.book import FlowBook
from nf.naming.readers import Here
from nf.naming.stage import Naming
from tests.apps.hellos import openssl_hello, quic_flight
from tests.apps.test_dns_http import framed
from tests.kernel.packets import SERVER, SERVER6, UE, UE6, downlink, ether, uplink
from tests.kernel.rig import ROLES, Rig
from tests.naming.test_payloads import PREFACES

NAME = "www.netflix.com"
NETFLIX = ("Netflix", Basis.SNI, NAME)
SIGNATURES = Signatures.load()
OPAQUE = bytes(range(200, 256)) * 3  # no protocol that anybody knows
PLAIN, HELLO, HELLOS = SNF_HANDOFF, SNF_HELLO, SNF_HELLOS
SHORT_HEADER = b"\x40" + bytes(range(1, 250))  # QUIC 1-RTT (RFC 9000, 17.3.1)
ACK = b"\xc3\0\0\0\1" + bytes(n % 251 for n in range(1195))  # as a server's Initial: nobody here has its keys


@functools.lru_cache(maxsize=4096)
def head_of(tunnel: bool, ipv6: bool, from_ue: bool, port: int, flags: str | None, length: int) -> bytes:
    """Return all before *length* bytes of payload, of a datagram or, with *flags*, a segment.

    Nobody reads its check sum.
    """
    ue, server = (UE6, SERVER6) if ipv6 else (UE, SERVER)
    src, dst = (ue, server) if from_ue else (server, ue)
    sport, dport = (40001, port) if from_ue else (port, 40001)
    l4 = UDP(sport=sport, dport=dport) if flags is None else TCP(sport=sport, dport=dport, flags=flags)
    packet = (IPv6 if ipv6 else IP)(src=src, dst=dst) / l4 / Raw(bytes(length))
    if tunnel:
        packet = uplink(packet) if from_ue else downlink(packet)
    frame = ether(packet)
    return frame[: len(frame) - length]


@dataclass
class Wire:
    """A UE and a server that talk over one kind of path, by one transport."""

    rig: Rig
    naming: Naming
    tunnel: bool
    ipv6: bool
    handed: int = 0
    seqs: dict[tuple[bool, int], int] = field(default_factory=dict)

    def _run(self, head: bytes, data: bytes) -> None:
        self.rig.now_ns += 1000
        role = ROLES["n3" if self.tunnel else "n6"]
        self.rig.plane.run(head + data, self.rig.now_ns, role)  # rings stay as they are
        self.handed += self.rig._moved().get("handed_off", 0)

    def udp(self, data: bytes, *, from_ue: bool = True, port: int = 443) -> None:
        """Send a datagram."""
        self._run(head_of(self.tunnel, self.ipv6, from_ue, port, None, len(data)), data)

    def tcp(
        self, data: bytes, *, from_ue: bool = True, port: int = 8443, seq: int | None = None, flags: str = "PA"
    ) -> None:
        """Send a segment, behind the ones before unless *seq* says otherwise."""
        at = self.seqs.get((from_ue, port), 1000) if seq is None else seq
        self.seqs[from_ue, port] = max(self.seqs.get((from_ue, port), 1000), at + len(data))
        head = head_of(self.tunnel, self.ipv6, from_ue, port, flags, len(data))
        self._run(head[:-16] + at.to_bytes(4, "big") + head[-12:], data)  # RFC 9293, 3.1

    def latest(self) -> tuple[str, Basis, str]:
        """Return (application, ground, host name) of the flow that began last."""
        self.naming.drain()
        self.naming.name_by_server()
        row = self.naming.book.rows[-1]
        return SIGNATURES.name(int(row["app"])), Basis(int(row["basis"])), self.naming.book.host(int(row["number"]))


@pytest.fixture(params=[(t, v) for t in (False, True) for v in (False, True)],
                ids=["IPv4", "IPv6", "IPv4 in GTP-U", "IPv6 in GTP-U"])  # fmt: skip
def path(request: pytest.FixtureRequest) -> tuple[bool, bool]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=[True, False], ids=["live", "replay"])
def wire(rig: Rig, path: tuple[bool, bool], request: pytest.FixtureRequest) -> Iterator[Wire]:
    rig.plane.economy = request.param
    rig.plane._maps["answers"].clear()
    yield Wire(rig, Naming(rig.plane, SIGNATURES, FlowBook(), Here(SIGNATURES, 0.0)), *path)
    rig.plane.economy = False
    rig.plane.set_suffixes({})


class TestHellos:
    """A hello in several packets is read whole."""

    def test_quic_over_three_initials_with_answers_between(self, wire: Wire) -> None:
        flight = quic_flight(NAME, alpn_bytes=2400)
        assert len(flight) >= 3
        for datagram in reversed(flight):  # the name is in the first: it comes last
            wire.udp(datagram)
            for _ in range(3):
                wire.udp(ACK, from_ue=False)

        assert wire.latest() == NETFLIX

    def test_quic_whose_other_packets_come_between(self, wire: Wire) -> None:
        flight = quic_flight(NAME, alpn_bytes=2400)
        for datagram in reversed(flight):
            wire.udp(datagram)
            for _ in range(10):
                wire.udp(SHORT_HEADER)

        assert wire.latest() == NETFLIX
        assert wire.handed == len(flight)

    @pytest.mark.parametrize("copies", [3, 5])
    def test_tls_whose_segments_come_several_times(self, wire: Wire, copies: int) -> None:
        hello = openssl_hello(NAME, alpn_bytes=2000)
        cut = hello.index(NAME.encode()) + 3
        for _ in range(copies):
            wire.tcp(hello[:cut], seq=1000)
        wire.tcp(hello[cut:], seq=1000 + cut)

        assert wire.latest() == NETFLIX

    def test_tls_that_begins_in_the_syn(self, wire: Wire) -> None:
        """RFC 7413; the data of a SYN begin behind its sequence number (RFC 9293, 3.4)."""
        hello = openssl_hello(NAME, alpn_bytes=2000)
        cut = hello.index(NAME.encode()) + 3
        wire.tcp(hello[:cut], seq=999, flags="S")
        wire.tcp(b"", from_ue=False, flags="SA", seq=77)
        wire.tcp(hello[cut:], seq=1000 + cut)

        assert wire.latest() == NETFLIX

    @pytest.mark.parametrize("lines", PREFACES)
    @pytest.mark.parametrize("cut", [False, True], ids=["in one segment", "in two"])
    def test_tls_behind_what_two_sides_say_before(self, wire: Wire, lines: list[bytes], cut: bool) -> None:
        hello = openssl_hello(NAME, alpn_bytes=500)
        at = hello.index(NAME.encode()) + 3 if cut else len(hello)
        wire.tcp(b"220 a greeting\r\n", from_ue=False)
        for line in lines:
            wire.tcp(line)
            for _ in range(3):
                wire.tcp(b"250-an answer of several lines\r\n", from_ue=False)
        begins = wire.seqs[True, 8443]
        for seq, data in ((begins, hello[:at]), (begins, hello[:at]), (begins + at, hello[at:])):
            if data:
                wire.tcp(data, seq=seq)

        assert wire.latest() == NETFLIX

    def test_tls_where_the_reading_began_amid_another_connection(self, wire: Wire) -> None:
        hello = openssl_hello(NAME, alpn_bytes=2000)
        cut = hello.index(NAME.encode()) + 3
        for n in range(20):
            wire.tcp(OPAQUE, from_ue=bool(n % 2))
        wire.tcp(hello[:cut])
        wire.tcp(hello[cut:])

        assert wire.latest() == NETFLIX

    def test_quic_where_the_reading_began_amid_another_connection(self, wire: Wire) -> None:
        for n in range(20):
            wire.udp(SHORT_HEADER, from_ue=bool(n % 2))
        for datagram in reversed(quic_flight(NAME, alpn_bytes=2400)):
            wire.udp(datagram)

        assert wire.latest() == NETFLIX

    def test_quic_that_is_refused_and_begins_again_is_one_connection(self, wire: Wire) -> None:
        """Version Negotiation (RFC 9000, 6): a reserved version, the server's list of versions, another attempt."""
        reserved = b"\xc0\x1a\x2a\x3a\x4a\x08" + bytes(n * 7 % 251 for n in range(1194))
        wire.udp(reserved)
        wire.udp(b"\x80\0\0\0\0\x08" + bytes(8) + b"\x08" + bytes(8) + b"\0\0\0\1", from_ue=False)
        for datagram in reversed(quic_flight(NAME, alpn_bytes=1500)):
            wire.udp(datagram)

        assert wire.latest() == NETFLIX
        assert len(wire.naming.book) == 1


class TestBounds:
    """A nameless flow costs a few packets of each direction, and one that begins hellos for ever not many more."""

    def test_opaque_packets(self, wire: Wire) -> None:
        for n in range(100):
            wire.tcp(OPAQUE, from_ue=n % 10 == 0)
            wire.udp(OPAQUE, from_ue=n % 10 == 0)

        assert wire.handed == 2 * 2 * PLAIN

    @pytest.mark.parametrize(
        "send",
        [
            pytest.param(lambda wire: wire.tcp(b"\x16\3\1\2\0\1\0\1\xfc\3\3" + bytes(100)), id="TLS"),
            pytest.param(lambda wire: wire.udp(ACK), id="QUIC"),
            pytest.param(lambda wire: wire.udp(b"\x16\xfe\xfd" + bytes(10) + b"\1" + bytes(60)), id="DTLS"),
        ],
    )
    def test_hellos_without_end(self, wire: Wire, send: Callable[[Wire], None]) -> None:
        for _ in range(100):
            send(wire)

        assert PLAIN < wire.handed <= PLAIN + HELLO * HELLOS

    def test_a_name_ends_it(self, wire: Wire) -> None:
        wire.tcp(openssl_hello(NAME))
        wire.latest()
        before = wire.handed
        for _ in range(10):
            wire.tcp(openssl_hello("www.example.org"))

        assert wire.handed == before
        assert wire.latest() == NETFLIX


def answer(name: str, kind: str, *records: tuple[str, str, str]) -> bytes:
    """Return a response that dnspython wrote; a record is (owner, type, data)."""
    message = dns.message.make_response(dns.message.make_query(name, kind))
    for owner, what, data in records:
        message.answer.append(dns.rrset.from_text(owner, 300, "IN", what, data))
    return message.to_wire()


class TestPort53:
    """Every answer is read: the flow to the last address of many has its name."""

    @staticmethod
    def to_server(wire: Wire) -> tuple[str, Basis, str]:
        """Send something without a name from the UE to the server; return the name of its flow."""
        wire.tcp(OPAQUE, port=443)
        return wire.latest()

    @pytest.fixture
    def address(self, wire: Wire) -> tuple[str, str]:
        return ("AAAA", SERVER6) if wire.ipv6 else ("A", SERVER)

    def told(self, wire: Wire, *messages: bytes) -> None:
        for message in messages:
            wire.udp(message, from_ue=False, port=53)

    def test_many_names_from_one_socket(self, wire: Wire, address: tuple[str, str]) -> None:
        other = ("AAAA", "2001:db8::9") if wire.ipv6 else ("A", "192.0.2.9")
        for n in range(20):
            query = dns.message.make_query(f"n{n}.example.", "A").to_wire()
            wire.udp(query, port=53)
            self.told(wire, answer(f"n{n}.example.", other[0], (f"n{n}.example.", *other)))
        self.told(wire, answer(f"{NAME}.", address[0], (f"{NAME}.", *address)))

        assert self.to_server(wire) == ("Netflix", Basis.DNS_ANSWER, NAME)

    def test_two_families_from_one_socket(self, wire: Wire) -> None:
        wire.udp(dns.message.make_query(NAME, "A").to_wire(), port=53)
        wire.udp(dns.message.make_query(NAME, "AAAA").to_wire(), port=53)
        self.told(
            wire,
            answer(f"{NAME}.", "A", (f"{NAME}.", "A", SERVER)),
            answer(f"{NAME}.", "AAAA", (f"{NAME}.", "AAAA", SERVER6)),
        )

        assert self.to_server(wire) == ("Netflix", Basis.DNS_ANSWER, NAME)

    def test_answers_behind_each_other_over_tcp(self, wire: Wire, address: tuple[str, str]) -> None:
        messages = [answer(f"n{n}.example.", "A", (f"n{n}.example.", "A", f"192.0.2.{n + 100}")) for n in range(40)]
        stream = framed(*messages, answer(f"{NAME}.", address[0], (f"{NAME}.", *address)))
        for at in range(0, len(stream), 500):
            wire.tcp(stream[at : at + 500], from_ue=False, port=53)

        assert self.to_server(wire) == ("Netflix", Basis.DNS_ANSWER, NAME)

    @pytest.mark.parametrize("turned", [False, True], ids=["in order", "the address first"])
    def test_records_in_any_order(self, wire: Wire, address: tuple[str, str], turned: bool) -> None:
        """RFC 1034, 3.6."""
        chain = [
            (f"{NAME}.", "CNAME", "a.cdn.example."),
            ("a.cdn.example.", "CNAME", "b.cdn.example."),
            ("b.cdn.example.", *address),
        ]
        self.told(wire, answer(f"{NAME}.", address[0], *(chain[::-1] if turned else chain)))

        assert self.to_server(wire) == ("Netflix", Basis.DNS_ANSWER, NAME)

    def test_an_address_of_another_owner_is_not_learned(self, wire: Wire, address: tuple[str, str]) -> None:
        self.told(wire, answer(f"{NAME}.", address[0], ("stranger.example.", *address)))

        assert self.to_server(wire) == ("", Basis.NONE, "")
