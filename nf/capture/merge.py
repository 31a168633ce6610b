"""Several captures as one, by time."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from nf.capture.reader import Capture, open_capture

__all__ = ["Merged", "merged"]


class Merged:
    """Open captures; iterate once for (index of the file, t_ns, frame, link, bytes on the wire)."""

    def __init__(self, paths: Sequence[Path | str]) -> None:
        self.captures: list[Capture] = []
        with ExitStack() as stack:  # if the third file is no capture, the first two must not stay open
            for path in paths:
                self.captures.append(stack.enter_context(open_capture(path)))
            self._open = stack.pop_all()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(c.size for c in self.captures)

    @property
    def bytes_read(self) -> int:
        """Bytes consumed of all files."""
        return sum(c.bytes_read for c in self.captures)

    @property
    def notes(self) -> Counter[str]:
        """Faults of the files so far, with their numbers."""
        return sum((c.notes for c in self.captures), Counter())

    def __iter__(self) -> Iterator[tuple[int, int, bytes, int, int]]:
        with self._open:
            if len(self.captures) == 1:
                for t_ns, frame, wire, link in self.captures[0]:
                    yield 0, t_ns, frame, link, wire
                return
            streams = [_tagged(index, capture) for index, capture in enumerate(self.captures)]
            for t_ns, index, frame, link, wire in heapq.merge(*streams):
                yield index, t_ns, frame, link, wire

    def close(self) -> None:
        """Free the files; reading to the end does it too."""
        self._open.close()


def merged(paths: Sequence[Path | str]) -> Merged:
    """Open captures to be read as one, by time; packets of one time in the order of their files.

    Each file keeps its own order: a packet that is out of order in its file stays so. Raises `BadCapture`
    for the first file that cannot be read, before any packet.
    """
    return Merged(paths)


def _tagged(index: int, capture: Capture) -> Iterator[tuple[int, int, bytes, int, int]]:
    for t_ns, frame, wire, link in capture:
        yield t_ns, index, frame, link, wire
