"""The floor program: it does what it says, on the frames that ours gets."""

from __future__ import annotations

import pytest
from scapy.contrib.gtp import GTP_U_Header
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from bench import rig
from bench.floor import Floor
from nf.kernel import syscall

XDP_ABORTED, XDP_DROP = 0, 1  # include/uapi/linux/bpf.h


@pytest.fixture
def floor():
    floor = Floor(64)
    yield floor
    floor.close()


class TestFloor:
    """Flows by inner 5-tuple, their packets and their inner bytes."""

    def test_packets_and_inner_octets_are_counted_by_flow(self, floor):
        run = syscall.TestRun(floor.fd, 512)
        frames = [rig.udp_frame(300), rig.udp_frame(300), rig.tcp_frame(200)]

        assert [run(frame) for frame in frames] == [XDP_DROP] * 3

        octets = sum(Ether(frame)[GTP_U_Header][IP].len for frame in frames)
        assert floor.sums() == (2, 3, octets)

    def test_each_part_of_the_key_makes_another_flow(self, floor):
        run = syscall.TestRun(floor.fd, 512)
        frames = [Ether(rig.udp_frame()) for _ in range(5)]
        inner = [frame[GTP_U_Header][IP] for frame in frames]
        inner[1].src, inner[2].dst = "10.45.0.3", "192.0.2.81"
        inner[3][UDP].sport, inner[4][UDP].dport = 40_001, 444

        for frame in frames:
            run(bytes(frame))
        run(rig.tcp_frame())

        assert floor.sums()[0] == 6

    @pytest.mark.parametrize(
        ("at", "byte"), [(12, 0x86), (14, 0x46), (23, 6), (36, 0), (42, 0x30), (43, 1), (53, 0), (58, 0x60)]
    )
    def test_what_is_no_user_data_in_ipv4_is_not_counted(self, floor, at, byte):
        frame = bytearray(rig.udp_frame())
        frame[at] = byte

        assert syscall.TestRun(floor.fd, 512)(bytes(frame)) == XDP_ABORTED
        assert floor.sums() == (0, 0, 0)

    def test_a_short_frame_is_not_read(self, floor):
        assert syscall.TestRun(floor.fd, 512)(rig.udp_frame()[:81]) == XDP_ABORTED

    def test_a_table_without_the_flows_is_no_figure(self, floor):
        with pytest.raises(RuntimeError, match="Only 0 of 64 flows"):
            floor.check(64)
