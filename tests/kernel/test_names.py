"""Names that the kernel finds alone: the server name of a ClientHello, and what DNS told a subscriber of an address."""

from __future__ import annotations

import random
import ssl
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address
from typing import Any

import dns.flags
import dns.message
import dns.rrset
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from nf.apps.parsers import tls
from nf.apps.parsers.dns import parse
from nf.apps.parsers.errors import Malformed, NeedMore, NotThis
from nf.apps.signatures import Signatures
from tests.kernel.packets import SERVER, SERVER6, UE, UE6, ether, uplink
from tests.kernel.rig import ROLES, Rig
from tests.naming.capture_payloads import expected_flows, payloads

VIDEO, MAIL, CLOUD = 11, 12, 13
SUFFIXES = {"example.org": VIDEO, "mail.example.org": MAIL, "cloud.test": CLOUD, "deep.in.a.cloud.test": VIDEO}
BY_SNI, BY_DNS = 1, 3  # nf.apps.Basis
FINAL = 1  # FLOW_FINAL of abi.h
A_SECOND_NS = 1_000_000_000


@pytest.fixture
def named(rig: Rig) -> Iterator[Rig]:
    """Return the data plane with the suffixes above, naming thoroughly."""
    rig.plane.set_suffixes(SUFFIXES, ["ask.test"])
    yield rig
    rig.plane.set_suffixes({})
    rig.plane.economy = False


def extension(kind: int, body: bytes) -> bytes:
    """Return a TLS extension (RFC 8446, 4.2)."""
    return struct.pack("!HH", kind, len(body)) + body


def server_name(name: bytes) -> bytes:
    """Return the extension server_name (RFC 6066, 3)."""
    entry = b"\0" + struct.pack("!H", len(name)) + name
    return extension(0, struct.pack("!H", len(entry)) + entry)


def hello(*extensions: bytes, session: bytes = bytes(32), version: int = 0x0303) -> bytes:
    """Return a TLS record with a ClientHello (RFC 8446, 4.1.2)."""
    inside = b"".join(extensions)
    body = struct.pack("!H", version) + bytes(32) + bytes([len(session)]) + session
    body += struct.pack("!H", 4) + bytes.fromhex("13011302") + b"\1\0" + struct.pack("!H", len(inside)) + inside
    handshake = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\1" + struct.pack("!H", len(handshake)) + handshake


def named_hello(name: bytes, before: int = 0) -> bytes:
    """Return a ClientHello with *name* in the extension behind *before* others."""
    others = [extension(0x0A0A + 0x1010 * (n % 15), bytes(n % 7)) for n in range(before)]
    return hello(*others, server_name(name), extension(43, b"\2\3\4"))


def over_tcp(payload: bytes, sport: int = 40000) -> bytes:
    return ether(IP(src=UE, dst=SERVER) / TCP(sport=sport, dport=443, flags="PA") / Raw(payload))


def real_hello(name: str) -> bytes:
    """Return the ClientHello that OpenSSL sends."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(into, out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


def records(rig: Rig) -> list[tuple[str, int, int]]:
    """Return (name, application, ground) that the kernel told since it was last asked."""
    return [(bytes(r["name"][: r["length"]]).decode(), int(r["app"]), int(r["basis"])) for r in rig.plane.read_names()]


def app_of(rig: Rig) -> tuple[int, bool]:
    """Return the application of the one flow there is, and whether that is the last word."""
    (flow,) = rig.plane.read_flows()[1]
    return int(flow["app"]), bool(flow["flags"] & FINAL)


class TestServerName:
    """The server name of a ClientHello in one segment names its flow at once, and nothing goes to user space."""

    def test_what_openssl_sends(self, named: Rig) -> None:
        outcome = named.run(over_tcp(real_hello("www.example.org")), "n6")

        assert records(named) == [("www.example.org", VIDEO, BY_SNI)]
        assert app_of(named) == (VIDEO, True)
        assert outcome.counters.get("handed_off", 0) == 0
        assert len(named.plane.read_payloads()) == 0

    @pytest.mark.parametrize("before", [0, 5, 10, 23])
    def test_wherever_the_extension_stands(self, named: Rig, before: int) -> None:
        named.run(over_tcp(named_hello(b"www.example.org", before)), "n6")

        assert records(named) == [("www.example.org", VIDEO, BY_SNI)]

    @pytest.mark.parametrize(
        ("name", "app"),
        [
            ("example.org", VIDEO),
            ("a.b.c.example.org", VIDEO),
            ("mail.example.org", MAIL),
            ("imap.mail.example.org", MAIL),
            ("xmail.example.org", VIDEO),
            ("in.a.cloud.test", CLOUD),
            ("deep.in.a.cloud.test", VIDEO),
            ("notexample.org", 0),
            ("example.org.evil", 0),
            ("org", 0),
        ],
    )
    def test_the_longest_suffix_on_a_label_wins(self, named: Rig, name: str, app: int) -> None:
        named.run(over_tcp(named_hello(name.encode())), "n6")

        assert records(named) == [(name, app, BY_SNI)]
        assert app_of(named) == (app, app > 0)  # who has a name that is not listed user space may know still

    def test_a_name_that_is_not_listed_hands_nothing_over(self, named: Rig) -> None:
        frames = [
            over_tcp(named_hello(b"notexample.org")),
            over_tcp(bytes(range(200))),
            over_tcp(named_hello(b"b.test")),
        ]
        outcomes = [named.run(frame, "n6") for frame in frames]

        assert [o.counters.get("handed_off", 0) for o in outcomes] == [0, 0, 0]
        assert records(named) == [("notexample.org", 0, BY_SNI)]

    def test_case_says_nothing(self, named: Rig) -> None:
        named.run(over_tcp(named_hello(b"WWW.Example.ORG")), "n6")

        assert records(named) == [("www.example.org", VIDEO, BY_SNI)]

    def test_in_a_tunnel(self, named: Rig) -> None:
        inner = IP(src=UE, dst=SERVER) / TCP(sport=40000, dport=443, flags="PA") / Raw(named_hello(b"example.org"))
        named.run(ether(uplink(inner)))

        assert records(named) == [("example.org", VIDEO, BY_SNI)]

    def test_in_ipv6(self, named: Rig) -> None:
        payload = Raw(named_hello(b"example.org"))
        named.run(ether(IPv6(src=UE6, dst=SERVER6) / TCP(sport=40000, dport=443, flags="PA") / payload), "n6")

        assert records(named) == [("example.org", VIDEO, BY_SNI)]

    def test_the_longest_name(self, named: Rig) -> None:
        name = ("a" * 52 + ".example.org").encode()
        named.run(over_tcp(named_hello(name)), "n6")

        assert len(name) == 64
        assert records(named) == [(name.decode(), VIDEO, BY_SNI)]

    @pytest.mark.parametrize(
        ("name", "app"),
        [
            (b"a." * 26 + b"example.org", VIDEO),
            (b"a." * 31 + b"b", 0),
            (b"a" * 48 + b"." * 5 + b"example.org", VIDEO),
            (b"a." * 20 + b"deep.in.a.cloud.test", VIDEO),
            (b"_x-1.Example.org", VIDEO),
        ],
        ids=["26 labels more", "32 labels, none known", "empty labels", "the longest of many", "marks"],
    )
    def test_any_name_of_64_bytes(self, named: Rig, name: bytes, app: int) -> None:
        named.run(over_tcp(named_hello(name)), "n6")

        assert records(named) == [(name.decode().lower(), app, BY_SNI)]
        assert app_of(named) == (app, app > 0)

    def test_every_byte_is_read_as_it_is_or_by_user_space(self, named: Rig) -> None:
        """RFC 952 and RFC 1123 (2.1), and the underscore of RFC 2782."""
        plain = set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")
        wrong = []
        for byte in range(256):
            named.forget()
            named.run(over_tcp(named_hello(b"x" + bytes([byte]) + b"x.example.org")), "n6")
            due = [(f"x{chr(byte).lower()}x.example.org", VIDEO, BY_SNI)] if byte in plain else []
            if (told := records(named)) != due:
                wrong.append((byte, told))

        assert wrong == []


class TestForUserSpace:
    """What the kernel does not read is handed over as before."""

    @pytest.mark.parametrize(
        "payload",
        [
            pytest.param(named_hello(b"a" * 53 + b".example.org"), id="a name of 65 bytes"),
            pytest.param(named_hello(b"www.example.org."), id="a final dot"),
            pytest.param(named_hello(b"www.example.org:443"), id="a port"),
            pytest.param(named_hello(b"www.ask.test"), id="a name that user space knows better"),
            pytest.param(named_hello(b""), id="an empty name"),
            pytest.param(hello(extension(43, b"\2\3\4")), id="no name"),
            pytest.param(hello(extension(0, b"")), id="an empty extension"),
            pytest.param(hello(extension(0, b"\0\x09\1\0\6\1\1\1\1\1\1")), id="a name of another type"),
            pytest.param(named_hello(b"www.example.org")[:80], id="the first part of a hello"),
            pytest.param(hello(server_name(b"www.example.org"), version=0x0203), id="another version"),
        ],
    )
    def test_it_is_handed_over(self, named: Rig, payload: bytes) -> None:
        outcome = named.run(over_tcp(payload), "n6")

        assert records(named) == []
        assert "sni_handed_off" in outcome.why
        assert outcome.counters["handed_off"] == 1
        assert app_of(named) == (0, False)

    def test_every_cut_is_named_right_or_handed_over(self, named: Rig) -> None:
        whole = named_hello(b"www.example.org", 3)
        wrong = []
        for length in range(48, len(whole)):
            named.forget()
            outcome = named.run(over_tcp(whole[:length]), "n6")
            told = records(named)
            if told not in ([], [("www.example.org", VIDEO, BY_SNI)]) or bool(told) == outcome.counters.get(
                "handed_off", 0
            ):
                wrong.append((length, told, outcome.counters))

        assert wrong == []

    def test_bytes_behind_the_packet_are_no_part_of_it(self, named: Rig) -> None:
        whole = named_hello(b"www.example.org")
        end = whole.index(b"org") + 1
        outcome = named.run(over_tcp(whole[:end]) + b"zz.example.org" + whole[end:], "n6")

        assert records(named) == []
        assert outcome.counters["handed_off"] == 1

    def test_a_name_behind_the_end_of_the_first_record(self, named: Rig) -> None:
        fake = b"cloud.test"  # whoever does not see the second record's header takes it for the server name
        trap = extension(21, bytes(50) + struct.pack("!HHB", 0, len(fake) + 5, 0))
        message = hello(trap, extension(len(fake) + 3 << 8, fake), server_name(b"www.example.org"))[5:]
        first, second = message[:110], message[110:]  # RFC 8446, 5.1: a message may be cut into records anywhere
        split = b"".join(b"\x16\3\1" + struct.pack("!H", len(part)) + part for part in (first, second))
        outcome = named.run(over_tcp(split), "n6")

        assert tls.tls_hello(split).name == "www.example.org"
        assert records(named) == []
        assert outcome.counters["handed_off"] == 1

    def test_more_extensions_than_it_walks(self, named: Rig) -> None:
        outcome = named.run(over_tcp(named_hello(b"www.example.org", 41)), "n6")

        assert outcome.counters["handed_off"] == 1

    def test_a_suffix_that_is_gone_names_nothing(self, named: Rig) -> None:
        named.plane.set_suffixes({"cloud.test": CLOUD})
        named.run(over_tcp(named_hello(b"www.example.org")), "n6")

        assert records(named) == [("www.example.org", 0, BY_SNI)]


class TestDamage:
    """A damaged ClientHello is never given another name than user space reads in it."""

    def test_no_other_name(self, named: Rig) -> None:
        rng = random.Random(6066)
        both, wrong = 0, []
        for n in range(4000):
            whole = bytearray(named_hello(b"www.example.org", n % 12))
            for _ in range(rng.randrange(4)):
                at = rng.randrange(len(whole))
                damage = rng.randrange(4)
                if damage < 2:
                    whole[at] = rng.randrange(256)
                elif damage == 2:
                    whole[at:at] = rng.randbytes(rng.randrange(1, 6))
                else:
                    del whole[at : at + rng.randrange(1, 6)]
            try:
                due = tls.tls_hello(bytes(whole)).name
            except (NeedMore, Malformed, NotThis):
                due = ""
            if n % 200 == 0:
                named.forget()
            named.plane.run(over_tcp(bytes(whole), 1024 + n), named.now_ns, ROLES["n6"])
            named._moved()
            told = [name for name, _, _ in records(named)]
            both += bool(due and told)
            if due and told and told != [due]:  # what is damaged behind the name the kernel need not see
                wrong.append((due, told))

        assert wrong == []
        assert both > 1000


class TestCaptures:
    """The ClientHellos and DNS responses of the captures: the kernel says what user space says, and reads most."""

    def test_both_say_the_same(self, named: Rig) -> None:
        signatures = Signatures.load()
        named.plane.set_suffixes(signatures.suffixes)
        whole, read, wrong = 0, 0, []
        for file in sorted({row["file"] for row in expected_flows() if row["sni"] or row["tls"]}):
            for _, p in payloads(file):
                if p.proto != 6 or p.data[:2] != b"\x16\3" or p.data[5:6] != b"\1":
                    continue
                try:
                    due = tls.tls_hello(p.data).name
                except (NeedMore, Malformed, NotThis):
                    due = ""
                named.forget()
                named.run(over_tcp(p.data), "n6")
                told = records(named)
                whole += bool(due)
                read += bool(told)
                if told and told != [(due, signatures.match(due), BY_SNI)]:
                    wrong.append((file, due, told))
        print(f"single-segment ClientHellos with a name: {whole}, named in the kernel: {read}")

        assert wrong == []
        assert whole > 100
        assert read >= 0.95 * whole

    def test_dns_gives_the_same_addresses(self, named: Rig) -> None:
        named.plane.economy = True
        due, read, wrong = 0, 0, []
        for file in sorted({row["file"] for row in expected_flows()}):
            for _, p in payloads(file):
                if p.proto != 17 or p.sport != 53 or len(p.data) > 1400:
                    continue
                try:
                    message = parse(p.data)
                except (Malformed, NotThis):
                    continue
                if not message.response or message.rcode:
                    continue
                due += 1
                named.forget()
                named.plane._maps["answers"].clear()
                named.run(to_ue(p.data), "n6")
                told = [name for name, _, _ in records(named)]
                learned = [IPv6Address(bytes(k["address"])) for k in named.plane._maps["answers"].read()[0]]
                addresses = {str(a.ipv4_mapped or a) for a in learned}
                read += bool(told)
                if told and (told != [message.names[0]] or addresses != {a for a, _ in message.addresses}):
                    wrong.append((file, told, addresses))
        print(f"DNS responses: {due}, read in the kernel: {read}")

        assert wrong == []
        assert read >= 0.95 * due > 100


def response(*answers: tuple[str, str, str], name: str = "www.example.org.", ttl: int = 300, **more: Any) -> bytes:
    """Return a DNS response on the wire: *answers* are (owner, type, value)."""
    query = dns.message.make_query(name, "A")
    message = dns.message.make_response(query)
    for owner, kind, value in answers:
        message.answer.append(dns.rrset.from_text(owner, ttl, "IN", kind, value))
    if more.get("truncated"):
        message.flags |= dns.flags.TC
    return message.to_wire(max_size=4000)


PLAIN = response(("www.example.org.", "A", SERVER))


def to_ue(payload: bytes, ue: str = UE) -> bytes:
    return ether(IP(src="192.0.2.53", dst=ue) / UDP(sport=53, dport=5353 + 1) / Raw(payload))


def quic(server: str = SERVER, ue: str = UE) -> bytes:
    return ether(IP(src=ue, dst=server) / UDP(sport=50000, dport=443) / Raw(bytes(1200)))


class TestAnswers:
    """What DNS told a subscriber names its next flow to that address, in economy, from the first packet on."""

    @pytest.fixture(autouse=True)
    def economy(self, named: Rig) -> None:
        named.plane.economy = True
        named.plane._maps["answers"].clear()

    @staticmethod
    def birth(rig: Rig, frame: bytes) -> Any:
        """Run the first packet of a flow; return its event."""
        rig.forget()
        rig.run(frame, "n6")
        (event,) = rig.events()
        return event

    def test_the_flow_is_named_with_its_first_packet(self, named: Rig) -> None:
        told = named.run(to_ue(PLAIN), "n6")
        (record,) = named.plane.read_names()
        event = self.birth(named, quic())

        assert {"dns_read", "dns_learned"} <= told.why
        assert (int(record["app"]), int(record["basis"])) == (VIDEO, BY_DNS)
        assert (int(event["app"]), int(event["name"])) == (VIDEO, int(record["hash"]))
        assert app_of(named) == (VIDEO, True)

    def test_nothing_of_it_goes_to_user_space(self, named: Rig) -> None:
        named.run(to_ue(PLAIN), "n6")
        outcome = named.run(quic(), "n6")

        assert "answer_used" in outcome.why
        assert len(named.plane.read_payloads()) == 0

    def test_over_tcp_the_client_hello_still_has_the_last_word(self, named: Rig) -> None:
        named.run(to_ue(PLAIN), "n6")
        named.forget()
        named.run(over_tcp(named_hello(b"cloud.test")), "n6")

        assert app_of(named) == (CLOUD, True)

    def test_a_chain_of_aliases_leads_to_the_name_that_was_asked_for(self, named: Rig) -> None:
        chain = response(
            ("www.example.org.", "CNAME", "edge.cdn.test."),
            ("edge.cdn.test.", "CNAME", "node.cdn.test."),
            ("node.cdn.test.", "A", SERVER),
        )
        named.run(to_ue(chain), "n6")

        assert int(self.birth(named, quic())["app"]) == VIDEO

    def test_an_ipv6_address(self, named: Rig) -> None:
        named.know_ue(UE, 5)
        named.know_ue(UE6, 5)
        named.run(to_ue(response(("www.example.org.", "AAAA", SERVER6))), "n6")
        named.forget()
        named.run(ether(IPv6(src=UE6, dst=SERVER6) / UDP(sport=50000, dport=443) / Raw(bytes(1200))), "n6")

        assert app_of(named) == (VIDEO, True)

    def test_each_address_of_an_answer(self, named: Rig) -> None:
        addresses = [f"192.0.2.{n}" for n in range(100, 108)]
        named.run(to_ue(response(*(("www.example.org.", "A", a) for a in addresses))), "n6")

        assert [int(self.birth(named, quic(a))["app"]) for a in addresses] == [VIDEO] * 8

    def test_of_another_subscriber_it_says_nothing(self, named: Rig) -> None:
        named.run(to_ue(PLAIN), "n6")

        assert int(self.birth(named, quic(ue="10.45.0.77"))["app"]) == 0

    def test_two_subscribers_may_be_told_different_things_of_one_address(self, named: Rig) -> None:
        named.run(to_ue(PLAIN), "n6")
        named.run(to_ue(response(("cloud.test.", "A", SERVER), name="cloud.test."), ue="10.45.0.77"), "n6")

        assert int(self.birth(named, quic())["app"]) == VIDEO
        assert int(self.birth(named, quic(ue="10.45.0.77"))["app"]) == CLOUD

    def test_an_address_of_two_applications_names_neither(self, named: Rig) -> None:
        named.run(to_ue(PLAIN), "n6")
        named.run(to_ue(response(("cloud.test.", "A", SERVER), name="cloud.test.")), "n6")

        assert int(self.birth(named, quic())["app"]) == 0
        assert app_of(named) == (0, False)

    def test_it_holds_for_an_hour_at_least_and_then_no_more(self, named: Rig) -> None:
        named.run(to_ue(PLAIN), "n6")
        named.forget()
        named.run(quic(), "n6", 3_500 * A_SECOND_NS)
        within = app_of(named)
        named.forget()
        named.run(quic(), "n6", 200 * A_SECOND_NS)

        assert (within, app_of(named)) == ((VIDEO, True), (0, False))

    def test_a_query_needs_nobody(self, named: Rig) -> None:
        query = dns.message.make_query("www.example.org.", "A").to_wire()
        outcome = named.run(ether(IP(src=UE, dst="192.0.2.53") / UDP(sport=5353 + 1, dport=53) / Raw(query)), "n6")

        assert outcome.counters.get("handed_off", 0) == 0

    @pytest.mark.parametrize(
        "payload",
        [
            pytest.param(response(name=".", ttl=1), id="the root"),
            pytest.param(response(("www.example.org.", "A", SERVER), truncated=True), id="a truncated one"),
            pytest.param(
                response(("a" * 60 + ".example.org.", "A", SERVER), name="a" * 60 + ".example.org."), id="a long name"
            ),
            pytest.param(PLAIN[:11], id="a cut header"),
            pytest.param(PLAIN[:30], id="a cut question"),
        ],
    )
    def test_what_it_does_not_read_is_handed_over(self, named: Rig, payload: bytes) -> None:
        outcome = named.run(to_ue(payload), "n6")

        assert "dns_handed_off" in outcome.why
        assert outcome.counters["handed_off"] == 1

    def test_a_name_of_32_labels(self, named: Rig) -> None:
        name = "a." * 26 + "example.org."
        named.run(to_ue(response((name, "A", SERVER), name=name)), "n6")

        assert records(named) == [(name[:-1], VIDEO, BY_DNS)]
        assert int(self.birth(named, quic())["app"]) == VIDEO

    def test_a_dot_inside_a_label_is_none_between_two(self, named: Rig) -> None:
        whole = PLAIN.replace(b"\3www\7example\3org", b"\3www\x0bexample.org")
        outcome = named.run(to_ue(whole), "n6")

        assert len(whole) == len(PLAIN)
        assert "dns_handed_off" in outcome.why
        assert records(named) == []

    def test_an_address_that_the_frame_does_not_hold_is_for_user_space(self, named: Rig) -> None:
        outcome = named.run(to_ue(PLAIN)[:-2], "n6")

        assert "dns_handed_off" in outcome.why
        assert outcome.counters.get("dns_learned", 0) == 0

    def test_an_address_behind_the_packet_is_not_learned(self, named: Rig) -> None:
        outcome = named.run(to_ue(PLAIN[:-2]) + PLAIN[-2:], "n6")

        assert outcome.counters.get("dns_learned", 0) == 0

    def test_a_record_of_another_class_is_not_learned(self, named: Rig) -> None:
        outcome = named.run(to_ue(PLAIN[:-12] + struct.pack("!H", 3) + PLAIN[-10:]), "n6")  # CH: RFC 1035, 3.2.4

        assert outcome.why >= {"dns_read"}
        assert outcome.counters.get("dns_learned", 0) == 0

    def test_every_cut_ends_well(self, named: Rig) -> None:
        for length in range(1, len(PLAIN)):
            named.forget()
            outcome = named.run(to_ue(PLAIN[:length]), "n6")
            assert {"dns_read", "dns_handed_off"} & outcome.why, length

    def test_a_name_that_points_to_itself_ends_well(self, named: Rig) -> None:
        outcome = named.run(to_ue(PLAIN[:12] + b"\xc0\x0c" + PLAIN[14:]), "n6")

        assert "dns_handed_off" in outcome.why


class TestThorough:
    """Without economy user space reads DNS and QUIC itself; that is how captures are replayed."""

    def test_dns_is_handed_over(self, named: Rig) -> None:
        outcome = named.run(to_ue(PLAIN), "n6")

        assert outcome.counters["handed_off"] == 1
