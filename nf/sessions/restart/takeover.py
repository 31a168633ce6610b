"""The takeover of a data plane from a process that died, and the time for which nobody read it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from nf.kernel.clock import Clock
from nf.kernel.dataplane import DataPlane
from nf.sessions.restart.statedir import StateDir

__all__ = ["Takeover"]

log = logging.getLogger(__name__)


class Takeover:
    """A data plane that ran without a process. Meanwhile the packet path went on, and the kernel read names."""

    def __init__(self, clock: Clock, held: StateDir | None, plane: DataPlane) -> None:
        """Log the takeover. *held* knows the process that died; without it nobody does."""
        self._held, self._begun_s = held, clock.now_s()
        before = held.before if held is not None else None
        unread_s = held.unread_s if held is not None else None
        self.process = before.pid if before is not None else None
        self.since_s = None if unread_s is None else clock.label_s(self._begun_s) - unread_s  # since the epoch
        self.outage_s: float | None = None  # known when it is over
        log.warning(
            "takes over the data plane of %s: %s; %d flows, %d frames counted. %s",
            "a process that has ended" if before is None else f"process {before.pid}, which has ended",
            ", ".join(plane.left_behind()) or "no interface",
            len(plane.read_flows()[0]),
            plane.read_counters()["frames"],
            "Since when nobody read it is not known: there is no state directory of before."
            if self.since_s is None
            else f"Nobody has read it since {datetime.fromtimestamp(self.since_s, UTC):%Y-%m-%dT%H:%M:%SZ}.",
        )

    def ends(self) -> None:
        """Log, the first time, that it is read again."""
        unread_s = self._held.unread_s if self._held is not None else None
        if self.outage_s is None and unread_s is not None:
            self.outage_s = unread_s
            log.warning(
                "the data plane is read again after %.1f s: nothing was published, and what user space names rested",
                self.outage_s,
            )
