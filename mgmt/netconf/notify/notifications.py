"""Notifications: whoever has something to tell publishes it, and one thread brings it to those who subscribed.

A publisher only appends to the log and never waits. Filters are evaluated and messages queued by the thread, which
is there as long as there are subscriptions; what a session does not read is the matter of its outbox.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import Protocol

from lxml import etree

from mgmt.netconf.caller import Caller
from mgmt.netconf.events import Event, SessionEnd
from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.notify.log import EventLog
from mgmt.netconf.notify.of_events import element_of
from mgmt.netconf.notify.stream import Deliver, Permits
from mgmt.netconf.notify.terms import Terms
from mgmt.netconf.roster import Roster

__all__ = ["Notifications", "Subscription"]

log = logging.getLogger(__name__)


class Subscription(Protocol):
    """One subscription of a session; it is served by one thread."""

    caller: Caller
    over: bool

    @property
    def terms(self) -> Terms | None:
        """The terms of RFC 8639, None for a subscription of RFC 5277."""

    def step(self, deliver: Deliver, permits: Permits) -> float:
        """Send what is due; return the time.monotonic() of the next step, if no event comes before."""


class Notifications:
    """The stream NETCONF and the subscriptions. Safe to use from several threads.

    ``permits`` is asked before an event goes to a session; the module that knows the rights of users sets it.
    """

    def __init__(self, model: Model, roster: Roster) -> None:
        self.model, self.log = model, EventLog()
        self.permits: Permits = lambda _caller, element: element
        self._roster = roster
        self._changed = threading.Condition()
        self._subscriptions: list[Subscription] = []
        self._moved = False
        self._thread: threading.Thread | None = None

    def publish(self, element: etree._Element) -> None:
        """Send the element of a YANG notification to the stream. It must not be changed afterwards. Does not wait."""
        with self._changed:
            self.log.append(element)
            self._wake()

    def listen(self, event: Event) -> None:
        """Take an event of the server: a session that ends loses its subscriptions, and the stream tells of it."""
        if isinstance(event, SessionEnd):
            with self._changed:
                self._subscriptions = [s for s in self._subscriptions if s.caller.session != event.session]
                self._wake()
        element = element_of(event, self._roster.caller, self.model)
        if element is not None:
            self.publish(element)

    def add(self, subscription: Subscription) -> None:
        """Begin to serve a subscription."""
        with self._changed:
            self._subscriptions.append(subscription)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="netconf-publish", daemon=True)
                self._thread.start()
            self._wake()

    def subscriptions(self) -> list[Subscription]:
        """Return the subscriptions that are served."""
        with self._changed:
            return [s for s in self._subscriptions if not s.over]

    def has(self, session: int) -> bool:
        """Say if a session has a subscription."""
        return any(each.caller.session == session for each in self.subscriptions())

    def remove(self, subscription: Subscription) -> None:
        """Serve a subscription no more."""
        with self._changed:
            subscription.over = True
            self._wake()

    def wake(self) -> None:
        """Look at once at what is due: a subscription has changed."""
        with self._changed:
            self._wake()

    def _wake(self) -> None:
        self._moved = True
        self._changed.notify_all()

    def _serve(self) -> None:
        due = 0.0
        while True:
            with self._changed:
                left_s = None if due == math.inf else max(0.0, due - time.monotonic())
                self._changed.wait_for(lambda: self._moved, left_s)
                self._moved = False
                self._subscriptions = [s for s in self._subscriptions if not s.over]
                if not self._subscriptions:
                    self._thread = None
                    return
                served = list(self._subscriptions)
            due = min(self._step(each) for each in served)

    def _step(self, subscription: Subscription) -> float:
        try:
            due = subscription.step(self._roster.notify, self.permits)
        except Exception as error:
            # Its text may hold a value, so only its type is logged.
            log.error("a subscription of session %d failed with %s", subscription.caller.session, type(error).__name__)
            subscription.over, due = True, math.inf
        return 0.0 if subscription.over else due
