"""The server name of TLS and DTLS ClientHellos."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from nf.apps.parsers.cursor import Pieces
from nf.apps.parsers.errors import Malformed, NeedMore, NotThis
from nf.apps.parsers.tls import DtlsHello, handshake_hello, tls_hello
from tests.apps.hellos import openssl_hello, records

NAME = "rr4---sn-4g5e6nez.googlevideo.com"
HELLO = openssl_hello(NAME)
LARGE = openssl_hello(NAME, alpn_bytes=3500)  # the size of a hello with post-quantum key shares


def dtls(handshake: bytes, *, offset: int = 0, fragment: bytes | None = None) -> bytes:
    """Return a DTLS 1.2 record with the ClientHello of a TLS handshake message, or a fragment of it (RFC 6347, 4.2)."""
    body = handshake[4:38] + handshake[38 : 39 + handshake[38]] + b"\0" + handshake[39 + handshake[38] :]
    part = body if fragment is None else fragment
    head = b"\x01" + len(body).to_bytes(3, "big") + b"\0\0" + offset.to_bytes(3, "big") + len(part).to_bytes(3, "big")
    return b"\x16\xfe\xfd" + bytes(8) + (len(head) + len(part)).to_bytes(2, "big") + head + part


class TestTls:
    """A ClientHello gives its name, however TLS and TCP cut it."""

    def test_the_name_that_openssl_wrote(self) -> None:
        assert tls_hello(HELLO).name == NAME

    def test_a_hello_without_a_name_gives_an_empty_one(self) -> None:
        assert tls_hello(openssl_hello(None)).name == ""

    def test_case_and_final_dot_say_nothing(self) -> None:
        hello = HELLO.replace(NAME.encode(), NAME.upper().encode())

        assert tls_hello(hello).name == NAME

    @pytest.mark.parametrize("size", [1, 7, 60, 200, 4000])
    def test_records_of_any_size_make_one_message(self, size: int) -> None:
        assert tls_hello(records(LARGE[5:], size)).name == NAME

    def test_every_truncation_gives_the_name_or_asks_for_more(self) -> None:
        gave = []
        for cut in range(1, len(LARGE)):
            try:
                gave.append(tls_hello(LARGE[:cut]).name)
            except NeedMore:
                assert not gave, "a name that was known cannot be lost by more bytes"

        assert set(gave) == {NAME}

    def test_no_bytes_are_no_hello(self) -> None:
        with pytest.raises(NotThis):
            tls_hello(b"")

    @pytest.mark.parametrize(
        "other", [b"GET / HTTP/1.1\r\n", b"\x17\x03\x03\0\x10" + bytes(16), b"SSH-2.0-x\r\n", b"\0" * 64]
    )
    def test_other_protocols_are_not_this(self, other: bytes) -> None:
        with pytest.raises(NotThis):
            tls_hello(other)

    def test_a_server_hello_is_not_this(self) -> None:
        with pytest.raises(NotThis):
            tls_hello(b"\x16\x03\x03\0\x04\x02\0\0\0")

    def test_a_name_longer_than_its_extension_is_malformed(self) -> None:
        at = HELLO.index(NAME.encode())
        lying = HELLO[: at - 2] + b"\xff\xff" + HELLO[at:]

        with pytest.raises(Malformed):
            tls_hello(lying)

    @pytest.mark.parametrize("byte", [b"\0", b" ", b"\n", b'"', b"\xff"])
    def test_bytes_that_no_host_name_has_are_malformed(self, byte: bytes) -> None:
        with pytest.raises(Malformed):
            tls_hello(HELLO.replace(b"googlevideo", b"google" + byte + b"ideo"))

    def test_a_hello_that_ends_before_its_length_is_malformed(self) -> None:
        message = HELLO[5:]
        short = message[: message.index(NAME.encode())]
        followed = records(short, 4000) + b"\x17\x03\x03\0\x10" + bytes(16)

        with pytest.raises(Malformed):
            tls_hello(followed)


class TestSegments:
    """Pieces of a stream come in any order and overlap."""

    def test_every_order_of_overlapping_segments_gives_the_name(self) -> None:
        cuts = [(0, 700), (600, 1500), (1500, 2100), (2000, len(LARGE))]
        for order in itertools.permutations(cuts):
            pieces = Pieces()
            for a, b in order:
                pieces.add(a, LARGE[a:b])

            assert tls_hello(pieces.start()).name == NAME

    def test_a_gap_ends_the_stream(self) -> None:
        pieces = Pieces()
        pieces.add(0, b"ab")
        pieces.add(3, b"d")

        assert pieces.start() == b"ab"

    def test_a_segment_from_before_the_first_seen_is_its_beginning(self) -> None:
        pieces = Pieces()
        pieces.add(0, b"cd")
        pieces.add(-2, b"ab")

        assert next(pieces.starts()) == b"abcd"

    def test_memory_is_bounded(self) -> None:
        pieces = Pieces(limit=1000, most=10)
        for i in range(100_000):
            pieces.add(i * 3, b"x")

        assert len(pieces) == 10
        assert len(pieces.start()) <= 1000

    def test_a_piece_that_exceeds_the_limit_is_ignored(self) -> None:
        pieces = Pieces(limit=10)
        pieces.add(0, b"x" * 11)

        assert pieces.start() == b""


class TestHandshake:
    """A handshake message without records, as in CRYPTO frames."""

    def test_the_name(self) -> None:
        assert handshake_hello(HELLO[5:]).name == NAME

    def test_nothing_yet_asks_for_more(self) -> None:
        with pytest.raises(NeedMore):
            handshake_hello(b"")

    def test_a_length_of_megabytes_is_malformed(self) -> None:
        with pytest.raises(Malformed):
            handshake_hello(b"\x01\xff\xff\xff" + HELLO[9:])


class TestDtls:
    """DTLS has a cookie in the ClientHello and may fragment it."""

    def test_the_name(self) -> None:
        assert DtlsHello().feed(dtls(HELLO[5:])).name == NAME

    @pytest.mark.parametrize("size", [40, 100, 300])
    @pytest.mark.parametrize("backwards", [False, True])
    def test_in_fragments_in_datagrams_of_their_own(self, size: int, backwards: bool) -> None:
        whole = dtls(HELLO[5:])[25:]
        parts = [dtls(HELLO[5:], offset=at, fragment=whole[at : at + size]) for at in range(0, len(whole), size)]
        hello, names = DtlsHello(), []
        for part in reversed(parts) if backwards else parts:
            with contextlib.suppress(NeedMore):
                names.append(hello.feed(part).name)

        assert set(names) == {NAME}

    def test_fragments_in_one_datagram(self) -> None:
        whole = dtls(HELLO[5:])[25:]
        two = [dtls(HELLO[5:], offset=at, fragment=whole[at : at + 300]) for at in (0, 300)]

        assert DtlsHello().feed(b"".join(two)).name == NAME

    def test_a_second_message_takes_the_place_of_the_first(self) -> None:
        """A HelloVerifyRequest makes it so (RFC 6347, 4.2.1): the second message's number is 1, and it has a cookie."""
        first = dtls(HELLO[5:], fragment=dtls(HELLO[5:])[25:65])
        second = bytearray(dtls(openssl_hello("other.example")[5:]))
        second[18] = 1
        hello = DtlsHello()
        with pytest.raises(NeedMore):
            hello.feed(first)

        assert hello.feed(bytes(second)).name == "other.example"

    def test_a_later_fragment_asks_for_more(self) -> None:
        with pytest.raises(NeedMore):
            DtlsHello().feed(dtls(HELLO[5:], offset=100, fragment=HELLO[105:120]))

    def test_a_first_fragment_that_holds_no_name_asks_for_more(self) -> None:
        with pytest.raises(NeedMore):
            DtlsHello().feed(dtls(HELLO[5:], fragment=HELLO[9:49]))

    def test_tls_is_not_this(self) -> None:
        with pytest.raises(NotThis):
            DtlsHello().feed(HELLO)
