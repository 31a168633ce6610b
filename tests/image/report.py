"""The report on one image: what held, and the emulator's processor time by part."""

from __future__ import annotations

import time
from dataclasses import dataclass

__all__ = ["GOAL_S", "Report"]

GOAL_S = 200.0  # processor seconds of the emulator, from power-on to a NETCONF answer


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    processor_s: float
    clock_s: float


class Report:
    """Checks and parts of a boot, told while they come."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._wrong, self._checks = 0, 0
        self._begun = time.monotonic()
        self._parts: list[_Part] = []
        self._answer: _Part | None = None

    @property
    def ok(self) -> bool:
        """True if there were checks and none went wrong."""
        return self._checks > 0 and not self._wrong

    def say(self, text: str) -> None:
        """Print a line."""
        print(f"{self.name:>5} {time.monotonic() - self._begun:6.0f} s  {text}", flush=True)

    def check(self, what: str, ok: bool, text: str) -> None:
        """Note and print a check."""
        self._checks += 1
        self._wrong += not ok
        self.say(f"{what}: {text}{'' if ok else '  WRONG'}")

    def part(self, name: str, processor_s: float, clock_s: float) -> None:
        """Note a part of the boot: what it took of both times."""
        self._parts.append(_Part(name, processor_s, clock_s))

    def answered(self, processor_s: float, clock_s: float) -> None:
        """Note when NETCONF answered, counted from power-on."""
        self._answer = _Part("power-on to a NETCONF answer", processor_s, clock_s)
        self.check(
            "power-on to a NETCONF answer",
            processor_s <= GOAL_S,
            f"{processor_s:.0f} processor seconds of the emulator, goal {GOAL_S:.0f}; {clock_s:.0f} s by the clock",
        )

    def failed(self, why: str) -> None:
        """Note and print that nothing more comes."""
        self._checks += 1
        self._wrong += 1
        self.say(f"FAILED: {why}")

    def show(self) -> None:
        """Print the parts."""
        print(f"\n{self.name}: {'all well' if self.ok else 'NOT WELL'}, {self._checks} checks")
        print(f"  {'part':44} {'processor s':>11} {'clock s':>8}")
        for part in (*self._parts, *([self._answer] if self._answer else [])):
            print(f"  {part.name:44} {part.processor_s:11.1f} {part.clock_s:8.1f}")
