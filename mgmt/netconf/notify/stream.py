"""A subscription to the stream of events: past ones if asked for, then those that come, to a stop time if there is."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime

from lxml import etree

from mgmt.netconf.caller import Caller
from mgmt.netconf.notify.log import EventLog, message
from mgmt.netconf.notify.terms import Terms, terminated
from mgmt.netconf.rpcerror import RpcError

__all__ = ["Deliver", "Matches", "Permits", "StreamSubscription"]

Matches = Callable[[etree._Element], bool]
"""Says if a tree, whose one child is an event, is of interest. Raises RpcError when that takes too long."""

Permits = Callable[[Caller, etree._Element], etree._Element | None]
"""Returns an event as a session may see it: whole, with less in it, or None."""

Deliver = Callable[[int, bytes], None]
"""Sends a notification to a session, without waiting."""

log = logging.getLogger(__name__)

_FAILURES = 3  # events in a row for which a filter takes longer than it may
_TURN_S = 0.2  # for which one subscription has the thread that serves all
_LOOK_S = 30.0  # a stop time is of the clock on the wall, which is set now and then


class StreamSubscription:
    """One subscription; *replayed* and *completed* are told at the end of the past, and at the stop time.

    ``terms`` are those of RFC 8639, None for a subscription of RFC 5277.
    """

    def __init__(
        self,
        caller: Caller,
        events: EventLog,
        matches: Matches,
        *,
        start: datetime | None = None,
        stop: datetime | None = None,
        replayed: etree._Element,
        completed: etree._Element | None = None,
        terms: Terms | None = None,
    ) -> None:
        self.caller, self.terms, self._log = caller, terms, events
        self.modify(matches, stop)
        self._next = events.next if start is None else events.since(start)
        self._past: int | None = None if start is None else events.next
        self._replayed, self._completed = replayed, completed
        self.over = False
        self._failed = 0

    def modify(self, matches: Matches, stop: datetime | None) -> None:
        """Go on with another filter and another end."""
        self._matches, self._stop = matches, stop

    def step(self, deliver: Deliver, permits: Permits) -> float:
        """Send what is due; return the time.monotonic() of the next step, if no event comes before."""
        until = time.monotonic() + _TURN_S
        while not self.over:
            if time.monotonic() > until:
                return until  # others have their turn
            if self._past is not None and self._next >= self._past:
                self._past = None
                self._tell(deliver, self._replayed)
            record = self._log.at(self._next)
            if record is None or (self._stop is not None and record.at > self._stop):
                break
            if record.number > self._next:
                missed = record.number - self._next
                log.warning("session %d missed %d events, which left the log too soon", self.caller.session, missed)
            self._next = record.number + 1
            seen = permits(self.caller, record.element)
            if seen is not None and not self._is_wanted(seen):
                seen = None  # a filter looks at what may be seen, not at the rest
            if seen is not None:
                body = record.body if seen is record.element else etree.tostring(seen)
                deliver(self.caller.session, message(record.at, body))
            if self.terms is not None:
                self.terms.sent += seen is not None
                self.terms.excluded += seen is None
        if self.over:
            log.warning("a filter of session %d takes too long: its subscription is ended", self.caller.session)
            ended = self._completed if self.terms is None else terminated(self.terms)
            if ended is not None:
                self._tell(deliver, ended)
        return self._due(deliver)

    def _is_wanted(self, element: etree._Element) -> bool:
        tree = etree.Element("events")
        tree.append(copy.deepcopy(element))
        try:
            wanted = self._matches(tree)
        except RpcError:
            self._failed += 1
            wanted, self.over = False, self._failed >= _FAILURES
        else:
            self._failed = 0
        return wanted

    def _due(self, deliver: Deliver) -> float:
        if self._stop is None or self.over:
            return math.inf
        left_s = (self._stop - datetime.now(UTC)).total_seconds()
        if left_s <= 0:
            self.over = True
            if self._past is not None:
                self._tell(deliver, self._replayed)
            if self._completed is not None:
                self._tell(deliver, self._completed)
        return time.monotonic() + min(left_s, _LOOK_S)

    def _tell(self, deliver: Deliver, element: etree._Element) -> None:
        # State of the subscription itself needs no rights (RFC 8341, 3.2).
        deliver(self.caller.session, message(datetime.now(UTC), etree.tostring(element)))
