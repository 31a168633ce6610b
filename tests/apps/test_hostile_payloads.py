"""Every parser under mutation: a value or its error, nothing else, in little time."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable

import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.wait import slowness
from nf.apps.parsers import dns as dns_parser
from nf.apps.parsers import http, http2, quic, tls
from nf.apps.parsers.errors import NoName
from nf.apps.parsers.first_bytes import Watcher
from nf.apps.signatures import TCP, UDP, Signatures
from nf.naming.payloads import Namer, Payload
from tests.apps.hellos import openssl_hello, quic_flight, records
from tests.apps.test_dns_http import answer
from tests.apps.test_first_bytes import ICE, rtp
from tests.apps.test_http2 import request
from tests.apps.test_quic_initial import TestGoogle
from tests.apps.test_tls_hello import dtls

NAME = "www.example.com"
HELLO = openssl_hello(NAME)
DNS = answer(
    f"{NAME}.", (f"{NAME}.", 5, "CNAME", "e.net."), ("e.net.", 6, "A", "192.0.2.1"), ("e.net.", 6, "AAAA", "::1")
)
SERVICE = answer(f"{NAME}.", (f"{NAME}.", 5, "HTTPS", "1 . alpn=h3 ipv4hint=192.0.2.1 ipv6hint=::1 ech=AAT+DQAA"))
HTTP = b"GET /a?b HTTP/1.1\r\nAccept: */*\r\nHost: www.example.com\r\nCookie: x\r\n\r\n"
CHLO = b"\xc3Q046\x50" + bytes(24) + TestGoogle.chlo(b"www.youtube.com")


def frames_of(datagram: bytes) -> bytes:
    """Return the decrypted frames of an Initial."""
    h = quic.long_header(datagram)
    return quic._open(datagram, 0, h, quic.initial_keys(h.version, h.dcid))


SAMPLES = [
    HELLO,
    HELLO[5:],
    frames_of(quic_flight(NAME)[0]),
    b"\x02\x05\x10\x02\x01\x01\x01\x01\x01" + frames_of(quic_flight(NAME)[0]),  # behind an ACK of three ranges
    records(HELLO[5:], 50),
    dtls(HELLO[5:]),
    *quic_flight(NAME),
    *quic_flight(NAME, alpn_bytes=1500),
    CHLO,
    DNS,
    struct.pack("!H", len(DNS)) + DNS,
    dns.message.make_query(NAME, "A").to_wire(),
    HTTP,
    request(),
    SERVICE,
    ICE,
    rtp(8, 1),
    b"INVITE sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/UDP x\r\n\r\n",
]


def initial(datagram: bytes) -> str:
    stream = quic.CryptoStream()
    quic.open_initials(datagram, stream)
    return stream.hello().name


PARSERS: dict[str, Callable[[bytes], object]] = {
    "tls": tls.tls_hello,
    "handshake": tls.handshake_hello,
    "dtls": lambda data: tls.DtlsHello().feed(data),
    "quic": initial,
    "crypto frames": lambda data: quic._crypto_frames(data, quic.CryptoStream().pieces, 6),
    "gquic": quic.gquic_name,
    "dns": dns_parser.parse,
    "dns over tcp": dns_parser.parse_tcp,
    "http": http.host,
    "http rest": http.host_in_rest,
    "http2": http2.authority,
}


def mutate(rng: random.Random, data: bytes) -> bytes:
    """Return *data* with a few bytes changed, a part cut out, repeated or moved, or its end lost."""
    b = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        if not b:
            break
        at = rng.randrange(len(b))
        what = rng.randrange(6)
        if what == 0:
            b[at] = rng.randrange(256)
        elif what == 1:
            b[at] ^= 1 << rng.randrange(8)
        elif what == 2:
            b[at : at + 2] = rng.choice((b"\xff\xff", b"\0\0", b"\xc0\x0c", b"\x7f\xff"))
        elif what == 3:
            del b[at : at + rng.randrange(40)]
        elif what == 4:
            b[at:at] = b[at : at + rng.randrange(40)]
        else:
            del b[at:]
    return bytes(b)


@pytest.mark.parametrize("parser", PARSERS)
class TestParsers:
    """A parser returns a value or raises an error of its family."""

    def test_every_truncation_of_every_sample(self, parser: str) -> None:
        for sample in SAMPLES:
            for cut in range(0, len(sample), 1 if len(sample) < 600 else 3):
                attempt(parser, sample[:cut])

    def test_mutations(self, parser: str) -> None:
        rng = random.Random(f"mutations of {parser}")
        outcomes = {attempt(parser, mutate(rng, rng.choice(SAMPLES))) for _ in range(20_000)}

        assert len(outcomes) > 1  # the mutations reach more than one branch

    def test_noise(self, parser: str) -> None:
        rng = random.Random(f"noise for {parser}")
        for _ in range(1_000):
            attempt(parser, rng.randbytes(rng.randrange(200)))

    @given(data=st.data())
    @settings(max_examples=150, deadline=None)
    def test_parts_of_samples_in_any_order(self, parser: str, data: st.DataObject) -> None:
        sample = data.draw(st.sampled_from(SAMPLES))
        cuts = st.tuples(st.integers(0, len(sample)), st.integers(0, len(sample)), st.binary(max_size=24))
        parts = data.draw(st.lists(cuts, max_size=5))
        attempt(parser, b"".join(sample[a:b] + noise for a, b, noise in parts))

    def test_the_worst_inputs_take_little_time(self, parser: str) -> None:
        worst = [
            b"\x16\x03\x01\0\x01\x01" * 2_700,  # records of one byte
            struct.pack("!6H", 1, 0x8180, 1, 128, 0, 0)
            + b"\x01a\0\0\x01\0\x01"
            + b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\0" * 1_300,
            struct.pack("!6H", 1, 0x0100, 32, 0, 0, 0) + b"\x01a" * 120 + b"\0" + b"\xc0\x0c" * 8_000,
            b"GET /" + b" " * 16_000,
            b"GET / HTTP/1.1\r\n" + b"Host\t" * 3_000,
            b"GET / HTTP/1.1\r\n" + b"\nhost:" + b" \t" * 8_000,
            b"\x06\x00\x00" * 5_000,
            http2.PREFACE + bytes(9) * 1_800,
            http2.PREFACE + b"\0\x40\0\1\4\0\0\0\1" + b"\x82" * 16_384,
            http2.PREFACE + b"\0\x40\0\1\4\0\0\0\1" + b"\x40\x7f\x81\x7f" + b"a" * 254 + b"\0" + b"\xbe" * 16_126,
            b"\xc0\0\0\0\x01\0\0\0\0" * 1_800,
            b"\x02\x00\x00\x7f\xff" + b"\0" * 16_000,
        ]
        for data in worst:
            begin = time.thread_time()
            attempt(parser, data)

            assert time.thread_time() - begin < 0.25 * slowness()


def attempt(parser: str, data: bytes) -> str:
    """Return the outcome by name; let any other exception through."""
    try:
        PARSERS[parser](data)
    except NoName as error:
        return type(error).__name__
    return "value"


class TestNamer:
    """The namer swallows whatever comes."""

    def test_flows_of_mutated_payloads(self) -> None:
        rng = random.Random("flows of mutated payloads")
        namer = Namer(Signatures.load())
        for i in range(30_000):
            data = mutate(rng, rng.choice(SAMPLES))
            ports = rng.choice(((40_000, 443), (443, 40_000), (53, 40_000), (40_000, 53), (5353, 5353)))
            namer.feed(
                Payload(
                    flow_id=i // 3,
                    session=rng.randrange(3),
                    proto=rng.choice((TCP, UDP)),
                    src="10.0.0.1",
                    sport=ports[0],
                    dst="192.0.2.1",
                    dport=ports[1],
                    data=data[:1472],
                    seq=rng.choice((0, 1, 100, 2**32 - 1, rng.randrange(2**32))),
                    at_s=float(i),
                )
            )

        assert namer.counters["payloads"] > 15_000
        assert any(count for name, count in namer.counters.items() if name.endswith("_malformed"))

    def test_watchers_of_mutated_payloads(self) -> None:
        rng = random.Random("watchers of mutated payloads")
        watcher = Watcher()
        for _ in range(30_000):
            data = mutate(rng, rng.choice(SAMPLES))
            watcher.udp(data, rng.randrange(2))
            watcher.tcp(data)
