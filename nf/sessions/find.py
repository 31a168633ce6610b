"""Finding sessions among a million: by key at once, by anything else a page at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from gtp.events import Session
from nf.privacy import Pseudonymiser
from nf.sessions.binding import LINE, Binding, in_routes, is_of_ue
from nf.sessions.store import BindingStore

__all__ = ["Found", "Page", "Query", "find"]

_UNKNOWN = ("ue-", "teid-", "line-")  # beginnings of `Pseudonymiser.unknown`
_HEX = frozenset("0123456789abcdef")
_LOOKS = 10_000  # sessions that one page looks at: some 20 ms


@dataclass(frozen=True, slots=True, repr=False)
class Query:
    """The known properties of the sessions that are looked for; an empty one matches anything."""

    number: int = 0
    imsi: str = ""
    # Published name, or the first digits of a pseudonym; also the address or tunnel of an unknown one, as in
    # "ue:internet:10.45.0.2" and "teid:192.0.2.7:0x00000001".
    subscriber: str = ""
    ue_address: str = ""
    instance: str = ""
    tunnel_address: str = ""
    teid: int = 0
    dnn: str = ""
    source: str = ""
    after: int = 0  # only higher numbers
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Found:
    """A session under its published name. ``session`` holds the IMSI, which is not to be shown.

    Of the UPF: ``error_indications`` about its tunnels since it began, and by direction the packets that were followed
    through the UPF and those of them that did not come out.
    """

    number: int
    subscriber: str
    first_s: float  # since the epoch
    session: Session
    error_indications: int = 0
    followed: tuple[int, int] = (0, 0)
    lost: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Page:
    """Sessions by number. ``next``: what to give as `Query.after` for the next page, None after the last."""

    known: int  # all sessions that hold
    found: tuple[Found, ...]
    next: int | None


def find(store: BindingStore, query: Query, pseudonymiser: Pseudonymiser) -> Page:
    """Return a page of the sessions that hold and match *query*.

    A session is found at once by number, IMSI, published name, UE address or tunnel, however many there are.
    """
    query = replace(query, subscriber=pseudonymiser.current(query.subscriber))
    keyed = _by_key(store, query, pseudonymiser)
    query = replace(query, subscriber=pseudonymiser.unknown(query.subscriber))
    candidates = [n for n in sorted(store.numbers() if keyed is None else keyed) if n > query.after]
    found: list[Found] = []
    for looks, number in enumerate(candidates):
        if len(found) == query.limit or looks == _LOOKS:
            return Page(len(store), tuple(found), candidates[looks - 1])
        if keyed is None and not _may_match(store, number, query, pseudonymiser):
            continue
        binding = store.by_index(number)
        if binding is None or binding.index != number or binding.last_s is not None:
            continue
        name = store.subscriber(number, pseudonymiser)
        if _matches(binding, name, query):
            whole = replace(binding.whole, place=binding.session.place)  # now, not of a part that ended
            found.append(Found(number, name, binding.first_s, whole))
    return Page(len(store), tuple(found), None)


def _by_key(store: BindingStore, query: Query, pseudonymiser: Pseudonymiser) -> set[int] | None:
    """Return the numbers that a key leads to; None when the query has none."""
    if query.number:
        return {query.number}
    if query.imsi:
        return {b.index for b in store.by_imsi(query.imsi)}
    if query.subscriber.startswith(_UNKNOWN):
        names = pseudonymiser.behind(query.subscriber)
        # One that was not published lately is found by looking at all.
        return {number for name in names for number in _by_name(store, name)} or None
    if query.subscriber:
        # A line, or a name that the configuration gives, is found by looking at all.
        return set(_by_name(store, query.subscriber)) or (None if _is_own(query.subscriber) else set())
    if query.tunnel_address and query.teid:
        binding = store.by_tunnel(query.tunnel_address, query.teid)
        return {binding.index} if binding else set()
    if query.ue_address:
        instances = [query.instance] if query.instance else store.instances()
        holders = [store.by_ue(instance, query.ue_address) for instance in instances]
        return {b.index for b in holders if b is not None}
    return None


def _by_name(store: BindingStore, name: str) -> Iterator[int]:
    """Yield the sessions that may have a published name; an unknown subscriber's is that of an address or tunnel."""
    kind, colon, rest = name.partition(":")
    if not colon and set(kind) <= _HEX:
        yield from store.numbers_by_pseudonym(name)
    elif kind == "ue":
        instance, _, address = rest.partition(":")
        if (binding := store.by_ue(instance, address)) is not None:
            yield binding.index
    elif kind == "teid":
        address, _, teid = rest.rpartition(":0x")
        number = int(teid, 16) if teid and set(teid) <= _HEX and len(teid) <= 8 else 0
        if (binding := store.by_tunnel(address, number)) is not None:
            yield binding.index


def _is_own(name: str) -> bool:
    return ":" not in name or name.startswith(LINE)


def _may_match(store: BindingStore, number: int, query: Query, pseudonymiser: Pseudonymiser) -> bool:
    """Say whether a session can match, by its label, which is read quickly."""
    label = store.label(number)
    if label is None or (query.subscriber and (label.imsi or not _is_called(label.name, query, pseudonymiser))):
        return False
    return query.dnn in ("", label.dnn) and query.source in ("", label.source)


def _is_called(name: str, query: Query, pseudonymiser: Pseudonymiser) -> bool:
    return pseudonymiser.unknown(name).startswith(query.subscriber)


def _has_address(s: Session, address: str) -> bool:
    return in_routes(s, address) or (bool(s.ue_ipv6 if ":" in address else s.ue_ipv4) and is_of_ue(s, [address]))


def _matches(binding: Binding, name: str, query: Query) -> bool:
    s = binding.whole
    return (
        query.imsi in ("", s.identity.imsi)
        and name.startswith(query.subscriber)
        and (not query.ue_address or _has_address(s, query.ue_address))
        and query.instance in ("", s.instance)
        and query.dnn in ("", s.dnn)
        and query.source in ("", s.source)
        and (not query.teid or any(t.teid == query.teid for t in binding.session.tunnels))
        and (not query.tunnel_address or any(t.address == query.tunnel_address for t in binding.session.tunnels))
    )
