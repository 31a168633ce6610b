"""HTTP/2 without TLS: the authority of its first request. Header blocks are those of RFC 7541, appendix C."""

from __future__ import annotations

import struct

import pytest

from nf.apps.basis import Basis
from nf.apps.parsers.errors import Malformed, NeedMore, NoName, NotThis
from nf.apps.parsers.http2 import authority
from nf.apps.signatures import TCP, Signatures
from nf.naming.payloads import Namer, Payload

PREFACE = bytes.fromhex("505249202a20485454502f322e300d0a0d0a534d0d0a0d0a")  # RFC 9113, 3.4
PLAIN = bytes.fromhex("828684410f7777772e6578616d706c652e636f6d")  # RFC 7541, C.3.1
HUFFMAN = bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff")  # RFC 7541, C.4.1
NAME = "www.example.com"
SETTINGS, WINDOW_UPDATE, HEADERS, CONTINUATION, PUSH_PROMISE = 4, 8, 1, 9, 5  # RFC 9113, 6
END_HEADERS, PADDED, PRIORITY = 0x04, 0x08, 0x20


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def request(block: bytes = HUFFMAN, flags: int = END_HEADERS) -> bytes:
    """Return the begin of a connection as curl and gRPC send it: settings, a larger window, the request."""
    opening = frame(SETTINGS, struct.pack("!HIHI", 3, 100, 4, 65_535)) + frame(
        WINDOW_UPDATE, struct.pack("!I", 1 << 20)
    )
    return PREFACE + opening + frame(HEADERS, block, flags, 1)


class TestAuthority:
    """The name stands in the first header block, however that is packed."""

    @pytest.mark.parametrize("block", [PLAIN, HUFFMAN])
    def test_of_the_examples_of_the_standard(self, block: bytes) -> None:
        assert authority(request(block)) == NAME

    def test_behind_padding_and_a_priority(self) -> None:
        block = b"\x03" + bytes(5) + PLAIN + bytes(3)

        assert authority(request(block, END_HEADERS | PADDED | PRIORITY)) == NAME

    def test_in_a_continuation(self) -> None:
        assert authority(request(HUFFMAN[:9], 0) + frame(CONTINUATION, HUFFMAN[9:], END_HEADERS, 1)) == NAME

    def test_the_host_field_when_there_is_no_authority(self) -> None:
        host = b"\x82\x66\x0f" + NAME.encode()  # :method: GET; host, index 38 (RFC 7541, A), not indexed

        assert authority(request(host.replace(b"\x66", b"\x0f\x17"))) == NAME

    def test_a_request_without_either(self) -> None:
        assert authority(request(b"\x82\x86\x84")) == ""

    def test_every_truncation_asks_for_more(self) -> None:
        whole = request()
        for cut in range(8, len(whole)):
            with pytest.raises(NeedMore):
                authority(whole[:cut])


class TestRefused:
    """A stream that is not HTTP/2, or contradicts it, is refused."""

    @pytest.mark.parametrize("stream", [b"", b"PRI", b"GET / HTTP/1.1\r\n", b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n"])
    def test_another_protocol(self, stream: bytes) -> None:
        with pytest.raises(NotThis):
            authority(stream)

    @pytest.mark.parametrize(
        "stream",
        [
            request(b"\xff\xff\xff\xff\xff\xff"),
            request(b""),
            request(b"\x09" + PLAIN[:4], END_HEADERS | PADDED),
            request(HUFFMAN[:9], 0) + frame(SETTINGS),
            PREFACE + frame(CONTINUATION, HUFFMAN, END_HEADERS, 1),
            PREFACE + frame(PUSH_PROMISE, bytes(4) + HUFFMAN, END_HEADERS, 1),
            PREFACE + b"\xff\xff\xff\x04" + bytes(5),
            PREFACE + frame(SETTINGS) * 64,
            request(b"\x82\x41\x03a\x00b"),
        ],
    )
    def test_what_contradicts(self, stream: bytes) -> None:
        with pytest.raises(Malformed):
            authority(stream)

    def test_a_block_that_unpacks_to_megabytes(self) -> None:
        """One field of 4 kB in the table, named again with one byte each (RFC 7541, 7.1 on memory)."""
        value = b"a" * 4_000
        field = b"\x40\x01x\x7f\xa1\x1e" + value  # a literal with indexing: name x, value of 127 + 33 + 30 * 128
        with pytest.raises(NoName):
            authority(request(field + b"\xbe" * 10_000))


class TestNaming:
    """A flow is named by it as by a Host field."""

    def test_over_two_segments(self) -> None:
        namer, whole = Namer(Signatures.load()), request(HUFFMAN)
        ends = {"proto": TCP, "src": "10.0.0.1", "sport": 4000, "dst": "198.51.100.1", "dport": 80, "at_s": 0.0}

        first = namer.feed(Payload(flow_id=1, session=1, data=whole[:60], seq=1, **ends))  # type: ignore[arg-type]
        verdict = namer.feed(Payload(flow_id=1, session=1, data=whole[60:], seq=61, **ends))  # type: ignore[arg-type]

        assert first is None
        assert verdict is not None
        assert (verdict.name, verdict.basis, verdict.final) == (NAME, Basis.HTTP_HOST, True)
