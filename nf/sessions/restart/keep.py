"""The content of the file of sessions (`nf.sessions.restart.file`): written by one process, read by the next one.

Only PFCP sessions are taken back (`SOURCES`): their tracker can go on with them. GTP-C, RADIUS and NGAP tell theirs
again, and configured ones are in the configuration. A file that is older than `OLDEST_S` is not used: tunnels and
addresses may have been given to others by then, unseen.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nf.sessions.intake import Record
from nf.sessions.restart import file as snapshot
from nf.sessions.restart.only import TAG_BYTES, only, row_size
from nf.sessions.store import BindingStore

__all__ = ["OLDEST_S", "SOURCES", "Recalled", "recall", "remember"]

log = logging.getLogger(__name__)

SOURCES = frozenset({"pfcp"})
OLDEST_S = 300.0  # TEIDs and UE addresses are given again after minutes, where a network has some to spare
_CHUNK = 50_000  # sessions
_BLOCKS, _SEGMENTS = 1024, 128  # of a tracker's rows and names, a chunk each


def remember(path: Path, key: bytes, store: BindingStore, trackers: Mapping[str, Any], at_s: float) -> int:
    """Write the sessions that will be taken back; *trackers* have those of each interface. Returns bytes.

    Raises OSError.
    """
    return snapshot.save(path, key, _chunks(store, trackers, at_s))


def _chunks(store: BindingStore, trackers: Mapping[str, Any], at_s: float) -> Iterator[tuple[Any, ...]]:
    constants, records = only(*store.dump(), SOURCES)
    yield "begin", at_s, constants
    shapes = constants[0]
    for number, rows, tags in records:
        size = row_size(shapes[number][1]) if number >= 0 else len(rows)
        for at in range(0, len(rows), step := size * _CHUNK):
            piece = slice(at // size * TAG_BYTES, (at + step) // size * TAG_BYTES)
            yield "sessions", [(number, rows[at : at + step], tags[piece])]
    del records
    for name, tracker in trackers.items():  # after the store: a session that only the tracker has is told when it moves
        dumped = tracker.dump()
        blocks, names = dumped["rows"].pop("blocks"), dumped.pop("names")
        yield "tracker", name, dumped
        for at in range(0, len(blocks), _BLOCKS):
            yield "rows", name, blocks[at : at + _BLOCKS]
        for at in range(0, len(names), _SEGMENTS):
            yield "names", name, names[at : at + _SEGMENTS]


@dataclass(slots=True, repr=False)
class Recalled:
    """A file that is whole, authentic and young enough."""

    constants: list[Any]
    records: list[Record]
    trackers: dict[str, dict[str, Any]]  # of `PfcpTracker.restore`, by interface

    def sessions(self) -> Iterator[list[Record]]:
        """Yield the records of the store, if there are any; it gives them away."""
        records, self.records = self.records, []
        if records:
            yield records

    @property
    def last_number(self) -> int:
        """The largest number in the key of a session."""
        return max((t["last"] for t in self.trackers.values()), default=0)


def recall(path: Path, key: bytes, at_s: float) -> Recalled | None:
    """Read a file; None when there is none, or when it cannot be used, and then the log says why."""
    if not path.exists():
        return None
    found = Recalled([], [], {})
    saved_s = 0.0
    try:
        for kind, *content in snapshot.load(path, key):
            if kind == "begin":
                saved_s, found.constants = content
            elif kind == "sessions":
                found.records += content[0]
            elif kind == "tracker":
                found.trackers[content[0]] = content[1] | {"rows": content[1]["rows"] | {"blocks": []}, "names": []}
            elif kind == "rows":
                found.trackers[content[0]]["rows"]["blocks"] += content[1]
            elif kind == "names":
                found.trackers[content[0]]["names"] += content[1]
    except snapshot.BadSnapshot as error:
        log.warning("%s Sessions are learned anew.", error.what)
        return None
    age_s = at_s - saved_s
    if not 0 <= age_s <= OLDEST_S:
        log.warning("%s is %.0f s old: others may have its tunnels. Sessions are learned anew.", path, age_s)
        return None
    return found
