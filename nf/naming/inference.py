"""Names for flows of the book without a name in their packets, learned from the named flows of their servers.

Once an interval, in columns over the book: flows that got a name teach `nf.naming.servers`; flows without one, and
those with a weaker ground, look their server up when they are new. A server's application may change, so the flows to
servers that changed are looked up again, a bounded number per interval: a name that does not hold any more is taken
back. Names of DNS answers and doubts are looked at all the time, live in turns (`Inference.turn_s`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.apps.basis import Basis
from nf.apps.signatures import Signatures
from nf.flows.agree import Agree, alone
from nf.flows.batch import FlowBatch
from nf.flows.book import FlowBook
from nf.flows.search import one_of
from nf.kernel.rows import rows_at
from nf.naming.class_model import CLASSES
from nf.naming.doubts import TUNNEL_PACKETS, Doubt, Doubts, looks_like_a_tunnel
from nf.naming.patterns import Patterns
from nf.naming.payloads import NAME_SERVICES, PUBLIC_NAMES
from nf.naming.servers import Ends, Learned, Server, client_of

__all__ = ["TURN_S", "Inference", "client_is_b"]

_TCP, _UDP = 6, 17
_AT_ONCE = 65_536  # rows looked up in an interval: some 40 ms
TURN_S = 5.0  # in which each old flow is looked at again, live: what takes a name by a DNS answer is late by that
_WELL_KNOWN = 1024  # RFC 6335, 6: system ports, which servers have
_SPOKEN = one_of((Basis.SNI, Basis.HTTP_HOST, Basis.DNS_ANSWER))
# Grounds that LEARNED may replace, and LEARNED itself, which is looked up again.
_ASKING = one_of((Basis.NONE, Basis.LEARNED, Basis.ADDRESS, Basis.BEHAVIOUR, Basis.MODEL))
_LEARNED = int(Basis.LEARNED)
_FRESH_NS = 10 * 10**9  # a client connects right after it asks; ten seconds leave room for a page's later requests
_CLAIMS = one_of((Basis.SNI, Basis.HTTP_HOST))  # grounds that a client can set at will
_WEAK = one_of((Basis.NONE, Basis.MODEL))
_IS_NAME_SERVICE = one_of(NAME_SERVICES, 0xFFFF)  # by port


def client_is_b(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Say in which book rows end b is the client: the end that spoke first, unless it alone has a system port."""
    b_first = rows["first_dir"] == 1
    system = (rows["port"] < _WELL_KNOWN) & (rows["port"] > 0)
    return np.where(system[:, 0] == system[:, 1], b_first, system[:, 0])


def _servers(rows: NDArray[np.void]) -> tuple[Ends, NDArray[np.uint32]]:
    """Return the server end of each book row, and the number of its client (`client_of`)."""
    of_a = client_is_b(rows)
    server = np.where(of_a[:, None], rows["address_a"], rows["address_b"])
    client = np.where(of_a[:, None], rows["address_b"], rows["address_a"])
    port = np.where(of_a, rows["port"][:, 0], rows["port"][:, 1])
    return Ends(np.ascontiguousarray(server), port, rows["proto"].copy()), client_of(client)


@dataclass(frozen=True, slots=True)
class _Lessons:
    """Flows that got a name, as columns of n, by flow number: what servers are learned from."""

    number: NDArray[np.uint64]
    servers: Ends
    clients: NDArray[np.uint32]  # `client_of`
    apps: NDArray[np.uint16]
    claims: NDArray[np.uint16]  # the application, where the client said it and could have set it at will
    told: NDArray[np.uint16]
    names: list[str]

    def __len__(self) -> int:
        return len(self.number)

    def take(self, rows: NDArray[np.intp]) -> _Lessons:
        """Return some of them, by index."""
        columns = (self.clients[rows], self.apps[rows], self.claims[rows], self.told[rows])
        return _Lessons(
            self.number[rows], self.servers.take(rows), *columns, [self.names[row] for row in rows.tolist()]
        )

    @staticmethod
    def joined(parts: list[_Lessons]) -> _Lessons:
        """Return the lessons of several processes as those of one."""
        if len(parts) == 1:
            return parts[0]
        servers = Ends(*(np.concatenate([getattr(p.servers, f) for p in parts]) for f in ("address", "port", "proto")))

        def column(name: str) -> NDArray[Any]:
            return np.concatenate([getattr(part, name) for part in parts])

        all_of_them = _Lessons(
            number := column("number"),
            servers,
            column("clients"),
            column("apps"),
            column("claims"),
            column("told"),
            [name for part in parts for name in part.names],
        )
        return all_of_them.take(np.argsort(number, kind="stable"))


class Inference:
    """State between intervals: learned servers, patterns, doubts, and the place of the next look over the book.

    *turn_s* is the time in which each old flow is looked at again for what contradicts its name, and all learned
    servers for what is too old; 0: all of them in each interval, but for a bound.
    *agree*: other processes have flows of the same servers, and each learns from the flows of all.
    """

    def __init__(self, signatures: Signatures, turn_s: float = 0.0, agree: Agree = alone) -> None:
        self.learned, self.patterns, self.doubts = Learned(), Patterns(), Doubts(signatures)
        self.signatures, self.turn_s, self._agree = signatures, turn_s, agree
        self._next, self._newest, self._looked_s = 0, 0, -math.inf

    @property
    def counters(self) -> dict[str, int]:
        """Counters of names learned, lost and doubted, and of flows not watched for want of room."""
        return {**self.learned.counters, **self.doubts.counters, "patterns_refused": self.patterns.refused}

    def use(self, signatures: Signatures) -> None:
        """Name by other signatures from now on."""
        self.signatures = signatures
        self.doubts.use(signatures)

    def update(self, book: FlowBook, at_s: float, *, everything: bool = False) -> None:
        """Teach with the flows named since the last call, then look up rows of the book; *everything*: all of them."""
        self._teach(book, book.fresh(), at_s)
        if not len(book):
            return
        first, self._newest = bisect_right(book.rows["number"], self._newest), int(book.rows["number"][-1])
        in_turn = self.turn_s > 0 and not everything
        if everything:
            rows = np.arange(len(book))
        elif in_turn:
            rows = self._in_turn(len(book), first, at_s)
        else:
            rows = _bounded(len(book), self._next)
            self._next = (self._next + _AT_ONCE // 2) % len(book) if len(book) > _AT_ONCE else self._next
        self._looked_s = at_s
        self._outlive(book, rows, None if in_turn else rows, at_s)
        self._ask(book, self._due(book, at_s, everything=everything), at_s)
        self._reconsider(book, rows if in_turn else None, at_s)

    def _in_turn(self, size: int, first: int, at_s: float) -> NDArray[np.intp]:
        """Return the rows from *first* on, which are new, and those whose turn it is."""
        share = min((at_s - self._looked_s) / self.turn_s, 1.0)
        old = (self._next + np.arange(min(math.ceil(size * share), _AT_ONCE // 2))) % size
        self._next = (self._next + len(old)) % size
        new = max(first, size - _AT_ONCE // 2)
        return np.concatenate([old[old < new], np.arange(new, size)])

    def _teach(self, book: FlowBook, rows: NDArray[np.intp], at_s: float) -> None:
        said = self._agree((at_s, self._lessons(book, rows)))
        at_s, lessons = max(at for at, _ in said), _Lessons.joined([some for _, some in said])
        if not len(lessons):
            return
        doubt, other = self.doubts.judge(
            lessons.servers, lessons.claims, lessons.clients, lessons.told, self.learned, at_s
        )
        doubted = np.flatnonzero(doubt)
        rows = book.at(lessons.number[doubted])
        mine = rows >= 0
        book.doubt(rows[mine], doubt[doubted[mine]], other[doubted[mine]])
        good = lessons.take(np.flatnonzero(doubt == 0))
        self.learned.teach(good.servers, good.apps, good.clients, good.names, at_s)

    @staticmethod
    def _lessons(book: FlowBook, rows: NDArray[np.intp]) -> _Lessons:
        """Return what rows with a name teach: those of the book that name a server."""
        named = rows_at(book.rows, rows)
        rows = rows[_SPOKEN[named["basis"]] & (named["name"] > 0) & ~_name_service(named)]
        names = book.hosts(rows)
        outer = np.array([name in PUBLIC_NAMES for name in names], np.bool_)
        rows, names = rows[~outer], [n for n in names if n not in PUBLIC_NAMES]
        flows = rows_at(book.rows, rows)
        servers, clients = _servers(flows)
        claims = np.where(_CLAIMS[flows["basis"]], flows["app"], 0).astype(np.uint16)
        columns = (flows["app"].copy(), claims, flows["told"].copy(), names)
        return _Lessons(flows["number"].copy(), servers, clients, *columns)

    def _outlive(self, book: FlowBook, rows: NDArray[np.intp], around: NDArray[np.intp] | None, at_s: float) -> None:
        """Take back names of old DNS answers at shared servers to which the same client said another application.

        A client that asked just before means that name; later it is only one of the names known there. Names of *rows*
        are taken back, for what the flows *around* them say, which by default are as many as an interval may look at.
        """
        rows = rows[(book.rows["basis"][rows] == Basis.DNS_ANSWER) & (book.rows["app"][rows] > 0)]
        if not len(rows):
            return
        told = rows_at(book.rows, rows)
        shared = ~_name_service(told)
        shared[shared] = self.learned.shared(_servers(rows_at(told, shared))[0], at_s)
        if not shared.any():
            return
        around = _bounded(len(book), self._next) if around is None else around
        rows, told, flows = rows[shared], rows_at(told, shared), rows_at(book.rows, around)
        said = rows_at(flows, _CLAIMS[flows["basis"]])
        other = _differs(self._there(said), said["app"], self._there(told), told["app"])
        asked = rows_at(flows, _name_service(flows) & (flows["name"] > 0))
        fresh = _asked_before(_asker(asked), asked["first_ns"], _asker(told), told["first_ns"])
        book.unname(rows[other & ~fresh])

    def _there(self, flows: NDArray[np.void]) -> NDArray[np.uint64]:
        """Return a number for each (server, client)."""
        servers, clients = _servers(flows)
        return self.learned.keys(servers) ^ clients.astype(np.uint64) << np.uint64(7)

    def _reconsider(self, book: FlowBook, rows: NDArray[np.intp] | None, at_s: float) -> None:
        """Believe names again whose doubt rests on knowledge of a server that does not hold any more.

        Those of *rows*, or all.
        """
        doubted = book.rows["doubt"] if rows is None else book.rows["doubt"][rows]
        rows = np.flatnonzero(doubted) if rows is None else rows[doubted > 0]
        if not len(rows):
            return
        flows = rows_at(book.rows, rows)
        doubt, other = flows["doubt"], flows["doubt_app"]
        gone = self.doubts.over(_servers(flows)[0], flows["prior_app"], doubt, other, self.learned, at_s)
        book.take_back(rows[gone])

    def _due(self, book: FlowBook, at_s: float, *, everything: bool) -> NDArray[np.intp]:
        """Return the rows whose server may say something else than before, as many as an interval may ask for."""
        changed = self.learned.changed(at_s, self.turn_s)
        if everything:
            return np.arange(len(book))
        if changed.everything:
            book.asked.again(slice(None))
        rows = book.asked.due(len(book), changed.servers, changed.around)
        if len(rows) <= _AT_ONCE:
            return rows
        half = _AT_ONCE // 2
        book.asked.again(rows[half:-half])
        return np.concatenate([rows[:half], rows[-half:]])

    def _ask(self, book: FlowBook, rows: NDArray[np.intp], at_s: float) -> None:
        flows = rows_at(book.rows, rows)
        asking = _ASKING[flows["basis"]] & ((flows["proto"] == _TCP) | (flows["proto"] == _UDP)) & ~_name_service(flows)
        book.asked.never(rows[~asking])
        rows, flows = rows[asking], rows_at(flows, asking)
        if not len(rows):
            return
        servers = _servers(flows)[0]
        apps, confidence = self.learned.look(servers, at_s)
        was = flows["basis"] == _LEARNED
        says = apps > 0
        book.take_back(rows[was & ~says])
        book.name_by_server(rows[says], apps[says], confidence[says])
        book.asked.note(rows, *self.learned.numbers(servers))

    def watch(self, book: FlowBook, batch: FlowBatch, flows: NDArray[np.void]) -> None:
        """Judge the flows of an interval by their behaviour; *flows* are their rows of the kernel's table.

        Flows without a better ground get a class, and no application; flows that say a name and behave as its
        application never does are doubted.
        """
        self._tunnels(book, batch, flows)
        weak = (batch.basis == Basis.MODEL) | ((batch.basis == Basis.NONE) & (batch.app == 0))
        weak &= (batch.proto == _TCP) | (batch.proto == _UDP)
        numbers, classes, confidence = self.patterns.update(batch, weak)
        if not len(numbers):
            return
        rows = book.at(numbers)
        told = rows >= 0
        rows, classes, confidence = rows[told], classes[told], confidence[told]
        now = rows_at(book.rows, rows)
        weak_now = _WEAK[now["basis"]] & ~_name_service(now)
        rows, classes, confidence = rows[weak_now], classes[weak_now], confidence[weak_now]
        only_class = np.array([self.signatures.only_class(name) for name in CLASSES] + [0], np.uint16)
        book.name_by_class(rows, only_class[classes], confidence)

    def _tunnels(self, book: FlowBook, batch: FlowBatch, flows: NDArray[np.void]) -> None:
        claiming = np.flatnonzero(_CLAIMS[batch.basis])
        claiming = claiming[(flows["packets"][claiming] >= TUNNEL_PACKETS).all(axis=1)]
        if not len(claiming):
            return
        class_of = self.signatures.class_of[np.minimum(batch.app[claiming], len(self.signatures.class_of) - 1)]
        octets, packets = flows["bytes"][claiming], flows["packets"][claiming]
        tunnel = claiming[looks_like_a_tunnel(octets, packets, class_of, self.doubts.claimed_by_tunnels)]
        if not len(tunnel):
            return
        rows = book.at(batch.flow_id[tunnel])
        rows = rows[rows >= 0]
        rows = rows[_CLAIMS[book.rows["basis"][rows]]]
        self.doubts.counters["doubted_tunnel"] += len(rows)
        book.doubt(rows, np.full(len(rows), Doubt.TUNNEL, np.uint8), np.zeros(len(rows), np.uint16))

    def server(self, book: FlowBook, number: int, at_s: float) -> Server | None:
        """Return the server of one flow as it was learned, None when it is not known."""
        row = book.at(np.array([number], np.uint64))
        if row[0] < 0:
            return None
        ends, _ = _servers(rows_at(book.rows, row))
        return self.learned.server(ends.address[0].tobytes(), int(ends.port[0]), int(ends.proto[0]), at_s)


def _asker(rows: NDArray[np.void]) -> NDArray[np.uint64]:
    """Return a number for each (client, host name)."""
    numbers: NDArray[np.uint64] = _servers(rows)[1].astype(np.uint64) << np.uint64(32) | rows["name"]
    return numbers


def _differs(
    keys: NDArray[np.uint64], apps: NDArray[np.uint16], wanted: NDArray[np.uint64], mine: NDArray[np.uint16]
) -> NDArray[np.bool_]:
    """Say for each *wanted* key whether the applications of the same key include one other than *mine*."""
    if not len(keys):
        return np.zeros(len(wanted), np.bool_)
    order = np.lexsort((apps, keys))
    keys, apps = keys[order], apps[order]
    first, last = np.searchsorted(keys, wanted, "left"), np.searchsorted(keys, wanted, "right") - 1
    low, high = apps[np.minimum(first, len(keys) - 1)], apps[np.maximum(last, 0)]
    differs: NDArray[np.bool_] = (last >= first) & ((low != mine) | (high != mine))
    return differs


def _asked_before(
    keys: NDArray[np.uint64], at_ns: NDArray[np.uint64], wanted: NDArray[np.uint64], then_ns: NDArray[np.uint64]
) -> NDArray[np.bool_]:
    """Say for each *wanted* key whether an equal one of *keys* was asked in the ten seconds before its time."""
    if not len(keys):
        return np.zeros(len(wanted), np.bool_)
    order = np.lexsort((at_ns, keys))
    keys, at_ns = keys[order], at_ns[order]
    # Find the last row of the key that is not later: one order sorted by key and time serves all searches.
    both = np.concatenate([np.stack([keys, at_ns], axis=1), np.stack([wanted, then_ns], axis=1)])
    place = np.lexsort((np.arange(len(both)), both[:, 1], both[:, 0]))
    is_ask = place < len(keys)
    before = np.maximum.accumulate(np.where(is_ask, np.arange(len(place)), -1))
    last = np.full(len(both), -1)
    last[place] = np.where(before >= 0, place[np.maximum(before, 0)], -1)
    found = last[len(keys) :]
    known = (found >= 0) & (keys[np.maximum(found, 0)] == wanted)
    age_ns = then_ns - np.where(known, at_ns[np.maximum(found, 0)], then_ns)
    fresh: NDArray[np.bool_] = known & (age_ns <= _FRESH_NS)
    return fresh


def _bounded(size: int, first: int) -> NDArray[np.intp]:
    """Return all rows of a book, or of a large one the newest, and as many from *first* on."""
    if size <= _AT_ONCE:
        return np.arange(size)
    newest = np.arange(size - _AT_ONCE // 2, size)  # they have never been looked up
    return np.union1d(newest, (first + np.arange(_AT_ONCE // 2)) % size)


def _name_service(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Say which book rows are DNS: their names are those asked for, not those of the server."""
    of_service: NDArray[np.bool_] = _IS_NAME_SERVICE[rows["port"]]
    return of_service[:, 0] | of_service[:, 1]
