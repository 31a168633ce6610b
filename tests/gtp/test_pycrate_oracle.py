"""A second opinion on every element: pycrate's elements are read by us, and ours by pycrate.

pycrate is written from the same standards by others; scapy, the other opinion, knows fewer elements.
"""

from __future__ import annotations

import importlib
import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrate_mobile.TS29281_GTPU import parse_GTPU
from pycrate_mobile.TS38415_PDUSess import DLPDUSessInfo, ULPDUSessInfo

from gtp import gtpu
from gtp.events import Identity
from gtp.gtpu import SessionContainer
from gtp.pfcp import build, ie
from gtp.pfcp.build import SessionPlan
from gtp.pfcp.ie import FSeid, FTeid, OuterHeader, UeAddress

theirs = importlib.import_module("pycrate_mobile.TS29244_PFCP")
opinion = settings(derandomize=True, max_examples=100, deadline=None, database=None)

ipv4s = st.ip_addresses(v=4).map(str)
ipv6s = st.ip_addresses(v=6).map(str)
maybe4, maybe6 = st.just("") | ipv4s, st.just("") | ipv6s
teids = st.integers(0, 2**32 - 1)
seids = st.integers(0, 2**64 - 1)


def packed(text):
    return ipaddress.ip_address(text).packed if text else b""


def parsed(kind, raw):
    """Parse an element with pycrate; it must take every byte."""
    element = kind()
    element.from_bytes(raw)
    assert element.to_bytes() == raw
    return element


def value(element, *names):
    return tuple(element[n].get_val() for n in names)


def written(kind, fields, **more):
    """Return the bytes of an element that pycrate writes."""
    return kind(val={k: v for k, v in {**fields, **more}.items() if v is not None}).to_bytes()


def addresses(v4, v6):
    return {
        "V4": int(bool(v4)), "V6": int(bool(v6)), "IPv4Addr": packed(v4) or None, "IPv6Addr": packed(v6) or None
    }  # fmt: skip


def whole(raw):
    """Return the arguments of an element's reader: the bytes, and from where to where."""
    return b"\xff" + raw + b"\xff", 1, 1 + len(raw)


class TestElements:
    """Each element of identity, address and tunnel, both ways."""

    @opinion
    @given(teid=teids, v4=maybe4, v6=maybe6)
    def test_f_teid(self, teid, v4, v6):
        raw = written(theirs.FTEID, addresses(v4, v6), TEID=teid)
        assert FTeid.read(*whole(raw)) == FTeid(teid, v4, v6)
        assert FTeid(teid, v4, v6).bytes() == raw

    @opinion
    @given(choose_id=st.none() | st.integers(0, 255), v6=st.booleans())
    def test_f_teid_that_the_upf_shall_choose(self, choose_id, v6):
        raw = written(
            theirs.FTEID, {"CH": 1, "V4": 1, "V6": int(v6)}, CHID=int(choose_id is not None), CHOOSE_ID=choose_id
        )
        assert FTeid.read(*whole(raw)) == FTeid(choose=True, choose_id=choose_id)
        ours = parsed(theirs.FTEID, FTeid(choose=True, choose_id=choose_id).bytes())
        assert value(ours, "CH", "CHID") == (1, int(choose_id is not None))

    @opinion
    @given(seid=seids, v4=maybe4, v6=maybe6)
    def test_f_seid(self, seid, v4, v6):
        raw = written(theirs.FSEID, addresses(v4, v6), SEID=seid)
        assert FSeid.read(*whole(raw)) == FSeid(seid, v4, v6)
        assert FSeid(seid, v4, v6).bytes() == raw

    @opinion
    @given(teid=teids, v4=maybe4, v6=maybe6)
    def test_outer_header_creation(self, teid, v4, v6):
        fields = {"TEID": teid, "IPv4Addr": packed(v4) or None, "IPv6Addr": packed(v6) or None}
        raw = written(theirs.OuterHeaderCreation, fields, GTPU_UDP_IPv4=int(bool(v4)), GTPU_UDP_IPv6=int(bool(v6)))
        read = OuterHeader.read(*whole(raw))
        assert read == (OuterHeader(teid, v4, v6) if v4 or v6 else None)
        if read:
            assert read.bytes() == raw

    @opinion
    @given(port=st.integers(0, 65535), v4=ipv4s)
    def test_an_outer_header_that_is_not_gtp_u_is_no_tunnel(self, port, v4):
        raw = written(theirs.OuterHeaderCreation, {"UDP_IPv4": 1, "IPv4Addr": packed(v4), "Port": port})
        assert OuterHeader.read(*whole(raw)) is None

    @opinion
    @given(v4=maybe4, v6=maybe6, destination=st.booleans())
    def test_ue_ip_address(self, v4, v6, destination):
        raw = written(theirs.UEIPAddress, addresses(v4, v6), SD=int(destination))
        assert UeAddress.read(*whole(raw)) == UeAddress(v4, v6, destination)
        assert UeAddress(v4, v6, destination).bytes() == raw

    @opinion
    @given(v6=ipv6s, length=st.integers(1, 128))
    def test_ue_ipv6_prefix(self, v6, length):
        """IP6PL; /64 is what the standard means without it, /128 is one address."""
        raw = written(theirs.UEIPAddress, addresses("", v6), IP6PL=1, IPv6PrefLen=length)
        network = str(ipaddress.ip_network(f"{v6}/{length}", strict=False))
        want = v6 if length in (64, 128) else network
        read = UeAddress.read(*whole(raw))
        assert read.ipv6 == want
        again = parsed(theirs.UEIPAddress, read.bytes())
        assert value(again, "IP6PL") == (int("/" in want),)
        assert UeAddress.read(*whole(read.bytes())) == read

    @opinion
    @given(v6=ipv6s, bits=st.integers(1, 63))
    def test_ue_ipv6_prefix_that_is_delegated(self, v6, bits):
        """IPv6D: so many bits less than 64 (8.2.62)."""
        raw = written(theirs.UEIPAddress, addresses("", v6), IPv6D=1, IPv6PrefDeleg=bits)
        assert UeAddress.read(*whole(raw)).ipv6 == str(ipaddress.ip_network(f"{v6}/{64 - bits}", strict=False))

    @opinion
    @given(sst=st.integers(0, 255), sd=st.integers(0, 0xFFFFFF))
    def test_s_nssai(self, sst, sd):
        raw = written(theirs.SNSSAI, {"SST": sst, "SD": sd})
        want = f"{sst}" if sd == 0xFFFFFF else f"{sst}-{sd:06x}"
        assert ie.read_snssai(*whole(raw)) == want
        assert ie.snssai(want) == raw

    @opinion
    @given(
        imsi=st.from_regex(r"[0-9]{6,15}", fullmatch=True),
        imei=st.just("") | st.from_regex(r"[0-9]{15,16}", fullmatch=True),
        msisdn=st.just("") | st.from_regex(r"[0-9]{5,15}", fullmatch=True),
    )
    def test_user_id(self, imsi, imei, msisdn):
        ours = parsed(theirs.UserID, ie.user_id(Identity(imsi, imei, msisdn)))
        assert value(ours, "IMSIF", "IMEIF", "MSISDNF", "NAIF") == (1, int(bool(imei)), int(bool(msisdn)), 0)
        swapped = "".join(f"{b:02x}"[::-1] for b in ours["IMSI"]["Val"].get_val())
        assert swapped.rstrip("f") == imsi
        assert ie.read_user_id(*whole(ours.to_bytes())) == (Identity(imsi, imei, msisdn), 0)

    @opinion
    @given(node=ipv4s | ipv6s, csids=st.lists(st.integers(0, 65535), max_size=15))
    def test_fq_csid(self, node, csids):
        version = ipaddress.ip_address(node).version
        raw = written(theirs.FQCSID, {"NodeIDType": int(version == 6), "NodeAddr": packed(node), "CSIDs": csids})
        kind = bytes([version == 6])
        assert ie.read_csids(*whole(raw)) == {kind + packed(node) + c.to_bytes(2, "big") for c in csids}

    @opinion
    @given(node=ipv4s | ipv6s)
    def test_node_id(self, node):
        kind = int(ipaddress.ip_address(node).version == 6)
        raw = written(theirs.NodeID, {"Type": kind, "Val": packed(node)})
        assert ie.read_node_id(*whole(raw)) == node
        assert ie.node_id(node) == raw


PLAN = SessionPlan(
    "192.0.2.1", 11, Identity("001010000000001", "3534901122334455", "4915112345678"), "10.45.0.2",
    ("192.0.2.10", 0xA1), ("192.0.2.20", 0xB2), "internet.example", "1-00000a",
)  # fmt: skip


class TestMessages:
    """Whole messages: pycrate finds every mandatory element, and not a byte is left."""

    @pytest.mark.parametrize(
        "raw",
        [
            build.heartbeat_request(1, 3900000000),
            build.heartbeat_response(1, 3900000000),
            build.association_request(1, "192.0.2.1", 3900000000),
            build.association_response(1, "2001:db8::1", 3900000000),
            build.establishment_request(1, PLAN),
            build.establishment_response(1, 9, "192.0.2.10", 10, ("192.0.2.10", 0xA1)),
            build.handover_request(2, 10, ("2001:db8::21", 0xC3)),
            build.modification_response(2, 9),
            build.deletion_request(3, 10),
            build.deletion_response(3, 9),
        ],
        ids=lambda raw: f"type-{raw[1]}",
    )
    def test_every_message_that_we_write(self, raw):
        message, error = theirs.parse_PFCP(raw)
        assert error == 0
        assert message.to_bytes() == raw


@st.composite
def containers(draw):
    """Draw a PDU Session Container of either type, with any of its optional fields."""
    stamp, delay = st.none() | st.integers(0, 2**64 - 1), st.none() | st.integers(0, 2**32 - 1)
    qfi, sequence, sent = draw(st.integers(0, 63)), draw(st.none() | st.integers(0, 0xFFFFFF)), draw(stamp)
    if draw(st.booleans()):
        times = [draw(st.integers(0, 2**64 - 1)) if sent is not None else None for _ in range(2)]
        return SessionContainer(True, qfi, False, None, sent, *times, draw(delay), draw(delay), sequence, draw(delay))
    ppi = draw(st.none() | st.integers(0, 7))
    return SessionContainer(False, qfi, draw(st.booleans()), ppi, sent, sequence=sequence)


def their_container(c):
    """Write the container by pycrate: four bits of type, then the rest of TS 38.415, 5.5.2."""

    def there(x):
        return int(x is not None)

    if c.uplink:
        info = ULPDUSessInfo(
            val={
                k: v
                for k, v in {
                    "QMP": there(c.sent), "DLDelayInd": there(c.dl_delay_ms), "ULDelayInd": there(c.ul_delay_ms),
                    "SNP": there(c.sequence), "N3N9DelayInd": there(c.n3n9_delay_ms), "QFI": c.qfi,
                    "DLSndTSRep": c.sent, "DLRcvTS": c.received, "ULSndTS": c.returned,
                    "DLDelayRes": c.dl_delay_ms, "ULDelayRes": c.ul_delay_ms, "ULQFISeqNum": c.sequence,
                    "N3N9DelayRes": c.n3n9_delay_ms,
                }.items()
                if v is not None
            }
        )  # fmt: skip
    else:
        info = DLPDUSessInfo(
            val={
                k: v
                for k, v in {
                    "QMP": there(c.sent), "SNP": there(c.sequence), "PPP": there(c.ppi), "RQI": int(c.rqi),
                    "QFI": c.qfi, "PPI": c.ppi, "DLSndTS": c.sent, "DLQFISeqNum": c.sequence,
                }.items()
                if v is not None
            }
        )  # fmt: skip
    bits = info.to_uint() | int(c.uplink) << info.get_bl()
    return bits.to_bytes((info.get_bl() + 4) // 8, "big")


class TestUserPlane:
    """GTP-U messages and the PDU Session Container."""

    @opinion
    @given(container=containers())
    def test_a_container(self, container):
        raw = their_container(container)
        assert (len(raw) + 2) % 4 == 0
        header = bytes([0x34, 255, *(4 + len(raw) + 2).to_bytes(2, "big"), 0, 0, 0, 1, 0, 0, 0, 0x85])
        datagram = header + bytes([(len(raw) + 2) // 4]) + raw + b"\0"
        assert gtpu.decode(datagram).container == container
        assert gtpu.encode(gtpu.Message(gtpu.GPDU, 1, container=container)) == datagram

    @pytest.mark.parametrize(
        "raw",
        [gtpu.echo_request(7), gtpu.end_marker(9), gtpu.encode_gpdu(1, b"E", 9, uplink=True)],
    )
    def test_the_others(self, raw):
        message, error = parse_GTPU(raw)
        assert (error, message.to_bytes()) == (0, raw)
