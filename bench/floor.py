"""The floor program (bench/floor.c): the least that any tool does with a packet, run on the frames that ours gets.

An empty program is no measure of a packet path: it costs what the kernel's loop costs, and processors differ more in
that than in what a program does. The floor parses, looks up and counts as ours must, so they differ alike in both.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from bench import rig
from nf.kernel import syscall

__all__ = ["Floor"]

_TEXT = Path(__file__).with_suffix(".c").read_text()
_KEY, _SUMS = np.dtype("V16"), np.dtype([("packets", "u8"), ("octets", "u8")])


class Floor:
    """The program, with room for *flows* flows; ``fd`` is its descriptor. ``close`` frees it."""

    def __init__(self, flows: int) -> None:
        self._bpf = rig.bcc()(text=_TEXT, cflags=[f"-DROOM={flows + flows // 4}"])
        self.fd = rig.load(self._bpf, "least")

    def sums(self) -> tuple[int, int, int]:
        """Return (flows, packets, inner octets) that it has counted."""
        _, sums = syscall.read_map(self._bpf["flows"].map_fd, _KEY, _SUMS)
        return len(sums), int(sums["packets"].sum()), int(sums["octets"].sum())

    def check(self, flows: int) -> None:
        """Raise RuntimeError unless 99 % of the flows are in its table: else a figure is of another path.

        The table is an LRU, which now and then loses a young entry.
        """
        present = self.sums()[0]
        if present < 0.99 * flows:
            raise RuntimeError(f"Only {present} of {flows} flows are in the table of the floor program.")

    def close(self) -> None:
        """Free the kernel's memory."""
        os.close(self.fd)
        self._bpf.cleanup()
