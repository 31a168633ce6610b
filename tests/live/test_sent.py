"""Packets that a port sends are read at its clsact hook: its beginning and end, others there, and the counts."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gtp.gtpu import encode_gpdu
from lab.net import Net, inside
from lab.wait import comes_true
from nf.errors import AttachRefused
from nf.kernel.dataplane import DataPlane
from nf.kernel.detach import detach
from nf.service import Service
from nf.settings import Export, Interface, Limits, Mode, Role, Settings, XdpMode
from tests.live.conftest import wait_until
from tests.live.upf_host import UES, UpfHost, upf_host

SMALL = Limits(flows=1024, sessions=64)
N3 = Interface("n3", Role.N3, Mode.LOCAL, sent=True)
TUN = Interface("ogstun", Role.N6, Mode.LOCAL, sent=True)
UE, SERVER = "10.45.0.2", "10.45.0.1"
WIRE_OF_THE_HOST = "ethtool -K n6 tso off gso on tx off"  # the stack joins, and cuts before the device
WIRE_OF_THE_UE = "ethtool -K eth0 tso off gso off tx off gro off"
WHAT = ("packets", "bytes")
PATTERN = bytes(range(256)) * 4096  # 1 MiB
SETTINGS = Settings(interfaces=(TUN,), export=Export(endpoint="ipc:///tmp/snf-sent.sock"))
CHILD = """
import sys
from pathlib import Path
from lab.net import child_of_the_lab
child_of_the_lab(sys.argv[1])
from nf.service import Service
from nf.settings import Settings
from nf.sessions.restart.statedir import hold
from tests.live.test_sent import SETTINGS
with hold(Path(sys.argv[2])) as held, Service(None, held) as service:
    service.apply(Settings(), SETTINGS)
    print("ready", flush=True)
    service.run()
"""


def tc(words: str) -> str:
    return subprocess.run(["tc", *words.split()], check=True, capture_output=True, text=True).stdout


def on_tc(device: str) -> str:
    """Return what tc(8) shows of the hooks of a device."""
    return tc(f"qdisc show dev {device}") + tc(f"filter show dev {device} egress")


@pytest.fixture
def host() -> Iterator[UpfHost]:
    """The UPF's host, whose devices have no qdisc of anybody."""
    with upf_host() as made:
        for device in ("n3", "n6", "n4", "ogstun"):
            tc(f"qdisc del dev {device} clsact")
        made.begin()
        yield made


@pytest.fixture
def plane(host: UpfHost) -> Iterator[DataPlane]:
    made = DataPlane(SMALL)
    yield made
    made.close()


class TestBeginsAndEnds:
    """The hook is there while the port is read both ways, and afterwards the device is as it was."""

    @pytest.mark.parametrize("port", [N3, TUN], ids=["Ethernet", "TUN"])
    def test_a_detach_leaves_nothing(self, plane: DataPlane, port: Interface) -> None:
        before = on_tc(port.name)
        plane.attach(port)
        during = on_tc(port.name)
        plane.detach(port.name)

        assert "clsact" in during
        assert "snf_tx_" in during
        assert on_tc(port.name) == before

    def test_a_change_begins_and_ends_it_in_place(self, plane: DataPlane) -> None:
        plane.attach(replace(N3, sent=False))
        before, program = on_tc("n3"), plane.attached["n3"].program_id
        assert plane.change(N3)
        assert "snf_tx_n3" in on_tc("n3")
        assert plane.change(replace(N3, role=Role.N6))
        assert "snf_tx_n6" in on_tc("n3")
        assert plane.change(replace(N3, sent=False))

        assert on_tc("n3") == before
        assert plane.attached["n3"].program_id == program

    def test_a_swap_of_the_programs_replaces_it(self, plane: DataPlane) -> None:
        plane.attach(N3)
        before = plane.attached["n3"].sent_id
        plane.swap()

        assert plane.attached["n3"].sent_id != before
        assert f"id {plane.attached['n3'].sent_id} " in tc("filter show dev n3 egress")


class TestOthers:
    """Filters and qdiscs of others stay, and what would hide packets from ours is refused."""

    def test_a_filter_behind_is_left_and_asked_next(self, host: UpfHost, plane: DataPlane) -> None:
        tc("qdisc add dev ogstun clsact")
        others = (
            "filter add dev ogstun egress prio 10 protocol all u32 match u32 0 0 action mirred egress mirror dev m-t6"
        )
        tc(others)
        before = on_tc("ogstun")
        plane.attach(TUN)
        host.down(UES[0], _packet())
        wait_until(lambda: plane.read_counters("ogstun")["counted"] == 1, "it is counted")
        mirrored = tc("-s filter show dev ogstun egress")
        plane.detach("ogstun")

        assert "Sent 128 bytes 1 pkt" in mirrored
        assert on_tc("ogstun") == before

    def test_a_filter_before_is_told(self, plane: DataPlane) -> None:
        tc("qdisc add dev n3 clsact")
        tc("filter add dev n3 egress prio 1 protocol all u32 match u32 0 0 flowid 1:1")
        before = on_tc("n3")
        with pytest.raises(AttachRefused, match="n3 has a filter of kind u32 of its own before all") as caught:
            plane.attach(N3)

        assert "tc filter show dev n3 egress" in caught.value.remedy
        assert on_tc("n3") == before
        assert not plane.attached

    def test_an_ingress_qdisc_in_its_place_is_told(self, plane: DataPlane) -> None:
        tc("qdisc add dev n3 ingress")
        before = on_tc("n3")
        with pytest.raises(AttachRefused, match="n3 has the qdisc ingress in the place of clsact") as caught:
            plane.attach(N3)

        assert "tc qdisc show" in caught.value.remedy
        assert on_tc("n3") == before

    def test_filters_that_are_of_several_devices_are_told(self, plane: DataPlane) -> None:
        tc("qdisc add dev n3 egress_block 22 clsact")
        before = on_tc("n3")
        with pytest.raises(AttachRefused, match=r"n3 shares its filters .* \(block 22\)") as caught:
            plane.attach(N3)

        assert "directions received" in caught.value.remedy
        assert on_tc("n3") == before

    def test_a_device_that_receives_what_it_sends_is_told(self, plane: DataPlane) -> None:
        with pytest.raises(AttachRefused, match="lo receives all that it sends") as caught:
            plane.attach(replace(N3, name="lo"))

        assert "directions received" in caught.value.remedy

    def test_who_takes_it_off_is_told_and_it_comes_again(self, host: UpfHost, tmp_path: object) -> None:
        with Service() as service:
            service.apply(Settings(), replace(SETTINGS, export=Export(endpoint=f"ipc://{tmp_path}/bus")))
            tc("qdisc del dev ogstun clsact")
            service.interfaces.look()

            wait_until(lambda: "snf_tx_bare" in on_tc("ogstun"), "it is there again")
        assert "clsact" not in on_tc("ogstun")


class TestLoopback:
    """On lo both directions are received: a gNB or an SMF on the host of the UPF."""

    def test_each_packet_is_counted_once(self, host: UpfHost, plane: DataPlane) -> None:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        plane.attach(Interface("lo", Role.MIXED, Mode.LOCAL))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("127.0.0.1", 0))
            for teid, up in ((UES[0].uplink[1], True), (UES[0].downlink[1], False)):
                sender.sendto(encode_gpdu(teid, bytes(_packet()), 9, uplink=up), ("127.0.0.7", 2152))
            sender.sendto(bytes(40), ("127.0.0.7", 8805))
        wait_until(lambda: plane.read_counters("lo")["signalling"] == 1, "all came")

        assert plane.read_counters("lo")["gtpu_gpdu"] == 2
        assert plane.sees(translated=True) == (True, True)


class TestKilled:
    """A process that is killed leaves it running; the next one goes on from there, and its stop leaves nothing."""

    def test_counts_go_on(self, host: UpfHost, tmp_path: object) -> None:
        before = on_tc("ogstun")
        words = [sys.executable, "-c", CHILD, host.path, str(tmp_path)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            host.down(UES[0], _packet())
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        left = on_tc("ogstun")
        host.down(UES[0], _packet())

        with Service() as service:
            assert service.plane.taken_over
            service.apply(Settings(), SETTINGS)
            taken = on_tc("ogstun")
            host.down(UES[0], _packet())
            wait_until(lambda: service.plane.read_counters("ogstun")["counted"] == 3, "all are counted")

        assert "snf_tx_bare" in left
        assert "snf_tx_bare" in taken
        assert on_tc("ogstun") == before

    def test_who_does_not_start_again_takes_it_back(self, host: UpfHost, tmp_path: object) -> None:
        before = on_tc("ogstun")
        words = [sys.executable, "-c", CHILD, host.path, str(tmp_path)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        (taken, *_) = detach(["ogstun"])

        assert taken.what[-1].endswith("on what it sends")
        assert on_tc("ogstun") == before

    def test_one_that_is_not_configured_any_more_is_taken_off(self, host: UpfHost, tmp_path: object) -> None:
        before = on_tc("ogstun")
        words = [sys.executable, "-c", CHILD, host.path, str(tmp_path)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        with Service() as service:
            service.apply(Settings(), replace(SETTINGS, interfaces=(replace(TUN, name="n6", sent=False),)))

            assert on_tc("ogstun") == before


class TestJoined:
    """Segments that the stack of the host joined count as the packets on the wire, as their receiver counts them."""

    @pytest.fixture
    def pair(self) -> Iterator[Net]:
        """A host and its UE, on a device that cuts no segments itself, so that its statistics are of the wire."""
        with Net() as net:
            net.add("host", "ue")
            net.veth(("host", "n6"), ("ue", "eth0"))
            net.ip("host", f"address add {SERVER}/24 dev n6")
            net.ip("ue", f"address add {UE}/24 dev eth0")
            net.run("host", *WIRE_OF_THE_HOST.split())
            net.run("ue", *WIRE_OF_THE_UE.split())
            yield net

    @pytest.mark.parametrize("role", [Role.N6, Role.N3], ids=["a UE's", "the host's own on N3"])
    def test_a_download_has_its_packets_and_bytes(self, pair: Net, role: Role) -> None:
        with inside(pair.path("host")):
            plane = DataPlane(SMALL)
            plane.attach(Interface("n6", role, Mode.LOCAL, xdp=XdpMode.GENERIC, sent=True))
            before = _passed(pair)
            listener = socket.create_server((SERVER, 5001))
            client = pair.call("ue", lambda: socket.create_connection((SERVER, 5001)))
            served, _ = listener.accept()
            sender = threading.Thread(target=lambda: (served.sendall(PATTERN), served.shutdown(socket.SHUT_WR)))
            sender.start()
            got = b"".join(iter(lambda: client.recv(1 << 16), b""))
            sender.join()
            assert got == PATTERN

            def all_there() -> bool:  # the last acknowledgement, or the neighbours' talk, may be under way
                moved, told = _passed(pair) - before, plane.read_counters("n6")
                return (told["frames"], told["octets"]) == (moved["packets"], moved["bytes"])

            agreed, counted = comes_true(all_there), plane.read_counters("n6")
            assert agreed, f"{_passed(pair) - before} is {counted}"
            assert counted["passed"] == counted["frames"]
            if role is Role.N6:
                segments = pair.run("ue", "nstat", "-asz", "TcpInSegs")
                packets = int(next(line.split()[1] for line in segments.splitlines() if "TcpInSegs" in line))
                flow = max(plane.read_flows()[1], key=lambda f: int(f["bytes"].sum()))
                down = 0 if flow["bytes"][0] > flow["bytes"][1] else 1
                # Each has 20 bytes of IP and 32 of TCP with its time stamps, the SYN 8 more (RFC 7323, 3.2; 9293).
                assert int(flow["packets"][down]) == packets
                assert int(flow["bytes"][down]) == _payload_sent(served) + 52 * packets + 8
            else:
                assert counted["not_gtpu"] + counted["not_ip"] == counted["frames"]
            for each in (client, served, listener):
                each.close()
            plane.close()


def _payload_sent(connection: socket.socket) -> int:
    """Return the octets that went out, those sent again too: tcpi_bytes_sent (include/uapi/linux/tcp.h)."""
    sent: int = struct.unpack_from("=Q", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 208), 200)[0]
    assert sent >= len(PATTERN)
    return sent


def _passed(pair: Net) -> Counter[str]:
    """Return the packets and bytes that the host's device moved both ways, by the kernel."""
    (told,) = json.loads(pair.run("host", "ip", "-json", "-stats", "link", "show", "n6"))
    return Counter({what: sum(told["stats64"][way][what] for way in ("rx", "tx")) for what in WHAT})


def _packet():  # type: ignore[no-untyped-def]
    from scapy.layers.inet import IP, UDP

    return IP(src="198.51.100.7", dst=UES[0].address) / UDP(sport=9998, dport=40001) / bytes(100)
