"""Numbered tunnel packets from a gNB to a UPF, through what is between their two ports: what arrived, and when."""

from __future__ import annotations

import socket
import struct
import threading
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from lab.net import inside
from lab.wait import comes_true
from tests.kernel.packets import SERVER, UE, ether, uplink

__all__ = ["INNER_BYTES", "Traffic"]

_MARK = b"snf-package-test"
INNER_BYTES = 20 + 8 + len(_MARK) + 8  # IPv4, UDP, mark and number
_GAP_S = 0.002  # between two packets
_ETH_P_IP = 0x0800
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; Python has no name for it
_BUFFER_BYTES = 16 << 20  # of the receiver: seconds that a busy host may let it wait


class Traffic:
    """A stream from one port to another, in another network namespace, while it is entered."""

    def __init__(self, namespace: Path, sender: str, receiver: str) -> None:
        with inside(namespace):
            self._out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self._out.bind((sender, 0))
            self._in = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self._in.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
            self._in.bind((receiver, _ETH_P_IP))
        self._in.settimeout(0.1)
        payload = Raw(_MARK + bytes(8))
        frame = ether(uplink(IP(src=UE, dst=SERVER) / UDP(sport=40_000, dport=9_999, chksum=0) / payload))
        self._head = frame[:-8]
        self._sent_s: list[float] = []
        self._arrived: list[tuple[int, float]] = []
        self._ended = threading.Event()
        self._sending = True
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._send, self._receive)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._ended.set()
        self._threads[1].join()
        self._out.close()
        self._in.close()

    def stop(self) -> None:
        """Send no more, and wait for what is on its way."""
        self._sending = False
        self._threads[0].join()
        comes_true(lambda: self._arrived and self._arrived[-1][0] == self.sent - 1, 2)

    def _send(self) -> None:
        next_s = time.monotonic()
        while self._sending:
            number = len(self._sent_s)
            self._sent_s.append(time.monotonic())
            self._out.send(self._head + struct.pack("!Q", number))
            next_s += _GAP_S
            self._ended.wait(max(0.0, next_s - time.monotonic()))

    def _receive(self) -> None:
        while not self._ended.is_set():
            try:
                frame = self._in.recv(2048)
            except TimeoutError:
                continue
            if _MARK in frame:
                self._arrived.append((struct.unpack("!Q", frame[-8:])[0], time.monotonic()))

    @property
    def sent(self) -> int:
        """The number of those that were sent."""
        return len(self._sent_s)

    def sent_at(self, number: int) -> float:
        """Return the monotonic time at which a packet was sent."""
        return self._sent_s[number]

    def arrived(self) -> NDArray[np.int64]:
        """Return the numbers of those that arrived, in their order."""
        return np.array([number for number, _ in self._arrived], np.int64)

    def missing(self, since: int = 0) -> list[int]:
        """Return the numbers of those that were sent from *since* on and did not arrive."""
        return sorted(set(range(since, self.sent)) - set(self.arrived().tolist()))
