"""The report on one kernel: told while it comes, and as a table at the end."""

from __future__ import annotations

import time
from typing import Any

from tests.kernels.inside import LIMIT, REPLAY

__all__ = ["MOST", "Report"]

MOST = LIMIT // 2


class Report:
    """The phases, the checks and the verifier's figures of one kernel."""

    def __init__(self, name: str) -> None:
        self.name, self.release = name, name
        self.done, self._wrong = False, 0
        self._begun = self._since = time.monotonic()
        self._phase = ""
        self._programs: dict[str, dict[str, Any]] = {}
        self._doubled: dict[str, dict[str, Any]] = {}
        self._checks: list[dict[str, Any]] = []

    @property
    def ok(self) -> bool:
        """True if all steps were done, and all of them well."""
        return self.done and not self._wrong

    def _print(self, text: str) -> None:
        print(f"{self.name:>5} {time.monotonic() - self._begun:6.1f} s  {text}", flush=True)

    def phase(self, name: str) -> None:
        """Note and print the begin of a phase."""
        self._phase, self._since = name, time.monotonic()
        self._print(f"{name} ...")

    def hear(self, what: dict[str, Any]) -> None:
        """Take a message of the kernel's side."""
        if "kernel" in what:
            self.release = what["kernel"]
            several = "takes" if what["frags"] else "does not take"
            self._print(f"Linux {self.release} runs; XDP {several} frames of several buffers")
        elif "phase" in what:
            self.phase(what["phase"])
        elif "verified" in what:
            self._verified(what)
        elif "check" in what:
            self._checks.append(what)
            self._print(f"{what['check']}: {what['text']}{'' if what['ok'] else '  WRONG'}")
            for line in what.get("wrong", ())[:5]:
                self._print(f"    {line}")
            self._wrong += not what["ok"]
        elif "done" in what:
            self.done = True

    def _verified(self, what: dict[str, Any]) -> None:
        table = self._doubled if what["build"] == "doubled" else self._programs
        table[what["verified"]] = what
        if "refused" in what:
            self._wrong += 1
            self._print(f"{what['verified']}, {what['build']}: REFUSED: {what['refused']}")
        elif what["build"] == "programs" and what["instructions"] > MOST:
            self._wrong += 1
            self._print(f"{what['verified']}: {what['instructions']:,} instructions are more than {MOST:,}")

    def failed(self, why: str) -> None:
        """Note and print that nothing more comes."""
        self._wrong += 1
        self._print(f"FAILED: {why}")

    def end(self) -> None:
        """Print the result: the kernel is through."""
        self._print("well" if self.ok else "NOT WELL")

    def show(self) -> None:
        """Print the table."""
        print(f"\nLinux {self.release}: {'all well' if self.ok else 'NOT WELL'}")
        if self._programs:
            print(f"  {'program':20} {'instructions':>12} {'of limit':>8} {'seconds':>8}   loops doubled")
        for name, what in self._programs.items():
            doubled = self._doubled.get(name, {})
            twice = f"{doubled['instructions']:,}" if "instructions" in doubled else doubled.get("refused", "not tried")
            if "refused" in what:
                print(f"  {name:20} {'refused':>12} {'':8} {'':8}   {twice}")
                continue
            share = what["instructions"] / LIMIT
            print(f"  {name:20} {what['instructions']:12,} {share:8.1%} {what['seconds']:8.3f}   {twice}")
        seconds = sum(what.get("seconds", 0.0) for name, what in self._programs.items() if not name.endswith(REPLAY))
        if self._programs:
            print(f"  {'ports, together':20} {'':12} {'':8} {seconds:8.3f}")
        for what in self._checks:
            print(f"  {what['check']:20} {'ok' if what['ok'] else 'WRONG':6} {what['text']}")
