"""Messages that a session is sent unasked: a bounded queue and its thread, so that a slow reader delays nobody."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator

__all__ = ["Outbox"]

_MESSAGES = 2000  # twice the replay buffer, all of which a subscription may ask for at once
_BYTES = 16 * 1024 * 1024  # as much as one message of a client may have


class Outbox:
    """``send`` is called for each message from a thread of its own, ``abandon`` once when the reader is too slow."""

    def __init__(self, send: Callable[[bytes], None], abandon: Callable[[], None]) -> None:
        self._send, self._abandon = send, abandon
        self._changed = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._held = self._closed = False
        self._thread: threading.Thread | None = None

    def put(self, message: bytes) -> bool:
        """Queue a message without waiting; says if it will be sent, unless the session ends before."""
        with self._changed:
            if self._closed:
                return False
            if len(self._queue) >= _MESSAGES or self._bytes + len(message) > _BYTES:
                self._close()
                full = True
            else:
                self._queue.append(message)
                self._bytes += len(message)
                full = False
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="netconf-notify", daemon=True)
                    self._thread.start()
                self._changed.notify_all()
        if full:
            self._abandon()
        return not full

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Send nothing meanwhile: a reply goes before the notifications that its request brings."""
        with self._changed:
            self._held = True
        try:
            yield
        finally:
            with self._changed:
                self._held = False
                self._changed.notify_all()

    def close(self) -> None:
        """Send nothing more."""
        with self._changed:
            self._close()

    def _close(self) -> None:
        self._closed = True
        self._queue.clear()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or (self._queue and not self._held))
                if self._closed:
                    return
                message = self._queue.popleft()
                self._bytes -= len(message)
            try:
                self._send(message)
            except OSError:  # the peer has gone, or does not read
                self.close()
                self._abandon()
                return
