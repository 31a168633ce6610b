"""Saved sessions in columns: those that one source told of and that have IPv4 tunnels, as nearly all are.

All records of a shape (`gtp.packing`) say the same of a session but for numbers and addresses, so that their claims are
columns as well. `nf.sessions.restart.restore` reads the others one by one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gtp.events import Side
from gtp.packing import BYTE, DIGITS, EMPTY, IPV4, IPV6, KEY, LONG_KEY, NOTHING, PREFIX, REAL, WORD, Shape, ipv4_text
from nf.kernel.changes import TableChange
from nf.kernel.columns import TunnelColumns, UeColumns
from nf.sessions.at_rest import records as at_rest
from nf.sessions.at_rest.columns import Rows, columns, rows_at
from nf.sessions.at_rest.maps import KEY_DIGITS, pack_tunnels
from nf.sessions.at_rest.records import (
    FIRST_S,
    IMSI,
    NUMBER,
    OWN_TIME,
    SIDES,
    TUNNEL_VALUES,
    TUNNELS,
    UE_IPV4,
    UE_IPV6,
    UE_S,
    is_placed,
    routes_in,
)
from nf.sessions.store import BindingStore

__all__ = ["Piece", "Plan", "plan_of", "take_back"]

_WHOLE_64 = 64  # shorter prefixes are looked up as routes


@dataclass(frozen=True, slots=True)
class Plan:
    """The claims of all sessions of a shape: names of columns, and what is the same for all."""

    source: str
    instance: str
    word: str  # of the keys
    tunnels: tuple[tuple[str, str, Side, str], ...]  # address, TEID, side, and since when
    ue_s: str
    ipv4: bool
    ipv6: int | None  # length of the prefix, 0 of a whole address


def plan_of(shape: Shape, sources: Collection[str]) -> Plan | None:
    """Return the claims of the sessions of a shape; None where these take a look at each."""
    parts, said, _, other, held, _ = shape.constant
    if len(parts) != 1 or said or other or routes_in(parts[0]) or parts[0][0] not in sources:
        return None
    kinds, source, instance, codes = shape.kinds, parts[0][0], parts[0][3], parts[0][4]
    key, ipv6 = kinds[at_rest.KEY], kinds[UE_IPV6]
    length = int(ipv6.partition("/")[2]) if ipv6[0] == PREFIX else 0
    ends = [kinds[TUNNELS + TUNNEL_VALUES * n : TUNNELS + TUNNEL_VALUES * (n + 1)] for n in range(len(codes))]
    if not (
        key[0] in (KEY, LONG_KEY)
        and key[1:]
        and kinds[IMSI] in (DIGITS, EMPTY)
        and kinds[UE_IPV4] in (IPV4, EMPTY)
        and (ipv6 in (EMPTY, IPV6) or length >= _WHOLE_64)
        and all(address == IPV4 and teid in (BYTE, WORD) for address, teid in ends)
        and kinds[FIRST_S] == REAL
    ):
        return None
    ue_s = FIRST_S if kinds[UE_S] == NOTHING else UE_S
    known = None if ipv6 == EMPTY else length
    tunnels = tuple(_tunnels(codes, held, TUNNELS + TUNNEL_VALUES * len(codes) + is_placed(parts[0])))
    return Plan(source, instance, key[1:], tunnels, str(ue_s), kinds[UE_IPV4] == IPV4, known)


def _tunnels(codes: bytes, held: tuple[int, ...], at: int) -> list[tuple[str, str, Side, str]]:
    """Return the places of the tunnels that a session has and got; from *at* on are values of those of later."""
    found = []
    for mark in held:
        place, since = mark & ~OWN_TIME, FIRST_S
        if place >= len(codes):  # a tunnel that it has no more
            at += TUNNEL_VALUES
        if mark & OWN_TIME:
            since, at = at, at + 1
        if place < len(codes):
            tunnel = TUNNELS + TUNNEL_VALUES * place
            found.append((str(tunnel), str(tunnel + 1), SIDES[codes[place] >> 1], str(since)))
    return found


@dataclass(slots=True, repr=False)
class Piece:
    """Sessions of one shape, which is one of the store's, with the tags of their subscribers, 0 where unknown."""

    shape: Shape
    plan: Plan
    rows: Rows
    tags: NDArray[np.uint64]
    numbers: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))

    @classmethod
    def of(cls, shape: Shape, plan: Plan, rows: bytes, tags: bytes) -> Piece | None:
        """Return the sessions of rows; None when their keys are too long for columns."""
        piece = cls(shape, plan, columns(shape, rows), np.frombuffer(tags, np.uint64))
        if shape.kinds[at_rest.KEY][0] == LONG_KEY and (piece.column(at_rest.KEY) >= 10**KEY_DIGITS).any():
            return None
        return piece

    def column(self, place: int | str) -> NDArray[Any]:
        """Return the values at a place of the records."""
        found: NDArray[Any] = self.rows[str(place)]
        return found


def take_back(store: BindingStore, pieces: list[Piece]) -> tuple[TunnelColumns, UeColumns, list[TableChange]]:
    """Take sessions back in columns; return the entries that the kernel's tables are to hold."""
    pieces = _numbered(store, pieces)
    if not pieces:
        return TunnelColumns.of(()), UeColumns.none(), []
    for piece in pieces:
        store.take_back_rows(piece.shape, piece.rows, piece.numbers, piece.plan.source)
    _subscribers(store, pieces)
    tunnels = _take_tunnels(store, pieces)
    ues, changes = _take_ues(store, pieces)
    return tunnels, ues, changes + _take_ipv6(store, pieces)


def _numbered(store: BindingStore, pieces: list[Piece]) -> list[Piece]:
    """Return those that are taken back, with numbers in the order of their old ones."""
    if not pieces:
        return []
    packer = store.key_packer
    keys = np.concatenate([packer.pack_all(p.plan.word, p.column(at_rest.KEY).astype(np.uint64)) for p in pieces])
    order = np.argsort(np.concatenate([p.column(NUMBER) for p in pieces]), kind="stable")
    kept, given = store.take_back_keys(keys[order])
    numbers = np.zeros(len(keys), np.uint32)
    numbers[order[kept]] = given
    taken, at = [], 0
    for piece in pieces:
        mine, at = numbers[at : at + len(piece.rows)], at + len(piece.rows)
        some = np.flatnonzero(mine)
        if len(some):
            rows = piece.rows if len(some) == len(mine) else rows_at(piece.rows, some)
            taken.append(Piece(piece.shape, piece.plan, rows, piece.tags[some], mine[some]))
    return taken


def _subscribers(store: BindingStore, pieces: list[Piece]) -> None:
    known = [p for p in pieces if p.shape.kinds[IMSI] == DIGITS]
    if not known:
        return
    tags, numbers = np.concatenate([p.tags for p in known]), np.concatenate([p.numbers for p in known])
    imsis = np.concatenate([p.column(IMSI) for p in known])
    for row in np.flatnonzero(tags == 0).tolist():
        tags[row] = store.tag(str(imsis[row])[1:])
    order = np.argsort(numbers)  # the oldest session of a subscriber is the first
    store.take_back_subscribers(tags[order], numbers[order])


def _take_tunnels(store: BindingStore, pieces: list[Piece]) -> TunnelColumns:
    claims = [(p, tunnel) for p in pieces for tunnel in p.plan.tunnels]
    if not claims:
        return TunnelColumns.of(())
    ends = np.concatenate([p.column(address).astype(np.uint32) for p, (address, _, _, _) in claims])
    addresses, places = np.unique(ends, return_inverse=True)
    names = [ipv4_text(number) for number in addresses.tolist()]
    parts, at = [], 0
    for piece, tunnel in claims:
        parts.append(_tunnel_columns(piece, tunnel, names, places[at : at + len(piece.rows)]))
        at += len(piece.rows)
    rows = TunnelColumns.together(parts)
    since_s = np.concatenate([p.column(since) for p, (_, _, _, since) in claims])
    has = store.take_back_tunnels(pack_tunnels(ends, rows.teid), rows.session, since_s)
    return rows if has.all() else rows.at(has)


def _tunnel_columns(
    piece: Piece, tunnel: tuple[str, str, Side, str], names: list[str], places: NDArray[np.intp]
) -> TunnelColumns:
    plan, count = piece.plan, len(piece.rows)
    return TunnelColumns(
        addresses=names,
        address=places,
        teid=piece.column(tunnel[1]).astype(np.uint32),
        down=np.full(count, tunnel[2] is Side.DOWNLINK),
        session=piece.numbers,
        has_ipv4=np.full(count, plan.ipv4),
        ue_ipv4=piece.column(UE_IPV4) if plan.ipv4 else np.zeros(count, np.uint32),
        has_ipv6=np.full(count, plan.ipv6 is not None),
        ue_ipv6=piece.column(UE_IPV6) if plan.ipv6 is not None else np.zeros((count, 16), np.uint8),
        ue_ipv6_length=np.full(count, plan.ipv6 or 0, np.uint8),
        routed=np.zeros(count, np.bool_),
    )


def _take_ues(store: BindingStore, pieces: list[Piece]) -> tuple[UeColumns, list[TableChange]]:
    known = [p for p in pieces if p.plan.ipv4]
    if not known:
        return UeColumns.none(), []
    names = list(dict.fromkeys(p.plan.instance for p in known))
    of = np.concatenate([np.full(len(p.rows), names.index(p.plan.instance), np.intp) for p in known])
    addresses = np.concatenate([p.column(UE_IPV4) for p in known])
    numbers, since_s = (
        np.concatenate([p.numbers for p in known]),
        np.concatenate([p.column(p.plan.ue_s) for p in known]),
    )
    has, changes = store.take_back_ues(names, of, addresses, numbers, since_s)
    return UeColumns(names, of[has], addresses[has], numbers[has]), changes


def _take_ipv6(store: BindingStore, pieces: list[Piece]) -> list[TableChange]:
    """Take IPv6 addresses one by one: sessions that share a /64 have to be told apart."""
    changes: list[TableChange] = []
    for piece in (p for p in pieces if p.plan.ipv6 is not None):
        for row, (number, since_s) in enumerate(
            zip(piece.numbers.tolist(), piece.column(piece.plan.ue_s).tolist(), strict=True)
        ):
            text = piece.shape.read(piece.rows[row].tobytes(), 0)[UE_IPV6]
            changes += store.take_back_ue((piece.plan.instance, text), number, since_s) or ()
    return changes
