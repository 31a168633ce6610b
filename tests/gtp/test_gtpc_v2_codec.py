"""GTPv2-C messages, written byte by byte from TS 29.274, and damaged in every way."""

from __future__ import annotations

import random

import pytest

from gtp.codec import CodecError
from gtp.gtpc.v2 import Body, FTeid, Header, messages, read_body

IMSI = bytes.fromhex("0100080000010100000000f1")  # 8.3: TBCD 001010000000001
APN = bytes.fromhex("4700090008696e7465726e6574")  # 8.6: internet
PAA = bytes.fromhex("4f000500010a2d0002")  # 8.14: IPv4 10.45.0.2
S11_MME = bytes.fromhex("570009008a0000000b7f000002")  # 8.22: interface 10
S1U_SGW = bytes.fromhex("57000900810000000c7f000006")  # interface 1
BEARER = bytes.fromhex("5d001200") + bytes.fromhex("4900010005") + S1U_SGW
ELEMENTS = IMSI + APN + PAA + S11_MME + BEARER
MESSAGE = b"\x48\x20" + (8 + len(ELEMENTS)).to_bytes(2, "big") + bytes.fromhex("0000000100000700") + ELEMENTS


def decode(datagram: bytes) -> list[tuple[Header, Body]]:
    return [(header, read_body(body)) for header, body in messages(datagram)]


class TestMessage:
    """A Create Session Request names the subscriber, the address and the tunnels (table 7.2.1-1)."""

    def test_every_element_is_read(self) -> None:
        [(header, body)] = decode(MESSAGE)

        assert header == Header(kind=32, teid=1, sequence=7)
        assert (body.imsi, body.apn, body.ue_ipv4) == ("001010000000001", "internet", "10.45.0.2")
        assert body.fteids == [FTeid(10, 11, "127.0.0.2")]
        assert [(b.ebi, b.fteids) for b in body.bearers] == [(5, [FTeid(1, 12, "127.0.0.6")])]

    def test_a_piggybacked_message_is_read_too(self) -> None:
        assert len(decode(bytes([MESSAGE[0] | 0x10]) + MESSAGE[1:] + MESSAGE)) == 2


class TestDamage:
    """Damaged bytes give a value or a CodecError, nothing else."""

    @pytest.mark.parametrize("cut", range(len(MESSAGE)))
    def test_a_cut_message_is_an_error_at_every_byte(self, cut: int) -> None:
        with pytest.raises(CodecError):
            decode(MESSAGE[:cut])

    def test_mutations_never_raise_anything_else(self) -> None:
        chance = random.Random(29274)
        refused = 0
        for _ in range(5000):
            damaged = bytearray(MESSAGE)
            for _ in range(chance.randint(1, 4)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            try:
                decode(bytes(damaged))
            except CodecError:
                refused += 1

        assert 0 < refused < 5000
