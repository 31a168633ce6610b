"""An inline pair on veth devices: what it redirects arrives, whatever the far ends can do, or the loss is counted.

    gnb ==veth== n3 | the function | n6 ==veth== dn        far ends in namespaces of their own, as in containers
    near3 ==veth== h3 | the function | h6 ==veth== near6   far ends in the namespace of the function

A veth takes redirected frames natively only while its far end has a queue for them, which GRO asks for.
"""

from __future__ import annotations

import json
import logging
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from scapy.contrib.gtp import GTP_U_Header
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from lab.net import Net, inside
from mgmt.cli.run import state_of
from nf.errors import AttachRefused, BadSettings
from nf.kernel import btf
from nf.kernel.dataplane import DataPlane
from nf.service import Service
from nf.settings import Action, Export, Interface, Limits, Mode, Monitor, Role, Settings, XdpMode
from tests.live.conftest import wait_until

SMALL = Limits(flows=1024, sessions=64)
FRAMES, SOME = 1000, 100  # each way
WINDOW = 50  # frames under way; the ring of a veth holds 256 (VETH_RING_SIZE of drivers/net/veth.c)
ETH_ALL = 3  # ETH_P_ALL of include/uapi/linux/if_ether.h
TO, FROM = "02:00:00:00:00:01", "02:00:00:00:00:02"
N3 = Interface("n3", Role.N3, Mode.INLINE, peer="n6")
N6 = Interface("n6", Role.N6, Mode.INLINE, peer="n3")
H3 = Interface("h3", Role.N3, Mode.INLINE, peer="h6")
H6 = Interface("h6", Role.N6, Mode.INLINE, peer="h3")
ELSEWHERE = {"n3": ("gnb", "gnb"), "n6": ("dn", "dn"), "mon": ("dn", "dpi")}
ENDS = {**ELSEWHERE, "h3": ("host", "near3"), "h6": ("host", "near6")}  # port to namespace and device of its far end
MARK = b"frame of the test "
CHILD = """
from nf.kernel.dataplane import DataPlane
from tests.live.test_pairs import N3, N6, SMALL
plane = DataPlane(SMALL)
plane.attach(N3)
plane.attach(N6)
print(plane.losses_seen, *(a.xdp_mode for a in plane.attached.values()))
plane.close()
"""


OUTER = Ether(src=FROM, dst=TO) / IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=2152, dport=2152)
OF_UE = IP(src="10.45.0.1", dst="198.51.100.7") / UDP(sport=40000, dport=9999) / Raw(MARK + bytes(4))
TO_UE = IP(src="198.51.100.7", dst="10.45.0.1") / UDP(sport=9999, dport=40000) / Raw(MARK + bytes(4))
UPLINK, DOWNLINK = bytes(OUTER / GTP_U_Header(teid=1) / OF_UE), bytes(Ether(src=TO, dst=FROM) / TO_UE)


def numbered(frame: bytes, numbers: range) -> list[bytes]:
    """Return a copy of the frame for each number, which ends its payload."""
    return [frame[:-4] + struct.pack("!I", number) for number in numbers]


KILLED = """
import sys, time
from nf.kernel.dataplane import DataPlane
from tests.live import test_pairs
plane = DataPlane(test_pairs.SMALL)
for name in sys.argv[1:]:
    plane.attach(getattr(test_pairs, name))
print("ready", flush=True)
time.sleep(60)
"""


class Ground:
    """The namespaces, the devices, a packet socket at each far end, and one data plane."""

    def __init__(self, net: Net) -> None:
        self.net = net
        net.add("host", "gnb", "dn")
        self.sockets: dict[str, socket.socket] = {}
        for port, (namespace, far) in ENDS.items():
            net.veth(("host", port), (namespace, far))
            with inside(net.path(namespace)):
                self.sockets[port] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_ALL))
                self.sockets[port].bind((far, ETH_ALL))

    def gro(self, port: str, on: bool) -> None:
        """Switch GRO at the far end of a port."""
        namespace, far = ENDS[port]
        self.net.run(namespace, "ethtool", "-K", far, "gro", "on" if on else "off")

    def has_gro(self, port: str) -> bool:
        namespace, far = ENDS[port]
        shown = self.net.run(namespace, "ethtool", "-k", far)
        (line,) = (x for x in shown.splitlines() if x.startswith("generic-receive-offload:"))
        return line.split()[1] == "on"

    def link(self, port: str, state: str) -> None:
        """Set the far end of a port up or down."""
        namespace, far = ENDS[port]
        self.net.ip(namespace, f"link set {far} {state}")
        self.sockets[port].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # takes the error that it was down

    def send(self, port: str, frames: list[bytes]) -> None:
        """Send frames from the far end of a port to it."""
        for frame in frames:
            self.sockets[port].send(frame)

    def cross(self, one: str, two: str, count: int = SOME) -> int:
        """Send numbered frames each way through the pair; return how many did not come out on the other side."""
        return self._one_way(one, two, UPLINK, count) + self._one_way(two, one, DOWNLINK, count)

    def _one_way(self, one: str, two: str, frame: bytes, count: int) -> int:
        lost = 0
        self.sockets[two].settimeout(10)
        for first in range(0, count, WINDOW):
            numbers = range(first, min(first + WINDOW, count))
            self.send(one, numbered(frame, numbers))
            missing = set(numbers)
            while missing and (got := self._receive(two)):
                if MARK in got:
                    missing.discard(struct.unpack_from("!I", got, got.index(MARK) + len(MARK))[0])
            lost += len(missing)
        return lost

    def _receive(self, port: str) -> bytes:
        try:
            return self.sockets[port].recv(2048)
        except TimeoutError:
            return b""

    def programs(self) -> list[str]:
        """Return the devices of the function's namespace that carry a program."""
        shown = json.loads(self.net.run("host", "ip", "-json", "link"))
        return [d["ifname"] for d in shown if "xdp" in d]


@pytest.fixture(scope="module")
def made() -> Iterator[tuple[Ground, DataPlane]]:
    """One set of devices and programs for all tests of the file."""
    with Net() as net:
        ground = Ground(net)
        with inside(net.path("host")):
            plane = DataPlane(SMALL)
            try:
                yield ground, plane
            finally:
                plane.close()
                for s in ground.sockets.values():
                    s.close()


@pytest.fixture
def ground(made) -> Ground:
    """Far ends that are up, without GRO."""
    for port in ENDS:
        made[0].gro(port, False)
        made[0].link(port, "up")
    return made[0]


@pytest.fixture
def plane(made, ground) -> Iterator[DataPlane]:
    """The data plane with nothing attached."""
    yield made[1]
    made[1].set_monitor(None)
    for name in list(made[1].attached):
        made[1].detach(name)


def modes(plane: DataPlane) -> list[str]:
    return [attached.xdp_mode for attached in plane.attached.values()]


def redirected(plane: DataPlane, name: str) -> tuple[int, int]:
    counters = plane.read_counters(name)
    return counters["redirected"], counters["redirect_lost"]


class TestArrival:
    """Every frame arrives: natively where the far ends take it, else by the way of the stack's frames."""

    def test_natively_with_gro_at_both_far_ends(self, ground, plane):
        ground.gro("n3", True)
        ground.gro("n6", True)

        plane.attach(N3)
        plane.attach(N6)

        assert modes(plane) == ["native", "native"]
        assert ground.cross("n3", "n6", FRAMES) == 0
        assert redirected(plane, "n3") == redirected(plane, "n6") == (FRAMES, 0)

    def test_gro_is_switched_on_at_far_ends_that_are_here_and_off_again_afterwards(self, ground, plane):
        plane.attach(H3)
        plane.attach(H6)

        assert modes(plane) == ["native", "native"]
        assert ground.has_gro("h3")
        assert ground.has_gro("h6")
        assert ground.cross("h3", "h6") == 0
        plane.detach("h3")
        plane.detach("h6")

        assert not ground.has_gro("h3")
        assert not ground.has_gro("h6")

    def test_in_generic_mode_when_the_far_ends_are_elsewhere_and_without_gro(self, ground, plane, caplog):
        plane.attach(N3)
        plane.attach(N6)

        assert modes(plane) == ["generic", "generic"]
        assert "n6 takes no frames that a driver redirects" in plane.attached["n3"].why
        assert "n3: XDP generic, because n6 takes no frames that a driver redirects" in caplog.text
        before = redirected(plane, "n3")[0], redirected(plane, "n6")[0]
        assert ground.cross("n3", "n6", FRAMES) == 0
        assert redirected(plane, "n3") == (before[0] + FRAMES, 0)
        assert redirected(plane, "n6") == (before[1] + FRAMES, 0)

    def test_each_direction_has_the_mode_that_it_needs(self, ground, plane):
        ground.gro("n3", True)

        plane.attach(N3)
        plane.attach(N6)

        assert modes(plane) == ["generic", "native"]  # n3 sends to n6, whose far end has no GRO
        assert ground.cross("n3", "n6") == 0

    def test_a_pair_that_must_be_native_is_refused(self, ground, plane):
        plane.attach(replace(N3, xdp=XdpMode.NATIVE))
        with pytest.raises(AttachRefused, match=r"n3 would lose all .* gro on, at the far end of n6; or set xdp-mode"):
            plane.attach(replace(N6, xdp=XdpMode.NATIVE))

        assert ground.programs() == ["n3"]
        assert list(plane.attached) == ["n3"]

    def test_a_change_that_is_refused_changes_nothing(self, ground, plane):
        ports = [replace(i, mode=Mode.LOCAL, peer="", xdp=XdpMode.NATIVE) for i in (N3, N6)]
        for port in ports:
            plane.attach(port)
        with pytest.raises(AttachRefused, match="n3 would lose all"):
            plane.change(replace(N3, xdp=XdpMode.NATIVE))

        assert [attached.interface for attached in plane.attached.values()] == ports


class TestLife:
    """Far ends, partners and cables change while packets pass."""

    def test_a_far_end_that_loses_its_gro_is_seen_by_the_loss(self, ground, plane, caplog):
        ground.gro("n3", True)
        ground.gro("n6", True)
        plane.attach(N3)
        plane.attach(N6)

        ground.gro("n6", False)
        ground.send("n3", numbered(UPLINK, range(WINDOW)))
        wait_until(lambda: redirected(plane, "n3") == (WINDOW, WINDOW), "all of them are lost, and counted")
        plane.look()

        assert modes(plane) == ["generic", "native"]
        assert plane.attached["n3"].moves == 1
        assert "n3: XDP generic" in caplog.text
        assert ground.cross("n3", "n6") == 0
        assert redirected(plane, "n3")[1] == WINDOW

    def test_it_is_native_again_when_the_far_end_has_gro_again(self, ground, plane):
        plane.attach(N3)
        plane.attach(N6)
        ground.gro("n6", True)
        plane.look()

        assert modes(plane) == ["native", "generic"]
        assert ground.cross("n3", "n6") == 0

    def test_a_pair_gets_another_partner(self, ground, plane):
        ground.gro("n3", True)
        plane.attach(N3)
        plane.attach(N6)
        plane.attach(H6)
        assert plane.attached["n3"].xdp_mode == "generic"

        plane.change(replace(N3, peer="h6"))
        plane.change(replace(H6, peer="n3"))

        assert plane.attached["n3"].xdp_mode == "native"
        assert ground.cross("n3", "h6") == 0

        plane.change(N3)
        plane.change(N6)

        assert plane.attached["n3"].xdp_mode == "generic"
        assert ground.cross("n3", "n6") == 0

    def test_a_partner_without_a_carrier_is_tried_when_it_has_one(self, ground, plane):
        ground.link("n6", "down")
        plane.attach(N3)
        plane.attach(N6)
        plane.look()
        assert plane.attached["n3"].xdp_mode == "native"

        ground.link("n6", "up")
        plane.look()

        assert plane.attached["n3"].xdp_mode == "generic"
        assert ground.cross("n3", "n6") == 0

    def test_swapped_programs_count_losses_on(self, ground, plane):
        ground.gro("n6", True)
        plane.attach(N3)
        plane.attach(N6)
        plane.swap()

        ground.gro("n6", False)
        ground.send("n3", numbered(UPLINK, range(WINDOW)))

        wait_until(lambda: redirected(plane, "n3") == (WINDOW, WINDOW), "what is lost is counted")


class TestCrash:
    """A killed process leaves its pair working, and the pair ends with the process that takes over."""

    @pytest.mark.parametrize(("ports", "mode"), [((N3, N6), "generic"), ((H3, H6), "native")])
    def test_the_mode_is_kept_and_the_far_ends_are_as_before_in_the_end(self, ground, ports, mode):
        words = [sys.executable, "-c", KILLED, *(port.name.upper() for port in ports)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            child.kill()
        one, two = (port.name for port in ports)
        assert ground.cross(one, two) == 0  # while no process runs

        plane = DataPlane(SMALL)
        try:
            for port in ports:
                plane.attach(port)
            assert plane.taken_over
            assert modes(plane) == [mode, mode]
            assert [bool(a.why) for a in plane.attached.values()] == [mode == "generic"] * 2
            assert ground.cross(one, two) == 0
        finally:
            plane.close()

        assert ground.programs() == []
        assert not ground.has_gro(one)
        assert not ground.has_gro(two)


class TestBlind:
    """A driver whose losses cannot be seen is told of once, and the kernel's word of the driver decides."""

    def test_without_btf_the_driver_is_asked(self, ground, plane, monkeypatch, tmp_path, caplog):
        monkeypatch.setattr(btf, "VMLINUX", tmp_path / "vmlinux")
        monkeypatch.setattr(plane._ports, "redirects", type(plane._ports.redirects)(plane._programs))
        monkeypatch.setattr(plane._ports._pairs, "_redirects", plane._ports.redirects)

        plane.attach(N3)
        plane.attach(N6)

        assert not plane.losses_seen
        assert caplog.text.count("frames that are redirected and lost cannot be counted") == 1
        assert modes(plane) == ["generic", "generic"]
        assert ground.cross("n3", "n6") == 0

    def test_four_capabilities_are_enough_to_see(self, ground):
        kept = "-all,+bpf,+net_admin,+perfmon,+net_raw"
        words = ["setpriv", f"--bounding-set={kept}", "--inh-caps=-all", sys.executable, "-c", CHILD]

        done = subprocess.run(words, capture_output=True, text=True, check=False)

        assert done.stdout.split() == ["True", "generic", "generic"], done.stderr


class TestMonitor:
    """A copy that the monitor port does not take is told apart from those that it got."""

    @pytest.mark.parametrize(("gro", "lost"), [(True, 0), (False, WINDOW)])
    def test_copies_are_lost_at_a_far_end_without_gro(self, ground, plane, caplog, gro, lost):
        ground.gro("mon", gro)
        plane.attach(Interface("n3", Role.N3))
        plane.set_monitor(Monitor("mon"))
        plane.set_policies({0: (Action.INSPECT, 0)})

        ground.send("n3", numbered(UPLINK, range(WINDOW)))

        def copies() -> tuple[int, int]:
            counters = plane.read_counters("n3")
            return counters["monitor_packets"], counters["monitor_lost"]

        wait_until(lambda: copies() == (WINDOW, lost), f"{WINDOW} copies, {lost} of them lost")
        assert ("mon: the monitor port takes no frames" in caplog.text) is not gro


class TestFunction:
    """The running function looks after its pairs by itself, and its state tells the truth."""

    SETTINGS = Settings(interfaces=(N3, N6), export=Export(endpoint="ipc:///tmp/snf-pairs.sock"))

    def test_a_pair_whose_far_end_lost_its_gro_moves_by_itself(self, ground):
        ground.gro("n3", True)
        ground.gro("n6", True)
        with Service() as service:
            service.apply(Settings(), self.SETTINGS)
            running = threading.Thread(target=service.run)
            running.start()
            try:
                before = state_of(service)["interfaces"]["n3"]
                ground.gro("n6", False)
                ground.send("n3", numbered(UPLINK, range(WINDOW)))
                wait_until(lambda: state_of(service)["interfaces"]["n3"]["attached_mode"] == "generic", "generic")
                after = state_of(service)["interfaces"]["n3"]
            finally:
                service.stop()
                running.join()

        assert (before["attached_mode"], before["losses_counted"]) == ("native", "true")
        assert "attached_mode_reason" not in before
        assert "n6 takes no frames" in after["attached_mode_reason"]
        counters = after["counters"]
        assert (counters["redirect_lost"], counters["moved_to_generic"]) == (WINDOW, 1)

    def test_a_commit_that_would_lose_everything_is_refused(self, ground):
        native = replace(self.SETTINGS, interfaces=tuple(replace(i, xdp=XdpMode.NATIVE) for i in (N3, N6)))
        with Service() as service:
            with pytest.raises(BadSettings, match="n3 would lose all") as refused:
                service.apply(Settings(), native)
            assert not service.plane.attached

        assert refused.value.path == "/ietf-interfaces:interfaces/interface[name='n6']"
        assert ground.programs() == []


@pytest.fixture(autouse=True)
def _told(caplog) -> None:
    caplog.set_level(logging.INFO)
