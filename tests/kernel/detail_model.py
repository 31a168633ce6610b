"""A model of the table of details (bpf/detail_table.h), of which every order of steps is gone through.

Places of one set, and packets on a CPU each. A step reads or changes one place, or the set's `busy`, as the programs
do: a reader of several places sees each at another time. Flows that are quiet have no packet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Packet", "Set", "Wrong", "explore"]

TURNS = 3


class Wrong(Exception):
    """An order of steps after which something is wrong."""


@dataclass(frozen=True)
class Packet:
    """A packet on its way: where it is in the program, and what it has found so far."""

    flow: str
    at: str = "find"
    n: int = 0  # the place that is looked at
    found: int = -1
    turns: int = 0


@dataclass(frozen=True)
class Set:
    """All that is shared, and the packets. A number is the name of a flow, or nothing."""

    numbers: tuple[str, ...]
    details: tuple[tuple[str, int], ...]  # the flow that a place was written for, and its packets
    packets: tuple[Packet, ...]
    quiet: str = ""  # flows that may leave
    busy: bool = False
    locks: bool = True  # False: nobody looks at busy
    refused: int = 0

    def numbered(self, place: int, number: str) -> Set:
        return replace(self, numbers=(*self.numbers[:place], number, *self.numbers[place + 1 :]))

    def detailed(self, place: int, detail: tuple[str, int]) -> Set:
        return replace(self, details=(*self.details[:place], detail, *self.details[place + 1 :]))

    def moved(self, which: int, *packet: Packet) -> Set:
        return replace(self, packets=(*self.packets[:which], *packet, *self.packets[which + 1 :]))

    def refuse(self, which: int) -> Set:
        return replace(self.moved(which), refused=self.refused + 1)


def _step(s: Set, which: int) -> Set:
    """One step of a packet."""
    p = s.packets[which]
    match p.at:
        case "find" | "again" | "choose" if p.n < len(s.numbers):
            number = s.numbers[p.n]
            wanted = not number or number in s.quiet if p.at == "choose" else number == p.flow
            return s.moved(which, replace(p, n=p.n + 1, found=p.n if wanted and p.found < 0 else p.found))
        case "find":
            return s.moved(which, replace(p, at="count" if p.found >= 0 else "lock", n=0))
        case "lock" if s.busy and s.locks:
            return s.refuse(which) if p.turns == TURNS else s.moved(which, replace(p, turns=p.turns + 1))
        case "lock":
            return replace(s.moved(which, replace(p, at="again", n=0)), busy=True)
        case "again":
            return s.moved(which, replace(p, at="unlock" if p.found >= 0 else "choose", n=0))
        case "choose":
            return s.moved(which, replace(p, at="clear" if p.found >= 0 else "unlock"))
        case "clear":
            return s.numbered(p.found, "").moved(which, replace(p, at="write"))
        case "write":
            return s.detailed(p.found, (p.flow, 0)).moved(which, replace(p, at="publish"))
        case "publish":
            return s.numbered(p.found, p.flow).moved(which, replace(p, at="unlock"))
        case "unlock":
            free = replace(s, busy=False)
            return free.refuse(which) if p.found < 0 else free.moved(which, replace(p, at="count"))
        case _:
            flow, count = s.details[p.found]
            if flow != p.flow:
                raise Wrong(f"A packet of {p.flow} is counted for {flow}.")
            return s.detailed(p.found, (flow, count + 1)).moved(which)


def _check(s: Set, sent: int) -> None:
    there = [number for number in s.numbers if number]
    if len(there) != len(set(there)):
        raise Wrong(f"A flow has two places: {s.numbers}.")
    if not s.packets and (s.busy or s.refused + sum(count for _, count in s.details) != sent):
        raise Wrong(f"{sent} packets came: {s}.")


def explore(start: Set) -> int:
    """Go through all orders of steps; return how many states there are. Raises Wrong for the first that is wrong."""
    seen, todo = {start}, [start]
    while todo:
        state = todo.pop()
        _check(state, len(start.packets))
        for which in range(len(state.packets)):
            following = _step(state, which)
            if following not in seen:
                seen.add(following)
                todo.append(following)
    return len(seen)
