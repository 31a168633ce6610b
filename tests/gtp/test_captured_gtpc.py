"""Real GTP-C from the captures, through reader and tracker alone; the truth is tshark's (signalling.csv).

tests/replay asks the same of the whole function; here a failure names the codec.
"""

from __future__ import annotations

import csv
import random
import re

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.utils import PcapReader

from gtp.codec import CodecError, Reader
from gtp.events import SessionDown, SessionUp
from gtp.gtpc import v1, v2
from gtp.ip import UdpReader
from nf.signalling.trackers import Signalling

PORT = 2123
ATTACH, ROAMING, OLD = "open5gs__testattach.pcapng", "ndpi__gtp_c.pcap", "zeek__gtp_create_pdp_ctx.pcap"
SIGNALLED = [
    ATTACH, "nextepc__srsenb.pcapng", "open5gs__nonipsec_reg.pcapng", "open5gs__volte.pcapng",
    "magma__inbound_roaming_01_210505_130828-1.pcapng", ROAMING,
]  # fmt: skip
NAMES = {
    1: "Echo Request", 2: "Echo Response", 32: "Create Session Request", 33: "Create Session Response",
    34: "Modify Bearer Request", 35: "Modify Bearer Response", 36: "Delete Session Request",
    37: "Delete Session Response", 95: "Create Bearer Request", 96: "Create Bearer Response",
    99: "Delete Bearer Request", 100: "Delete Bearer Response", 170: "Release Access Bearers Request",
    171: "Release Access Bearers Response", 176: "Downlink Data Notification",
    177: "Downlink Data Notification Acknowledgement",
}  # fmt: skip


def datagrams(path):
    """Yield (frame number, datagram, seconds); scapy finds the IP packet behind any link layer."""
    reader = UdpReader()
    with PcapReader(str(path)) as packets:
        for number, packet in enumerate(packets, 1):
            ip = packet.getlayer(IP) or packet.getlayer(IPv6)
            for d in reader.feed(ip.original, float(packet.time), "ip") if ip is not None else ():
                if PORT in (d.sport, d.dport):
                    yield number, d, float(packet.time)


def decode(raw):
    if raw and raw[0] >> 5 == 1:
        reader = Reader(raw)
        return v1.read_header(reader), v1.read_body(reader)
    return [v2.read_body(r) for _, r in v2.messages(raw)]


def follow(path):
    signalling, events = Signalling(), []
    for _, d, at_s in datagrams(path):
        events += signalling.feed(d, at_s)
    return signalling, events


def rows(shared, file):
    with (shared / "captures" / "signalling.csv").open() as lines:
        return [r for r in csv.DictReader(lines) if r["file"] == file]


def listed(cell):
    return {v for v in cell.split(";") if v}


@pytest.fixture(scope="module")
def pcap(shared):
    return shared / "captures" / "pcap"


class TestMessages:
    """Each message says to us what it says to tshark."""

    @pytest.mark.parametrize("file", SIGNALLED)
    def test_kind_identity_tunnels_and_address(self, pcap, shared, file):
        read = {number: d.payload for number, d, _ in datagrams(pcap / file)}
        compared = 0
        for row in rows(shared, file):
            if row["proto"] != "gtpv2":
                continue
            bodies = [(h, v2.read_body(r)) for h, r in v2.messages(read[int(row["frame"])])]
            assert row["message"].split(", ") == [NAMES[h.kind] for h, _ in bodies]
            fteids = [f for _, b in bodies for f in (*b.fteids, *(f for c in b.bearers for f in c.fteids))]
            assert {f"0x{f.teid:08x}" for f in fteids} == listed(row["gtpv2.f_teid_gre_key"])
            assert {f.ipv4 for f in fteids if f.ipv4} == listed(row["gtpv2.f_teid_ipv4"])
            assert {str(f.interface) for f in fteids} == listed(row["gtpv2.f_teid_interface_type"])
            assert {b.imsi for _, b in bodies if b.imsi} == listed(row["e212.imsi"])
            assert {b.ue_ipv4 for _, b in bodies if b.ue_ipv4} == listed(row["gtpv2.pdn_addr_and_prefix.ipv4"]) - {
                "0.0.0.0"
            }
            compared += 1
        assert compared >= 4

    def test_version_one_too(self, pcap, shared):
        asked, answered = (d.payload for _, d, _ in datagrams(pcap / OLD))
        for raw, row in zip((asked, answered), rows(shared, OLD), strict=True):
            reader = Reader(raw)
            header, body = v1.read_header(reader), v1.read_body(reader)
            assert f"0x{header.kind:02x}" == row["gtp.message"]
            assert (f"0x{body.teid_data:08x}", f"0x{body.teid_control:08x}") == (
                row["gtp.teid_data"],
                row["gtp.teid_cp"],
            )
            assert body.addresses == row["gtp.gsn_ipv4"].split(";")
            assert (body.imsi, body.ue_ipv4) == (row["e212.imsi"], row["gtp.user_ipv4"])

    @pytest.mark.parametrize("file", [*SIGNALLED, OLD])
    def test_a_cut_at_any_byte_is_refused(self, pcap, file):
        for whole in {d.payload[1]: d.payload for _, d, _ in datagrams(pcap / file)}.values():
            for cut in range(len(whole)):
                with pytest.raises(CodecError) as caught:
                    decode(whole[:cut])
                assert 0 <= caught.value.at <= cut


class TestSessions:
    """GTP-C alone tells the subscriber of each tunnel."""

    def test_twenty_segments_of_ten_attaches_come_and_go(self, pcap):
        signalling, events = follow(pcap / ATTACH)
        assert sum(isinstance(e, SessionUp) for e in events) == 20
        assert sum(isinstance(e, SessionDown) for e in events) == 20
        assert {e.session.identity.imsi for e in events} == {"901707364000060"}
        assert len(signalling.gtpv2) == 0

    def test_nobody_is_invented(self, pcap, shared):
        """No capture of any kind yields an IMSI that tshark does not find in it."""
        with (shared / "captures" / "captures.csv").open() as lines:
            known = {r["file"]: set(re.findall(r"\d{15}", r["imsi"])) for r in csv.DictReader(lines)}
        checked = 0
        for path in (pcap / file for file in [*SIGNALLED, OLD, "open5gs__ipsec_to_nonipsec_call.pcapng"]):
            found = {e.session.identity.imsi for e in follow(path)[1]} - {""}
            assert found <= known[path.name]
            checked += bool(found)
        assert checked >= 5

    def test_damage_gives_events_or_counters_and_never_takes_long(self, pcap):
        """Thousands of changed bytes in real messages: no exception, and no IMSI but those that the bytes say."""
        chance = random.Random(29274)
        samples = [d for file in (ATTACH, OLD, ROAMING) for _, d, _ in datagrams(pcap / file)]
        signalling = Signalling()
        for number in range(20_000):
            d = chance.choice(samples)
            damaged = bytearray(d.payload)
            for _ in range(chance.randint(1, 3)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            if chance.random() < 0.2:
                del damaged[chance.randrange(len(damaged)) :]
            signalling.feed(type(d)(d.src, d.sport, d.dst, d.dport, bytes(damaged)), number / 100)
        assert signalling.counters["gtpv2_bad_length"] > 0
        assert signalling.counters["gtpv2_messages"] > 5000
