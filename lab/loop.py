"""One thread that waits for files and for times: the user plane of the lab runs on it."""

from __future__ import annotations

import heapq
import itertools
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.net import LabError
from lab.wait import slowness

__all__ = ["Loop", "ask", "serve_control"]

_ANSWER_S = 20.0  # time in which a part answers on a quiet machine; one that has died ends the connection at once
Handler = Callable[[dict[str, Any]], dict[str, Any]]


class Loop:
    """Readers by file descriptor and calls by time; `stop` may be called from a signal handler."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Callable[[bytes], object], bytes]] = []
        self._order = itertools.count()
        self._running = True

    def reader(self, fd: int, call: Callable[[], None]) -> None:
        """Call *call* whenever *fd* can be read."""
        self._readers[fd] = call
        self._poll.register(fd, select.EPOLLIN)

    def forget(self, fd: int) -> None:
        """Read *fd* no more."""
        self._poll.unregister(fd)
        del self._readers[fd]

    def at(self, when_s: float, call: Callable[[bytes], object], data: bytes) -> None:
        """Call ``call(data)`` at a time of `time.monotonic`."""
        heapq.heappush(self._timers, (when_s, next(self._order), call, data))

    def stop(self, *_: object) -> None:
        """Leave `run` soon."""
        self._running = False

    def run(self) -> None:
        """Serve until `stop`; SIGTERM stops."""
        signal.signal(signal.SIGTERM, self.stop)
        timers, readers, poll = self._timers, self._readers, self._poll
        while self._running:
            now = time.monotonic()
            while timers and timers[0][0] <= now:
                _, _, call, data = heapq.heappop(timers)
                call(data)
            wait = min(0.2, max(0.0, timers[0][0] - time.monotonic())) if timers else 0.2
            for fd, _ in poll.poll(wait):
                reader = readers.get(fd)
                if reader:
                    reader()


def serve_control(loop: Loop, path: str, handle: Handler) -> None:
    """Answer one JSON object a connection on a UNIX socket: ``{"do": ...}`` in, ``{"ok": ...}`` out."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chmod(path, 0o600)
    listener.listen(8)

    def accept() -> None:
        connection, _ = listener.accept()
        with connection:
            try:  # without a time-out: the lab that asks writes at once or is dead, and both end the read
                answer = handle(json.loads(connection.makefile().readline()))
            except (OSError, ValueError, KeyError, TypeError) as error:
                answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
            connection.sendall(json.dumps(answer).encode() + b"\n")

    loop.reader(listener.fileno(), accept)


def ask(path: str | Path, do: str, **words: Any) -> dict[str, Any]:
    """Send a request to a part of the lab and return its answer; raises LabError when it refuses."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(_ANSWER_S * slowness())
        try:
            s.connect(str(path))
            s.sendall(json.dumps({"do": do, **words}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(s.makefile().readline())
        except (OSError, ValueError) as error:
            raise LabError(f"{Path(path).stem} does not answer ({error}). Look at its log beside {path}.") from None
    if not answer.pop("ok", False):
        raise LabError(f"{Path(path).stem} refused {do}: {answer.get('error', 'no reason given')}")
    return answer
