"""PFCP from a mirrored N4 interface: a packet socket, reassembly, the tracker."""

from __future__ import annotations

import logging
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable

from gtp.events import SessionEvent
from gtp.ip import UdpReader
from gtp.pfcp.message import PORT
from gtp.pfcp.tracker import PfcpTracker
from nf.errors import AttachRefused

__all__ = ["N4Listener"]

log = logging.getLogger(__name__)

_ETH_P_ALL = 3  # linux/if_ether.h
_SOL_PACKET, _ADD_MEMBERSHIP, _MR_PROMISC = 263, 1, 1  # linux/if_packet.h
_RECEIVE_BUFFER = 8 << 20  # 2,000 session events of 2 kB each second, held for two seconds
_POLL_S = 0.2


class N4Listener:
    """Follows the signalling on one interface; *on_events* is called in the listener's thread."""

    def __init__(self, ifname: str, on_events: Callable[[list[SessionEvent]], None]) -> None:
        self.ifname = ifname
        self.tracker, self.udp = PfcpTracker(), UdpReader()
        self._on_events = on_events
        self._stop = threading.Event()
        self._received = 0
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            self._socket.bind((ifname, _ETH_P_ALL))
            index = socket.if_nametoindex(ifname)
            self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, struct.pack("iHH8s", index, _MR_PROMISC, 0, b""))
        except OSError as error:
            raise AttachRefused(
                f"Cannot listen on {ifname}: {error.strerror}.", "Bring it up and run as root."
            ) from None
        self._thread = threading.Thread(target=self._run, name=f"n4-{ifname}", daemon=True)

    @property
    def counters(self) -> Counter[str]:
        """Frames received, and what the reassembly and the tracker counted."""
        return Counter({"n4_frames": self._received}) + self.udp.counters + self.tracker.counters

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
            try:
                frame = self._socket.recv(65_535)
            except OSError:  # the interface went away
                log.warning("%s: no longer readable, its sessions are not followed", self.ifname)
                return
            self._frame(frame)

    def _frame(self, frame: bytes) -> None:
        self._received += 1
        at_s = time.time()
        for d in self.udp.feed(frame, at_s):
            if PORT in (d.sport, d.dport):
                events = self.tracker.feed(d.payload, (d.src, d.sport), (d.dst, d.dport), at_s)
                if events:
                    self._on_events(events)
