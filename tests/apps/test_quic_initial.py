"""QUIC Initial packets and the names in them."""

from __future__ import annotations

import itertools

import pytest
from aioquic.quic.packet import encode_quic_retry
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from nf.apps.parsers.errors import Malformed, NeedMore, NotThis
from nf.apps.parsers.quic import CryptoStream, Keys, gquic_name, initial_keys, long_header, open_initials
from tests.apps.hellos import ADDRESS, flight, quic_client, quic_flight

NAME = "scontent-fra3-1.cdninstagram.com"
V1, V2, DRAFT_29 = 1, 0x6B3343CF, 0xFF00001D
SPLIT = quic_flight(NAME, alpn_bytes=3000)  # a ClientHello over several datagrams


def hex_keys(key: str, iv: str, hp: str) -> Keys:
    return Keys(bytes.fromhex(key), bytes.fromhex(iv), bytes.fromhex(hp))


def renamed(datagram: bytes, keys: int, version: int, *, sealed_as: int = 0) -> bytes:
    """Return a datagram of Initials with another version, sealed again: the version is in what the tag protects.

    The keys are those of *keys*, or of *sealed_as* for what comes out. Written by RFC 9001, 5.3 and 5.4.
    """
    out, at = b"", 0
    while at < len(datagram) and datagram[at] & 0x80:
        h = long_header(datagram, at)
        k, new = initial_keys(keys, h.dcid), initial_keys(sealed_as or keys, h.dcid)

        def mask(hp: bytes, sample: bytes) -> bytes:
            return Cipher(algorithms.AES(hp), modes.ECB()).encryptor().update(sample)

        m = mask(k.hp, datagram[h.number_at + 4 : h.number_at + 20])
        first = datagram[at] ^ (m[0] & 0x0F)
        size = (first & 3) + 1
        number = bytes(a ^ b for a, b in zip(datagram[h.number_at : h.number_at + size], m[1:], strict=False))
        nonce = (int.from_bytes(k.iv, "big") ^ int.from_bytes(number, "big")).to_bytes(12, "big")
        clear = datagram[at + 1 : h.number_at]
        body = AESGCM(k.key).decrypt(nonce, datagram[h.number_at + size : h.end], bytes([first]) + clear + number)
        clear = version.to_bytes(4, "big") + clear[4:]
        nonce = (int.from_bytes(new.iv, "big") ^ int.from_bytes(number, "big")).to_bytes(12, "big")
        sealed = number + AESGCM(new.key).encrypt(nonce, body, bytes([first]) + clear + number)
        m = mask(new.hp, sealed[4:20])
        hidden = bytes(a ^ b for a, b in zip(sealed[:size], m[1:], strict=False)) + sealed[size:]
        out += bytes([first ^ (m[0] & 0x0F)]) + clear + hidden
        at = h.end
    return out + datagram[at:]


def name_of(*datagrams: bytes) -> str:
    stream = CryptoStream()
    for datagram in datagrams:
        open_initials(datagram, stream)
    return stream.hello().name


class TestKeys:
    """Keys follow from the client's first destination connection id."""

    DCID = bytes.fromhex("8394c8f03e515708")

    def test_version_1_client(self) -> None:
        """RFC 9001, A.1."""
        assert initial_keys(V1, self.DCID) == hex_keys(
            "1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c", "9f50449e04a0e810283a1e9933adedd2"
        )

    def test_version_1_server(self) -> None:
        """RFC 9001, A.1."""
        assert initial_keys(V1, self.DCID, b"server in") == hex_keys(
            "cf3a5331653c364c88f0f379b6067e37", "0ac1493ca1905853b0bba03e", "c206b8d9b9f0f37644430b490eeaa314"
        )

    def test_version_2_client(self) -> None:
        """RFC 9369, A.1."""
        assert initial_keys(V2, self.DCID) == hex_keys(
            "8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f", "45b95e15235d6f45a6b19cbcb0294ba9"
        )

    def test_an_unknown_version_is_not_this(self) -> None:
        with pytest.raises(NotThis):
            initial_keys(0x0A0A0A0A, self.DCID)

    def test_keys_are_in_no_repr(self) -> None:
        assert "1f36" not in repr(initial_keys(V1, self.DCID))


class TestInitials:
    """First flights that aioquic made."""

    @pytest.mark.parametrize("version", [V1, V2])
    def test_one_datagram(self, version: int) -> None:
        (datagram,) = quic_flight(NAME, version)

        assert name_of(datagram) == NAME

    def test_a_hello_over_several_datagrams_in_any_order(self) -> None:
        assert len(SPLIT) > 2
        for order in itertools.permutations(SPLIT):
            assert name_of(*order) == NAME

    def test_a_first_part_without_the_name_asks_for_more(self) -> None:
        with pytest.raises(NeedMore):
            name_of(SPLIT[-1])

    @pytest.mark.parametrize("version", [0x0A0A0A0A, 0x1A2A3A4A, 0xFACEB00C, 0x51303939, 0x7F000001])
    @pytest.mark.parametrize("keys", [V1, DRAFT_29])
    def test_a_version_that_nobody_lists_by_the_keys_of_others(self, version: int, keys: int) -> None:
        flight = quic_flight(NAME, alpn_bytes=1500)

        assert name_of(*(renamed(d, V1, version, sealed_as=keys) for d in flight)) == NAME

    @pytest.mark.parametrize("keys", [V2, 0xFF000017])
    def test_but_by_no_more_than_two(self, keys: int) -> None:
        (datagram,) = quic_flight(NAME)
        stream = CryptoStream()

        assert not open_initials(renamed(datagram, V1, 0x0A0A0A0A, sealed_as=keys), stream)
        assert len(stream.pieces) == 0

    def test_a_cut_copy_of_an_unknown_version_is_not_read(self) -> None:
        datagram = renamed(quic_flight(NAME, alpn_bytes=3000, size=1400)[0], V1, 0x0A0A0A0A)

        assert not open_initials(datagram[:1250], CryptoStream())

    @pytest.mark.parametrize("length", [1199, 60, 7])
    def test_a_short_datagram_of_an_unknown_version_is_not_this(self, length: int) -> None:
        with pytest.raises(NotThis):
            open_initials(renamed(quic_flight(NAME)[0], V1, 0x0A0A0A0A)[:length], CryptoStream())

    def test_after_version_negotiation_the_next_attempt_stands_alone(self) -> None:
        """A client begins anew, with a hello of its own (RFC 9000, 6.2)."""
        refused, used = quic_flight(NAME, alpn_bytes=3000), quic_flight("other.example", alpn_bytes=2000)

        assert (
            name_of(renamed(refused[0], V1, 0x1A2A3A4A), renamed(refused[1], V1, 0x1A2A3A4A), *used) == "other.example"
        )

    def test_coalesced_packets(self) -> None:
        (first,), (second,) = quic_flight(NAME), quic_flight("other.example")
        at = long_header(first).end

        stream = CryptoStream()
        assert open_initials(second[: long_header(second).end] + first[:at], stream)

    def test_a_repeated_datagram_changes_nothing(self) -> None:
        (datagram,) = quic_flight(NAME)

        assert name_of(datagram, datagram) == NAME

    def test_after_a_retry_the_keys_follow_the_new_connection_id(self) -> None:
        client = quic_client(NAME, alpn_bytes=3000)
        first = flight(client)
        h = long_header(first[0])
        retry = encode_quic_retry(
            version=V1,
            source_cid=b"\x09" * 8,
            destination_cid=h.scid,
            original_destination_cid=h.dcid,
            retry_token=b"t",
        )
        client.receive_datagram(retry, ADDRESS, now=0.0)
        second = flight(client)

        assert long_header(second[0]).dcid == b"\x09" * 8
        assert name_of(first[-1], *second) == NAME  # the first flight was lost but for its end
        assert not open_initials(retry, CryptoStream())

    def test_a_copy_that_was_cut_is_read_without_its_tag(self) -> None:
        first = quic_flight(NAME, alpn_bytes=3000, size=1500)[0]
        cut = first[:1472]
        assert long_header(cut).end > len(cut)

        stream, whole = CryptoStream(), CryptoStream()
        open_initials(cut, stream)
        open_initials(first, whole)

        assert whole.pieces.start().startswith(stream.pieces.start())
        assert len(stream.pieces.start()) > 1300

    def test_a_changed_packet_is_not_opened(self) -> None:
        (datagram,) = quic_flight(NAME)
        for at in (7, 20, 60, long_header(datagram).end - 1):
            changed = datagram[:at] + bytes([datagram[at] ^ 0x55]) + datagram[at + 1 :]
            stream = CryptoStream()
            try:
                opened = open_initials(changed, stream)
            except (Malformed, NotThis):
                continue

            assert not opened

    def test_every_truncation_is_a_value_or_an_error_of_the_family(self) -> None:
        (datagram,) = quic_flight(NAME)
        for cut in range(len(datagram)):
            try:
                name = name_of(datagram[:cut])
            except (NotThis, NeedMore, Malformed):
                continue

            assert name == NAME

    def test_short_headers_and_version_negotiation_are_not_this(self) -> None:
        negotiation = b"\x80" + bytes(4) + b"\x08" + bytes(8) + b"\x08" + bytes(8) + b"\0\0\0\x01"  # RFC 8999, 6
        for data in (b"\x40" + bytes(40), negotiation):
            with pytest.raises(NotThis):
                open_initials(data, CryptoStream())

    def test_a_connection_id_longer_than_20_bytes_is_malformed(self) -> None:
        with pytest.raises(Malformed):
            long_header(b"\xc0\0\0\0\x01\x15" + bytes(60))


class TestGoogle:
    """The CHLO of Google's QUIC before Q050 is in clear text: tags, end offsets, values (little endian)."""

    @staticmethod
    def chlo(sni: bytes, *, count: int = 2) -> bytes:
        values = b"-" * 5 + sni
        table = b"PAD\0" + (5).to_bytes(4, "little") + b"SNI\0" + len(values).to_bytes(4, "little")
        return b"CHLO" + count.to_bytes(2, "little") + b"\0\0" + table + values

    def test_the_name_behind_a_public_header(self) -> None:
        datagram = (
            b"\x0d" + bytes(8) + b"Q043" + b"\x01" + bytes(12) + b"\xa0\x01\0\x04" + self.chlo(b"www.youtube.com")
        )

        assert gquic_name(datagram) == "www.youtube.com"

    def test_the_name_behind_a_long_header(self) -> None:
        datagram = b"\xc3Q046\x50" + bytes(8) + bytes(4) + bytes(12) + b"\xa0\x01\0\x04" + self.chlo(b"i.ytimg.com")

        assert gquic_name(datagram) == "i.ytimg.com"

    def test_a_cut_value_asks_for_more(self) -> None:
        with pytest.raises(NeedMore):
            gquic_name(b"\xc3Q046\x50" + bytes(24) + self.chlo(b"i.ytimg.com")[:-1])

    def test_tags_without_end_are_malformed(self) -> None:
        with pytest.raises(Malformed):
            gquic_name(b"\xc3Q046\x50" + bytes(24) + self.chlo(b"i.ytimg.com", count=60_000))

    def test_version_1_is_not_this(self) -> None:
        with pytest.raises(NotThis):
            gquic_name(quic_flight(NAME)[0])
