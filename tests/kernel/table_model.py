"""A model of the flow table (bpf/flow_table.h), of which every order of steps is gone through.

Places of one pair of buckets, packets on a CPU each, and user space. A step reads or changes one tag, or one state, as
the programs do: a reader of several tags sees each at another time. Waiting is modelled by what it waits for: user
space frees a held place when no packet is between finding the flow there and having counted in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

__all__ = ["Broken", "State", "explore"]

FREE, HELD, CLAIMED, READY = "free", "held", "claimed", "ready"
Tag = tuple[str, str]  # what it is, and of which key
EMPTY: Tag = (FREE, "")


class Broken(Exception):
    """An order of steps after which something is wrong."""


@dataclass(frozen=True)
class Packet:
    """A packet on its way: where it is in the program, and what it has seen so far."""

    key: str
    at: str = "find"
    n: int = 0  # the place that is looked at
    seen: tuple[Tag, ...] = ()
    place: int = -1
    turns: int = 0


@dataclass(frozen=True)
class State:
    """All that is shared, and the packets."""

    tags: tuple[Tag, ...]
    flows: tuple[tuple[str, int], ...]  # key and packets of the flow of each place
    packets: tuple[Packet, ...]
    counted: tuple[tuple[str, int], ...] = ()  # of flows that left: key and packets
    refused: int = 0
    holds: int = 0  # flows that user space, or a full bucket, may still hold
    rules: frozenset[str] = field(default=frozenset({"look again", "wait"}))

    def tagged(self, place: int, tag: Tag) -> State:
        return replace(self, tags=(*self.tags[:place], tag, *self.tags[place + 1 :]))

    def stated(self, place: int, flow: tuple[str, int]) -> State:
        return replace(self, flows=(*self.flows[:place], flow, *self.flows[place + 1 :]))

    def moved(self, which: int, packet: Packet | None) -> State:
        more = () if packet is None else (packet,)
        return replace(self, packets=(*self.packets[:which], *more, *self.packets[which + 1 :]))


TURNS = 3


def _step(s: State, which: int) -> State:
    """One step of a packet."""
    p, places = s.packets[which], len(s.tags)
    match p.at:
        case "find" if p.n == places:
            return s.moved(which, replace(p, at="survey", n=0, seen=()))
        case "find" if s.tags[p.n] == (READY, p.key):
            return s.moved(which, replace(p, at="count", place=p.n))
        case "find":
            return s.moved(which, replace(p, n=p.n + 1))
        case "survey" | "again" if p.n < places:
            return s.moved(which, replace(p, n=p.n + 1, seen=(*p.seen, s.tags[p.n])))
        case "survey":
            return _choose(s, which)
        case "claim":
            if s.tags[p.place] != EMPTY:
                return s.moved(which, _turn(p))
            claimed = s.tagged(p.place, (CLAIMED, p.key))
            at = "again" if "look again" in s.rules else "write"
            return claimed.moved(which, replace(p, at=at, n=0, seen=()))
        case "again":
            alike = [n for n, (what, key) in enumerate(p.seen) if what in (CLAIMED, READY) and key == p.key]
            if alike != [p.place]:
                return s.tagged(p.place, EMPTY).moved(which, _turn(p))
            return s.moved(which, replace(p, at="write"))
        case "write":
            return s.stated(p.place, (p.key, 0)).moved(which, replace(p, at="publish"))
        case "publish":
            return s.tagged(p.place, (READY, p.key)).moved(which, replace(p, at="count"))
        case _:
            key, count = s.flows[p.place]
            if key != p.key:
                raise Broken(f"A packet of {p.key} is counted for {key}.")
            return s.stated(p.place, (key, count + 1)).moved(which, None)


def _turn(p: Packet) -> Packet:
    return Packet(p.key, "find", turns=p.turns + 1)


def _choose(s: State, which: int) -> State:
    p = s.packets[which]
    if any(what in (CLAIMED, READY) and key == p.key for what, key in p.seen):
        again = _turn(p)
        return _refuse(s, which) if again.turns > TURNS else s.moved(which, again)
    free = [n for n, tag in enumerate(p.seen) if tag == EMPTY]
    if not free or p.turns > TURNS:
        return _refuse(s, which)
    return s.moved(which, replace(p, at="claim", place=free[0]))


def _refuse(s: State, which: int) -> State:
    return replace(s.moved(which, None), refused=s.refused + 1)


def _others(s: State) -> Iterator[State]:
    """Yield what user space, or a full bucket, may do next."""
    for place, (what, key) in enumerate(s.tags):
        if what == READY and s.holds:
            yield replace(s.tagged(place, (HELD, key)), holds=s.holds - 1)
        busy = any(p.place == place and p.at == "count" for p in s.packets)
        if what == HELD and not (busy and "wait" in s.rules):
            yield replace(s.tagged(place, EMPTY), counted=tuple(sorted((*s.counted, s.flows[place]))))


def _check(s: State, sent: int) -> None:
    ready = [key for what, key in s.tags if what == READY]
    if len(ready) != len(set(ready)):
        raise Broken(f"A flow is there twice: {s.tags}.")
    if not s.packets:
        there = [s.flows[n][1] for n, (what, _) in enumerate(s.tags) if what in (READY, HELD)]
        found = sum(there) + sum(count for _, count in s.counted) + s.refused
        if found != sent:
            raise Broken(f"{sent} packets came, {found} are in the counts: {s}.")


def explore(start: State) -> int:
    """Go through every order of steps; return how many states there are. Raises Broken."""
    sent, seen, left = len(start.packets), {start}, [start]
    while left:
        s = left.pop()
        _check(s, sent)
        for after in (*(_step(s, n) for n in range(len(s.packets))), *_others(s)):
            if after not in seen:
                seen.add(after)
                left.append(after)
    return len(seen)
