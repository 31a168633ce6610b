"""A second opinion on GTP-C: messages of pycrate and scapy are read by us, and ours by pycrate."""

from __future__ import annotations

import importlib
import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.contrib import gtp as old
from scapy.contrib import gtp_v2

from gtp.codec import Reader
from gtp.gtpc import build, v1, v2
from gtp.gtpc.build import Connection
from gtp.gtpc.v2 import FTeid, Kind

theirs = importlib.import_module("pycrate_mobile.TS29274_GTPC")
pfcp = importlib.import_module("pycrate_mobile.TS29244_PFCP")
opinion = settings(derandomize=True, max_examples=100, deadline=None, database=None)

ipv4s = st.ip_addresses(v=4).filter(int).map(str)
ipv6s = st.ip_addresses(v=6).filter(lambda a: int(a) >> 64 and int(a) & (1 << 64) - 1).map(str)
maybe4, maybe6 = st.just("") | ipv4s, st.just("") | ipv6s
teids = st.integers(0, 2**32 - 1)
imsis = st.from_regex(r"[0-9]{6,15}", fullmatch=True)
whole_imsis = st.from_regex(r"[0-9]{15}", fullmatch=True)
labels = st.lists(st.from_regex(r"[a-z0-9]{1,10}", fullmatch=True), min_size=1, max_size=3)


def body(*elements):
    raw = b"".join(elements)
    return v2.read_body(Reader(raw))


def written(kind, number, fields, instance=0):
    """Return an element whose value pycrate writes."""
    value = kind(val={k: v for k, v in fields.items() if v is not None}).to_bytes()
    return build.element(number, value, instance)


def packed(text):
    return ipaddress.ip_address(text).packed if text else None


class TestElements:
    """Identity, address and tunnel as pycrate writes them."""

    @opinion
    @given(
        interface=st.integers(0, 40), teid=teids, a4=st.just("") | ipv4s, a6=st.just("") | ipv6s, n=st.integers(0, 3)
    )
    def test_f_teid(self, interface, teid, a4, a6, n):
        fields = {"V4": int(bool(a4)), "V6": int(bool(a6)), "IF": interface, "TEID_GREKey": teid}
        raw = written(theirs.FTEID, 87, {**fields, "IPv4Addr": packed(a4), "IPv6Addr": packed(a6)}, n)
        assert body(raw).fteids == [FTeid(interface, teid, a4, a6, n)]
        assert build.fteid(FTeid(interface, teid, a4, a6, n)) == raw

    @opinion
    @given(a4=ipv4s)
    def test_pdn_address_v4(self, a4):
        read = body(written(theirs.PAA, 79, {"PDNType": 1, "PDNAddress": packed(a4)}))
        assert (read.ue_ipv4, read.ue_ipv6) == (a4, "")

    @opinion
    @given(a4=ipv4s, a6=ipv6s)
    def test_pdn_address_of_both(self, a4, a6):
        fields = {"PDNType": 3, "PDNAddress": b"\x40" + packed(a6) + packed(a4)}
        read = body(written(theirs.PAA, 79, fields))
        assert (read.ue_ipv4, read.ue_ipv6) == (a4, a6)

    @opinion
    @given(node=ipv4s, csids=st.lists(st.integers(0, 65535), max_size=15))
    def test_fq_csid(self, node, csids):
        """PFCP has the same value (TS 29.244, 8.2.46); pycrate knows it there only."""
        raw = written(pfcp.FQCSID, 132, {"NodeIDType": 0, "NodeAddr": packed(node), "CSIDs": csids})
        assert body(raw).csids == {b"\0" + packed(node) + c.to_bytes(2, "big") for c in csids}


class TestScapy:
    """Whole messages as scapy writes them."""

    @opinion
    @given(imsi=imsis, apn=labels, teid=teids, a4=ipv4s, mei=st.from_regex(r"[0-9]{16}", fullmatch=True))
    def test_create_session_request(self, imsi, apn, teid, a4, mei):
        elements = [
            gtp_v2.IE_IMSI(IMSI=imsi.encode()),
            gtp_v2.IE_MEI(MEI=mei.encode()),
            gtp_v2.IE_APN(APN=".".join(apn).encode()),
            gtp_v2.IE_FTEID(ipv4_present=1, InterfaceType=10, GRE_Key=teid, ipv4=a4),
            gtp_v2.IE_PAA(PDN_type=1, ipv4=a4),
        ]
        raw = bytes(gtp_v2.GTPHeader(teid=teid, seq=7, SPARE3=0) / gtp_v2.GTPV2CreateSessionRequest(IE_list=elements))
        ((header, reader),) = v2.messages(raw)
        read = v2.read_body(reader)
        assert (header.kind, header.teid, header.sequence) == (32, teid, 7)
        assert (read.imsi, read.imei, read.apn, read.ue_ipv4) == (imsi, mei, ".".join(apn), a4)
        assert read.fteids == [FTeid(10, teid, a4)]

    @opinion
    @given(
        imsi=st.from_regex(r"[0-9]{15}", fullmatch=True), data=teids, control=teids, a4=ipv4s, nsapi=st.integers(5, 15)
    )
    def test_create_pdp_context_request(self, imsi, data, control, a4, nsapi):
        elements = [
            old.IE_IMSI(imsi=imsi.encode()), old.IE_TEIDI(TEIDI=data), old.IE_TEICP(TEICI=control),
            old.IE_NSAPI(NSAPI=nsapi), old.IE_EndUserAddress(length=6, PDPTypeNumber=0x21, PDPAddress=a4),
            old.IE_GSNAddress(length=4, ipv4_address=a4),
        ]  # fmt: skip
        raw = bytes(old.GTPHeader(S=1, seq=9) / old.GTPCreatePDPContextRequest(IE_list=elements))
        reader = Reader(raw)
        header, read = v1.read_header(reader), v1.read_body(reader)
        assert (header.kind, header.sequence) == (16, 9)
        assert (read.imsi, read.teid_data, read.teid_control, read.nsapis) == (imsi, data, control, [nsapi])
        assert (read.ue_ipv4, read.addresses) == (a4, [a4])


CONNECTION = Connection(
    "001010000000001", "10.45.0.2", FTeid(10, 1, "192.0.2.1"), FTeid(11, 2, "192.0.2.2"), FTeid(1, 0xA1, "192.0.2.2"),
    FTeid(5, 0xC1, "192.0.2.3"), msisdn="4915112345678",
)  # fmt: skip


class TestOurMessages:
    """pycrate finds every mandatory element in what we write, and not a byte is left."""

    @pytest.mark.parametrize(
        "raw",
        [
            build.create_request(1, CONNECTION),
            build.create_response(1, CONNECTION),
            build.create_response(1, CONNECTION, 73),
            build.modify_request(2, CONNECTION, FTeid(0, 0xB1, "192.0.2.20")),
            build.response(Kind.MODIFY_BEARER_REQUEST, 2, 1, build.bearer(5, answer=16)),
            build.delete_request(3, CONNECTION),
            build.response(Kind.DELETE_SESSION_REQUEST, 3, 1),
            build.echo_request(4, 7),
        ],
        ids=lambda raw: f"type-{raw[1]}-{len(raw)}",
    )
    def test_every_message_that_we_write(self, raw):
        message, error = theirs.parse_GTPC(raw)
        assert error == 0
        assert message.to_bytes() == raw
