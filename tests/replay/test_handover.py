"""A capture made for the purpose: a subscriber moves to another gNB tunnel under traffic."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import PcapWriter

from gtp.events import Identity
from gtp.gtpu import encode_gpdu
from gtp.pfcp import build
from gtp.pfcp.build import SessionPlan

SMF, UPF, GNB, NEW_GNB = "192.0.2.1", "192.0.2.10", "192.0.2.20", "192.0.2.21"
UE, SERVER = "10.45.0.2", "198.51.100.7"
PLAN = SessionPlan(SMF, 11, Identity(imsi="001010000000001"), UE, (UPF, 0xA1), (GNB, 0xB2))


class Film:
    """Frames with times, written to a capture."""

    def __init__(self, path):
        self.path, self.now_s, self.seq = path, 1_700_000_000.0, 1
        self._writer = PcapWriter(str(path), linktype=1, sync=True)

    def udp(self, src, dst, port, payload, after_s=0.01):
        self.now_s += after_s
        frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=src, dst=dst)
        frame = frame / UDP(sport=port, dport=port) / payload
        frame.time = self.now_s
        self._writer.write(frame)

    def n4(self, request, response):
        self.udp(SMF, UPF, 8805, request)
        self.udp(UPF, SMF, 8805, response)

    def traffic(self, packets, gnb, teid):
        for _ in range(packets):
            up = TCP(sport=40000, dport=443, flags="PA", seq=self.seq, ack=1) / (b"u" * 10)
            down = TCP(sport=443, dport=40000, flags="PA", seq=self.seq, ack=1) / (b"d" * 10)
            up, down = IP(src=UE, dst=SERVER) / up, IP(src=SERVER, dst=UE) / down
            self.seq += 10
            self.udp(gnb, UPF, 2152, encode_gpdu(0xA1, bytes(up), 9, uplink=True))
            self.udp(UPF, gnb, 2152, encode_gpdu(teid, bytes(down), 9, uplink=False))


@pytest.fixture
def film(tmp_path):
    film = Film(tmp_path / "handover.pcap")
    film.n4(build.establishment_request(1, PLAN), build.establishment_response(1, 11, UPF, 22))
    film.traffic(50, GNB, 0xB2)
    return film


def far_ends(replayed):
    """Return gNB and slice of the records with traffic, in their order, each once."""
    names = "t_ms", "gnb", "slice", "flows"
    rows = sorted(row for b in replayed.batches for row in zip(*(b.columns[n] for n in names), strict=True))
    return list(dict.fromkeys((gnb, slice_) for _, gnb, slice_, flows in rows if flows))


class TestHandover:
    """The flow and the name go on; no packet is anybody else's."""

    def test_to_another_tunnel_of_the_same_gnb(self, film, replay):
        film.n4(build.handover_request(2, 22, (GNB, 0xC3)), build.modification_response(2, 11))
        film.traffic(50, GNB, 0xC3)
        replayed = replay(film.path)

        (flow,) = (f for f in replayed.flows if f["gtpu"])
        assert (flow["pkts_fwd"], flow["pkts_rev"]) == (100, 100)
        assert flow["teid_rev"] == "0x000000b2|0x000000c3"
        assert flow["identity_source"] == "pfcp"
        assert replayed.result.counters["tunnel_unknown"] == 0
        assert {s for b in replayed.batches for s in b.columns["subscriber"] if len(s) == 32} == {flow["subscriber"]}

    def test_to_another_gnb(self, film, replay):
        film.n4(build.handover_request(2, 22, (NEW_GNB, 0xC3)), build.modification_response(2, 11))
        film.traffic(50, NEW_GNB, 0xC3)
        replayed = replay(film.path)

        flows = [f for f in replayed.flows if f["gtpu"]]
        assert sum(f["pkts_fwd"] + f["pkts_rev"] for f in flows) == 200
        assert len({f["subscriber"] for f in flows}) == 1
        assert replayed.result.counters["tunnel_unknown"] == 0

    def test_records_say_the_gnb_and_after_the_handover_the_new_one(self, film, replay):
        film.n4(build.handover_request(2, 22, (NEW_GNB, 0xC3)), build.modification_response(2, 11))
        film.now_s += 1
        film.traffic(50, NEW_GNB, 0xC3)

        assert far_ends(replay(film.path)) == [(GNB, "1"), (NEW_GNB, "1")]

    def test_without_signalling_packets_say_it(self, tmp_path, replay):
        film = Film(tmp_path / "alone.pcap")
        film.traffic(20, GNB, 0xB2)
        film.now_s += 1
        film.traffic(20, NEW_GNB, 0xC3)

        assert far_ends(replay(film.path)) == [(GNB, ""), (NEW_GNB, "")]

    def test_late_packets_of_the_old_tunnel_are_still_the_subscribers(self, film, replay):
        film.n4(build.handover_request(2, 22, (GNB, 0xC3)), build.modification_response(2, 11))
        film.traffic(2, GNB, 0xB2)
        replayed = replay(film.path)
        assert replayed.result.counters["tunnel_unknown"] == 0

    def test_traffic_before_its_signalling_is_attributed_afterwards(self, tmp_path, replay):
        film = Film(tmp_path / "late.pcap")
        film.traffic(5, GNB, 0xB2)
        film.n4(build.establishment_request(1, PLAN), build.establishment_response(1, 11, UPF, 22))
        film.traffic(5, GNB, 0xB2)
        (flow,) = (f for f in replay(film.path).flows if f["gtpu"])
        assert flow["identity_source"] == "pfcp"
        assert flow["pkts_fwd"] == 10

    def test_a_tunnel_given_to_another_ue_takes_nothing_along(self, film, replay):
        """The old UE's last packets carry its own address: they are not the new subscriber's."""
        other = SessionPlan(SMF, 12, Identity(imsi="001010000000002"), "10.45.0.3", (UPF, 0xA2), (GNB, 0xB2))
        film.n4(build.establishment_request(2, other), build.establishment_response(2, 12, UPF, 23))
        film.traffic(5, GNB, 0xB2)
        replayed = replay(film.path)
        first, second = (s for s in replayed.sessions)
        assert (first["ended_by"], second["ue_ipv4"]) == ("superseded", "10.45.0.3")
        assert replayed.result.counters["ue_mismatch"] > 0
        names = {f["subscriber"] for f in replayed.flows if f["gtpu"]}
        assert len([n for n in names if len(n) == 32]) == 1, "the new subscriber had no traffic at all"
