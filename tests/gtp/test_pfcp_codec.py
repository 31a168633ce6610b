"""PFCP elements and messages (TS 29.244), against scapy both ways."""

from __future__ import annotations

import random

import pytest
from scapy.contrib import pfcp as scapy_pfcp
from scapy.contrib.pfcp import (
    IE_APN_DNN,
    IE_FSEID,
    IE_FTEID,
    IE_PDI,
    PFCP,
    IE_Cause,
    IE_CreateFAR,
    IE_CreatePDR,
    IE_DestinationInterface,
    IE_FAR_Id,
    IE_ForwardingParameters,
    IE_NetworkInstance,
    IE_NodeId,
    IE_OuterHeaderCreation,
    IE_PDR_Id,
    IE_RecoveryTimeStamp,
    IE_SourceInterface,
    IE_UE_IP_Address,
    IE_UserId,
    PFCPSessionEstablishmentRequest,
)

from gtp.codec import BadLength, CodecError, Truncated, tbcd, untbcd
from gtp.events import Identity
from gtp.pfcp import build, ie
from gtp.pfcp.build import SessionPlan
from gtp.pfcp.ie import FTeid, UeAddress
from gtp.pfcp.message import messages, read_body

PLAN = SessionPlan(
    smf="192.0.2.1",
    cp_seid=0x1122334455667788,
    identity=Identity(imsi="001010000000001", imei="3534901122334455", msisdn="4915112345678"),
    ue_ipv4="10.45.0.2",
    uplink=("192.0.2.10", 0xA1),
    downlink=("192.0.2.20", 0xB2),
    dnn="internet.example",
    snssai="1-00000a",
)

SCAPY_REQUEST = bytes(
    PFCP(version=1, S=1, seid=0, seq=7)
    / PFCPSessionEstablishmentRequest(
        IE_list=[
            IE_NodeId(id_type=0, ipv4="192.0.2.1"),
            IE_FSEID(v4=1, seid=0x99, ipv4="192.0.2.1"),
            IE_CreatePDR(
                IE_list=[
                    IE_PDR_Id(id=1),
                    IE_PDI(
                        IE_list=[
                            IE_SourceInterface(interface=0),
                            IE_FTEID(V4=1, TEID=0xA1, ipv4="192.0.2.10"),
                            IE_NetworkInstance(instance="internet"),
                            IE_UE_IP_Address(V4=1, ipv4="10.45.0.2"),
                        ]
                    ),
                    IE_FAR_Id(id=1),
                ]
            ),
            IE_CreateFAR(
                IE_list=[
                    IE_FAR_Id(id=2),
                    IE_ForwardingParameters(
                        IE_list=[
                            IE_DestinationInterface(interface=0),
                            IE_OuterHeaderCreation(GTPUUDPIPV4=1, TEID=0xB2, ipv4="192.0.2.20"),
                        ]
                    ),
                ]
            ),
            IE_UserId(IMSIF=1, imsi_length=8, imsi=bytes.fromhex("00010100000000f1")),
            IE_APN_DNN(apn_dnn="internet"),
            IE_RecoveryTimeStamp(timestamp=3900000000),
        ]
    )
)


class TestDecode:
    """A request that scapy wrote is read as it was meant."""

    def test_tunnels_addresses_and_identity(self):
        ((header, reader),) = messages(SCAPY_REQUEST)
        body = read_body(reader)
        assert (header.kind, header.seid, header.sequence) == (50, 0, 7)
        assert body.fseid is not None
        assert body.fseid.seid == 0x99
        assert body.create_pdrs[0].fteid == FTeid(0xA1, "192.0.2.10")
        assert body.create_pdrs[0].ue == [UeAddress("10.45.0.2")]
        assert body.create_pdrs[0].source == 0
        assert body.create_fars[0].header is not None
        assert (body.create_fars[0].header.teid, body.create_fars[0].header.ipv4) == (0xB2, "192.0.2.20")
        assert body.identity is not None
        assert body.identity.imsi == "001010000000001"
        assert body.dnn == "internet"
        assert body.recovery == 3900000000

    def test_several_messages_in_one_datagram(self):
        """The FO flag says that another one follows (6.5)."""
        first = bytearray(build.heartbeat_request(1, 5))
        first[0] |= 4
        bundled = bytes(first) + build.deletion_request(2, 9)
        assert [(h.kind, h.sequence, h.seid) for h, _ in messages(bundled)] == [(1, 1, None), (54, 2, 9)]

    def test_digits_are_the_low_nibble_first(self):
        """TS 29.002, 17.7.8; the filler ends an odd number of digits."""
        assert tbcd("001010000000001") == bytes.fromhex("00010100000000f1")
        assert untbcd(bytes.fromhex("00010100000000f1")) == "001010000000001"

    def test_an_identity_shows_nothing_of_itself(self):
        assert "001010000000001" not in repr(PLAN.identity)
        assert "001010000000001" not in repr(PLAN)


class TestEncode:
    """Messages written by us are read by scapy."""

    def test_an_establishment_request(self):
        read = PFCP(build.establishment_request(1, PLAN))
        assert read.message_type == 50
        assert read[IE_FSEID].seid == PLAN.cp_seid
        assert read[IE_FTEID].TEID == 0xA1
        assert read[IE_OuterHeaderCreation].TEID == 0xB2
        assert read[IE_UserId].imsi == bytes.fromhex("00010100000000f1")  # TBCD, as scapy leaves it
        assert read[IE_APN_DNN].apn_dnn == b"internet.example"

    @pytest.mark.parametrize(
        ("raw", "kind"),
        [
            (build.association_request(1, "192.0.2.1", 3900000000), 5),
            (build.association_response(1, "192.0.2.10", 3900000000), 6),
            (build.establishment_response(1, 9, "192.0.2.10", 10, ("192.0.2.10", 0xA1)), 51),
            (build.handover_request(2, 10, ("192.0.2.21", 0xC3)), 52),
            (build.modification_response(2, 9), 53),
            (build.deletion_request(3, 10), 54),
            (build.deletion_response(3, 9), 55),
        ],
    )
    def test_every_other_message_is_read_to_its_end(self, raw, kind):
        read = PFCP(raw)
        assert read.message_type == kind
        assert bytes(read) == raw
        if kind in (6, 51, 53, 55):
            assert read[IE_Cause].cause == 1

    def test_what_scapy_does_not_know_survives_our_own_reader(self):
        """scapy has no S-NSSAI; the bytes are those of 8.2.176."""
        assert ie.snssai("1-00000a") == bytes.fromhex("0100000a")
        assert not hasattr(scapy_pfcp, "IE_SNSSAI")
        ((_, reader),) = messages(build.establishment_request(1, PLAN))
        assert read_body(reader).snssai == "1-00000a"


class TestRefusal:
    """Lying lengths are errors that give the place, the bytes needed, and the bytes there."""

    def test_a_message_longer_than_its_datagram(self):
        raw = bytearray(SCAPY_REQUEST)
        raw[2:4] = (len(raw) + 50).to_bytes(2, "big")
        with pytest.raises(BadLength) as caught:
            list(messages(bytes(raw)))
        assert caught.value.need > caught.value.have

    def test_an_element_longer_than_its_message(self):
        ((_, reader),) = messages(build.association_request(1, "192.0.2.1", 1))
        raw = bytearray(reader.data)
        raw[reader.at + 2 : reader.at + 4] = b"\xff\xff"
        ((_, broken),) = messages(bytes(raw))
        with pytest.raises(BadLength):
            read_body(broken)

    def test_every_truncation(self):
        for whole in (SCAPY_REQUEST, build.establishment_request(1, PLAN)):
            for cut in range(len(whole)):
                with pytest.raises((Truncated, BadLength)):
                    [read_body(r) for _, r in messages(whole[:cut])]

    def test_mutations_are_read_or_refused(self):
        rng = random.Random(29244)
        outcomes = set()
        for _ in range(5_000):
            raw = bytearray(rng.choice((SCAPY_REQUEST, build.establishment_request(1, PLAN))))
            for _ in range(rng.randint(1, 5)):
                raw[rng.randrange(len(raw))] = rng.randrange(256)
            try:
                [read_body(r) for _, r in messages(bytes(raw))]
                outcomes.add("read")
            except CodecError as error:
                outcomes.add("refused" if 0 <= error.at <= len(raw) else f"refused at {error.at}")
        assert outcomes == {"read", "refused"}
