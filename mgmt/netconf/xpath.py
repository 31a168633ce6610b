"""XPath with a bound on its time: evaluated in a process of its own, which ends when the time is over.

An expression of few characters can take hours (``//a|//a`` is quadratic in libxml2, nested predicates are worse), and
no library says beforehand which, or can be stopped in the middle.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mgmt.netconf import xpath_worker
from mgmt.netconf.budget import Budget
from mgmt.netconf.rpcerror import RpcError

__all__ = ["evaluate"]

log = logging.getLogger(__name__)

_LOOK_S = 0.02  # between two looks at whether somebody waits
_START_S = 30.0  # for an interpreter to start, on a busy machine; it takes 0.1
_QUEUE_S = 15.0  # for a place: fifty sessions that each take their second are through by then
_AT_ONCE = 4  # processes; a session asks one thing at a time
_places = threading.BoundedSemaphore(_AT_ONCE)
_idle: list[_Worker] = []  # the ones that answered and wait


class _Ended(Exception):
    """The process has ended: it had no memory, or was killed."""


class _Worker:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(xpath_worker.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._said = bytearray()
        try:
            self._take(1, time.monotonic() + _START_S, None)
        except _Ended:
            self.end()
            raise

    def ask(self, asked: bytes, document: bytes, budget: Budget) -> Mapping[str, Any]:
        """Return the answer. Raises _Ended, RpcError; the process is of no use then."""
        assert self._process.stdin is not None
        budget.begin()
        with contextlib.suppress(BrokenPipeError):  # told by what is read
            self._process.stdin.write(struct.pack("!II", len(asked), len(document)) + asked + document)
            self._process.stdin.flush()
        size = struct.unpack("!I", self._take(4, float("inf"), budget))[0]
        answer: Mapping[str, Any] = json.loads(self._take(size, float("inf"), budget))
        return answer

    def _take(self, size: int, until_s: float, budget: Budget | None) -> bytes:
        assert self._process.stdout is not None
        end = self._process.stdout.fileno()
        while len(self._said) < size:
            if budget is not None:
                budget.look()
            if time.monotonic() > until_s:
                raise _Ended
            if select.select([end], [], [], _LOOK_S)[0]:
                data = os.read(end, 65_536)
                if not data:
                    raise _Ended
                self._said += data
        taken = bytes(self._said[:size])
        del self._said[:size]
        return taken

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


def evaluate(expression: str, prefixes: Mapping[str, str], document: bytes, budget: Budget) -> Mapping[str, Any]:
    """Return what the process says (`xpath_worker`). Raises RpcError (resource-denied) when it costs too much."""
    until_s = time.monotonic() + _QUEUE_S
    while not _places.acquire(timeout=_LOOK_S):
        budget.begin()  # to wait costs nothing
        budget.look()
        if time.monotonic() > until_s:
            raise RpcError("resource-denied", "Too many filters are evaluated now. Try again.", kind="protocol")
    asked = json.dumps({"select": expression, "prefixes": dict(prefixes)}).encode()
    worker: _Worker | None = None
    try:
        worker = _idle_one() or _Worker()
        answer = worker.ask(asked, document, budget)
    except (_Ended, OSError, RpcError) as error:
        if worker is not None:
            worker.end()
        if isinstance(error, RpcError):
            raise
        log.warning("a process for XPath has ended: %s", type(error).__name__)
        raise budget.over() from None
    finally:
        _places.release()
    _idle.append(worker)
    return answer


def _idle_one() -> _Worker | None:
    with contextlib.suppress(IndexError):
        return _idle.pop()
    return None


@atexit.register
def _end() -> None:
    while (worker := _idle_one()) is not None:
        worker.end()
