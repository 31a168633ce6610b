"""Signalling from a mirrored interface (N4, S11, S5/S8, Gn): a packet socket, reassembly, the trackers.

The socket has a classic BPF filter, so that a port that carries other traffic as well costs nothing:
the UDP ports of `nf.signalling` and all fragments (the later ones have no ports), behind up to three VLAN tags. It is
made in the network namespace of the caller. An interface that goes down and comes back is read on.
"""

from __future__ import annotations

import array
import logging
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable

from gtp.events import Notice, SessionEvent
from gtp.sctp import SCTP
from nf.errors import AttachRefused
from nf.signalling import PORTS, Signalling

__all__ = ["N4Listener"]

log = logging.getLogger(__name__)

_ETH_P_ALL = 3  # linux/if_ether.h
_SOL_PACKET, _ADD_MEMBERSHIP, _STATISTICS, _MR_PROMISC = 263, 1, 6, 1  # linux/if_packet.h
_IGNORE_OUTGOING = 23  # the same, Linux 4.20
_LOOPBACK = 772  # ARPHRD_LOOPBACK, linux/if_arp.h
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_RECEIVE_BUFFER = 8 << 20  # 2,000 session events of 2 kB each second, held for two seconds
_POLL_S = 0.2
_BURST = 64  # frames that are read before their events are told: the tables change for all at once

# Instructions of classic BPF (linux/filter.h): class, size and mode in one.
_LDH_ABS, _LDH_IND, _LDB_IND, _LDX_IMM = 0x28, 0x48, 0x50, 0x01
_AND, _LSH, _ADD, _ADD_X, _TAX, _TXA = 0x54, 0x64, 0x04, 0x0C, 0x07, 0x87
_JA, _JEQ, _JSET, _RET = 0x05, 0x15, 0x45, 0x06
_VLANS, _IPV4, _IPV6 = (0x8100, 0x88A8, 0x9100), 0x0800, 0x86DD
_UDP, _FRAGMENT, _EXTENSIONS = 17, 44, (0, 43, 60, 135)  # as gtp.ip reads them


def _program() -> list[tuple[int, int, str, str]]:
    """Return the filter as (instruction, operand, label if true, label if false); X is where the IP header is."""
    code: list[tuple[int, int, str, str]] = []

    def add(op: int, k: int = 0, yes: str = "", no: str = "") -> None:
        code.append((op, k, yes, no))

    def label(name: str) -> None:
        code.append((-1, 0, name, ""))

    for tags in range(4):
        label(f"tags{tags}")
        add(_LDH_ABS, 12 + 4 * tags)
        add(_LDX_IMM, 14 + 4 * tags)
        for kind in _VLANS if tags < 3 else ():
            add(_JEQ, kind, f"tags{tags + 1}")
        add(_JA, 0, "ip")
    label("ip")
    add(_JEQ, _IPV4, "ipv4")
    add(_JEQ, _IPV6, "ipv6", "drop")
    label("ipv4")
    add(_LDB_IND, 9)
    add(_JEQ, SCTP, "fragment4", "")
    add(_JEQ, _UDP, "", "drop")
    label("fragment4")
    add(_LDH_IND, 6)
    add(_JSET, 0x3FFF, "accept")  # more fragments, or an offset
    add(_LDB_IND, 0)
    for op, k in ((_AND, 15), (_LSH, 2), (_ADD_X, 0), (_TAX, 0)):
        add(op, k)
    add(_JA, 0, "ports")
    label("ipv6")
    add(_LDB_IND, 6)
    for kind in (_FRAGMENT, *_EXTENSIONS):
        add(_JEQ, kind, "accept")  # seldom: the reader looks behind them
    add(_JEQ, SCTP, "ports6", "")
    add(_JEQ, _UDP, "", "drop")
    label("ports6")
    for op, k in ((_TXA, 0), (_ADD, 40), (_TAX, 0)):
        add(op, k)
    label("ports")
    for at in (0, 2):
        add(_LDH_IND, at)
        for port in PORTS:
            add(_JEQ, port, "accept")
    label("drop")
    add(_RET, 0)
    label("accept")
    add(_RET, 0xFFFF_FFFF)
    return code


def _assembled() -> bytes:
    """Return the filter as `struct sock_filter[]`."""
    places: dict[str, int] = {}
    code: list[tuple[int, int, str, str]] = []
    for op, k, yes, no in _program():
        if op == -1:
            places[yes] = len(code)
        else:
            code.append((op, k, yes, no))
    out = b""
    for at, (op, k, yes, no) in enumerate(code):
        true, false = (places[name] - at - 1 if name else 0 for name in (yes, no))
        out += struct.pack("=HBBI", op, 0, 0, true) if op == _JA else struct.pack("=HBBI", op, true, false, k)
    return out


def _open(ifname: str) -> socket.socket:
    """Return a socket that receives what passes the filter on one interface, whoever it is for."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: nothing before it is bound
    try:
        code = array.array("B", _assembled())
        address, size = code.buffer_info()
        raw.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", size // 8, address))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        raw.bind((ifname, _ETH_P_ALL))
        if raw.getsockname()[3] == _LOOPBACK:  # there a frame goes out and comes in: it is read once
            raw.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        index = socket.if_nametoindex(ifname)
        raw.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, struct.pack("iHH8s", index, _MR_PROMISC, 0, b""))
    except OSError:
        raw.close()
        raise
    return raw


class N4Listener:
    """Follows the signalling on one interface; *on_events* is called in the listener's thread."""

    def __init__(
        self,
        ifname: str,
        on_events: Callable[[list[SessionEvent]], None],
        signalling: Signalling | None = None,
        on_notices: Callable[[list[Notice]], None] = lambda told: None,
    ) -> None:
        self.ifname = ifname
        self.signalling = signalling or Signalling()
        self._on_events, self._on_notices = on_events, on_notices
        self._stop = threading.Event()
        self._counted: Counter[str] = Counter()
        try:
            self._socket = _open(ifname)
        except OSError as error:
            raise AttachRefused(
                f"Cannot listen on {ifname}: {error.strerror}.", "Bring it up and run as root."
            ) from None
        self._thread = threading.Thread(target=self._run, name=f"n4-{ifname}", daemon=True)

    @property
    def counters(self) -> Counter[str]:
        """Frames received and lost, and what the reassembly and the trackers counted."""
        try:
            statistics = self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 8)  # reading sets them to zero
            self._counted["n4_frames_dropped"] += struct.unpack("@II", statistics)[1]
        except OSError:
            pass  # closed
        total: Counter[str] = Counter()
        for counted in (self._counted, self.signalling.counters):
            total.update(dict(counted))  # of a copy: the thread may be adding a name
        return total

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            ready, _, _ = select.select([self._socket], [], [], _POLL_S)
            if not ready:
                continue
            events: list[SessionEvent] = []
            try:
                for _ in range(_BURST):
                    frame = self._socket.recv(65_535, socket.MSG_DONTWAIT)
                    self._counted["n4_frames"] += 1
                    events += self.signalling.frame(frame, time.time())
            except BlockingIOError:
                pass
            except OSError as error:  # it went down, and may come back
                self._counted["n4_interface_down"] += 1
                log.warning("%s: %s; its sessions are not followed while it is so", self.ifname, error.strerror)
                self._stop.wait(_POLL_S)
            self._tell(events)

    def _tell(self, events: list[SessionEvent]) -> None:
        try:
            if events:
                self._on_events(events)
            if told := self.signalling.notices():
                self._on_notices(told)
        except Exception:
            # The sessions that follow must not be lost with these.
            self._counted["n4_events_lost"] += len(events)
            log.exception("%s: session events were lost", self.ifname)
