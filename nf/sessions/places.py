"""Places: pairs of gNB and slice by a number, under which the kernel counts what is measured there."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

__all__ = ["NOWHERE", "Place", "Places"]

Place = tuple[str, str]  # gNB and slice, as `nf.sessions.at_rest.records.Label` has them
NOWHERE = 0  # number of the place of all who have none


class Places:
    """The numbers below *room* and the places that have one. ``refused`` counts times that a place found none."""

    def __init__(self, room: int) -> None:
        self.refused = 0
        self._names: list[Place] = [("", "")]
        self._numbers: dict[Place, int] = {("", ""): NOWHERE}
        self._free: deque[int] = deque()
        self._room = room
        self._unused: frozenset[int] = frozenset()

    def __len__(self) -> int:
        """Return how many numbers were ever given: all are below that."""
        return len(self._names)

    def number(self, place: Place) -> int:
        """Return the number of a place, which gets one now if there is any, else NOWHERE."""
        known = self._numbers.get(place)
        if known is not None:
            return known
        if self._free:
            number = self._free.popleft()
            self._names[number] = place
        elif len(self._names) < self._room:
            number = len(self._names)
            self._names.append(place)
        else:
            self.refused += 1
            return NOWHERE
        self._numbers[place] = number
        return number

    def names(self, numbers: Sequence[int]) -> list[Place]:
        """Return the places of numbers."""
        return [self._names[number] for number in numbers]

    @property
    def is_scarce(self) -> bool:
        """Say whether less than an eighth of the numbers is left."""
        return len(self._free) + self._room - len(self._names) < self._room // 8

    def give_back(self, used: Collection[int]) -> None:
        """Free the numbers that are not among *used*, this time and the time before."""
        unused = frozenset(self._numbers.values()) - frozenset(used) - {NOWHERE}
        for number in sorted(unused & self._unused):
            del self._numbers[self._names[number]]
            self._names[number] = ("", "")
            self._free.append(number)
        self._unused = unused - self._unused
