"""QUIC Initial packets and the names in them."""

from __future__ import annotations

import itertools

import pytest
from aioquic.quic.packet import encode_quic_retry

from nf.apps.errors import Malformed, NeedMore, NotThis
from nf.apps.quic import CryptoStream, Keys, gquic_name, initial_keys, long_header, open_initials
from tests.apps.hellos import ADDRESS, flight, quic_client, quic_flight

NAME = "scontent-fra3-1.cdninstagram.com"
V1, V2 = 1, 0x6B3343CF
SPLIT = quic_flight(NAME, alpn_bytes=3000)  # a ClientHello over several datagrams


def hex_keys(key: str, iv: str, hp: str) -> Keys:
    return Keys(bytes.fromhex(key), bytes.fromhex(iv), bytes.fromhex(hp))


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
