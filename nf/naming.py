"""What is known of flows by their number: the application's name, and the tunnels they came in.

Both tables are filled from rare records (a verdict, a flow event) and read once an interval by
column. `keep` drops what belongs to flows that are gone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nf.kernel.dataplane import address_text

__all__ = ["Leg", "NameTable", "TunnelTable"]


class NameTable:
    """Application, basis and host name by flow number."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[int, int, str]] = {}
        self._sorted: tuple[NDArray[np.uint64], NDArray[np.uint16], NDArray[np.uint8]] | None = None

    def put(self, number: int, app: int, basis: int, name: str) -> None:
        """Record the latest answer about a flow."""
        self._entries[number] = (app, basis, name)
        self._sorted = None

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, number: int) -> bool:
        return number in self._entries

    def get(self, number: int) -> tuple[int, int, str]:
        """Return (application, basis, name) of one flow; (0, 0, "") when nothing is known."""
        return self._entries.get(number, (0, 0, ""))

    def lookup(self, numbers: NDArray[np.uint64]) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
        """Return the columns application and basis for *numbers*; 0 where nothing is known."""
        if self._sorted is None:
            known = np.fromiter(self._entries, np.uint64, len(self._entries))
            order = np.argsort(known)
            values = list(self._entries.values())
            apps = np.fromiter((v[0] for v in values), np.uint16, len(values))
            bases = np.fromiter((v[1] for v in values), np.uint8, len(values))
            self._sorted = (known[order], apps[order], bases[order])
        known, apps, bases = self._sorted
        if not len(known):
            return np.zeros(len(numbers), np.uint16), np.zeros(len(numbers), np.uint8)
        at = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
        hit = known[at] == numbers
        return np.where(hit, apps[at], 0).astype(np.uint16), np.where(hit, bases[at], 0).astype(np.uint8)

    def keep(self, numbers: NDArray[np.uint64]) -> None:
        """Forget all flows but *numbers*."""
        alive = set(numbers.tolist())
        self._entries = {n: e for n, e in self._entries.items() if n in alive}
        self._sorted = None


@dataclass(slots=True)
class Leg:
    """One direction of a flow: the tunnels it was seen in. Sets keep the order of their first sight."""

    teids: dict[int, None] = field(default_factory=dict)
    qfis: dict[int, None] = field(default_factory=dict)
    outers: dict[tuple[str, str], None] = field(default_factory=dict)


class TunnelTable:
    """The tunnels of each flow, from the kernel's flow events."""

    def __init__(self) -> None:
        self.legs: dict[int, tuple[Leg, Leg]] = {}

    def add(self, events: NDArray[np.void]) -> None:
        """Record events (``struct flow_event``); plain flows have none of it."""
        for e in events[events["gtpu"] == 1]:
            leg = self.legs.setdefault(int(e["number"]), (Leg(), Leg()))[int(e["dir"]) & 1]
            leg.teids[int(e["teid"])] = None
            if e["qfi"]:
                leg.qfis[int(e["qfi"])] = None
            leg.outers[address_text(e["outer_src"].tobytes()), address_text(e["outer_dst"].tobytes())] = None

    def receivers(self, number: int) -> list[tuple[str, int]]:
        """Return the (receiving address, TEID) pairs of a flow, latest first."""
        found = []
        for leg in self.legs.get(number, ()):
            if leg.teids:
                found.append((next(reversed(leg.outers))[1], next(reversed(leg.teids))))
        return found

    def keep(self, numbers: NDArray[np.uint64]) -> None:
        """Forget all flows but *numbers*."""
        alive = set(numbers.tolist())
        self.legs = {n: leg for n, leg in self.legs.items() if n in alive}
