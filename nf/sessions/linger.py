"""Entries of sessions that ended all at once: the kernel keeps them for a while, so that flows keep their names.

A restart or a release ends thousands of sessions in one exchange, and the traffic of their subscribers does not stop
with it: it goes on until each has a new session. Until then a packet in an old tunnel, of the UE that the tunnel was
for, is that UE's. Whoever claims a tunnel or an address has it at once; when it was another subscriber's, numbers are
being given again, and nothing old is kept any longer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from nf.sessions.binding import TunnelKey, UeKey
from nf.sessions.changes import slash64

__all__ = ["GRACE_S", "Lingering"]

GRACE_S = 30.0  # shorter than the time for which a number is not used again (REUSE_S of the store)

_Left = tuple[list[TunnelKey], list[UeKey]]


class Lingering:
    """Tunnels and UE addresses that only the kernel still has, by the number of the session that ended."""

    def __init__(self) -> None:
        self._tunnels: dict[TunnelKey, int] = {}
        self._ues: dict[UeKey, int] = {}
        self._beside: dict[tuple[str, bytes], list[UeKey]] = {}  # IPv6 addresses by their /64
        self._order: deque[tuple[float, TunnelKey | UeKey, bool]] = deque()

    def __len__(self) -> int:
        return len(self._tunnels) + len(self._ues)

    def tunnel(self, key: TunnelKey, number: int, at_s: float) -> None:
        """Keep a tunnel."""
        self._tunnels[key] = number
        self._order.append((at_s, key, True))

    def ue(self, ue: UeKey, number: int, at_s: float) -> None:
        """Keep a UE address."""
        self._ues[ue] = number
        if ":" in ue[1]:
            self._beside.setdefault((ue[0], slash64(ue[1])), []).append(ue)
        self._order.append((at_s, ue, False))

    def claimed_tunnel(self, key: TunnelKey) -> int:
        """Give a tunnel up to its new session; return the number of the old one, else 0."""
        return self._tunnels.pop(key, 0) if self._tunnels else 0

    def claimed_ue(self, ue: UeKey) -> tuple[int, list[UeKey]]:
        """Give a UE address up; return the number of its old session, and others of its /64, kept no longer."""
        if not self._ues:
            return 0, []
        number = self._ues.pop(ue, 0)
        beside = self._beside.pop((ue[0], slash64(ue[1])), []) if ":" in ue[1] else []
        return number, [other for other in beside if self._ues.pop(other, 0)]

    def over(self, at_s: float) -> _Left:
        """Return all that was kept long enough, and keep it no longer."""
        return self._leave(self._due(at_s - GRACE_S))

    def all(self) -> _Left:
        """Return all that is kept, and keep nothing."""
        return self._leave(self._due(float("inf")))

    def _due(self, until_s: float) -> Iterable[tuple[TunnelKey | UeKey, bool]]:
        while self._order and self._order[0][0] <= until_s:
            _, key, is_tunnel = self._order.popleft()
            yield key, is_tunnel

    def _leave(self, due: Iterable[tuple[TunnelKey | UeKey, bool]]) -> _Left:
        tunnels: list[TunnelKey] = []
        ues: list[UeKey] = []
        for key, is_tunnel in due:
            if is_tunnel and self._tunnels.pop(key, 0):  # type: ignore[arg-type]
                tunnels.append(key)  # type: ignore[arg-type]
            elif not is_tunnel and self._ues.pop(key, 0):  # type: ignore[arg-type]
                ues.append(key)  # type: ignore[arg-type]
        if not self._ues:
            self._beside.clear()
        return tunnels, ues
