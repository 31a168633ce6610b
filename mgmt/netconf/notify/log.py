"""The log of a stream: the last events, by number and time, for those who ask for the past (RFC 5277, 3.3)."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

from lxml import etree

from mgmt.netconf.xml_names import date_and_time

__all__ = ["EventLog", "Record", "message"]

NOTIFICATION = "urn:ietf:params:xml:ns:netconf:notification:1.0"

_RECORDS = 1000
_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Record:
    """An event of a stream: an element that nobody changes any more."""

    number: int
    at: datetime
    element: etree._Element
    body: bytes


def message(at: datetime, body: bytes) -> bytes:
    """Return the notification of an event (RFC 5277, 2.2.1)."""
    time = date_and_time(at).encode()
    return b'<notification xmlns="%s"><eventTime>%s</eventTime>%s</notification>' % (
        NOTIFICATION.encode(),
        time,
        body,
    )


class EventLog:
    """Holds the newest events, a bounded number of bounded size. Safe to use from several threads."""

    def __init__(self, records: int = _RECORDS, size: int = _BYTES) -> None:
        self._lock = threading.Lock()
        self._records: deque[Record] = deque()
        self._most, self._size = records, size
        self._bytes = 0
        self.created = datetime.now(UTC)
        self.aged: datetime | None = None  # time of the last event that has left
        self.next = 0  # number of the next event

    def append(self, element: etree._Element) -> None:
        """Take an event that happens now."""
        body: bytes = etree.tostring(element, with_tail=False)
        with self._lock:
            self._records.append(Record(self.next, datetime.now(UTC), element, body))
            self.next += 1
            self._bytes += len(body)
            while len(self._records) > self._most or self._bytes > self._size:
                gone = self._records.popleft()
                self._bytes -= len(gone.body)
                self.aged = gone.at

    def since(self, start: datetime) -> int:
        """Return the number of the first event that is not before *start*, of the next one when there is none."""
        with self._lock:
            return next((r.number for r in self._records if r.at >= start), self.next)

    def at(self, number: int) -> Record | None:
        """Return an event, the oldest one in place of one that has left, None when it has not come yet."""
        with self._lock:
            if not self._records:
                return None
            place = max(0, number - self._records[0].number)
            return self._records[place] if place < len(self._records) else None
