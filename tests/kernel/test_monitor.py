"""The monitor port sees what the policies let it see: whole, cut, without the tunnel, or not at all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from nf.kernel.syscall import TestRun
from nf.settings import Action, Mode, Monitor, Role
from tests.kernel.packets import GNB, SERVER, SERVER6, UE, UE6, UPF
from tests.kernel.rig import Rig

DROP, PASS, REDIRECT = 1, 2, 4  # enum xdp_action of linux/bpf.h
APP = 7
MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
INNER = IP(src=UE, dst=SERVER) / TCP(sport=40000, dport=443, flags="PA") / Raw(bytes(range(200)))
INNER6 = IPv6(src=UE6, dst=SERVER6) / UDP(sport=40000, dport=443) / Raw(bytes(100))

Send = Callable[[bytes], tuple[int, bytes]]


def tunnelled(inner: object, *tags: object, flags: str = "") -> bytes:
    """Return an uplink frame with *inner* in a tunnel."""
    outer = Ether(**MACS)
    for tag in tags:
        outer /= tag
    head = outer / IP(src=GNB, dst=UPF, flags=flags) / UDP(sport=2152, dport=2152)
    return bytes(head / GTP_U_Header(teid=1, gtp_type=255, E=1, next_ex=0x85) / GTPPDUSessionContainer(QFI=9) / inner)


def bare(inner: object) -> bytes:
    """Return the frame that a network without tunnels would carry."""
    return bytes(Ether(**MACS) / inner)


@pytest.fixture
def monitored(rig: Rig):
    """Return a function that turns the monitor on for the replayed port; it ends with the test."""

    def on(decapsulate: bool = False) -> Send:
        rig.plane.set_monitor(Monitor("lo", decapsulate))
        rig.plane.take_test_runs()
        rig._moved()
        return TestRun(rig.plane.program(Role.N3), 4096).output

    yield on
    rig.plane.set_monitor(None)
    rig.plane.take_test_runs()
    rig._moved()


def name_flows(rig: Rig) -> None:
    """Give every flow the application APP from its next packet on."""
    keys, flows = rig.plane.read_flows()
    rig.plane.put_verdicts(keys, flows["number"], np.full(len(keys), APP, np.uint16), np.ones(len(keys), np.bool_))


class TestWhole:
    """An inspected packet goes to the monitor as it came, or as it would be without its tunnel."""

    @pytest.mark.parametrize("inner", [INNER, INNER6], ids=["ipv4", "ipv6"])
    @pytest.mark.parametrize("tags", [(), (Dot1Q(vlan=5),)], ids=["plain", "vlan"])
    def test_a_frame_is_sent_as_it_came(self, rig, monitored, inner, tags):
        frame = tunnelled(inner, *tags)

        assert monitored()(frame) == (REDIRECT, frame)

        moved = rig._moved()
        assert (moved["monitor_packets"], moved["monitor_octets"], moved["redirected"]) == (1, len(frame), 1)
        assert "monitor_saved" not in moved
        assert "dropped" not in moved

    @pytest.mark.parametrize("inner", [INNER, INNER6], ids=["ipv4", "ipv6"])
    @pytest.mark.parametrize("tags", [(), (Dot1Q(vlan=5),)], ids=["plain", "vlan"])
    @pytest.mark.parametrize("padding", [0, 9])
    def test_a_frame_is_sent_without_its_tunnel(self, rig, monitored, inner, tags, padding):
        frame = tunnelled(inner, *tags) + bytes(padding)

        assert monitored(decapsulate=True)(frame) == (REDIRECT, bare(inner))

        moved = rig._moved()
        assert moved["monitor_octets"] == len(bare(inner))
        assert moved["monitor_saved"] == len(frame) - len(bare(inner))

    def test_the_first_fragment_of_a_tunnel_packet_keeps_it(self, rig, monitored):
        frame = tunnelled(INNER, flags="MF")

        assert monitored(decapsulate=True)(frame) == (REDIRECT, frame)


class TestPolicy:
    """The policy of the application says how much the monitor gets, from the next packet on."""

    @pytest.mark.parametrize("snap", [64, 100, 65_535])
    @pytest.mark.parametrize("decapsulate", [False, True])
    def test_truncate_cuts_to_the_snap_length(self, rig, monitored, snap, decapsulate):
        send, frame = monitored(decapsulate), tunnelled(INNER)
        send(frame)
        name_flows(rig)
        rig.plane.set_policies({APP: (Action.TRUNCATE, snap)})
        rig._moved()

        expected = (bare(INNER) if decapsulate else frame)[:snap]
        assert send(frame) == (REDIRECT, expected)

        moved = rig._moved()
        assert moved["monitor_octets"] == len(expected)
        assert moved.get("monitor_saved", 0) == len(frame) - len(expected)
        assert moved["counted_octets"] == len(INNER)

    @pytest.mark.parametrize("action", [Action.COUNT, Action.SUPPRESS])
    def test_count_and_suppress_send_nothing(self, rig, monitored, action):
        send, frame = monitored(), tunnelled(INNER)
        send(frame)
        name_flows(rig)
        rig.plane.set_policies({APP: (action, 0)})
        rig._moved()

        assert send(frame)[0] == DROP

        moved = rig._moved()
        assert moved["monitor_saved"] == len(frame)
        assert (moved["dropped"], moved["counted"]) == (1, 1)

    def test_what_is_of_no_flow_is_not_sent(self, rig, monitored):
        echo = bytes(Ether(**MACS) / IP(src=GNB, dst=UPF) / UDP(sport=2152, dport=2152) / GTP_U_Header(gtp_type=1, S=1))

        assert monitored()(echo)[0] == DROP
        assert rig._moved()["monitor_saved"] == len(echo)

    def test_signalling_goes_to_this_host(self, rig, monitored):
        n4 = bytes(Ether(**MACS) / IP(src=GNB, dst=UPF) / UDP(sport=8805, dport=8805) / Raw(bytes(20)))

        assert monitored()(n4)[0] == PASS


class TestOff:
    """Nothing of this happens without a monitor, or in the other modes."""

    def test_a_mirror_port_drops(self, rig):
        rig.run(tunnelled(INNER))
        assert rig.run(tunnelled(INNER)).verdict == "drop"
        assert "monitor_saved" not in rig.run(tunnelled(INNER)).counters

    def test_a_local_port_passes(self, rig, monitored):
        send = monitored()
        with rig.mode(Mode.LOCAL):
            assert send(tunnelled(INNER)) == (PASS, tunnelled(INNER))
        rig._moved()
