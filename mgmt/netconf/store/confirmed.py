"""A confirmed commit that waits (RFC 6241, 8.4): who may confirm it, and the end of its time.

Its time runs on the monotonic clock, so a step of the clock on the wall neither shortens nor prolongs it. It does not
go on over a start of the function: to its clients that is a reboot, at which 8.4.1 has the configuration restored at
once, whether or not the commit was to persist.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lxml import etree

from mgmt.netconf.rpcerror import RpcError
from nf.settings import Settings

__all__ = ["CONFIRM_S", "Before", "Confirm", "Pending"]

CONFIRM_S = 600  # RFC 6241, 8.4.1


@dataclass(frozen=True, slots=True)
class Confirm:
    """The wish of a commit to be undone unless it is confirmed within so many seconds."""

    timeout_s: int = CONFIRM_S
    persist: str | None = None


@dataclass(frozen=True, slots=True)
class Before:
    """Running before a confirmed commit."""

    revision: int
    tree: etree._Element
    settings: Settings


@dataclass(slots=True)
class Pending:
    """A confirmed commit that waits for its confirmation; ``late`` is called once, in a thread, when none came."""

    session: int
    persist: str | None
    before: Before
    late: Callable[[Pending], None]
    until_s: float = 0.0  # of the monotonic clock
    _timer: threading.Timer | None = field(default=None, repr=False)

    def wait(self, seconds: float) -> None:
        """Wait so long from now on."""
        self.stop()
        self.until_s = time.monotonic() + seconds
        self._timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self.late, (self,))
        self._timer.name, self._timer.daemon = "confirm", True
        self._timer.start()

    def stop(self) -> None:
        """Wait no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def is_over(self) -> bool:
        """Say whether the time is over."""
        return time.monotonic() >= self.until_s

    def check(self, session: int, persist_id: str | None) -> None:
        """Raise RpcError when a commit of *session* with this persist-id may neither confirm nor follow."""
        if persist_id is not None:
            check_persist_id(self, persist_id)
        elif self.persist is not None or session != self.session:
            raise RpcError("in-use", f"A confirmed commit of session {self.session} is not confirmed.", kind="protocol")


def check_persist_id(pending: Pending | None, persist_id: str | None) -> None:
    """Raise RpcError (invalid-value) when a persist-id that is given is not that of the commit that waits."""
    if persist_id is not None and (pending is None or pending.persist != persist_id):
        info = [("bad-element", "persist-id")]
        raise RpcError("invalid-value", "No confirmed commit has this persist-id.", kind="protocol", info=info)
