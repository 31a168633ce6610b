"""Processes that read payloads, each on a core of its own.

Records are shared out by subscriber. Columns go between the processes: a batch of records goes out as one array, the
names found come back as others. Nothing waits for a worker: records that it cannot take are left out and counted,
and one that ended is started anew.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import pickle
import queue
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.abi import SNF_UE_UNKNOWN
from nf.apps.signatures import Signatures
from nf.naming.readers import Found, Reader, Status

__all__ = ["Workers"]

log = logging.getLogger(__name__)

_WAITING = 16_384  # payloads that may wait for a worker: about a second, and 32 MB
_STOP_S = 2.0
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: Fibonacci hashing (Knuth, TAOCP 3, 6.4)

_context = multiprocessing.get_context("spawn")  # this process has threads, which a fork would lose in the middle


def _work(pipe: Connection, signatures: Signatures, clock_offset_s: float) -> None:
    """Answer batches until the other end is gone, killed or not."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; the function stops its workers
    reader = Reader(signatures, clock_offset_s)
    with contextlib.suppress(EOFError, OSError):
        while True:
            what, value = pickle.loads(pipe.recv_bytes())  # of our own process
            if what == "use":
                reader.namer.signatures = value
                continue
            pipe.send_bytes(pickle.dumps((len(value), getattr(reader, what)(value)), pickle.HIGHEST_PROTOCOL))


class _Worker:
    """One process, and the thread that feeds it, so that the loop of the function never waits."""

    def __init__(self, number: int, signatures: Signatures, clock_offset_s: float) -> None:
        self.pipe, theirs = _context.Pipe()
        self.process = _context.Process(
            target=_work, args=(theirs, signatures, clock_offset_s), name=f"names-{number}", daemon=True
        )
        self.process.start()
        theirs.close()
        self.waiting = 0  # records that were given and not answered
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._feed, name=f"feed-{number}", daemon=True)
        self._thread.start()

    def _feed(self) -> None:
        with contextlib.suppress(OSError):  # it ended: `Workers` starts another one
            while (message := self._queue.get()) is not None:
                self.pipe.send_bytes(message)

    def give(self, what: str, value: Any, count: int = 0) -> bool:
        """Hand over a message with *count* payloads; return False when too many wait."""
        if count and self.waiting + count > _WAITING:
            return False
        self._queue.put(pickle.dumps((what, value), pickle.HIGHEST_PROTOCOL))
        self.waiting += count
        return True

    def answers(self) -> Iterator[Found]:
        with contextlib.suppress(EOFError, OSError):
            while self.pipe.poll():
                count, found = pickle.loads(self.pipe.recv_bytes())  # of our own process
                self.waiting -= count
                if len(found):
                    yield found

    def stop(self) -> None:
        self.process.terminate()
        self.process.join(_STOP_S)
        self._queue.put(None)
        self._thread.join(_STOP_S)  # before the pipe is closed: its number may be that of another's pipe next
        self.pipe.close()


class Workers:
    """*count* processes that read payloads: a `nf.naming.readers.Reading`."""

    def __init__(self, count: int, signatures: Signatures, clock_offset_s: float) -> None:
        self.counters: Counter[str] = Counter()
        self._signatures, self._clock_offset_s = signatures, clock_offset_s
        self._workers = [self._start(number) for number in range(count)]

    def _start(self, number: int) -> _Worker:
        return _Worker(number, self._signatures, self._clock_offset_s)

    def status(self) -> Status:
        """As `nf.naming.readers.Reading.status`."""
        waiting = sum(worker.waiting for worker in self._workers)
        return {"waiting": waiting, "lost": self.counters["lost"], "restarts": self.counters["restarts"]}

    def read(self, records: NDArray[np.void]) -> None:
        """As `nf.naming.readers.Reading.read`."""
        self._share("read", records, records["ue_end"])

    def servers(self, events: NDArray[np.void]) -> None:
        """As `nf.naming.readers.Reading.servers`."""
        self._share("servers", events, np.full(len(events), SNF_UE_UNKNOWN))

    def found(self) -> Iterator[Found]:
        """As `nf.naming.readers.Reading.found`."""
        for number, worker in enumerate(self._workers):
            yield from worker.answers()
            if not worker.process.is_alive():
                log.warning("the process %d that reads names ended; another one takes its place", number)
                self.counters["restarts"] += 1
                self.counters["lost"] += worker.waiting
                worker.stop()
                self._workers[number] = self._start(number)

    def use(self, signatures: Signatures) -> None:
        """As `nf.naming.readers.Reading.use`."""
        self._signatures = signatures
        for worker in self._workers:
            worker.give("use", signatures)

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.stop()

    def _share(self, what: str, rows: NDArray[np.void], ue_end: NDArray[Any]) -> None:
        of = _worker_of(rows, ue_end, len(self._workers))
        for number, worker in enumerate(self._workers):
            mine = rows[of == number]
            if len(mine) and not worker.give(what, mine, len(mine)):
                self.counters["lost"] += len(mine)


def _worker_of(rows: NDArray[np.void], ue_end: NDArray[Any], count: int) -> NDArray[np.uint64]:
    """Return the worker of each row: by session, else by the UE's address, else by both ends."""
    words_a = np.ascontiguousarray(rows["address_a"]).view(np.uint64).reshape(-1, 2).sum(axis=1, dtype=np.uint64)
    words_b = np.ascontiguousarray(rows["address_b"]).view(np.uint64).reshape(-1, 2).sum(axis=1, dtype=np.uint64)
    address = np.choose(ue_end, [words_a, words_b, words_a + words_b])
    who = np.where(rows["session"] > 0, rows["session"].astype(np.uint64), address) * _MIX
    return (who >> np.uint64(32)) % np.uint64(count)
