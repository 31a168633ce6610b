"""The word that processes give one another in the middle of an interval, where a stage must know of all flows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["Agree", "alone"]

# Takes what this process found and returns what each one did, itself included, in an order that is one for all. Each
# process calls it as often as the others in an interval.
Agree: TypeAlias = Callable[[Any], list[Any]]


def alone(mine: Any) -> list[Any]:
    """Agree with nobody else: there is one process."""
    return [mine]
