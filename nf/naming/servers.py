"""Applications of servers, learned from the named flows of all subscribers, for flows that say no name.

A server is (address, port, protocol). It names a flow when the named flows of several clients went there, all of
one application and of no other. A server that served two applications, or a name that no application owns,
names nothing until the second one was not seen for a day; and if one address of a neighbourhood is shared so, the
others may be: they need much more evidence. So a content network names nothing, and a rented server does.

Everything is columns: a batch of named flows teaches, a batch of unnamed ones looks up, in numpy. The tables are
bounded; the server of a full set that was quiet for the longest leaves, and is counted.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nf.flows.asked import LEAST_NUMBER
from nf.kernel.rows import opaque, rows_at

__all__ = ["LEAST", "LEAST_SHARED", "Changed", "Ends", "Learned", "Server", "client_of", "confidence_of"]

U8: TypeAlias = NDArray[np.uint8]
U16: TypeAlias = NDArray[np.uint16]
U32: TypeAlias = NDArray[np.uint32]
U64: TypeAlias = NDArray[np.uint64]

WAYS = 8
SERVERS = 131_072
NEIGHBOURHOODS = 16_384
# The choices of this file. An application's address is its own for hours (cloud providers keep a released address
# back for less than that); an address that was shared once within a day is shared.
HOLD_S = 6 * 3600.0
SHARED_S = 24 * 3600.0
AGAIN_S = 10.0  # flows of one client within so long are one page load: one piece of evidence
# Pieces of evidence. If two applications shared the server alike, n of one kind would come in one of 2^(n-1) cases.
LEAST, LEAST_SHARED = 2, 32
_BEST = 95  # percent: a shared server whose other application was never named looks the same

_SERVER = np.dtype(
    [
        ("key", "u8"),  # 0: the slot is empty
        ("seen_s", "f8"),
        ("counted_s", "f8"),  # time of the last piece of evidence that was counted
        ("shared_until_s", "f8"),
        ("client", "u4"),  # of the last piece
        ("evidence", "u4"),
        ("app", "u2"),
        ("other", "u2"),  # the application before it
    ]
)
_HTTPS, _TCP, _UDP = 443, 6, 17
_MOST_CHANGED = 65_536  # servers, or neighbourhoods, that changed while nobody looked; of more, all are asked for again


@dataclass(frozen=True, slots=True)
class Ends:
    """Servers as columns of n: addresses (n, 16) bytes, IPv4 mapped; ports; IP protocols."""

    address: U8
    port: U16
    proto: U8

    def __len__(self) -> int:
        return len(self.port)

    def take(self, rows: NDArray[Any]) -> Ends:
        """Return some of them, by index or mask."""
        return Ends(self.address[rows], self.port[rows], self.proto[rows])


@dataclass(frozen=True, slots=True)
class Server:
    """One learned server. ``shared``: it served another application as well, and names none."""

    app: int
    evidence: int
    name: str  # the latest host name
    shared: bool
    other: int  # the application before this one, when it is shared
    neighbours_shared: bool


@dataclass(frozen=True, slots=True)
class Changed:
    """Servers, and neighbourhoods, whose answers may be others than before, by their numbers (`Learned.numbers`)."""

    servers: U32
    around: U16
    everything: bool = False  # all of them, and the numbers say nothing


def client_of(addresses: U8) -> U32:
    """Return a number for each client address (n, 16): FNV-1a over its 32-bit words."""
    words = np.ascontiguousarray(addresses).view("<u4").reshape(-1, 4)
    value = np.full(len(words), 2166136261, np.uint32)
    for word in words.T:
        value = (value ^ word) * np.uint32(16777619)
    return value


def confidence_of(evidence: NDArray[Any]) -> U8:
    """Return percent: two applications that share a server alike pass as one in one of 2^(n-1) cases."""
    doubt = 2.0 ** -np.minimum(evidence.astype(np.float64), 30.0)
    return np.minimum(np.floor(100 * (1 - doubt)), _BEST).astype(np.uint8)


class _Table:
    """Slots in sets of `WAYS`, by key; a full set reuses the slot that was not seen for the longest."""

    def __init__(self, size: int) -> None:
        self.slots = np.zeros(size, _SERVER)
        self.names: NDArray[np.object_] = np.full(size, "", object)
        self._sets = np.uint64(size // WAYS)
        self.evicted = 0
        self._changed: list[U64] = []  # keys whose slots say something else, or went
        self._changes = 0

    def _of_set(self, keys: U64) -> NDArray[np.intp]:
        """Return the (n, WAYS) slots that each key may be in."""
        first = ((keys >> np.uint64(32)) % self._sets).astype(np.intp) * WAYS
        return first[:, None] + np.arange(WAYS)

    def find(self, keys: U64) -> NDArray[np.intp]:
        """Return the slot of each key, -1 where there is none."""
        slots = self._of_set(keys)
        here = self.slots["key"][slots] == keys[:, None]
        at: NDArray[np.intp] = slots[np.arange(len(keys)), here.argmax(axis=1)]
        return np.where(here.any(axis=1), at, -1)

    def place(self, keys: U64) -> NDArray[np.intp]:
        """Return the slot of each of the distinct *keys*; new ones get a cleared slot.

        Where a set has less room than new keys, the slot of some is another's: its key says whose.
        """
        at = self.find(keys)
        self.slots["seen_s"][at[at >= 0]] = np.inf  # not to be chosen within this call
        missing = np.flatnonzero(at < 0)
        while len(missing):  # one key per set and turn
            slots = self._of_set(keys[missing])
            _, turn = np.unique(slots[:, 0], return_index=True)
            seen = np.where(self.slots["key"][slots[turn]] == 0, -1.0, self.slots["seen_s"][slots[turn]])
            chosen = slots[turn, seen.argmin(axis=1)]
            left = self.slots["key"][chosen]
            self.change(left[left > 0])
            self.evicted += int((left > 0).sum())
            self.slots[chosen] = np.zeros((), _SERVER)
            self.slots["key"][chosen] = keys[missing[turn]]
            self.slots["seen_s"][chosen] = np.inf
            self.names[chosen] = ""
            at[missing[turn]] = chosen
            missing = np.delete(missing, turn)
        return at

    def change(self, keys: U64) -> None:
        """Note that slots say something else from now on."""
        self._changes += len(keys)
        if self._changes > _MOST_CHANGED:
            self._changed.clear()
        elif len(keys):
            self._changed.append(keys)

    def take_changes(self) -> tuple[U64, bool]:
        """Return the keys that changed since the last call, and whether there are too many to tell."""
        keys, too_many = (
            np.unique(np.concatenate([np.zeros(0, np.uint64), *self._changed])),
            self._changes > _MOST_CHANGED,
        )
        self._changed, self._changes = [], 0
        return keys, too_many

    def turns(self, since_s: float, at_s: float) -> NDArray[np.bool_]:
        """Say which slots say something else at *at_s* than since *since_s*, because time passed."""
        return _turns(self.slots, since_s, at_s)

    def next_turn_s(self, at_s: float) -> float:
        """Return when a slot will next say something else, from *at_s* on, because time passed."""
        taken = self.slots["key"] > 0
        times = np.concatenate([self.slots["counted_s"][taken] + HOLD_S, self.slots["shared_until_s"][taken]])
        return float(times[times >= at_s].min(initial=np.inf))


def _turns(slots: NDArray[np.void], since_s: float, at_s: float) -> NDArray[np.bool_]:
    over, alone = slots["counted_s"] + HOLD_S, slots["shared_until_s"]
    turns: NDArray[np.bool_] = ((over >= since_s) & (over < at_s)) | ((alone >= since_s) & (alone < at_s))
    return turns & (slots["key"] > 0)


def _answer(slots: NDArray[np.void], at_s: float) -> U32:
    """Return a number for what slots of servers say, 0 where they name nothing."""
    names = (slots["app"] > 0) & (slots["evidence"] >= LEAST)
    names &= (slots["shared_until_s"] < at_s) & (slots["counted_s"] + HOLD_S >= at_s)
    much = (slots["evidence"] >= LEAST_SHARED).astype(np.uint32)
    says = slots["app"].astype(np.uint32) << np.uint32(16) | confidence_of(slots["evidence"]) << np.uint32(1) | much
    return np.where(names, says, 0).astype(np.uint32)


class Learned:
    """The servers, and the neighbourhoods (IPv4 /24, IPv6 /48) of shared ones. Times are those of the caller."""

    def __init__(self, servers: int = SERVERS, seed: int | None = None) -> None:
        self._servers, self._around = _Table(servers), _Table(NEIGHBOURHOODS)
        # A secret seed: no sender can aim at a set, or at the key of another server.
        self._seed = np.uint64(secrets.randbits(64) if seed is None else seed)
        self.taught = 0
        # Since when time was not looked at, and when it will next change an answer (`changed`).
        self._since_s, self._turn_s = -np.inf, np.inf
        self._pieces = np.zeros(0xFFFF, np.uint32)  # of evidence by application, at all servers together

    def __len__(self) -> int:
        return int((self._servers.slots["key"] > 0).sum())

    @property
    def counters(self) -> dict[str, int]:
        """Numbers of flows that taught, and of servers and neighbourhoods that a full table lost."""
        return {"learned_taught": self.taught, "learned_evicted": self._servers.evicted + self._around.evicted}

    def teach(self, servers: Ends, apps: U16, clients: U32, names: Sequence[str], at_s: float) -> None:
        """Learn from named flows: application (0: the name is nobody's), client (`client_of`) and name of each."""
        if not len(servers):
            return
        self.taught += len(servers)
        keys, first, which = np.unique(self.keys(servers), return_index=True, return_inverse=True)
        low, high = np.full(len(keys), 0xFFFF, np.uint16), np.zeros(len(keys), np.uint16)
        np.minimum.at(low, which, apps)
        np.maximum.at(high, which, apps)
        last = np.zeros(len(keys), np.intp)
        last[which] = np.arange(len(which))  # of equal indices the last one stays
        people = np.unique(np.stack([which.astype(np.uint64), clients.astype(np.uint64)]), axis=1)[0]
        pieces = np.bincount(people.astype(np.intp), minlength=len(keys)).astype(np.uint32)
        at = self._servers.place(keys)
        mine = self._servers.slots["key"][at] == keys
        at, keys, first, low, high, last, pieces = (
            column[mine] for column in (at, keys, first, low, high, last, pieces)
        )
        s = rows_at(self._servers.slots, at)
        turned, said = _turns(s, self._since_s, at_s), _answer(s, at_s)
        new, client = apps[last], clients[last]
        stale = s["counted_s"] + HOLD_S < at_s  # an empty slot is stale as well
        known = (s["evidence"] > 0) & ~stale
        other = np.where(low != high, np.where(low == new, high, low), np.where(known, s["app"], new)).astype(np.uint16)
        conflict = other != new
        page = known & ~conflict & (pieces == 1) & (s["client"] == client) & (s["counted_s"] + AGAIN_S > at_s)
        s["evidence"] = np.where(known & ~conflict, s["evidence"] + np.where(page, 0, pieces), pieces)
        s["counted_s"] = np.where(page, s["counted_s"], at_s)
        s["shared_until_s"] = np.where(conflict, at_s + SHARED_S, s["shared_until_s"])
        s["other"] = np.where(conflict, other, s["other"])
        s["app"], s["client"], s["seen_s"] = new, client, at_s
        np.add.at(self._pieces, new, np.where(page, 0, pieces).astype(np.uint32))
        opaque(self._servers.slots)[at] = opaque(s)
        self._servers.change(keys[turned | (said != _answer(s, at_s))])
        self._turn_s = min(self._turn_s, at_s + min(HOLD_S, SHARED_S))
        self._servers.names[at] = np.array(names, object)[last]
        if conflict.any():
            self._share(servers.take(first[conflict]), at_s)

    def _share(self, servers: Ends, at_s: float) -> None:
        keys = np.unique(self.keys(_neighbourhood(servers)))
        around = self._around.place(keys)
        mine = self._around.slots["key"][around] == keys
        around, keys = around[mine], keys[mine]
        self._around.change(keys[self._around.slots["shared_until_s"][around] < at_s])
        self._around.slots["seen_s"][around] = at_s
        self._around.slots["shared_until_s"][around] = at_s + SHARED_S

    def changed(self, at_s: float, wait_s: float = 0.0) -> Changed:
        """Return whose answers may be others at *at_s* than at the last call.

        Answers that change because time passed are told at most every *wait_s*.
        """
        everything = at_s < self._since_s
        if self._turn_s >= at_s or everything:
            self._since_s = at_s
        elif at_s - self._since_s >= wait_s:
            for table in (self._servers, self._around):
                table.change(table.slots["key"][table.turns(self._since_s, at_s)])
            self._since_s = at_s
            self._turn_s = min(table.next_turn_s(at_s) for table in (self._servers, self._around))
        (servers, many), (around, many_around) = self._servers.take_changes(), self._around.take_changes()
        return Changed(_server_number(servers), _around_number(around), everything or many or many_around)

    def numbers(self, servers: Ends) -> tuple[U32, U16]:
        """Return the number of each server, and that of its neighbourhood; those of others may be equal."""
        return _server_number(self.keys(servers)), _around_number(self.keys(_neighbourhood(servers)))

    def look(self, servers: Ends, at_s: float) -> tuple[U16, U8]:
        """Return (application, confidence in percent) of each server; 0 where it names none."""
        at = self._servers.find(self.keys(servers))
        s = rows_at(self._servers.slots, at)
        candidate = (at >= 0) & (s["app"] > 0) & (s["evidence"] >= LEAST)
        candidate &= (s["shared_until_s"] < at_s) & (s["counted_s"] + HOLD_S >= at_s)
        rows = np.flatnonzero(candidate)
        if len(rows):
            shared = self._shared_around(servers.take(rows), at_s)
            candidate[rows] = ~shared | (s["evidence"][rows] >= LEAST_SHARED)
        confidence = np.where(candidate, confidence_of(s["evidence"]), 0)
        return np.where(candidate, s["app"], 0).astype(np.uint16), confidence.astype(np.uint8)

    def shared(self, servers: Ends, at_s: float) -> NDArray[np.bool_]:
        """Say which servers served two applications lately."""
        at = self._servers.find(self.keys(servers))
        shared: NDArray[np.bool_] = (at >= 0) & (self._servers.slots["shared_until_s"][at] >= at_s)
        return shared

    def _shared_around(self, servers: Ends, at_s: float) -> NDArray[np.bool_]:
        at = self._around.find(self.keys(_neighbourhood(servers)))
        shared: NDArray[np.bool_] = (at >= 0) & (self._around.slots["shared_until_s"][at] >= at_s)
        return shared

    def evidence(self, servers: Ends, at_s: float) -> tuple[U16, U32]:
        """Return (application, pieces of evidence) of each server that served one application alone; else 0, 0."""
        at = self._servers.find(self.keys(servers))
        s = rows_at(self._servers.slots, at)
        alone = (at >= 0) & (s["shared_until_s"] < at_s) & (s["counted_s"] + HOLD_S >= at_s)
        alone &= ~self._shared_around(servers, at_s)
        return np.where(alone, s["app"], 0).astype(np.uint16), np.where(alone, s["evidence"], 0).astype(np.uint32)

    def evidence_of(self, apps: U16) -> U32:
        """Return the pieces of evidence that each application has, at all servers together."""
        return self._pieces[apps]

    def server(self, address: bytes, port: int, proto: int, at_s: float) -> Server | None:
        """Return one server as it was learned, None when it is not known."""
        one = Ends(np.frombuffer(address, np.uint8).reshape(1, 16), np.array([port], np.uint16),
                   np.array([proto], np.uint8))  # fmt: skip
        at = int(self._servers.find(self.keys(one))[0])
        if at < 0 or self._servers.slots["counted_s"][at] + HOLD_S < at_s:
            return None
        s = self._servers.slots[at]
        shared = bool(s["shared_until_s"] >= at_s)
        around = bool(self._shared_around(one, at_s)[0])
        return Server(int(s["app"]), int(s["evidence"]), str(self._servers.names[at]), shared, int(s["other"]), around)

    def keys(self, servers: Ends) -> U64:
        """Return a keyed 64-bit hash of each server, never 0. HTTP/3 is offered by HTTPS servers (RFC 9114, 3.1.1)."""
        words = np.ascontiguousarray(servers.address).view("<u8").reshape(-1, 2)
        proto = np.where((servers.port == _HTTPS) & (servers.proto == _UDP), _TCP, servers.proto).astype(np.uint64)
        value = np.full(len(words), self._seed, np.uint64)
        for part in (words[:, 0], words[:, 1], servers.port.astype(np.uint64) << np.uint64(8) | proto):
            value = _mixed(value ^ part)
        return value | np.uint64(1)


def _server_number(keys: U64) -> U32:
    return np.maximum((keys >> np.uint64(32)).astype(np.uint32), np.uint32(LEAST_NUMBER))


def _around_number(keys: U64) -> U16:
    return (keys >> np.uint64(32)).astype(np.uint16)


def _mixed(v: U64) -> U64:
    """Mix by the finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014)."""
    v = (v ^ v >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    v = (v ^ v >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return v ^ v >> np.uint64(31)


_V4 = np.frombuffer(bytes(10) + b"\xff\xff", np.uint8)


def _neighbourhood(servers: Ends) -> Ends:
    """Return the /24 of each IPv4 address, the /48 of each IPv6 one, without port."""
    address = servers.address.copy()
    v4 = (address[:, :12] == _V4).all(axis=1)
    address[v4, 15] = 0
    address[~v4, 6:] = 0
    none = np.zeros(len(address), np.uint16)
    return Ends(address, none, none.astype(np.uint8))
