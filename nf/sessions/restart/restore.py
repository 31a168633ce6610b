"""Reading of saved sessions, a million in seconds: the claims of nearly all are read without thawing a binding."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gtp.events import Side
from nf.kernel.changes import PutTunnel, PutUe, TableChange
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
)
from nf.sessions.binding import Binding, UeKey, addresses_of, is_delegated, routes_of, ues
from nf.sessions.store import BindingStore

__all__ = ["TakenBack", "put_back", "restore"]

_PLAIN = 5  # of the shape of a session without further prefixes (nf.sessions.at_rest.records)


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
    """Entries that the kernel's tables are to hold."""

    tunnels: list[PutTunnel] = field(default_factory=list)
    ues: list[PutUe] = field(default_factory=list)
    changes: list[TableChange] = field(default_factory=list)  # of addresses that several have


def restore(store: BindingStore, constants: list[Any], records: Iterable[bytes], sources: Collection[str]) -> TakenBack:
    """Take saved sessions back, as far as *sources* told of them; *constants* and *records* are of a `dump`.

    The last to get a tunnel or an address has it, as before; a session that is known already stays as it is.
    """
    old = Freezer()
    old.packer.load(constants)
    taken = TakenBack()
    with store.changing():
        for record in records:
            for claims in _claims(old, store.freezer, record, sources):
                _take_back(store, claims, taken)
    return taken


def put_back(plane: Tell, taken: TakenBack) -> None:
    """Write sessions that were taken back into the kernel's tables, many at a time."""
    plane.put_tunnels(taken.tunnels)
    plane.put_ues(taken.ues)
    plane.write(taken.changes)


def _claims(old: Freezer, new: Freezer, record: bytes, sources: Collection[str]) -> Iterator[Claims]:
    """Yield the claims of a session: nearly always one."""
    (parts, said, ended_by, other, held, last), values = old.packer.unpack(record)
    if len(parts) != 1 or said or other or len(parts[0]) > _PLAIN:
        yield from _of_parts(old, new, record, sources)
        return
    source, _, _, instance, codes = parts[0]
    if source not in sources:
        return
    first_s, key, imsi = values[FIRST_S], values[KEY], values[IMSI]
    ipv4, ipv6 = values[UE_IPV4], values[UE_IPV6]
    at = TUNNELS + TUNNEL_VALUES * len(codes)  # of the values about tunnels that it got, or lost, later
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
            taken.tunnels.append(PutTunnel(address, teid, side, number, c.ue_ipv4, c.ue_ipv6, bool(c.routes)))
    if c.routes:
        taken.changes += store.take_back_routes(number, c.instance, c.routes)
    for ue in c.ues:
        changes = store.take_back_ue(ue, number, c.ue_s)
        if changes is None:
            taken.ues.append(PutUe(*ue, number))
        else:
            taken.changes += changes
