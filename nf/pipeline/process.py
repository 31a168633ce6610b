"""The process of a shard as the function sees it."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import queue
import threading
from multiprocessing.reduction import send_handle
from typing import Any

from nf.pipeline import talk
from nf.pipeline.shard import Start, work

__all__ = ["Ended", "Process"]

_STOP_S = 2.0

_context = multiprocessing.get_context("spawn")  # this process has threads, which a fork would lose in the middle


class Ended(Exception):
    """A shard ended."""


class Process:
    """One shard, and the thread that feeds it, so that nothing waits for it but the end of an interval."""

    def __init__(self, start: Start) -> None:
        self.pipe, theirs = _context.Pipe()
        self.process = _context.Process(target=work, args=(theirs, start), name=f"shard-{start.number}", daemon=True)
        self.process.start()
        theirs.close()
        for fd in (*(m.fd for m in start.maps), start.states.fd):
            send_handle(self.pipe, fd, self.process.pid or 0)
        self.waiting = 0  # payloads that were given and not taken
        self.returned = 0
        self.new = True  # it has read nothing yet, and a flow that moved before it came has no mark
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._feed, name=f"feed-shard-{start.number}", daemon=True)
        self._thread.start()

    def _feed(self) -> None:
        with contextlib.suppress(OSError):  # it ended: `Shards` starts another one
            while (message := self._queue.get()) is not None:
                self.pipe.send_bytes(message)

    def say(self, message: object) -> None:
        """Send a message, later."""
        self._queue.put(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def hear(self) -> Any:
        """Return the next word of the shard; raises Ended when there will be none."""
        try:
            word = pickle.loads(self.pipe.recv_bytes())  # of our own process
        except (EOFError, OSError):
            raise Ended from None
        if isinstance(word, talk.Taken):
            self.waiting -= word.payloads
            self.returned = word.returned
        return word

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join(_STOP_S)
        self._queue.put(None)
        self._thread.join(_STOP_S)  # before the pipe is closed: its number may be that of another's pipe next
        self.pipe.close()
