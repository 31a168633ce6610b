"""Messages between the process that has rings, sessions and the bus, and those of the shards.

Order of an interval: `Read` to each shard, which answers with the flows that are another's (`Astray`); the interval is
turned; `Go` with all that came until then; questions (`Ask`) and words that all shards give each other (`Agree`); at
last `Done`. Between intervals there are `Given` alone.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feed.records import Columns, RecordBatch
from nf.apps.signatures import Signatures
from nf.flows.book import Moved
from nf.flows.delays import DelayInterval
from nf.settings import Action, Interface, QoeProfile, SubscriberGroup

__all__ = [
    "Agree", "Ask", "Astray", "Begin", "Done", "Forget", "Given", "Go", "Policies", "Port", "Profiles", "Read", "Site",
    "States", "Taken", "Use",
]  # fmt: skip

Policies = tuple[Sequence[dict[int, tuple[Action, int]]], tuple[SubscriberGroup, ...]]


@dataclass(frozen=True, slots=True)
class Port:
    """A port as the stages see it."""

    interface: Interface


@dataclass(frozen=True, slots=True)
class Site:
    """The ports, and the sight that they give: of uplink and downlink, without and with a translated N6."""

    attached: dict[str, Port] = field(default_factory=dict)
    host_addresses: frozenset[bytes] = frozenset()
    sees: tuple[tuple[bool, bool], tuple[bool, bool]] = ((True, True), (True, True))


@dataclass(frozen=True, slots=True)
class Given:
    """Records of the rings for one shard; *heard* are the names that DNS told subscribers of others."""

    events: NDArray[np.void]
    payloads: NDArray[np.void]
    names: NDArray[np.void]
    heard: NDArray[np.void]
    ended: NDArray[np.void]

    def __len__(self) -> int:
        return sum(map(len, (self.events, self.payloads, self.names, self.heard, self.ended)))


@dataclass(frozen=True, slots=True)
class Read:
    """The interval from *last_s* (None: the first flow) to *now_s* ends.

    Read these places; the *late* ones are of flows that may have had packets.

    *relabelled*: sessions whose label may be another; with another *turn*, all. *followed*: subscribers, and their
    present names.
    """

    last_s: float | None
    now_s: float
    moved: NDArray[np.intp]
    late: NDArray[np.intp]
    chunks: NDArray[np.void]
    relabelled: list[int]
    turn: tuple[int, int]
    followed: dict[str, str]
    opted_out: bool
    site: Site
    sessions: int
    nameless: NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Astray:
    """Flows that were read and belong to another shard: places, keys and states, and what the book had of them."""

    places: NDArray[np.intp]
    keys: NDArray[np.void]
    flows: NDArray[np.void]
    book: Moved


@dataclass(frozen=True, slots=True)
class Go:
    """The interval was turned: process it with these records, and with flows that came from elsewhere."""

    given: Given
    places: NDArray[np.intp]
    keys: NDArray[np.void]
    flows: NDArray[np.void]
    books: list[Moved]
    delays: DelayInterval
    copies: tuple[NDArray[np.uint64], NDArray[np.uint32]]
    legs: bool


@dataclass(frozen=True, slots=True)
class Begin:
    """Look after the flows at places."""

    places: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Use:
    """Name by other signatures."""

    signatures: Signatures


@dataclass(frozen=True, slots=True)
class Profiles:
    """Judge under other constants."""

    profiles: tuple[QoeProfile, ...]


@dataclass(frozen=True, slots=True)
class Forget:
    """Forget whose the memory of a subscriber is, by the published name."""

    subscriber: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A question of a shard about sessions, or of the function about flows."""

    what: str
    about: Any


@dataclass(frozen=True, slots=True)
class Agree:
    """The word of one shard, pickled; the answer is the list of all."""

    word: bytes


@dataclass(frozen=True, slots=True)
class Taken:
    """A shard took so many payloads."""

    payloads: int
    returned: int  # times that a flow of its book came back to a tunnel it had left


@dataclass(frozen=True, slots=True)
class Done:
    """The interval of one shard."""

    records: list[RecordBatch]
    details: list[tuple[str, Columns, Columns, float, float]]
    learned: list[tuple[int, str]]
    hold: NDArray[np.intp]  # places of flows that are to leave
    read_octets: int
    state: dict[str, int]


@dataclass(frozen=True, slots=True)
class States:
    """Memory that all processes map, for the states of the last sweep by place."""

    fd: int
    dtype: np.dtype[np.void]
    places: int

    @classmethod
    def make(cls, dtype: np.dtype[np.void], places: int) -> States:
        """Return memory of zeros, which is taken as places are used."""
        fd = os.memfd_create("snf-states", os.MFD_CLOEXEC)
        os.ftruncate(fd, places * dtype.itemsize)
        return cls(fd, dtype, places)

    def close(self) -> None:
        """Give the descriptor up; mapped memory stays."""
        os.close(self.fd)

    def map(self) -> NDArray[np.void]:
        """Return the states; the memory goes with the array."""
        shared = mmap.mmap(self.fd, self.places * self.dtype.itemsize, mmap.MAP_SHARED)
        return np.frombuffer(shared, self.dtype, self.places)
