"""Statistics of interfaces that can be set to zero: the programs' counters go on, a base line is subtracted.

Readers of the counters (intervals, what is not read, the soak's sums) do so see no step.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Statistics"]


class Statistics:
    """The base lines of the counters of interfaces, by configured name, and since when they count. Times as given."""

    def __init__(self) -> None:
        self._since_s: dict[str, float] = {}
        self._base: dict[str, Mapping[str, int]] = {}

    def begin(self, name: str, now_s: float) -> None:
        """Note that the counters of an interface began anew by themselves."""
        self._since_s[name] = now_s
        self._base.pop(name, None)

    def reset(self, name: str, counters: Mapping[str, int], now_s: float) -> None:
        """Count from *counters*, the present ones, on."""
        self._since_s[name] = now_s
        self._base[name] = dict(counters)

    def forget(self, name: str) -> None:
        """Forget an interface that is not configured any more."""
        self._since_s.pop(name, None)
        self._base.pop(name, None)

    def since_s(self, name: str) -> float | None:
        """Return since when an interface counts, None when it is not known."""
        return self._since_s.get(name)

    def of(self, name: str, counters: Mapping[str, int]) -> dict[str, int]:
        """Return the counts since then of an interface whose counters are *counters*."""
        base = self._base.get(name, {})
        return {counter: value - base.get(counter, 0) for counter, value in counters.items()}
