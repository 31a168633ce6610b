"""A subscription to state: updates at a period, or of what has changed (RFC 8641).

The datastore is looked at when an update may be due, at most once a second, so a value that changed and changed back in
between is not told. An update that would be too large suspends the subscription until it is small again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from lxml import etree

from mgmt.netconf.caller import Caller
from mgmt.netconf.model.schema import SchemaNode
from mgmt.netconf.notify.log import message
from mgmt.netconf.notify.patch import edits, yang_patch
from mgmt.netconf.notify.stream import Deliver, Permits
from mgmt.netconf.notify.terms import SN, YP, Terms, state_change
from mgmt.netconf.rpcerror import RpcError

__all__ = ["LEAST_S", "LIMIT_BYTES", "OnChange", "Periodic", "PushSubscription"]

LEAST_S = 1.0  # between two looks at the datastore
LIMIT_BYTES = 256 * 1024  # of an update: state of the function, not lists of it


@dataclass(frozen=True, slots=True)
class Periodic:
    """Updates each *period_s*, at a multiple of it from *anchor* when there is one."""

    period_s: float
    anchor: datetime | None = None

    def first_in(self) -> float:
        """Return the seconds until the first update."""
        if self.anchor is None:
            return 0.0
        return (self.anchor - datetime.now(UTC)).total_seconds() % self.period_s


@dataclass(frozen=True, slots=True)
class OnChange:
    """Updates of changes, not sooner than *dampening_s* after the one before; *excluded* operations are none."""

    dampening_s: float = 0.0
    sync_on_start: bool = True
    excluded: frozenset[str] = frozenset()


Read = Callable[[], etree._Element]
"""Returns the selected part of the datastore as the subscriber may see it. Raises RpcError."""


class PushSubscription:
    """``step`` sends what is due."""

    def __init__(
        self,
        caller: Caller,
        terms: Terms,
        read: Read,
        trigger: Periodic | OnChange,
        stop: datetime | None,
        top: Mapping[str, SchemaNode],
    ) -> None:
        self.caller, self.terms, self._top = caller, terms, top
        self.over = False
        self._seen: etree._Element | None = None
        self._patches = 0
        self.modify(read, trigger, stop)
        if isinstance(trigger, OnChange) and not trigger.sync_on_start:
            self._seen = read()

    def modify(self, read: Read, trigger: Periodic | OnChange, stop: datetime | None) -> None:
        """Go on under other terms; the next update is whole."""
        self._read, self.trigger, self._stop = read, trigger, stop
        self._due = time.monotonic() + (trigger.first_in() if isinstance(trigger, Periodic) else 0.0)
        self._seen = None

    def resync(self) -> None:
        """Send all that is selected with the next update."""
        self._seen, self._due = None, time.monotonic()

    def step(self, deliver: Deliver, _permits: Permits) -> float:
        """Send what is due; return the time.monotonic() of the next step."""
        now = time.monotonic()
        stop_in = math.inf if self._stop is None else (self._stop - datetime.now(UTC)).total_seconds()
        if stop_in <= 0:
            self.over = True
            return now
        if now >= self._due:
            self._update(deliver)
            trigger = self.trigger
            every = trigger.period_s if isinstance(trigger, Periodic) else max(LEAST_S, trigger.dampening_s)
            # Updates that were missed, on a machine without time, are not sent after one another.
            self._due += every * max(1, math.ceil((now - self._due) / every))
        return min(self._due, now + stop_in)

    def _update(self, deliver: Deliver) -> None:
        try:
            tree = self._read()
            body = etree.tostring(tree)
        except RpcError:
            self._suspend(deliver, SN, "insufficient-resources")
            return
        if len(body) > LIMIT_BYTES:
            self._suspend(deliver, YP, "update-too-big")
            return
        if self.terms.suspended:
            self.terms.suspended = False
            self._tell(deliver, state_change("subscription-resumed", self.terms.identifier))
            self._seen = None
        if self._seen is None or isinstance(self.trigger, Periodic):
            self._send(deliver, "push-update", _contents(tree))
            self._seen = tree
        else:
            self._send_changes(deliver, self._seen, tree, self.trigger)

    def _send_changes(self, deliver: Deliver, old: etree._Element, new: etree._Element, trigger: OnChange) -> None:
        found = [e for e in edits(old, new, self._top) if e.operation not in trigger.excluded]
        self._seen = new
        if found:
            self._patches += 1
            changes = etree.Element(f"{{{YP}}}datastore-changes", nsmap={None: YP})
            changes.append(yang_patch(self._patches, found))
            self._send(deliver, "push-change-update", changes)

    def _suspend(self, deliver: Deliver, space: str, reason: str) -> None:
        if not self.terms.suspended:
            self.terms.suspended = True
            self._tell(deliver, state_change("subscription-suspended", self.terms.identifier, (space, reason)))

    def _send(self, deliver: Deliver, name: str, content: etree._Element) -> None:
        root = etree.Element(f"{{{YP}}}{name}", nsmap={None: YP})
        etree.SubElement(root, f"{{{YP}}}id").text = str(self.terms.identifier)
        root.append(content)
        self.terms.sent += 1
        self._tell(deliver, root)

    def _tell(self, deliver: Deliver, element: etree._Element) -> None:
        deliver(self.caller.session, message(datetime.now(UTC), etree.tostring(element)))


def _contents(tree: etree._Element) -> etree._Element:
    contents = etree.Element(f"{{{YP}}}datastore-contents", nsmap={None: YP})
    for child in tree:
        # A copy: the tree is kept, to be compared with the next one.
        contents.append(etree.fromstring(etree.tostring(child)))
    return contents
