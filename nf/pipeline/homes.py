"""The shard of each flow: by its subscriber while a session is known, else by the address of its UE.

A flow has the shard that its first event gave it until it is seen to belong to a session of another one. Where a
record of the rings is to go follows from the place of its flow in the table.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nf.abi import FLOW_FIRST_B, SNF_FLOW_TUNNEL, SNF_UE_UNKNOWN

__all__ = ["NOBODY", "Homes", "home_of"]

NOBODY = 0xFF  # a place without a flow, or with one of which no event came
_GOLDEN_32 = np.uint64(0x9E37_79B9)  # 2**32 over the golden ratio: Fibonacci hashing (Knuth, TAOCP 3, 6.4)
_LEAST = 1024  # sessions
_LOW_32 = np.uint64(0xFFFF_FFFF)

Shards = NDArray[np.uint8]


def home_of(identity: str, count: int) -> int:
    """Return the shard of a subscriber, whose sessions on one data network all have it."""
    return zlib.crc32(identity.encode()) % count


class SessionHomes:
    """The shards of sessions by number, each asked for once and kept until it is forgotten.

    *ask* returns the shards of some, NOBODY of one that is not known.
    """

    def __init__(self, ask: Callable[[NDArray[np.uint32]], Shards]) -> None:
        self._ask = ask
        self._homes = np.full(_LEAST, NOBODY, np.uint8)

    def of(self, sessions: NDArray[np.uint32]) -> Shards:
        """Return the shard of each session."""
        if not len(sessions):
            return np.zeros(0, np.uint8)
        most = int(sessions.max()) + 1
        if most > len(self._homes):
            more = max(most, 2 * len(self._homes)) - len(self._homes)
            self._homes = np.concatenate([self._homes, np.full(more, NOBODY, np.uint8)])
        found = self._homes[sessions]
        missing = np.unique(sessions[found == NOBODY])
        if len(missing):
            self._homes[missing] = self._ask(missing)
            found = self._homes[sessions]
        return found

    def forget(self, sessions: list[int]) -> None:
        """Forget some, whose subscriber may be another."""
        numbers = np.array(sessions, np.int64)
        self._homes[numbers[numbers < len(self._homes)]] = NOBODY


class Homes:
    """The shards of the flows in so many *places*, of *count* shards.

    *of_sessions* returns the shard of each session by number, NOBODY where there is no such session.
    """

    def __init__(self, places: int, count: int, of_sessions: Callable[[NDArray[np.uint32]], Shards]) -> None:
        self._count, self._of_sessions = np.uint64(count), of_sessions
        self._home, self._before = np.full(places, NOBODY, np.uint8), np.full(places, NOBODY, np.uint8)
        self._number = np.zeros(places, np.uint64)

    def of_places(self, places: NDArray[np.intp]) -> Shards:
        """Return the shards of the flows at places."""
        return self._home[places]

    def places_of(self, shard: int) -> NDArray[np.intp]:
        """Return the places of the flows of a shard."""
        return np.flatnonzero(self._home == shard)

    def of_records(self, places: NDArray[np.uint32], numbers: NDArray[np.uint64]) -> Shards:
        """Return the shards of flows by place and number, also of the flow that gave the place away last."""
        found = np.where(self._number[places] == numbers, self._home[places], self._before[places])
        return np.where(found == NOBODY, 0, found).astype(np.uint8)

    def note(self, events: NDArray[np.void]) -> Shards:
        """Take note of flow events (``struct flow_event``), and return the shard of each."""
        places = events["place"]
        new = (self._number[places] != events["number"]) | (self._home[places] == NOBODY)
        new &= (events["kind"] != SNF_FLOW_TUNNEL) | (self._home[places] == NOBODY)
        rows = np.flatnonzero(new)
        if len(rows):
            wanted = self._wanted(
                events["session"][rows], events["key"][rows], events["ue_end"][rows], events["first_dir"][rows]
            )
            self._put(places[rows], events["number"][rows], wanted)
        homes: Shards = self._home[places]
        return homes

    def assign(self, places: NDArray[np.intp], keys: NDArray[np.void], flows: NDArray[np.void]) -> Shards:
        """Give flows that are in the table, and of which no event came, a shard."""
        first = (flows["flags"] & FLOW_FIRST_B > 0).astype(np.uint8)
        wanted = self._wanted(flows["session"], keys, flows["ue_end"], first)
        self._put(places, flows["number"], wanted)
        return wanted

    def move(self, places: NDArray[np.intp], shard: int) -> None:
        """Give flows another shard."""
        self._home[places] = shard

    def left(self, places: NDArray[np.uint32], numbers: NDArray[np.uint64]) -> None:
        """Take note of flows that left their places, by place and number."""
        places = places[self._number[places] == numbers]
        self._before[places] = self._home[places]
        self._home[places] = NOBODY

    def _put(self, places: NDArray[np.integer], numbers: NDArray[np.uint64], wanted: Shards) -> None:
        had = self._home[places]
        self._before[places] = np.where(had == NOBODY, self._before[places], had)
        self._home[places], self._number[places] = wanted, numbers

    def _wanted(
        self,
        session: NDArray[np.uint32],
        keys: NDArray[np.void],
        ue_end: NDArray[np.uint8],
        first: NDArray[np.uint8],
    ) -> Shards:
        """Return the shards that flows are to have; without a word of the tunnel, who spoke first is the UE."""
        of_b = np.where(ue_end == SNF_UE_UNKNOWN, first > 0, ue_end > 0)
        address = np.where(of_b, keys["b"], keys["a"]).astype(np.uint64)
        found = ((address * _GOLDEN_32 & _LOW_32) * self._count >> np.uint64(32)).astype(np.uint8)
        known = np.flatnonzero(session)
        if len(known):
            of_session = self._of_sessions(session[known])
            found[known] = np.where(of_session == NOBODY, found[known], of_session)
        return found
