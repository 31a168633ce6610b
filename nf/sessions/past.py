"""Past holders of tunnels, for packets that are asked about after their tunnel was given to another session."""

from __future__ import annotations

from collections import deque

from nf.sessions.binding import TunnelKey

__all__ = ["PastHolders"]

_OF_ONE = 16  # holders that are remembered of one tunnel


class PastHolders:
    """The last holders of each tunnel; at most *capacity* of all together."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held: dict[TunnelKey, deque[tuple[int, float, float]]] = {}  # number, and from when to when
        self._order: deque[tuple[float, TunnelKey]] = deque()

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: TunnelKey) -> bool:
        return key in self._held

    def add(self, key: TunnelKey, number: int, first_s: float, until_s: float) -> None:
        """Remember a holder of a tunnel."""
        self._held.setdefault(key, deque(maxlen=_OF_ONE)).append((number, first_s, until_s))
        self._order.append((until_s, key))
        while len(self._order) > self._capacity:
            self._forget_oldest()

    def at(self, key: TunnelKey, at_s: float) -> int:
        """Return the number of the session that held a tunnel at *at_s*, 0 when none did."""
        return next((n for n, first_s, until_s in reversed(self._held.get(key, ())) if first_s <= at_s <= until_s), 0)

    def forget_before(self, at_s: float) -> None:
        """Forget the holders that had left their tunnel by *at_s*."""
        while self._order and self._order[0][0] <= at_s:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = self._order.popleft()[1]
        held = self._held.get(oldest)
        if held:
            held.popleft()
        if not held:
            self._held.pop(oldest, None)
