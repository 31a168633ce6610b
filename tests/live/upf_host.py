"""A UPF's host in one namespace, and what is around it in another: each frame is made and counted by the test.

    gnb ==veth== n3 | the UPF | n6 ==veth== dn        n3, n6 and n4 are copied both ways to t3, t6 and t4,
    smf ==veth== n4 |         | ogstun                the TUN to t-tun: ports of a probe, as `tc ... mirred` feeds them
                                                          n3, n6 and n4 all to span: one port of a switch

The UPF is the test: what comes out of a tunnel leaves by the TUN or by n6, under its own address or a translated one,
and back. Packets are of subscribers only where `UpfHost.up` and `UpfHost.down` say so.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from gtp.events import Identity
from gtp.gtpu import encode_gpdu
from gtp.pfcp import build
from gtp.pfcp.build import SessionPlan
from lab.net import Net, inside
from nf.settings import StaticSession

__all__ = ["ADDRESS_N6", "SERVER", "SERVER6", "UES", "Ue", "UpfHost", "conversation", "upf_host"]

TUN_SET_IFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000  # include/uapi/linux/if_tun.h
GNB, ADDRESS_N3, ADDRESS_N6, DN = "10.100.3.1", "10.100.3.10", "10.100.6.10", "10.100.6.1"
SMF, ADDRESS_N4 = "10.100.4.1", "10.100.4.10"
SERVER, SERVER6 = "198.51.100.7", "2001:db8:7::1"
LINK = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")  # of no device here: this host's stack drops it
BEGUN = 3_900_000_000  # of SMF and UPF, in seconds of NTP
FIRST_PORT = 61_000  # the first port that translation gives


@dataclass(frozen=True)
class Ue:
    """A subscriber: IPv4 by PFCP, IPv6 by configuration."""

    number: int
    address: str

    @property
    def imsi(self) -> str:
        """An IMSI of the test network 001/01 (ITU-T E.212)."""
        return f"00101{self.number:010d}"

    @property
    def uplink(self) -> tuple[str, int]:
        """The UPF's end of the tunnel."""
        return ADDRESS_N3, 0xA0 + self.number

    @property
    def downlink(self) -> tuple[str, int]:
        """The gNB's end of the tunnel."""
        return GNB, 0xB0 + self.number

    @property
    def plan(self) -> SessionPlan:
        """The session as the SMF plans it."""
        return SessionPlan(SMF, self.number, Identity(imsi=self.imsi), self.address, self.uplink, self.downlink)

    @property
    def configured(self) -> StaticSession:
        """The session as an operator configures it."""
        version = "ue_ipv6" if ":" in self.address else "ue_ipv4"
        ends = {"uplink": (self.uplink,), "downlink": (self.downlink,), version: self.address}
        return StaticSession(f"ue{self.number}", imsi=self.imsi, **ends)  # type: ignore[arg-type]


UES = (Ue(1, "10.45.0.2"), Ue(2, "10.45.0.3"), Ue(3, "2001:db8:45:3::2"))


def conversation(ue: Ue) -> Iterator[tuple[bool, Packet]]:
    """Yield what a UE sends (True) and receives: TCP, UDP and an echo, of lengths that no other UE has."""
    version, server, pings = (
        (IPv6, SERVER6, (ICMPv6EchoRequest, ICMPv6EchoReply))
        if ":" in ue.address
        else (IP, SERVER, (lambda **f: ICMP(type=8, **f), lambda **f: ICMP(type=0, **f)))
    )
    up, down = version(src=ue.address, dst=server), version(src=server, dst=ue.address)
    ask, answer = {"sport": 40000, "dport": 9999}, {"sport": 9999, "dport": 40000}
    yield True, up / TCP(**ask, flags="S", seq=100)
    yield False, down / TCP(**answer, flags="SA", seq=500, ack=101)
    yield True, up / TCP(**ask, flags="PA", seq=101, ack=501) / bytes(100 + ue.number)
    yield False, down / TCP(**answer, flags="A", seq=501, ack=201 + ue.number) / bytes(1000 + ue.number)
    yield True, up / TCP(**ask, flags="A", seq=201 + ue.number, ack=1501 + ue.number)
    for number in range(1, 4):
        yield True, up / UDP(sport=40001, dport=9998) / bytes(10 * number + ue.number)
        yield False, down / UDP(sport=9998, dport=40001) / bytes(300 * number + ue.number)
    yield True, up / pings[0](id=7) / bytes(56 + ue.number)
    yield False, down / pings[1](id=7) / bytes(56 + ue.number)


class UpfHost:
    """The devices, and the UPF between them. ``truth`` has what each UE sent and received, in inner bytes."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.translated = False  # IPv4, as an installation by the book does it; IPv6 is routed
        self.truth: dict[Ue, Counter[str]] = {}
        self.received: Counter[str] = Counter()  # frames that each device received,
        self.sent: Counter[str] = Counter()  # and sent
        self._ports: dict[tuple[str, str, int], int] = {}
        net.add("host", "around")
        net.veth(("host", "m-span"), ("host", "span"))
        self.path = net.path("host")
        self.sockets: dict[str, socket.socket] = {}
        for far, near, copy in (("gnb", "n3", "t3"), ("dn", "n6", "t6"), ("smf", "n4", "t4")):
            net.veth(("around", far), ("host", near))
            self._copied(near, copy)
            for hook in ("ingress", "egress"):
                every = "protocol all u32 match u32 0 0 action mirred egress mirror dev m-span continue"
                net.run("host", "tc", *f"filter add dev {near} {hook} {every}".split())
            self.sockets |= {far: self._open("around", far), near: self._open("host", near)}
        net.ip("host", f"address add {ADDRESS_N3}/24 dev n3", f"address add {ADDRESS_N6}/24 dev n6")
        with inside(self.path):
            self.tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self.tun, TUN_SET_IFF, struct.pack("16sH22x", b"ogstun", IFF_TUN | IFF_NO_PI))
        net.ip("host", "link set ogstun up")
        self._copied("ogstun", "t-tun")
        self.sockets["ogstun"] = self._open("host", "ogstun")

    def _copied(self, device: str, copy: str) -> None:
        self.net.veth(("host", f"m-{copy}"), ("host", copy))
        self.net.mirror("host", device, f"m-{copy}")

    def _open(self, namespace: str, device: str) -> socket.socket:
        made = self.net.call(namespace, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
        made.bind((device, 0))
        return made

    def close(self) -> None:
        """Close what is open; the devices go with their namespaces."""
        for made in self.sockets.values():
            made.close()
        os.close(self.tun)

    def begin(self, *, translated: bool = False) -> None:
        """Forget what was, for another test."""
        self.translated = translated
        self.truth = {ue: Counter() for ue in UES}
        self.received.clear()
        self.sent.clear()
        self._ports.clear()

    # -- packets ------------------------------------------------------------

    def around(self, device: str, packet: Packet) -> None:
        """Bring a packet to the UPF's *device*, which receives it."""
        peer = {"n3": "gnb", "n6": "dn", "n4": "smf"}[device]
        self.sockets[peer].send(bytes(LINK / packet))
        self._passed(device, received=True)

    def leaves(self, device: str, packet: Packet) -> None:
        """Send a packet from the UPF's host by *device*."""
        self.sockets[device].send(bytes(LINK / packet))
        self._passed(device, received=False)

    def _passed(self, device: str, *, received: bool) -> None:
        self.received[device] += received
        self.sent[device] += not received
        self.received["t-tun" if device == "ogstun" else f"t{device[1:]}"] += 1
        self.received["span"] += device != "ogstun"

    def up(self, ue: Ue, packet: Packet) -> None:
        """Send a packet of *ue*: through its tunnel, the TUN, and on by N6."""
        self.truth[ue].update(ul_bytes=len(packet), ul_packets=1)
        tunnel = encode_gpdu(ue.uplink[1], bytes(packet), 9, uplink=True)
        self.around("n3", IP(src=GNB, dst=ADDRESS_N3) / UDP(sport=2152, dport=2152) / tunnel)
        os.write(self.tun, bytes(packet))
        self._passed("ogstun", received=True)
        self.leaves("n6", self._on_n6(packet, uplink=True))

    def down(self, ue: Ue, packet: Packet) -> None:
        """Send a packet of the data network to *ue*."""
        self.truth[ue].update(dl_bytes=len(packet), dl_packets=1)
        self.around("n6", self._on_n6(packet, uplink=False))
        version = socket.htons(0x86DD if IPv6 in packet else 0x0800)
        self.sockets["ogstun"].sendto(bytes(packet), ("ogstun", socket.ntohs(version)))
        self._passed("ogstun", received=False)
        assert os.read(self.tun, 2048) == bytes(packet)
        tunnel = encode_gpdu(ue.downlink[1], bytes(packet), 9, uplink=False)
        self.leaves("n3", IP(src=ADDRESS_N3, dst=GNB) / UDP(sport=2152, dport=2152) / tunnel)

    def _on_n6(self, packet: Packet, *, uplink: bool) -> Packet:
        """Return the packet as N6 has it: the UE's end under the host's address and a port of its own (RFC 3022)."""
        if not self.translated or IPv6 in packet:
            return packet
        address, port = ("src", "sport") if uplink else ("dst", "dport")
        made = packet.copy()
        ip, transport = made[IP], made[IP].payload
        end = getattr(ip, address), transport.name, getattr(transport, port, 0)
        given = self._ports.setdefault(end, FIRST_PORT + len(self._ports))
        setattr(ip, address, ADDRESS_N6)
        if port in transport.fields:
            setattr(transport, port, given)
        else:
            transport.id = given
        del ip.chksum, transport.chksum
        return made

    def of_the_host(self) -> int:
        """Put packets of no subscriber on N6: of the host, its router and a neighbour; return how many."""
        time = IP(src=ADDRESS_N6, dst="192.0.2.123") / UDP(sport=123, dport=123) / bytes(48)
        routing = IP(src=DN, dst="224.0.0.5", ttl=1, proto=89) / bytes(44)
        neighbour = IPv6(src="2001:db8:6::1", dst="2001:db8:6::10", hlim=255) / ICMPv6ND_NS(tgt="2001:db8:6::10")
        self.leaves("n6", time)
        self.around("n6", IP(src="192.0.2.123", dst=ADDRESS_N6) / UDP(sport=123, dport=123) / bytes(48))
        self.around("n6", routing)
        self.around("n6", neighbour)
        return 4

    # -- signalling ---------------------------------------------------------

    def announce(self, ues: tuple[Ue, ...]) -> None:
        """Associate SMF and UPF, and establish the sessions."""
        self._n4(build.association_request(1, SMF, BEGUN), build.association_response(1, ADDRESS_N4, BEGUN))
        for ue in ues:
            seid, sequence = 0x100 + ue.number, 1 + ue.number
            response = build.establishment_response(sequence, ue.number, ADDRESS_N4, seid)
            self._n4(build.establishment_request(sequence, ue.plan), response)

    def _n4(self, request: bytes, response: bytes) -> None:
        self.around("n4", IP(src=SMF, dst=ADDRESS_N4) / UDP(sport=8805, dport=8805) / request)
        self.leaves("n4", IP(src=ADDRESS_N4, dst=SMF) / UDP(sport=8805, dport=8805) / response)


@contextlib.contextmanager
def upf_host() -> Iterator[UpfHost]:
    """Make the namespaces and be inside that of the UPF."""
    with Net() as net:
        made = UpfHost(net)
        try:
            with inside(made.path):
                yield made
        finally:
            made.close()
