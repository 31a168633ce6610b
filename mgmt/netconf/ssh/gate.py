"""Accepts connections and hears whether a peer talks SSH at all, in one thread, before anything is spent on him.

The server says its identification first; the peer has one line for his (RFC 4253, 4.2). Only with that line does a
connection get a thread and an SSH library, so one that says nothing, or says it without end, costs a descriptor.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import selectors
import socket
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Gate", "Host", "Visitor"]

log = logging.getLogger(__name__)

_LINE_BYTES = 255  # RFC 4253, 4.2: CR and LF included
_TICK_S = 0.1  # between two looks at deadlines, while there is somebody to look at


@dataclass(eq=False, slots=True)
class Visitor:
    """A connection at the gate, and what it has said so far."""

    sock: socket.socket
    address: str
    port: int
    line: bytearray = field(default_factory=bytearray)


class Host(Protocol):
    """Decides about the connections at a gate, in its thread."""

    def arrived(self, sock: socket.socket, address: str, port: int) -> Visitor | None:
        """Return what stands for a new connection, None when there is no room."""

    def greeted(self, visitor: Any) -> None:
        """Take a connection over that has said that it talks SSH."""

    def refused(self, visitor: Any, why: str) -> None:
        """Close a connection that has not."""

    def tick(self) -> bool:
        """Look at deadlines, and say if there is somebody to look after."""


class Gate:
    """The thread of the gate is `run`."""

    def __init__(self, identification: str, host: Host) -> None:
        self._identification = identification.encode() + b"\r\n"
        self._host = host
        self._selector = selectors.DefaultSelector()
        self._brought: queue.SimpleQueue[Visitor] = queue.SimpleQueue()
        self._wake, self._woken = socket.socketpair()
        self._stopping = False

    def stop(self) -> None:
        """End `run`."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._wake.send(b"x")

    def bring(self, visitor: Visitor) -> None:
        """Take a connection that this side has made; from any thread."""
        self._brought.put(visitor)
        with contextlib.suppress(OSError):
            self._wake.send(b"x")

    def forget(self, visitor: Visitor) -> None:
        """Listen to a connection no more; from the thread of the gate, before its socket is closed."""
        if visitor.sock.fileno() >= 0 and visitor.sock in self._selector.get_map():
            self._selector.unregister(visitor.sock)

    def run(self, listener: socket.socket) -> None:
        """Serve *listener* until `stop`, and close it."""
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        busy = False
        with listener, self._selector, self._wake, self._woken:
            while not self._stopping:
                try:
                    for key, _ in self._selector.select(_TICK_S if busy else None):
                        if key.fileobj is listener:
                            self._accept(listener)
                        elif key.fileobj is self._woken:
                            self._woken.recv(4096)
                        else:
                            self._hear(key.data)
                    while not self._brought.empty():
                        self._greet(self._brought.get())
                    busy = self._host.tick()
                except Exception as error:
                    # One connection must not be the end of all others.
                    log.error("a connection failed with %s", type(error).__name__)
                    busy = True

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, peer = listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            # Out of descriptors, say: wait instead of spinning on the same connection.
            log.error("a connection could not be accepted: %s", error.strerror)
            time.sleep(_TICK_S)
            return
        visitor = self._host.arrived(sock, peer[0], peer[1])
        if visitor is None:
            sock.close()
        else:
            self._greet(visitor)

    def _greet(self, visitor: Visitor) -> None:
        visitor.sock.setblocking(False)
        try:
            visitor.sock.send(self._identification)
            self._selector.register(visitor.sock, selectors.EVENT_READ, visitor)
        except (OSError, ValueError):
            self._host.refused(visitor, "gone")

    def _hear(self, visitor: Visitor) -> None:
        """Read of the peer's line what is there, and nothing beyond it."""
        try:
            seen = visitor.sock.recv(_LINE_BYTES - len(visitor.line), socket.MSG_PEEK)
            end = seen.find(b"\n") + 1
            visitor.line += visitor.sock.recv(end or len(seen)) if seen else b""
        except BlockingIOError:
            return
        except OSError:
            seen, end = b"", 0
        if not seen:
            self._host.refused(visitor, "gone")
        elif not b"SSH-".startswith(visitor.line[:4]) and visitor.line[:4] != b"SSH-":
            self._host.refused(visitor, "not_ssh")
        elif end:
            self._selector.unregister(visitor.sock)
            self._host.greeted(visitor)
        elif len(visitor.line) >= _LINE_BYTES:
            self._host.refused(visitor, "not_ssh")
