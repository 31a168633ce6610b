"""Signalling from a mirrored interface (N4, S11, S5/S8, Gn, N2, RADIUS): a packet socket, reassembly, the trackers.

The socket has a filter in the kernel (`nf.signalling.filter`), so that a port that carries other traffic as well costs
nothing. It is made in the network namespace of the caller. Reading goes on when an interface went down and is back.

The kernel takes the outermost VLAN tag off before a socket sees a frame; nothing here needs it.
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
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import Any

from gtp.events import Notice, SessionEvent
from nf.errors import AttachRefused
from nf.signalling.filter import assembled
from nf.signalling.trackers import Signalling

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


def _open(ifname: str, bare: bool) -> socket.socket:
    """Return a socket for frames of one interface that pass the filter, whatever their destination; on "", for none."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: nothing before it is bound
    if not ifname:
        return raw
    try:
        code = array.array("B", assembled(bare))
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
    """The listener to the signalling on one interface; *on_events* is called in the listener's thread."""

    def __init__(
        self,
        ifname: str,
        on_events: Callable[[list[SessionEvent]], None],
        signalling: Signalling | None = None,
        now_s: Callable[[], float] = time.time,
        on_notices: Callable[[list[Notice]], None] = lambda told: None,
        *,
        bare: bool = False,
    ) -> None:
        """Open the socket. *bare*: the device's packets have no Ethernet header, as those of a TUN."""
        self.ifname, self._now_s = ifname, now_s
        self.signalling = signalling or Signalling()
        self._on_events, self._on_notices = on_events, on_notices
        self._bare = bare
        self._read = self.signalling.bare if bare else self.signalling.frame
        self._stop = threading.Event()
        self._feeding = threading.Lock()  # the trackers change
        self._turn = threading.Lock()  # frames are read, and not all that they changed is told yet
        self._counted: Counter[str] = Counter()
        self._socket = self._opened(ifname)
        self._next: socket.socket | None = None  # the socket after it: the thread changes them
        self._thread = threading.Thread(target=self._run, name=f"n4-{ifname}", daemon=True)

    def _opened(self, ifname: str) -> socket.socket:
        try:
            raw = _open(ifname, self._bare)
            self.ifindex = socket.if_nametoindex(ifname) if ifname else 0
        except OSError as error:
            raise AttachRefused(
                f"Cannot listen on {ifname}: {error.strerror}.", "Bring it up and run as root."
            ) from None
        return raw

    def move(self, ifname: str, *, bare: bool = False) -> None:
        """Listen on another device from now on, on "" to none; sessions and counts go on. Raises AttachRefused."""
        if ifname:
            self._bare, self._read = bare, self.signalling.bare if bare else self.signalling.frame
        fresh = self._opened(ifname)
        self.ifname = ifname or self.ifname
        late, self._next = self._next, fresh
        if late is not None:
            late.close()

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

    def dump(self) -> dict[str, Any]:
        """Return the PFCP sessions, as `PfcpTracker.dump`, while nothing is read."""
        with self._feeding:
            return self.signalling.pfcp.dump()

    @property
    def turn(self) -> AbstractContextManager[bool]:
        """A lock that keeps frames from being read: meanwhile all that was read is told."""
        return self._turn

    def associations(self) -> dict[tuple[str, str], int]:
        """Return how many sessions each two associated PFCP nodes have, while nothing is read."""
        with self._feeding:
            return self.signalling.pfcp.associations()

    def purge(self, imsi: str, keys: Collection[str]) -> None:
        """Forget a subscriber, and the sessions that have *keys*, while nothing is read."""
        with self._feeding:
            self.signalling.purge(imsi, keys)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()
        if self._next is not None:
            self._next.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._next is not None:
                self._socket.close()
                self._socket, self._next = self._next, None
            ready, _, _ = select.select([self._socket], [], [], _POLL_S)
            if not ready:
                continue
            with self._turn:
                events: list[SessionEvent] = []
                try:
                    with self._feeding:
                        for _ in range(_BURST):
                            frame = self._socket.recv(65_535, socket.MSG_DONTWAIT)
                            self._counted["n4_frames"] += 1
                            events += self._read(frame, self._now_s())
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
