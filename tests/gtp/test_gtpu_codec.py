"""GTP-U (TS 29.281) and the PDU Session Container (TS 38.415), against scapy as second opinion."""

from __future__ import annotations

import random

import pytest
from scapy.contrib.gtp import GTP_U_Header, GTPEchoRequest, GTPPDUSessionContainer
from scapy.layers.inet import IP, UDP

from gtp.codec import BadLength, BadVersion, CodecError, Truncated
from gtp.gtpu import END_MARKER, GPDU, Message, SessionContainer, decode, encode, encode_gpdu

INNER = bytes(IP(src="10.45.0.2", dst="198.18.0.1") / UDP(sport=1, dport=2) / b"user data")


class TestDecode:
    """Messages written by scapy are read as they were meant."""

    def test_a_bare_header_is_eight_bytes(self):
        m = decode(bytes(GTP_U_Header(teid=0xC0FFEE, gtp_type=255) / INNER))
        assert m == Message(GPDU, 0xC0FFEE, INNER)

    def test_a_sequence_number_counts_only_with_its_flag(self):
        with_flag = decode(bytes(GTP_U_Header(teid=1, gtp_type=255, S=1, seq=513) / INNER))
        pn_only = decode(bytes(GTP_U_Header(teid=1, gtp_type=255, PN=1, npdu=7) / INNER))
        assert (with_flag.sequence, with_flag.npdu, with_flag.payload) == (513, None, INNER)
        assert (pn_only.sequence, pn_only.npdu, pn_only.payload) == (None, 7, INNER)

    @pytest.mark.parametrize("qfi", [0, 1, 9, 63])
    def test_an_uplink_container_names_its_qos_flow(self, qfi):
        m = decode(bytes(GTP_U_Header(teid=1, gtp_type=255) / GTPPDUSessionContainer(type=1, QFI=qfi) / INNER))
        assert m.container == SessionContainer(uplink=True, qfi=qfi)
        assert m.payload == INNER

    def test_uplink_delay_results_are_milliseconds(self):
        """QoS monitoring (TS 38.415, 5.5.2.2): three time stamps, then the delays that the RAN measured."""
        container = GTPPDUSessionContainer(
            type=1, QFI=5, QMP=1, dlDelayInd=1, ulDelayInd=1, dlSendTimeRpt=11, dlRecvTime=12, ulSendTime=13,
            dlDelayRslt=20, ulDelayRslt=30,
        )  # fmt: skip
        read = decode(bytes(GTP_U_Header(teid=1, gtp_type=255) / container / INNER)).container
        assert read is not None
        assert (read.sent, read.received, read.returned) == (11, 12, 13)
        assert (read.dl_delay_ms, read.ul_delay_ms) == (20, 30)

    def test_an_echo_request_has_tunnel_zero(self):
        m = decode(bytes(GTP_U_Header(teid=0, S=1, seq=3, gtp_type=1) / GTPEchoRequest()))
        assert (m.kind, m.teid, m.sequence) == (1, 0, 3)

    def test_an_end_marker_carries_its_tunnel(self):
        assert decode(bytes(GTP_U_Header(teid=77, gtp_type=254))) == Message(END_MARKER, 77)

    def test_bytes_behind_the_length_are_padding(self):
        assert decode(bytes(GTP_U_Header(teid=1, gtp_type=255) / INNER) + b"\0" * 6).payload == INNER


class TestRefusal:
    """Bytes that are not GTP-U are refused with the place."""

    @pytest.mark.parametrize("first", [0x00, 0x10, 0x20, 0x50, 0x70])
    def test_another_version_or_protocol_type(self, first):
        with pytest.raises(BadVersion):
            decode(bytes([first, 255, 0, 0, 0, 0, 0, 1]))

    def test_a_length_beyond_the_datagram(self):
        with pytest.raises(BadLength) as caught:
            decode(bytes.fromhex("30ff0010 00000001") + b"12345678")
        assert (caught.value.need, caught.value.have) == (16, 8)

    def test_an_extension_of_length_zero_ends_the_walk(self):
        with pytest.raises(BadLength):
            decode(bytes.fromhex("34ff0008 00000001 00000085 00000000"))

    def test_a_ninth_extension_is_too_many(self):
        chain = bytes.fromhex("01000085") * 9
        with pytest.raises(CodecError, match="8 extension"):
            decode(
                bytes.fromhex("34ff") + (4 + len(chain)).to_bytes(2, "big") + bytes.fromhex("00000001 00000085") + chain
            )

    def test_every_truncation_is_an_error_that_says_so(self):
        whole = bytes(GTP_U_Header(teid=1, gtp_type=255, S=1, seq=1) / GTPPDUSessionContainer(type=1, QFI=9) / INNER)
        for cut in range(len(whole)):
            with pytest.raises((Truncated, BadLength)):
                decode(whole[:cut])

    def test_no_mutation_does_anything_else_than_decode_or_refuse(self):
        rng = random.Random(20260901)
        whole = bytearray(
            bytes(GTP_U_Header(teid=1, gtp_type=255, S=1) / GTPPDUSessionContainer(type=0, QFI=9, PPP=1) / INNER)
        )
        outcomes = set()
        for _ in range(10_000):
            m = bytearray(whole)
            for _ in range(rng.randint(1, 4)):
                m[rng.randrange(len(m))] = rng.randrange(256)
            try:
                decode(bytes(m))
                outcomes.add("decoded")
            except CodecError as error:
                outcomes.add("refused" if 0 <= error.at <= len(m) else f"refused at {error.at}")
        assert outcomes == {"decoded", "refused"}


class TestEncode:
    """Messages written by us are read by scapy."""

    @pytest.mark.parametrize("uplink", [True, False])
    def test_user_data_with_a_container(self, uplink):
        read = GTP_U_Header(encode_gpdu(0x1234, INNER, 9, uplink=uplink))
        assert read.teid == 0x1234
        assert read[GTPPDUSessionContainer].type == (1 if uplink else 0)
        assert read[GTPPDUSessionContainer].QFI == 9
        assert bytes(read[IP]) == INNER

    @pytest.mark.parametrize(
        "container",
        [
            SessionContainer(True, 5, sent=1, received=2, returned=3, dl_delay_ms=4, ul_delay_ms=5, n3n9_delay_ms=6),
            SessionContainer(True, 63, sequence=0xABCDEF),
            SessionContainer(False, 1, rqi=True, ppi=3),
            SessionContainer(False, 9, sent=2**63, sequence=1),
        ],
        ids=["uplink-monitored", "uplink-numbered", "downlink-paging", "downlink-stamped"],
    )
    def test_every_form_of_the_container_survives(self, container):
        message = Message(GPDU, 9, INNER, sequence=4, container=container, extensions=((0xC0, b"\1\2"),))
        assert decode(encode(message)) == message
        scapy = GTP_U_Header(encode(message))
        assert container.qfi == scapy[GTPPDUSessionContainer].QFI
