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

from nf.sessions.restart import file as snapshot
from nf.sessions.store import BindingStore

__all__ = ["OLDEST_S", "SOURCES", "Recalled", "recall", "remember"]

log = logging.getLogger(__name__)

SOURCES = frozenset({"pfcp"})
OLDEST_S = 300.0  # TEIDs and UE addresses are given again after minutes, where a network has some to spare
_CHUNK = 20_000  # sessions


def remember(path: Path, key: bytes, store: BindingStore, trackers: Mapping[str, Any], at_s: float) -> int:
    """Write all sessions; *trackers* gives the PFCP tracker of each interface. Returns bytes; raises OSError."""
    return snapshot.save(path, key, _chunks(store, trackers, at_s))


def _chunks(store: BindingStore, trackers: Mapping[str, Any], at_s: float) -> Iterator[tuple[Any, ...]]:
    constants, records = store.dump()
    yield "begin", at_s, constants
    for at in range(0, len(records), _CHUNK):
        yield "sessions", records[at : at + _CHUNK]
    del records
    for name, tracker in trackers.items():  # after the store: a session that only the tracker has is told when it moves
        dumped = tracker.dump()
        yield "tracker", name, dumped["constants"], dumped["nodes"]
        rules = list(dumped["records"].items())
        for at in range(0, len(rules), _CHUNK):
            yield "rules", name, dict(rules[at : at + _CHUNK])


@dataclass(slots=True, repr=False)
class Recalled:
    """A file that is whole, authentic and young enough."""

    path: Path
    key: bytes
    constants: list[Any]
    trackers: dict[str, dict[str, Any]]  # of `PfcpTracker.restore`, by interface

    @property
    def count(self) -> int:
        """The number of sessions that the trackers have."""
        return sum(len(t["records"]) for t in self.trackers.values())

    def sessions(self) -> Iterator[list[bytes]]:
        """Yield the records of the store, some at a time."""
        for kind, *content in snapshot.load(self.path, self.key):
            if kind == "sessions":
                yield content[0]

    @property
    def last_number(self) -> int:
        """The largest number in the key of a session."""
        return max((n for t in self.trackers.values() for n in t["records"]), default=0)


def recall(path: Path, key: bytes, at_s: float) -> Recalled | None:
    """Read a file; None when there is none, or when it cannot be used, and then the log says why."""
    if not path.exists():
        return None
    found = Recalled(path, key, [], {})
    saved_s = 0.0
    try:
        for kind, *content in snapshot.load(path, key):
            if kind == "begin":
                saved_s, found.constants = content
            elif kind == "tracker":
                found.trackers[content[0]] = {"constants": content[1], "nodes": content[2], "records": {}}
            elif kind == "rules":
                found.trackers[content[0]]["records"].update(content[1])
    except snapshot.BadSnapshot as error:
        log.warning("%s Sessions are learned anew.", error.what)
        return None
    age_s = at_s - saved_s
    if not 0 <= age_s <= OLDEST_S:
        log.warning("%s is %.0f s old: others may have its tunnels. Sessions are learned anew.", path, age_s)
        return None
    return found
