"""The N4 listener on a real interface: what reaches the tracker, what the filter keeps away, and how it ends."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, fragment6
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.packet import Raw

from gtp.events import Identity, SessionUp
from gtp.pfcp import build
from gtp.pfcp.build import SessionPlan
from lab.wait import comes_true, slowness
from nf.errors import AttachRefused
from nf.signalling.tap import N4Listener
from tests.gtp.gtpc_says import S1U_SGW, S11_MME, S11_SGW, bearer, create_request, create_response
from tests.signalling.wires import wait_for_carrier

IMSI = "001010000000001"
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
PLAN = SessionPlan("192.0.2.1", 11, Identity(imsi=IMSI), "10.45.0.2", ("192.0.2.10", 0xA1), ("192.0.2.20", 0xB2))
REQUEST = build.establishment_request(1, PLAN)
RESPONSE = build.establishment_response(1, 11, "192.0.2.10", 22)
V4, V4_BACK = IP(src="192.0.2.1", dst="192.0.2.10", id=5), IP(src="192.0.2.10", dst="192.0.2.1", id=6)
N4 = UDP(sport=8805, dport=8805)
WAIT_S = 20.0


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Wire:
    """A veth pair: frames go in at one end, the listener sits at the other."""

    def __init__(self):
        self.near, self.far = f"n4a{os.getpid()}", f"n4b{os.getpid()}"
        ip("link", "add", self.near, "type", "veth", "peer", "name", self.far)
        for end in (self.near, self.far):
            Path(f"/proc/sys/net/ipv6/conf/{end}/disable_ipv6").write_text("1")  # no frames of the host's own
            ip("link", "set", end, "up")
        wait_for_carrier(self.near, self.far)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._socket.bind((self.far, 0))

    def send(self, *frames):
        for frame in frames:
            self._socket.send(bytes(frame))

    def close(self):
        self._socket.close()
        subprocess.run(["ip", "link", "del", self.near], check=False, capture_output=True)


class Heard:
    """Events as they come, from the listener's thread."""

    def __init__(self):
        self.events = []
        self._came = threading.Condition()

    def __call__(self, events):
        with self._came:
            self.events += events
            self._came.notify_all()

    def wait(self, number):
        with self._came:
            self._came.wait_for(lambda: len(self.events) >= number, WAIT_S * slowness())
        return self.events


@pytest.fixture
def wire():
    wire = Wire()
    yield wire
    wire.close()


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def listener(wire, heard):
    listener = N4Listener(wire.near, heard)
    listener.start()
    yield listener
    listener.stop()


def exchange(before=ETHER):
    return before / V4 / N4 / Raw(REQUEST), before / V4_BACK / N4 / Raw(RESPONSE)


class TestHears:
    """Every form in which PFCP arrives becomes the session that it announces."""

    @pytest.mark.parametrize(
        "tags",
        [(), (Dot1Q(vlan=7),), (Dot1AD(vlan=7), Dot1Q(vlan=8)), (Dot1AD(vlan=7), Dot1Q(vlan=8), Dot1Q(vlan=9))],
        ids=["untagged", "vlan", "qinq", "three-tags"],
    )
    def test_behind_tags(self, wire, listener, heard, tags):
        before = ETHER
        for tag in tags:
            before = before / tag
        before_s = time.time()
        wire.send(*exchange(before))
        (event,) = heard.wait(1)
        assert isinstance(event, SessionUp)
        assert event.session.identity.imsi == IMSI
        assert before_s <= event.at_s <= time.time()

    def test_in_fragments(self, wire, listener, heard):
        """Fragments without ports come too, which a filter for the port alone would not let through."""
        request, response = exchange(ETHER)
        parts = fragment(request, fragsize=64)
        assert len(parts) > 3
        wire.send(*parts, response)
        assert len(heard.wait(1)) == 1
        assert listener.counters["reassembled"] == 1, "the response fits"

    def test_over_ipv6_with_options_and_fragments(self, wire, listener, heard):
        there = ETHER / IPv6(src="2001:db8::1", dst="2001:db8::10")
        back = ETHER / IPv6(src="2001:db8::10", dst="2001:db8::1")
        wire.send(*fragment6(there / IPv6ExtHdrFragment(id=1) / N4 / Raw(REQUEST), 200))
        wire.send(back / IPv6ExtHdrHopByHop() / N4 / Raw(RESPONSE))
        assert len(heard.wait(1)) == 1

    def test_from_another_port_of_the_smf(self, wire, listener, heard):
        """A request may come from any port; its response goes there (6.4, 4.2.2)."""
        wire.send(ETHER / V4 / UDP(sport=40000, dport=8805) / Raw(REQUEST))
        wire.send(ETHER / V4_BACK / UDP(sport=8805, dport=40000) / Raw(RESPONSE))
        assert len(heard.wait(1)) == 1

    def test_gtp_c_as_well(self, wire, listener, heard):
        """S11 on the same port as N4: GTPv2-C names the subscriber."""
        ask = create_request(1, bearer(5), sender=(S11_MME, 1, "192.0.2.1"), imsi=IMSI)
        ends = bearer(5, (S1U_SGW, 0xA1, "192.0.2.10"), answer=16)
        answer = create_response(1, 1, ends, sender=(S11_SGW, 2, "192.0.2.10"))
        wire.send(ETHER / V4 / UDP(sport=40364, dport=2123) / Raw(ask))
        wire.send(ETHER / V4_BACK / UDP(sport=2123, dport=40364) / Raw(answer))
        (event,) = heard.wait(1)
        assert (event.session.source, event.session.identity.imsi) == ("gtp-c", IMSI)

    @pytest.mark.parametrize("over", [V4, IPv6(src="2001:db8::1", dst="2001:db8::10")])
    def test_ngap_on_sctp_reaches_its_tracker(self, wire, listener, over):
        chunk = SCTPChunkData(beginning=1, ending=1, proto_id=60, data=b"no such message!")
        wire.send(ETHER / over / SCTP(dport=38412) / chunk, ETHER / over / SCTP(dport=5000) / chunk)
        comes_true(lambda: listener.counters["n4_frames"] and listener.counters["ngap_malformed"], WAIT_S)
        assert (listener.counters["ngap_malformed"], listener.counters["n4_frames"]) == (1, 1)


class TestFilter:
    """Frames that are not signalling are not even read."""

    def test_other_traffic_stays_in_the_kernel(self, wire, listener, heard):
        wire.send(
            ETHER / V4 / UDP(sport=2152, dport=2152) / Raw(b"user data"),
            ETHER / V4 / TCP(sport=8805, dport=8805),
            ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=2152, dport=2152),
            ETHER / ARP(),
            ETHER / Dot1Q(vlan=3) / V4 / UDP(sport=53, dport=53),
            *exchange(),
        )
        heard.wait(1)
        assert listener.counters["n4_frames"] == 2


class TestTrouble:
    """The next good message works, whatever happens."""

    def test_bad_messages_are_counted(self, wire, listener, heard):
        wire.send(ETHER / V4 / N4 / Raw(b"\x20\x32\xff\xff\0\0\1\0"), *exchange())
        assert len(heard.wait(1)) == 1
        assert listener.counters["pfcp_bad_length"] == 1

    def test_an_interface_that_went_down_is_read_on_when_it_is_back(self, wire, listener, heard):
        ip("link", "set", wire.near, "down")
        comes_true(lambda: listener.counters["n4_interface_down"], WAIT_S)
        assert listener.counters["n4_interface_down"] == 1
        ip("link", "set", wire.near, "up")
        wait_for_carrier(wire.near, wire.far)
        wire.send(*exchange())
        assert len(heard.wait(1)) == 1

    def test_a_receiver_that_fails_loses_its_events_only(self, wire, caplog):
        calls = Heard()

        def fails_once(events):
            calls(events)
            if len(calls.events) == 1:
                raise RuntimeError("the table is full")

        listener = N4Listener(wire.near, fails_once)
        listener.start()
        wire.send(*exchange())
        calls.wait(1)
        second = SessionPlan(
            "192.0.2.1", 12, Identity(imsi=IMSI), "10.45.0.3", ("192.0.2.10", 0xA2), ("192.0.2.20", 0xB3)
        )
        wire.send(
            ETHER / V4 / N4 / Raw(build.establishment_request(2, second)),
            ETHER / V4_BACK / N4 / Raw(build.establishment_response(2, 12, "192.0.2.10", 23)),
        )
        assert len(calls.wait(2)) == 2
        listener.stop()
        assert listener.counters["n4_events_lost"] == 1
        assert IMSI not in caplog.text

    def test_an_interface_that_is_not_there_is_refused_with_a_sentence(self, heard):
        with pytest.raises(AttachRefused, match="Cannot listen on no-such-port") as caught:
            N4Listener("no-such-port", heard)
        assert caught.value.remedy

    def test_stop_ends_the_thread_and_may_be_asked_before_start(self, wire, heard):
        never = N4Listener(wire.near, heard)
        never.stop()
        once = N4Listener(wire.near, heard)
        once.start()
        once.stop()
        assert not [t for t in threading.enumerate() if t.name == f"n4-{wire.near}"]
        assert once.counters["n4_frames"] == 0


class TestLoopback:
    """A frame on loopback goes out and comes in; it is one message all the same (Open5GS: 127.0.0.4 and 127.0.0.7)."""

    def test_each_message_is_read_once(self):
        heard = Heard()
        listener = N4Listener("lo", heard)
        listener.start()
        smf, upf = ("127.0.0.4", 8805), ("127.0.0.7", 8805)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
        ):
            near.bind(smf)
            far.bind(upf)
            near.sendto(REQUEST, upf)
            far.sendto(RESPONSE, smf)
            (event,) = heard.wait(1)
            near.sendto(build.heartbeat_request(9, 1), upf)
            far.sendto(build.heartbeat_response(9, 1), smf)
            until = time.monotonic() + WAIT_S
            while listener.counters["pfcp_messages"] < 4 and time.monotonic() < until:
                time.sleep(0.01)
        listener.stop()
        assert isinstance(event, SessionUp)
        assert listener.signalling.counters["pfcp_messages"] == 4
        assert listener.signalling.counters["pfcp_retransmitted"] == 0
