"""Reading of saved sessions, a million in seconds: nearly all in columns (`nf.sessions.restart.columns`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gtp.events import Side
from nf.kernel.changes import PutTunnel, PutUe, TableChange
from nf.kernel.columns import TunnelColumns, UeColumns
from nf.kernel.tell import Tell
from nf.sessions.at_rest.records import (
    FIRST_S,
    IMSI,
    KEY,
    OWN_TIME,
    SIDES,
    TUNNEL_VALUES,
    TUNNELS,
    UE_IPV4,
    UE_IPV6,
    UE_S,
    Freezer,
    is_placed,
    routes_in,
)
from nf.sessions.binding import Binding, UeKey, addresses_of, is_delegated, routes_of, ues
from nf.sessions.intake import Record
from nf.sessions.restart.columns import Piece, plan_of, take_back
from nf.sessions.store import BindingStore

__all__ = ["TakenBack", "put_back", "restore"]


@dataclass(slots=True, repr=False)
class Claims:
    """The claims of one session. No repr: it would show the subscriber."""

    record: bytes
    keys: tuple[str, ...]
    source: str
    imsi: str
    ues: list[UeKey]
    ue_s: float
    tunnels: list[tuple[str, int, Side, float]]  # each with the time at which it got it
    ue_ipv4: str
    ue_ipv6: str
    instance: str
    routes: tuple[str, ...]


@dataclass(slots=True, repr=False)
class TakenBack:
    """Entries that the kernel's tables are to hold: columns, and the changes for those that were read one by one."""

    tunnels: TunnelColumns = field(default_factory=lambda: TunnelColumns.of(()))
    ues: UeColumns = field(default_factory=UeColumns.none)
    changes: list[TableChange] = field(default_factory=list)


def restore(
    store: BindingStore, constants: list[Any], records: Iterable[Record], sources: Collection[str]
) -> TakenBack:
    """Take saved sessions back, as far as *sources* told of them; *constants* and *records* are of a `dump`."""
    old = Freezer()
    shapes, proof = constants
    old.packer.load(shapes)
    taken = TakenBack()
    with store.changing():
        pieces, others = _sorted(store, old, records, sources, tagged=proof == store.proof)
        taken.tunnels, taken.ues, taken.changes = take_back(store, pieces)
        for record in others:
            for claims in _claims(old, store.freezer, record, sources):
                _take_back(store, claims, taken)
    return taken


def _sorted(
    store: BindingStore, old: Freezer, records: Iterable[Record], sources: Collection[str], *, tagged: bool
) -> tuple[list[Piece], list[bytes]]:
    """Return the sessions that are taken back in columns, and the records of the others."""
    pieces: list[Piece] = []
    others: list[bytes] = []
    for number, rows, tags in records:
        if number < 0:
            others.append(rows)
            continue
        shape = old.packer.shapes[number]
        plan = plan_of(shape, sources)
        mine = store.freezer.packer.shape(shape.constant, shape.kinds) if plan is not None else None
        piece = None
        if plan is not None and mine is not None:
            piece = Piece.of(mine, plan, rows, tags if tagged else bytes(len(tags)))
        if piece is not None:
            pieces.append(piece)
        else:
            others += [shape.prefix + rows[at : at + shape.size] for at in range(0, len(rows), shape.size)]
    return pieces, others


def put_back(plane: Tell, taken: TakenBack) -> None:
    """Write sessions that were taken back into the kernel's tables, many at a time."""
    plane.put_columns(taken.tunnels, taken.ues)
    plane.write(taken.changes)


def _claims(old: Freezer, new: Freezer, record: bytes, sources: Collection[str]) -> Iterator[Claims]:
    """Yield the claims of a session: nearly always one."""
    (parts, said, ended_by, other, held, last), values = old.packer.unpack(record)
    if len(parts) != 1 or said or other or routes_in(parts[0]):
        yield from _of_parts(old, new, record, sources)
        return
    source, _, _, instance, codes = parts[0][:5]
    if source not in sources:
        return
    first_s, key, imsi = values[FIRST_S], values[KEY], values[IMSI]
    ipv4, ipv6 = values[UE_IPV4], values[UE_IPV6]
    at = (
        TUNNELS + TUNNEL_VALUES * len(codes) + is_placed(parts[0])
    )  # of the values about tunnels that it got, or lost, later
    tunnels = []
    for mark in held:
        place = mark & ~OWN_TIME
        since_s = first_s
        if place >= len(codes):  # a tunnel that it has no more
            at += TUNNEL_VALUES
        if mark & OWN_TIME:
            since_s, at = values[at], at + 1
        if place < len(codes):
            tunnel = TUNNELS + TUNNEL_VALUES * place
            tunnels.append((values[tunnel], values[tunnel + 1], SIDES[codes[place] >> 1], since_s))
    ue_s = first_s if values[UE_S] is None else values[UE_S]
    addresses = [(instance, a) for a in (ipv4, ipv6) if a]
    packed = new.packer.pack((parts, said, ended_by, other, held, last), values)
    routes = (ipv6,) if is_delegated(ipv6) else ()
    yield Claims(packed, (key,), source, imsi, addresses, ue_s, tunnels, ipv4, ipv6, instance, routes)


def _of_parts(old: Freezer, new: Freezer, record: bytes, sources: Collection[str]) -> Iterator[Claims]:
    """Yield the claims of a joined session; if *sources* told only some of its parts, those of each such part."""
    binding = old.thaw(0, record)
    if all(part.source in sources for part in binding.said.values()):
        yield _of_binding(new, binding)
        return
    held = binding.held
    for part in [p for p in binding.parts.values() if p.source in sources]:
        binding.parts = binding.said = {part.key: part}
        binding.session, binding.checked = part, addresses_of(part)
        binding.held = {t: held[t] for t in part.tunnels if t in held}
        yield _of_binding(new, binding)


def _of_binding(new: Freezer, b: Binding) -> Claims:
    s = b.session
    tunnels = [(t.address, t.teid, t.side, b.held[t]) for t in s.tunnels if t in b.held]
    record = new.freeze(b)
    who = record, tuple(b.parts), s.source, s.identity.imsi
    return Claims(*who, ues(s), b.ue_s, tunnels, s.ue_ipv4, s.ue_ipv6, s.instance, routes_of(s))


def _take_back(store: BindingStore, c: Claims, taken: TakenBack) -> None:
    number = store.take_back(c.record, c.keys, c.source, c.imsi)
    if not number:
        return
    for address, teid, side, since_s in c.tunnels:
        if store.take_back_tunnel((address, teid), number, since_s):
            taken.changes.append(PutTunnel(address, teid, side, number, c.ue_ipv4, c.ue_ipv6, bool(c.routes)))
    if c.routes:
        taken.changes += store.take_back_routes(number, c.instance, c.routes)
    for ue in c.ues:
        changes = store.take_back_ue(ue, number, c.ue_s)
        taken.changes += [PutUe(*ue, number)] if changes is None else changes
