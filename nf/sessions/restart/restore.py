"""Sessions of before known again, a million in seconds: records are read for what they claim, not thawed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gtp.events import Side
from nf.kernel.changes import TableChange
from nf.sessions.at_rest.records import SINCE_FIRST, Freezer
from nf.sessions.binding import Binding, UeKey, addresses_of, is_delegated, routes_of, ues
from nf.sessions.store import BindingStore

__all__ = ["TakenBack", "restore"]

_PLAIN = 5  # of the shape of a session without further prefixes (nf.sessions.at_rest.records)


@dataclass(slots=True, repr=False)
class Claims:
    """What one session had. No repr: it would show the subscriber."""

    record: bytes
    keys: tuple[str, ...]
    source: str
    imsi: str
    ues: list[UeKey]
    ue_s: float
    tunnels: list[tuple[str, int, int, float]]  # with the side as a number, and when it got them
    ue_ipv4: str
    ue_ipv6: str
    instance: str
    routes: tuple[str, ...]


@dataclass(slots=True, repr=False)
class TakenBack:
    """What the kernel's tables are to hold."""

    tunnels: list[tuple[str, int, int, int, str, str, bool]] = field(default_factory=list)  # as TunnelRow of nf.kernel
    ues: list[tuple[str, str, int]] = field(default_factory=list)  # instance, address, number
    changes: list[TableChange] = field(default_factory=list)  # of addresses that several have


def restore(store: BindingStore, constants: list[Any], records: Iterable[bytes], sources: Collection[str]) -> TakenBack:
    """Know sessions of before again, as far as *sources* told of them; *constants* and *records* are of a `dump`.

    Who got a tunnel or an address last has it, as before; what a session holds that is known already stays.
    """
    old = Freezer()
    old.packer.load(constants)
    taken = TakenBack()
    with store.changing():
        for record in records:
            for claims in _claims(old, store.freezer, record, sources):
                _take_back(store, claims, taken)
    return taken


def _claims(old: Freezer, new: Freezer, record: bytes, sources: Collection[str]) -> Iterator[Claims]:
    """Yield what each part of a session claims, that is one for nearly all of them."""
    (parts, said, ended_by, other, held, last), values = old.packer.unpack(record)
    if len(parts) != 1 or said or other or len(parts[0]) > _PLAIN:
        yield from _of_parts(old, new, record, sources)
        return
    source, _, _, instance, codes = parts[0]
    if source not in sources:
        return
    first_s, key, imsi, ipv4, ipv6 = values[0], values[3], values[4], values[9], values[10]
    at = 11 + 2 * len(codes)
    tunnels = []
    for mark in held:
        place = mark & ~SINCE_FIRST
        since_s = first_s
        if place >= len(codes):  # one that it has no more
            at += 2
        if mark & SINCE_FIRST:
            since_s, at = values[at], at + 1
        if place < len(codes):
            tunnels.append((values[11 + 2 * place], values[12 + 2 * place], codes[place] >> 1, since_s))
    ue_s = first_s if values[1] is None else values[1]
    addresses = [(instance, a) for a in (ipv4, ipv6) if a]
    packed = new.packer.pack((parts, said, ended_by, other, held, last), values)
    routes = (ipv6,) if is_delegated(ipv6) else ()
    yield Claims(packed, (key,), source, imsi, addresses, ue_s, tunnels, ipv4, ipv6, instance, routes)


def _of_parts(old: Freezer, new: Freezer, record: bytes, sources: Collection[str]) -> Iterator[Claims]:
    """Yield what a joined session claims; where *sources* told only some of its parts, each of them for itself."""
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
    tunnels = [(t.address, t.teid, int(t.side is Side.DOWNLINK), b.held[t]) for t in s.tunnels if t in b.held]
    record = new.freeze(b)
    who = record, tuple(b.parts), s.source, s.identity.imsi
    return Claims(*who, ues(s), b.ue_s, tunnels, s.ue_ipv4, s.ue_ipv6, s.instance, routes_of(s))


def _take_back(store: BindingStore, c: Claims, taken: TakenBack) -> None:
    number = store.take_back(c.record, c.keys, c.source, c.imsi)
    if not number:
        return
    for address, teid, side, since_s in c.tunnels:
        if store.take_back_tunnel((address, teid), number, since_s):
            taken.tunnels.append((address, teid, side, number, c.ue_ipv4, c.ue_ipv6, bool(c.routes)))
    if c.routes:
        taken.changes += store.take_back_routes(number, c.instance, c.routes)
    for ue in c.ues:
        changes = store.take_back_ue(ue, number, c.ue_s)
        if changes is None:
            taken.ues.append((*ue, number))
        else:
            taken.changes += changes
