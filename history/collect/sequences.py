"""Arrivals and losses of each topic of each function: by sequence numbers, heartbeats and boots. Pure.

A topic is known of a boot from its first message on. Of a function that was never met, what it published before is no
loss; of one that was, everything from the last message on is, so that a collector that was killed tells what it missed.
A topic that never came, although heartbeats have it, may be one that this key must not read: it is no loss before it
came once, or the end of a snapshot said that this key may read it. But whom to erase must be known to who keeps
records: a message of that which does not come is a loss, whatever the reason. Several boots of one name are several
functions, or one before and after its restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MAX_SEQ", "Gap", "Sequences"]

MAX_SEQ = 1 << 62  # more is no count of messages, and does not fit a file
_BOOTS = 4  # of a name that are remembered
_TOPICS = 1000  # of a boot: a function has one for each class, and a few
_FUNCTIONS = 10_000
_PURGES = "purge.v1/"


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages of a topic that were published and are in no file; a row of the table `gaps`."""

    nf: str
    boot: str
    seq: int  # of the first one that is missing
    t_ms: int
    topic: str
    messages: int  # 0: their number is not known
    since_ms: int
    until_ms: int
    why: str


@dataclass(slots=True)
class _Boot:
    settled: bool  # topics that are not known begin at `begins`, or 0; else with what comes
    heard_ms: int = 0  # end of what was heard last
    next: dict[str, int] = field(default_factory=dict)
    begins: dict[str, int] = field(default_factory=dict)
    ends_ms: dict[str, int] = field(default_factory=dict)
    may: set[str] = field(default_factory=set)  # topics that this key may read, as far as it was told


class Sequences:
    """Sequences of all functions. ``gaps`` has what is missing, until it is taken away (`take_gaps`)."""

    def __init__(self) -> None:
        self._boots: dict[str, dict[str, _Boot]] = {}
        self._gaps: list[Gap] = []
        self.lost = self.restarts = 0
        self.lost_purges = 0  # messages of who is to be erased

    def take_gaps(self) -> list[Gap]:
        """Return what was found missing since the last call."""
        gaps, self._gaps = self._gaps, []
        return gaps

    def come(self, nf: str, boot: str, topic: str, seq: int, span_ms: tuple[int, int], now_ms: int, why: str) -> bool:
        """Note a message, whose rows are of *span_ms*; return whether it is new. *why* is told of what is missing."""
        here = self._boot(nf, boot, span_ms[0], now_ms)
        wanted = here.next.get(topic)
        if wanted is None:
            wanted = here.begins.get(topic, 0) if here.settled else seq
        if seq < wanted or (topic not in here.next and len(here.next) >= _TOPICS):
            return False
        if seq > wanted:
            since_ms = here.ends_ms.get(topic, here.heard_ms)
            self._miss(Gap(nf, boot, wanted, now_ms, topic, seq - wanted, since_ms, span_ms[0], why))
        here.next[topic] = seq + 1
        here.ends_ms[topic] = here.heard_ms = span_ms[1]
        return True

    def heartbeat(
        self, nf: str, boot: str, heads: Iterable[tuple[str, int]], at_ms: int, now_ms: int, why: str
    ) -> None:
        """Note what a function says its next number of each topic is."""
        here = self._boot(nf, boot, at_ms, now_ms)
        known = {topic for other in self._boots[nf].values() for topic in (*other.next, *other.may)}
        for topic, head in heads:
            if not here.settled and topic not in here.next:
                here.begins[topic] = head
            wanted = here.next.get(topic, here.begins.get(topic, 0))
            if (topic in known or topic.startswith(_PURGES)) and wanted < head < MAX_SEQ:
                since_ms = here.ends_ms.get(topic, here.heard_ms)
                self._miss(Gap(nf, boot, wanted, now_ms, topic, head - wanted, since_ms, at_ms, why))
                here.next[topic] = head
                here.ends_ms[topic] = at_ms
        here.settled = True

    def may_read(self, nf: str, boot: str, topics: Sequence[str], now_ms: int) -> None:
        """Note topics that this key may read: what is published there and does not come is a loss."""
        self._boot(nf, boot, now_ms, now_ms).may.update(topics[:_TOPICS])

    def next(self, nf: str, boot: str, topic: str) -> int:
        """Return the number that the next message of a topic should have, 0 where none is known."""
        here = self._boots.get(nf, {}).get(boot)
        return here.next.get(topic, 0) if here is not None else 0

    def silent(self, nf: str, since_ms: int, now_ms: int) -> None:
        """Note that nothing was heard of a function for a while that is over now."""
        for boot in list(self._boots.get(nf, {}))[-1:]:
            self._miss(Gap(nf, boot, 0, now_ms, f"health.v1/{nf}/", 0, since_ms, now_ms, "silent"))

    def _boot(self, nf: str, boot: str, begins_ms: int, now_ms: int) -> _Boot:
        boots = self._boots.setdefault(nf, {})
        if boot in boots:
            return boots[boot]
        if boots:
            since_ms = max(other.heard_ms for other in boots.values())
            self.restarts += 1
            self._miss(Gap(nf, boot, 0, now_ms, f"health.v1/{nf}/", 0, since_ms, begins_ms, "restart"))
        here = boots[boot] = _Boot(settled=bool(boots))
        while len(boots) > _BOOTS:
            del boots[next(iter(boots))]
        while len(self._boots) > _FUNCTIONS:
            del self._boots[next(iter(self._boots))]
        return here

    def _miss(self, gap: Gap) -> None:
        self.lost += gap.messages
        self.lost_purges += gap.messages if gap.topic.startswith(_PURGES) else 0
        self._gaps.append(gap)

    # -- kept over restarts of the collector ---------------------------------

    def kept(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {
            nf: {
                boot: {
                    **{"settled": b.settled, "heard_ms": b.heard_ms},
                    **{"next": b.next, "begins": b.begins, "ends_ms": b.ends_ms, "may": sorted(b.may)},
                }
                for boot, b in boots.items()
            }
            for nf, boots in self._boots.items()
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Take what `kept` returned; raises ValueError, KeyError, TypeError or AttributeError when it is not that."""
        for nf, boots in kept.items():
            for boot, b in boots.items():
                next_, begins, ends_ms = (
                    {str(t): int(n) for t, n in b[name].items()} for name in ("next", "begins", "ends_ms")
                )
                may = {str(topic) for topic in b.get("may", [])}  # an older state has none
                here = _Boot(bool(b["settled"]), int(b["heard_ms"]), next_, begins, ends_ms, may)
                self._boots.setdefault(str(nf), {})[str(boot)] = here
