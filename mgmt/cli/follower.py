"""One subscriber in detail: the topic that it is followed by, found from its name or the beginning of it."""

from __future__ import annotations

from feed.consumer import Subscriber
from feed.wire import QOE_SCHEMA, Message
from mgmt.cli.cells import printable

__all__ = ["Follower"]

_PSEUDONYM_DIGITS = 32  # nf.privacy.Pseudonymiser.name
_PATIENCE_S = 4.0  # of a whole name without detail, which comes each interval, until others are looked at
_MOST_NAMES = 100_000


class Follower:
    """Finds the topic of one subscriber: the heartbeat tells the name of the function, the feed the whole name.

    Records of others are looked at while the subscriber is not found, to say who is there.
    """

    def __init__(self, bus: Subscriber, wanted: str, now_s: float) -> None:
        self._bus, self._wanted, self._begun_s = bus, wanted, now_s
        self.topics: set[str] = set()
        self.heard = 0  # messages with its detail
        self._whole = len(wanted.rpartition("-")[2]) == _PSEUDONYM_DIGITS  # "ue-" or "teid-" stands before some
        self._looks = False
        self._names: dict[str, None] = {}
        if not self._whole:
            self._look(True)

    def takes(self, message: Message, now_s: float) -> bool:
        """Learn from *message*; return whether it is of the subscriber."""
        if message.topic in self.topics:
            self.heard += 1
            self._look(False)
            return True
        if self._whole:
            self._follow(message.header.nf, self._wanted)
            if now_s - self._begun_s > _PATIENCE_S and not self.heard:
                self._look(True)
        if message.header.schema == QOE_SCHEMA:
            names = message.columns.get("subscriber", [])
            if len(self._names) < _MOST_NAMES:
                self._names.update(dict.fromkeys(map(str, names)))
            found = next((n for n in names if n.startswith(self._wanted)), None)
            if found is not None and not self.topics:
                self._look(False)
                self._follow(message.header.nf, found)
        return False

    def said(self) -> str:
        """Return what is known of a subscriber whose detail did not come so far, and of whom it could be instead."""
        wanted = printable(self._wanted)
        if self.heard:
            others = sum(name.startswith(self._wanted) for name in self._names) - 1
            return f"{others} more begin with {wanted}: give more of the name." if others > 0 else ""
        if any(name.startswith(self._wanted) for name in self._names):
            if self._whole and self._looks:
                return (
                    f"{wanted} has records, and its detail does not come: the key may not follow (right follow), or "
                    "too many are followed."
                )
            return f"Found {wanted}: its detail begins with the next interval."
        if self._names:
            near = max(self._names, key=lambda name: _alike(name, self._wanted))
            nearest = f" The nearest name is {printable(near)}." if _alike(near, self._wanted) > 1 else ""
            return (
                f"No subscriber with records so far is called {wanted}{'' if self._whole else '...'}: "
                f"{len(self._names):,} others are.{nearest} It has no traffic, or the key of the pseudonyms is another."
            )
        return f"Waiting for records of {wanted}."

    def _look(self, looks: bool) -> None:
        if looks and not self._looks:
            self._bus.subscribe("qoe.v1/")
        elif self._looks and not looks:
            self._bus.unsubscribe("qoe.v1/")
        self._looks = looks

    def _follow(self, nf_id: str, subscriber: str) -> None:
        topic = f"sub.v1/{nf_id}/{subscriber}/"
        if topic not in self.topics:
            self._bus.subscribe(topic)
            self.topics.add(topic)


def _alike(a: str, b: str) -> int:
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
