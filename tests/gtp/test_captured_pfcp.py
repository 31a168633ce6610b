"""Real PFCP from the captures, through reader and tracker alone; the truth is tshark's (signalling.csv and its join).

tests/replay asks the same of the whole function; here a failure names the codec.
"""

from __future__ import annotations

import csv
import random
import re
from collections import Counter

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.utils import PcapReader

from gtp.codec import CodecError
from gtp.events import EndReason, SessionDown, SessionUp, Side
from gtp.ip import UdpReader
from gtp.pfcp.ie import Type, ie
from gtp.pfcp.message import messages, read_body
from gtp.pfcp.tracker import PfcpTracker

PORT = 8805
REFUSALS = ("pfcp_truncated", "pfcp_bad_length", "pfcp_bad_value")
ROAMING, REGISTRATION = "open5gs__5g-roaming-hr.pcapng", "open5gs__testregistration.pcapng"
SIGNALLED = [ROAMING, REGISTRATION, "open5gs__testattach.pcapng", "nextepc__srsenb.pcapng"]
NAMES = {
    1: "Heartbeat Request", 2: "Heartbeat Response", 5: "Association Setup Request", 6: "Association Setup Response",
    9: "Association Release Request", 10: "Association Release Response", 50: "Session Establishment Request",
    51: "Session Establishment Response", 52: "Session Modification Request", 53: "Session Modification Response",
    54: "Session Deletion Request", 55: "Session Deletion Response", 56: "Session Report Request",
    57: "Session Report Response",
}  # fmt: skip


def datagrams(path):
    """Yield (frame number, datagram, seconds); scapy finds the IP packet behind any link layer."""
    reader = UdpReader()
    with PcapReader(str(path)) as packets:
        for number, packet in enumerate(packets, 1):
            ip = packet.getlayer(IP) or packet.getlayer(IPv6)
            if ip is not None:
                for d in reader.feed(ip.original, float(packet.time), "ip"):
                    if PORT in (d.sport, d.dport):
                        yield number, d, float(packet.time)


def follow(path):
    """Return the tracker and all its events."""
    tracker, events = PfcpTracker(), []
    for _, d, at_s in datagrams(path):
        events += tracker.feed(d.payload, (d.src, d.sport), (d.dst, d.dport), at_s)
    return tracker, events


def rows(shared, name, file):
    with (shared / "captures" / name).open() as lines:
        return [r for r in csv.DictReader(lines) if r["file"] == file]


@pytest.fixture(scope="module")
def pcap(shared):
    return shared / "captures" / "pcap"


class TestMessages:
    """Each message says to us what it says to tshark."""

    @pytest.mark.parametrize("file", SIGNALLED)
    def test_kind_seid_tunnels_and_addresses(self, pcap, shared, file):
        read = {number: next(messages(d.payload)) for number, d, _ in datagrams(pcap / file)}
        compared = 0
        for row in rows(shared, "signalling.csv", file):
            if not row["message"].startswith("PFCP "):
                continue
            header, reader = read[int(row["frame"])]
            body = read_body(reader)
            assert row["message"] == f"PFCP {NAMES[header.kind]}"
            pdrs = [*body.create_pdrs, *body.update_pdrs, *body.created_pdrs]
            fars = [*body.create_fars, *body.update_fars]
            teids = {f"0x{p.fteid.teid:08x}" for p in pdrs if p.fteid and not p.fteid.choose}
            assert teids == set(filter(None, row["pfcp.f_teid.teid"].split(";")))
            outer = {f"0x{f.header.teid:08x}" for f in fars if f.header}
            assert outer == set(filter(None, row["pfcp.outer_hdr_creation.teid"].split(";")))
            ues = {ue.ipv4 for p in pdrs for ue in p.ue if ue.ipv4}
            assert ues == set(filter(None, row["pfcp.ue_ip_addr_ipv4"].split(";")))
            seids = [s for s in (header.seid, body.fseid and body.fseid.seid) if s is not None]
            assert {f"0x{s:016x}" for s in seids} == set(filter(None, row["pfcp.seid"].split(";")))
            compared += 1
        assert compared > 4

    @pytest.mark.parametrize("file", SIGNALLED)
    def test_a_cut_at_any_byte_is_refused(self, pcap, file):
        by_kind = {d.payload[1]: d.payload for _, d, _ in datagrams(pcap / file)}
        assert len(by_kind) > 4
        for whole in by_kind.values():
            for cut in range(len(whole)):
                with pytest.raises(CodecError) as caught:
                    [read_body(r) for _, r in messages(whole[:cut])]
                assert 0 <= caught.value.at <= cut


class TestSessions:
    """PFCP alone tells the subscriber of each tunnel."""

    def test_roaming(self, pcap, shared):
        """Two UPFs, two SMFs: the visited one says who, the home one says the address."""
        (want,) = rows(shared, "expected_sessions.csv", ROAMING)
        _, events = follow(pcap / ROAMING)
        ups = [e.session for e in events if isinstance(e, SessionUp)]
        assert {s.identity.imsi for s in ups} == {want["imsi"]}
        assert {s.ue_ipv4 for s in ups if s.ue_ipv4} == {want["ue_ipv4"]}
        held = {(str(t), t.side, t.local) for e in events for t in e.session.tunnels}
        assert set(re.findall(r"(0x\w+@[\d.]+)\(PFCP", str(want))) <= {text for text, _, _ in held}
        # N3 and N9: each segment ends at a UPF of its own, and the other one sends into it.
        assert ("0x00009c40@127.0.1.7", Side.UPLINK, True) in held
        assert ("0x0000f7e5@127.0.1.7", Side.DOWNLINK, True) in held
        assert ("0x00000001@127.0.0.2", Side.DOWNLINK, False) in held
        assert {e.reason for e in events if isinstance(e, SessionDown)} == {EndReason.DELETED}

    def test_registration(self, pcap, shared):
        """23 sessions, no User ID in any: nobody is named."""
        want = rows(shared, "expected_sessions.csv", REGISTRATION)
        tracker, events = follow(pcap / REGISTRATION)
        ups = [e.session for e in events if isinstance(e, SessionUp)]
        assert [s.ue_ipv4 for s in ups] == [r["ue_ipv4"] for r in want]
        assert not any(e.session.identity for e in events)
        deleted = Counter(e.session.ue_ipv4 for e in events if isinstance(e, SessionDown))
        assert set(deleted) >= {r["ue_ipv4"] for r in want if r["deleted"]}
        assert set(deleted.values()) == {1}
        assert not tracker.counters["pfcp_other_seid"]

    @pytest.mark.parametrize("file", ["open5gs__testattach.pcapng", "nextepc__srsenb.pcapng"])
    def test_4g_cores_that_name_nobody_over_pfcp(self, pcap, shared, file):
        """Their IMSI is in GTPv2-C; PFCP has the address and the tunnels of the SGW-U and PGW-U."""
        _, events = follow(pcap / file)
        known = {r["imsi"] for r in rows(shared, "expected_sessions.csv", file)} | {""}
        assert {e.session.identity.imsi for e in events} <= known
        ues = {e.session.ue_ipv4 for e in events if e.session.ue_ipv4}
        assert ues == {r["ue_ipv4"] for r in rows(shared, "expected_sessions.csv", file)}


class TestDamage:
    """Fuzzed and mutated PFCP ends in events or counters, never in an exception."""

    def test_a_fuzzers_capture(self, pcap):
        tracker, events = follow(pcap / "scapy__pfcp.pcap")
        assert tracker.counters["pfcp_messages"] > 50
        assert not any(e.session.identity.imsi for e in events)

    def test_mutations_of_real_exchanges(self, pcap):
        rng = random.Random(8805)
        real = [d for f in SIGNALLED for _, d, _ in datagrams(pcap / f) if d.payload[1] >= 50]
        tracker, at_s = PfcpTracker(), 0.0
        for _ in range(6_000):
            d = rng.choice(real)
            raw = bytearray(d.payload)
            for _ in range(rng.randint(1, 6)):
                match rng.randrange(4):
                    case 0:
                        del raw[rng.randrange(len(raw)) :]
                    case 1:
                        raw += rng.randbytes(rng.randint(1, 9))
                    case _ if raw:
                        raw[rng.randrange(len(raw))] = rng.choice((0, 1, 4, 0x7F, 0xFF, rng.randrange(256)))
                if not raw:
                    break
            at_s += 0.01
            tracker.feed(bytes(raw), (d.src, d.sport), (d.dst, d.dport), at_s)
        kinds = {name for name, n in tracker.counters.items() if n}
        assert kinds >= {"pfcp_messages", "pfcp_truncated", "pfcp_bad_length", "pfcp_bad_version"}

    def test_every_element_with_every_small_content(self):
        """An element is read or refused, whatever it holds: random contents, each type that we know, nested too."""
        rng = random.Random(141)
        tracker, outcomes = PfcpTracker(), Counter()
        groups = (Type.CREATE_PDR, Type.PDI, Type.CREATE_FAR, Type.FORWARDING_PARAMETERS, Type.CREATE_TRAFFIC_ENDPOINT)
        for number in range(20_000):
            raw = ie(rng.choice(list(Type)), rng.randbytes(rng.choice((0, 1, 2, 3, 5, 9, 18, 22, 40))))
            for _ in range(rng.randint(0, 2)):
                raw = ie(rng.choice(groups), raw)
            header = bytes([0x21, 50]) + (12 + len(raw)).to_bytes(2, "big") + bytes(8)
            whole = header + number.to_bytes(3, "big") + b"\0" + raw
            before = sum(tracker.counters[n] for n in REFUSALS)
            tracker.feed(whole, ("192.0.2.1", PORT), ("192.0.2.2", PORT), number / 100)
            refused = sum(tracker.counters[n] for n in REFUSALS) > before
            outcomes["refused" if refused else "read"] += 1
        assert min(outcomes["refused"], outcomes["read"]) > 1_000
