"""NGAP names the MSIN of UEs that send it in clear, and the tunnels of their sessions."""

from __future__ import annotations

import csv
import random
import re
from collections import Counter

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.sctp import SCTP, SCTPChunkData, SCTPChunkSACK
from scapy.packet import Raw
from scapy.utils import PcapReader

from gtp.events import EndReason, Identity, Session, SessionDown, SessionMoved, SessionUp, Side, Tunnel
from gtp.link import IPV4, ip_packet
from gtp.sctp import SctpMessage, sctp_in_ip
from nf.sessions import BindingStore
from nf.signalling.ngap import NgapTracker, msin_of

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
FILE = "open5gs__testregistration.pcapng"
# Identity Response (TS 24.501, 8.2.22) with a SUCI (9.11.3.4): PLMN 901-70, routing indicator 0, null scheme.
RESPONSE = bytes.fromhex("7e005c000d0109f107f0ff000000002031 90")


def messages(path):
    """Yield (frame number, message, seconds)."""
    with PcapReader(str(path)) as packets:
        for number, packet in enumerate(packets, 1):
            ip = packet.getlayer(IP)
            for m in sctp_in_ip(IPV4, ip.original, Counter()) if ip is not None else ():
                yield number, m, float(packet.time)


def read_sctp(frame, counters):
    kind, at = ip_packet(frame) or (0, 0)
    return sctp_in_ip(kind, frame[at:], counters)


@pytest.fixture(scope="module")
def captured(shared):
    return list(messages(shared / "captures" / "pcap" / FILE))


@pytest.fixture(scope="module")
def followed(captured):
    """The tracker at the end, and (frame number, event) of each event."""
    tracker = NgapTracker()
    return tracker, [(n, e) for n, m, at_s in captured for e in tracker.feed(m, at_s)]


class TestMsin:
    """The MSIN comes from a null-scheme SUCI in a message that is not ciphered, and from nothing else."""

    def test_identity_response(self):
        assert msin_of(RESPONSE) == "0000021309"

    def test_registration_request(self):
        """8.2.6: key set identifier and registration type before the identity."""
        assert msin_of(b"\x7e\x00\x41\x79" + RESPONSE[3:]) == "0000021309"

    def test_inside_an_integrity_protected_message(self):
        assert msin_of(b"\x7e\x01" + bytes(5) + RESPONSE) == "0000021309"

    @pytest.mark.parametrize(
        "nas",
        [
            b"\x7e\x02" + bytes(5) + RESPONSE,  # ciphered: what looks like an identity is chance
            RESPONSE[:11] + b"\x01" + RESPONSE[12:],  # scheme profile A: the output is ciphered
            RESPONSE[:5] + b"\x02" + RESPONSE[6:],  # a 5G-GUTI
            RESPONSE[:5] + b"\x11" + RESPONSE[6:],  # a network specific identifier
            RESPONSE[:-2] + b"\xb1\x90",  # a nibble that is no digit
            *(RESPONSE[:n] for n in range(len(RESPONSE))),
        ],
    )
    def test_everything_else_says_nothing(self, nas):
        assert msin_of(nas) == ""


class TestCapture:
    """Twenty-three sessions whose PFCP names nobody."""

    def test_each_session_has_both_ends_in_the_frame_that_tshark_names(self, followed, shared):
        _, events = followed
        known = {}
        for number, event in events:
            for tunnel in event.session.tunnels:
                known.setdefault((str(tunnel), number), tunnel)
        with (shared / "captures" / "expected_sessions.csv").open() as rows:
            text = " ".join(str(r) for r in csv.DictReader(rows) if r["file"] == FILE)
        want = {(teid, int(frame)) for teid, frame in re.findall(r"(0x\w+@[\d.]+)\(NGAP#(\d+)\)", text)}
        assert len(want) == 21
        assert want <= known.keys()
        assert {known[w].side for w in want} == {Side.DOWNLINK}

    def test_each_session_says_its_slice(self, followed):
        """Tshark shows SST 1 without SD in each item of the capture's requests (ngap.sST); two have an answer alone."""
        _, events = followed
        asked = {(any(t.side is Side.UPLINK for t in e.session.tunnels), e.session.snssai) for _, e in events}
        assert asked == {(True, "1"), (False, "")}

    def test_no_imsi_is_made_of_an_msin(self, followed):
        _, events = followed
        assert {e.session.identity.imsi for _, e in events} == {""}
        assert {e.session.identity.msin for _, e in events} == {"", "0000021309"}
        assert not any(bool(e.session.identity) for _, e in events), "an MSIN alone identifies nobody"

    def test_what_begins_ends(self, followed):
        tracker, events = followed
        ups = sum(isinstance(e, SessionUp) for _, e in events)
        assert ups == sum(isinstance(e, SessionDown) for _, e in events) + len(tracker) > 20
        assert {e.reason for _, e in events if isinstance(e, SessionDown)} <= {EndReason.DELETED, EndReason.RESTARTED}

    def test_damage_is_counted(self, captured):
        chance, tracker = random.Random(38413), NgapTracker()
        for _, m, at_s in captured[:600]:
            damaged = bytearray(m.payload)
            for _ in range(chance.randint(1, 4)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            tracker.feed(SctpMessage(m.src, m.dst, m.protocol, bytes(damaged)), at_s)
        assert tracker.counters["ngap_malformed"] > 50


class TestSctp:
    """Whole user messages out of frames, as scapy writes them."""

    DATA = SCTPChunkData(beginning=1, ending=1, proto_id=60, data=b"full")

    @pytest.mark.parametrize("over", [IP(src="192.0.2.1", dst="192.0.2.2"), IPv6(src="2001:db8::1", dst="2001:db8::2")])
    @pytest.mark.parametrize("tag", [None, Dot1Q(vlan=7)])
    def test_data_chunks_between_others(self, over, tag):
        frame = ETHER / tag / over if tag else ETHER / over
        second = SCTPChunkData(beginning=1, ending=1, proto_id=60, data=b"two!!")
        raw = bytes(frame / SCTP(dport=38412) / SCTPChunkSACK() / self.DATA / second)
        assert [(m.protocol, m.payload) for m in read_sctp(raw, Counter())] == [(60, b"full"), (60, b"two!!")]

    def test_parts_and_cuts_are_counted(self):
        counters = Counter()
        ip = ETHER / IP(src="192.0.2.1", dst="192.0.2.2")
        part = bytes(ip / SCTP() / SCTPChunkData(beginning=1, ending=0, proto_id=60, data=b"x"))
        assert read_sctp(part, counters) == []
        whole = bytes(ip / SCTP() / self.DATA)
        for cut in range(len(whole)):
            assert read_sctp(whole[:cut], counters) == []
        assert (counters["sctp_message_in_parts"], counters["sctp_truncated"] > 0) == (1, True)
        assert read_sctp(bytes(ip / UDP() / Raw(b"x" * 40)), counters) == []


class TestJoin:
    """The MSIN belongs to the session whose tunnel it names; the session of the core outlives the radio's."""

    UPLINK, RADIO = Tunnel("192.0.2.10", 0xA1), Tunnel("192.0.2.20", 0xB1, Side.DOWNLINK, local=False)
    CORE = Session("p", "pfcp", Identity(), "10.45.0.2", instance="internet", tunnels=(UPLINK,))
    N2 = Session("n", "ngap", Identity(msin="0000021309"), tunnels=(Tunnel("192.0.2.10", 0xA1, local=False), RADIO))

    @pytest.fixture
    def store(self):
        store = BindingStore(10)
        store.apply(SessionUp(1.0, self.CORE))
        store.apply(SessionUp(1.1, self.N2))
        return store

    def test_they_are_one_binding(self, store):
        binding = store.by_tunnel("192.0.2.20", 0xB1)
        assert binding is store.by_tunnel("192.0.2.10", 0xA1)
        assert (binding.session.identity.msin, binding.session.identity.imsi, binding.session.source) == (
            "0000021309", "", "pfcp"
        )  # fmt: skip

    def test_an_idle_ue_keeps_its_session(self, store):
        store.apply(SessionDown(2.0, self.N2, EndReason.DELETED))
        assert store.by_tunnel("192.0.2.10", 0xA1).whole.identity.msin == "0000021309"
        assert store.by_tunnel("192.0.2.20", 0xB1) is None

    def test_when_the_core_ends_it_it_is_over(self, store):
        store.apply(SessionDown(2.0, self.CORE, EndReason.DELETED))
        assert len(store) == 0

    def test_an_imsi_with_other_digits_is_somebody_else(self, store):
        other = Session("g", "gtp-c", Identity(imsi="999700000000001"), "10.45.0.2", tunnels=(self.UPLINK,))
        store.apply(SessionMoved(3.0, other))
        assert store.by_tunnel("192.0.2.10", 0xA1).whole.identity == Identity(imsi="999700000000001")

    def test_the_radio_alone_takes_nothing_from_the_core(self):
        """N2 is mirrored an hour later than N4, and its AMF names a tunnel that the core has had since then."""
        store = BindingStore(10)
        store.apply(SessionUp(1.0, Session("p", "pfcp", Identity(imsi="999700000000001"), tunnels=(self.RADIO,))))
        store.apply(SessionUp(3600.0, self.N2))
        assert store.by_tunnel("192.0.2.20", 0xB1).whole.identity.imsi == "999700000000001"
        assert store.counters["conflict_tunnel_kept"] == 1
