"""The user plane of the lab: GTP-U on UDP 2152 to TUN devices, at the gNB and at the UPF.

A gNB has one TUN device a UE, in the UE's own namespace; the UPF has one for its whole address pool.
Both put a PDU Session Container with the QFI on each packet (TS 38.415: type 1 uplink, type 0
downlink) and pass every packet through a `Shaper`: at the gNB it is the radio, at the UPF the core.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
import time
from dataclasses import asdict
from typing import Any

from gtp import gtpu
from gtp.codec import CodecError
from lab.impair import CLEAN, Impairment, Shaper
from lab.loop import Loop
from lab.net import LabError, inside

__all__ = ["Bearer", "Gnb", "UpfPlane", "n3_socket", "open_tun"]

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x4004_54CA, 0x0001, 0x1000  # include/uapi/linux/if_tun.h
_BATCH = 64  # packets read from one file before the others get a turn
_MTU = 2048
_HEADER_BYTES = 16  # GTP-U with E, and a PDU Session Container of four bytes


def open_tun(namespace: str, device: str) -> int:
    """Attach to a TUN device (made by ``ip tuntap``) in the namespace at the path *namespace*."""
    with inside(namespace):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError as error:
        os.close(fd)
        raise LabError(f"TUN device {device} cannot be opened: {error.strerror}. Is CONFIG_TUN there?") from None
    return fd


def n3_socket(address: str) -> socket.socket:
    """Open the GTP-U port of an address in the present namespace."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    s.setblocking(False)
    s.bind((address, gtpu.PORT))
    return s


class Bearer:
    """One subscriber's traffic at one node: its way out, its way home, and the impairment of each.

    ``out`` leaves by GTP-U to ``peer`` with ``header``; ``home`` leaves by the TUN device.
    """

    def __init__(self, name: str, node: str, tun: int, seed: int) -> None:
        self.name, self.tun = name, tun
        self.out = Shaper(f"{seed}/{node}/{name}/out")
        self.home = Shaper(f"{seed}/{node}/{name}/home")
        self.socket: socket.socket | None = None
        self.peer = ("", gtpu.PORT)
        self.header = b""
        self.unsent = 0

    def route(self, sock: socket.socket, address: str, teid: int, *, qfi: int, uplink: bool) -> None:
        """Send from now on to the tunnel (*address*, *teid*)."""
        packet = gtpu.encode_gpdu(teid, b"", qfi=qfi, uplink=uplink)
        if len(packet) != _HEADER_BYTES:
            raise LabError(f"a G-PDU header of {len(packet)} bytes is not what the endpoint expects")
        self.socket, self.peer, self.header = sock, (address, gtpu.PORT), packet

    def send(self, inner: bytes) -> None:
        """Put an inner packet into the tunnel now."""
        if self.socket is None:
            self.unsent += 1
            return
        head = self.header
        length = (_HEADER_BYTES - 8 + len(inner)).to_bytes(2, "big")  # counts from byte eight (TS 29.281, 5.1)
        try:
            self.socket.sendto(head[:2] + length + head[4:] + inner, self.peer)
        except OSError:
            self.unsent += 1

    def deliver(self, inner: bytes) -> None:
        """Hand an inner packet to the stack behind the TUN device now."""
        try:
            os.write(self.tun, inner)
        except OSError:
            self.unsent += 1

    def stats(self) -> dict[str, Any]:
        """Return counts of packets by direction."""
        return {
            d: {"passed": s.passed, "lost": s.lost, "dropped": s.dropped}
            for d, s in (("out", self.out), ("home", self.home))
        } | {"unsent": self.unsent}


class _Plane:
    """The common part of gNB and UPF."""

    def __init__(self, loop: Loop, sockets: dict[str, socket.socket], seed: int) -> None:
        self.loop, self.sockets, self.seed = loop, sockets, seed
        self.by_teid: dict[tuple[str, int], Bearer] = {}  # (receiving address, TEID)
        self.bearers: dict[str, Bearer] = {}
        self.counters = {"unknown_teid": 0, "not_gpdu": 0, "malformed": 0, "end_marker": 0}
        for address, sock in sockets.items():
            loop.reader(sock.fileno(), lambda a=address, s=sock: self._from_n3(a, s))  # type: ignore[misc]

    def _from_n3(self, address: str, sock: socket.socket) -> None:
        receive, offer = sock.recv, self._offer
        for _ in range(_BATCH):
            try:
                datagram = receive(_MTU)
            except OSError:
                return
            found = self._decapsulate(address, datagram)
            if found:
                bearer, inner = found
                offer(bearer.home, bearer.deliver, inner)

    def _decapsulate(self, address: str, datagram: bytes) -> tuple[Bearer, bytes] | None:
        if len(datagram) < _HEADER_BYTES or datagram[0] != 0x34 or datagram[1] != gtpu.GPDU or datagram[12] != 1:
            return self._unusual(address, datagram)
        bearer = self.by_teid.get((address, int.from_bytes(datagram[4:8], "big")))
        if bearer is None:
            self.counters["unknown_teid"] += 1
            return None
        return bearer, datagram[_HEADER_BYTES:]

    def _unusual(self, address: str, datagram: bytes) -> tuple[Bearer, bytes] | None:
        """Decode the packets that the fast path does not know: other messages, other extension headers."""
        try:
            message = gtpu.decode(datagram)
        except CodecError:
            self.counters["malformed"] += 1
            return None
        bearer = self.by_teid.get((address, message.teid))
        if message.kind == gtpu.END_MARKER:
            self.counters["end_marker"] += 1
        elif message.kind != gtpu.GPDU:
            self.counters["not_gpdu"] += 1
        elif bearer is not None:
            return bearer, message.payload
        return None

    def _offer(self, shaper: Shaper, then: Any, inner: bytes) -> None:
        if shaper.impairment is CLEAN:
            then(inner)
            return
        when = shaper.offer(time.monotonic(), len(inner))
        if when is not None:
            self.loop.at(when, then, inner)

    def impair(self, name: str, direction: str, **how: float) -> dict[str, float]:
        """Set the impairment of a bearer; *direction* is out (into the tunnel) or home (out of it)."""
        shaper = {"out": self.bearers[name].out, "home": self.bearers[name].home}[direction]
        shaper.impairment = Impairment(**how)
        return asdict(shaper.impairment)

    def stats(self) -> dict[str, Any]:
        """Return counts by bearer, and of packets that belonged to none."""
        return {"bearers": {n: b.stats() for n, b in self.bearers.items()}, **self.counters}


class Gnb(_Plane):
    """Radio sites: each address of *sockets* is a gNB of its own; a UE is at one of them at a time."""

    def __init__(self, loop: Loop, sockets: dict[str, socket.socket], seed: int = 1) -> None:
        super().__init__(loop, sockets, seed)
        self._next_teid = {address: 0x100 * (i + 1) for i, address in enumerate(sockets)}

    def admit(self, name: str, tun: int) -> None:
        """Add a UE with its TUN device and no tunnel yet."""
        bearer = self.bearers[name] = Bearer(name, "gnb", tun, self.seed)
        self.loop.reader(tun, lambda: self._from_ue(bearer))

    def _from_ue(self, bearer: Bearer) -> None:
        tun, offer = bearer.tun, self._offer
        for _ in range(_BATCH):
            try:
                inner = os.read(tun, _MTU)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    self.loop.forget(tun)
                return
            offer(bearer.out, bearer.send, inner)

    def setup(self, name: str, site: str, upf: str, upf_teid: int, qfi: int) -> int:
        """Give the UE a tunnel from the gNB *site* to the UPF; returns the TEID for the downlink (TS 38.413, 8.2.1).

        A second call with another site is a handover: the old TEID works on until `release`.
        """
        teid = self._next_teid[site] = self._next_teid[site] + 1
        bearer = self.bearers[name]
        bearer.route(self.sockets[site], upf, upf_teid, qfi=qfi, uplink=True)
        self.by_teid[site, teid] = bearer
        return teid

    def release(self, site: str, teid: int) -> None:
        """Forget a tunnel of a gNB."""
        with contextlib.suppress(KeyError):
            del self.by_teid[site, teid]


class UpfPlane(_Plane):
    """The UPF's user plane: one N3 address, one TUN device towards N6."""

    def __init__(self, loop: Loop, address: str, sock: socket.socket, tun: int, seed: int = 1) -> None:
        super().__init__(loop, {address: sock}, seed)
        self.address, self.socket, self.tun = address, sock, tun
        self.by_ue: dict[bytes, Bearer] = {}
        self.counters["unknown_ue"] = 0
        loop.reader(tun, self._from_n6)

    def _from_n6(self) -> None:
        offer, by_ue = self._offer, self.by_ue
        for _ in range(_BATCH):
            try:
                inner = os.read(self.tun, _MTU)
            except OSError:
                return
            bearer = by_ue.get(inner[16:20])  # destination of IPv4
            if bearer is None:
                self.counters["unknown_ue"] += 1
            else:
                offer(bearer.out, bearer.send, inner)

    def session(self, name: str, ue: str, teid: int) -> None:
        """Take uplink packets of *teid* and downlink packets to the address *ue*."""
        bearer = self.bearers[name] = Bearer(name, "upf", self.tun, self.seed)
        self.by_teid[self.address, teid] = self.by_ue[socket.inet_aton(ue)] = bearer

    def towards(self, name: str, gnb: str, teid: int, qfi: int) -> None:
        """Send the downlink to a gNB; the tunnel it replaces gets an End Marker (TS 23.502, 4.9.1.2.2)."""
        bearer = self.bearers[name]
        if bearer.socket is not None:
            with contextlib.suppress(OSError):
                old = int.from_bytes(bearer.header[4:8], "big")
                self.socket.sendto(gtpu.encode(gtpu.Message(gtpu.END_MARKER, old)), bearer.peer)
        bearer.route(self.socket, gnb, teid, qfi=qfi, uplink=False)

    def remove(self, name: str) -> None:
        """End a session."""
        bearer = self.bearers.pop(name)
        self.by_ue = {k: b for k, b in self.by_ue.items() if b is not bearer}
        self.by_teid = {k: b for k, b in self.by_teid.items() if b is not bearer}
