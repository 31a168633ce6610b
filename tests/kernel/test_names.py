"""Names that the kernel finds alone: the server name of a ClientHello."""

from __future__ import annotations

import random
import struct
from ipaddress import IPv6Address

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from nf.abi import SNF_BY_SNI
from nf.apps.parsers import tls
from nf.apps.parsers.dns import parse
from nf.apps.parsers.errors import Malformed, NeedMore, NotThis
from nf.apps.signatures import Signatures
from tests.kernel.hellos_and_answers import (
    CLOUD,
    MAIL,
    VIDEO,
    app_of,
    extension,
    hello,
    named_hello,
    over_tcp,
    real_hello,
    records,
    server_name,
    to_ue,
)
from tests.kernel.packets import SERVER, SERVER6, UE, UE6, ether, uplink
from tests.kernel.rig import ROLES, Rig
from tests.naming.capture_payloads import expected_flows, payloads


class TestServerName:
    """The server name of a ClientHello in one segment names its flow at once, and nothing goes to user space."""

    def test_what_openssl_sends(self, named: Rig) -> None:
        outcome = named.run(over_tcp(real_hello("www.example.org")), "n6")

        assert records(named) == [("www.example.org", VIDEO, SNF_BY_SNI)]
        assert app_of(named) == (VIDEO, True)
        assert outcome.counters.get("handed_off", 0) == 0
        assert len(named.plane.read_payloads()) == 0

    @pytest.mark.parametrize("before", [0, 5, 10, 23])
    def test_wherever_the_extension_stands(self, named: Rig, before: int) -> None:
        named.run(over_tcp(named_hello(b"www.example.org", before)), "n6")

        assert records(named) == [("www.example.org", VIDEO, SNF_BY_SNI)]

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

        assert records(named) == [(name, app, SNF_BY_SNI)]
        assert app_of(named) == (app, app > 0)  # user space may still know an unlisted name

    def test_a_name_that_is_not_listed_hands_nothing_over(self, named: Rig) -> None:
        frames = [
            over_tcp(named_hello(b"notexample.org")),
            over_tcp(bytes(range(200))),
            over_tcp(named_hello(b"b.test")),
        ]
        outcomes = [named.run(frame, "n6") for frame in frames]

        assert [o.counters.get("handed_off", 0) for o in outcomes] == [0, 0, 0]
        assert records(named) == [("notexample.org", 0, SNF_BY_SNI)]

    def test_case_says_nothing(self, named: Rig) -> None:
        named.run(over_tcp(named_hello(b"WWW.Example.ORG")), "n6")

        assert records(named) == [("www.example.org", VIDEO, SNF_BY_SNI)]

    def test_in_a_tunnel(self, named: Rig) -> None:
        inner = IP(src=UE, dst=SERVER) / TCP(sport=40000, dport=443, flags="PA") / Raw(named_hello(b"example.org"))
        named.run(ether(uplink(inner)))

        assert records(named) == [("example.org", VIDEO, SNF_BY_SNI)]

    def test_in_ipv6(self, named: Rig) -> None:
        payload = Raw(named_hello(b"example.org"))
        named.run(ether(IPv6(src=UE6, dst=SERVER6) / TCP(sport=40000, dport=443, flags="PA") / payload), "n6")

        assert records(named) == [("example.org", VIDEO, SNF_BY_SNI)]

    def test_the_longest_name(self, named: Rig) -> None:
        name = ("a" * 52 + ".example.org").encode()
        named.run(over_tcp(named_hello(name)), "n6")

        assert len(name) == 64
        assert records(named) == [(name.decode(), VIDEO, SNF_BY_SNI)]

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

        assert records(named) == [(name.decode().lower(), app, SNF_BY_SNI)]
        assert app_of(named) == (app, app > 0)

    def test_every_byte_is_read_as_it_is_or_by_user_space(self, named: Rig) -> None:
        """RFC 952 and RFC 1123 (2.1), and the underscore of RFC 2782."""
        plain = set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")
        wrong = []
        for byte in range(256):
            named.forget()
            named.run(over_tcp(named_hello(b"x" + bytes([byte]) + b"x.example.org")), "n6")
            due = [(f"x{chr(byte).lower()}x.example.org", VIDEO, SNF_BY_SNI)] if byte in plain else []
            if (told := records(named)) != due:
                wrong.append((byte, told))

        assert wrong == []


class TestForUserSpace:
    """A payload that the kernel does not read is handed over as before."""

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
            if told not in ([], [("www.example.org", VIDEO, SNF_BY_SNI)]) or bool(told) == outcome.counters.get(
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
        fake = b"cloud.test"  # a reader that overlooks the second record's header takes it for the server name
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

        assert records(named) == [("www.example.org", 0, SNF_BY_SNI)]


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
            if due and told and told != [due]:  # the kernel need not see damage behind the name
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
                if told and told != [(due, signatures.match(due), SNF_BY_SNI)]:
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
