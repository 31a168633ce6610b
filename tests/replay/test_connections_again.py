"""Two connections on the same ports in a capture: a row for each, and each byte once in the records."""

from __future__ import annotations

import numpy as np
import pytest
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from tests.kernel.test_connections import connection, inner_octets
from tests.kernel.ways import Way

BEGIN_S = 1_760_000_000
INSIDE, OUTSIDE = Way(False, 0, True, False), Way(False, 0, False, False)
SPANS = ((0, 9_000, 77), (5_000, 1_000, 5_000))  # the second number is the lower one


@pytest.fixture
def capture(tmp_path):
    def write(*ways):
        frames = []
        for span in SPANS:
            for n, way in enumerate(ways):
                frames += [(at_ms / 1e3 + n / 1e3, frame) for at_ms, frame in connection(way, *span)]
        packets = []
        for at_s, frame in sorted(frames):
            packet = Ether(frame)
            packet.time = BEGIN_S + at_s
            packets.append(packet)
        path = tmp_path / "again.pcap"
        wrpcap(str(path), packets)
        return path

    return write


def due(way):
    return [sum(inner_octets(way, frame) for _, frame in connection(way, *span)) for span in SPANS]


class TestRows:
    """A row from each SYN on."""

    @pytest.mark.parametrize("way", [INSIDE, OUTSIDE], ids=["gtpu", "plain"])
    def test_each_connection_has_one(self, replay, capture, way):
        rows = replay(capture(way)).flows

        assert [r["ipbytes_fwd"] + r["ipbytes_rev"] for r in rows] == due(way)
        assert [(r["retrans_fwd"], r["retrans_rev"]) for r in rows] == [(0, 0), (0, 0)]
        assert [r["rtt_handshake_ms"] for r in rows] == [30.0, 30.0]
        assert [r["rtt_min_ms"] for r in rows] == [30.0, 30.0]

    def test_each_leg_of_each_has_one_and_the_records_count_them_once(self, replay, capture):
        replayed = replay(capture(INSIDE, OUTSIDE))
        records = sum(int(np.sum(b.columns["ul_bytes"]) + np.sum(b.columns["dl_bytes"])) for b in replayed.batches)

        assert sorted(r["ipbytes_fwd"] + r["ipbytes_rev"] for r in replayed.flows) == sorted(2 * due(OUTSIDE))
        assert records == sum(due(OUTSIDE))
