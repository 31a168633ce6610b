"""The value type of a figure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number beside the number aimed at; ``value <= goal`` meets it, or ``>=`` when *more* is better.

    *stated* is the goal on the machine of the documents, where this one has another (bench/yardstick.py).
    """

    name: str
    value: float
    unit: str
    goal: float
    cases: dict[str, float] = field(default_factory=dict)
    note: str = ""
    more: bool = False
    stated: float | None = None

    @property
    def met(self) -> bool:
        return self.value >= self.goal if self.more else self.value <= self.goal
