"""One subscriber's session with its number and validity, and the rule by which sources speak of one session.

Several sources, and several segments of one source, speak of one PDU session: PFCP names the tunnels of
each UPF, GTPv2-C those of S11 and of S5/S8 and the IMSI. They are parts of one binding, with the identity,
addresses and tunnels that they say together. Two parts are one session if nothing that they say of the
subscriber contradicts, they share a tunnel (of one source: as its two ends) or a UE address, and

- they name the same IMSI, or
- one of the shared claims is at most `JOIN_S` old: signalling of one procedure passes all interfaces in that
  time, while an old claim may be that of a session whose end was lost, or
- the newer part has the IMSI and names the UE address, which is then that subscriber's, whoever had it before.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gtp.events import Identity, Session, Side, Tunnel
from gtp.places import newest
from nf.settings import StaticSession

__all__ = [
    "CONFIGURED",
    "JOIN_S",
    "LEARNED",
    "LINE",
    "RADIO",
    "Binding",
    "TunnelKey",
    "UeKey",
    "addresses_of",
    "configured",
    "in_routes",
    "is_configured",
    "is_delegated",
    "is_of_ue",
    "is_partial",
    "is_shared_end",
    "keys",
    "one_session",
    "other_end",
    "rank",
    "receives",
    "routes_of",
    "together",
    "ues",
    "without",
]

JOIN_S = 5.0  # a procedure on all interfaces (TS 23.401, 5.3.2.1) with retransmissions; T3 and T1 are about 1 s
CONFIGURED = "netconf"  # all other sources are signalling
LEARNED = "uplink"  # the UE's address by the packets in a session's tunnels, where signalling told no more than these
LINE = "line:"  # beginning of the identity of a fixed line
RADIO = "ngap"  # it comes and goes with the radio, while the session of the core stays

TunnelKey = tuple[str, int]
UeKey = tuple[str, str]


@dataclass(slots=True)
class Binding:
    """A session with its number and the time in which it held. Times are seconds since the epoch."""

    index: int
    session: Session  # all parts together
    first_s: float
    parts: dict[str, Session] = field(default_factory=dict)  # by key, those that still hold
    said: dict[str, Session] = field(default_factory=dict)  # by key, also those that ended
    last_s: float | None = None  # None: it still holds
    ended_by: str = ""
    held: dict[Tunnel, float] = field(default_factory=dict)  # all tunnels it ever had, and when it last got them
    ue_s: float = 0.0  # time at which it last got a UE address
    checked: tuple[str, ...] = ("", "")  # UE addresses that the kernel compares, and prefixes

    @property
    def whole(self) -> Session:
        """All that was ever said of the session."""
        return together(self.said)


def keys(tunnels: Iterable[Tunnel]) -> set[TunnelKey]:
    """Return the keys of tunnels in tables: (receiving address, TEID)."""
    return {(t.address, t.teid) for t in tunnels}


def ues(session: Session) -> list[UeKey]:
    """Return the UE addresses of a session, each with its network instance."""
    return [(session.instance, a) for a in (session.ue_ipv4, session.ue_ipv6) if a]


def routes_of(session: Session) -> tuple[str, ...]:
    """Return the prefixes of a session that are not in its first addresses; a delegated prefix is shorter than /64."""
    return (session.ue_ipv6, *session.routes) if is_delegated(session.ue_ipv6) else session.routes


def is_delegated(ue_ipv6: str) -> bool:
    """Say whether a UE's IPv6 is a prefix that is shorter than the /64 that tables look up."""
    _, slash, length = ue_ipv6.partition("/")
    return bool(slash) and int(length) < 64


def in_routes(session: Session, address: str) -> bool:
    """Say whether an address is in one of a session's prefixes."""
    found = routes_of(session)
    return bool(found) and any(ipaddress.ip_address(address) in ipaddress.ip_network(r, strict=False) for r in found)


def is_partial(session: Session) -> bool:
    """Say whether signalling told neither subscriber nor UE address of a session: its beginning was not seen."""
    i = session.identity
    return not (i.imsi or i.msisdn or i.nai or i.msin or session.ue_ipv4 or session.ue_ipv6)


def addresses_of(session: Session) -> tuple[str, ...]:
    """Return all addresses by which packets of a session's UE are known: first addresses, then prefixes."""
    return (session.ue_ipv4, session.ue_ipv6, *session.routes)


def without(session: Session, part: Session) -> Session:
    """Return *session* without the claims of *part*: the claims before that part spoke."""
    return replace(
        session,
        tunnels=tuple(t for t in session.tunnels if t not in part.tunnels),
        ue_ipv4="" if session.ue_ipv4 == part.ue_ipv4 else session.ue_ipv4,
        ue_ipv6="" if session.ue_ipv6 == part.ue_ipv6 else session.ue_ipv6,
    )


def is_configured(binding: Binding) -> bool:
    """Say whether the operator configured the session."""
    return binding.session.source == CONFIGURED


def rank(binding: Binding) -> int:
    """Return the rank of a session's claims: 2 if configured, 1 if signalled, 0 if told by radio or learned only."""
    if is_configured(binding):
        return 2
    return int(any(part.source not in (RADIO, LEARNED) for part in binding.parts.values()))


def receives(holder: Binding, tunnel: Tunnel, sender: Binding) -> bool:
    """Say whether *holder* receives on a tunnel that *sender* only sends into, and both can be one subscriber's."""
    return (
        not tunnel.local
        and any(t == tunnel and t.local for t in holder.session.tunnels)
        and _compatible(holder.whole, sender.whole)
    )


def is_shared_end(holder: Binding, key: TunnelKey) -> bool:
    """Say whether *holder* only sends into a tunnel, towards the core: the end may be one for many sessions."""
    mine = [t for t in holder.session.tunnels if (t.address, t.teid) == key]
    return bool(mine) and all(not t.local and t.side is Side.UPLINK for t in mine)


def other_end(holder: Binding, tunnel: Tunnel, source: str) -> bool:
    """Say whether another source than *source* names a tunnel, or *source* names its other end."""
    return any(
        t == tunnel and (part.source != source or t.local != tunnel.local)
        for part in holder.parts.values()
        if part.source != CONFIGURED
        for t in part.tunnels
    )


def one_session(holder: Binding, session: Session, fresh: bool) -> bool:
    """Say whether a session that shares a claim with *holder* is part of it; see the module."""
    whole = holder.whole
    if not _compatible(whole, session):
        return False
    mine, theirs = session.identity.imsi, whole.identity.imsi
    if fresh or (mine and mine == theirs):
        return True
    return bool(mine and not theirs and set(ues(session)) & set(ues(whole)))


def _compatible(a: Session, b: Session) -> bool:
    """Say whether two sessions contradict in nothing that they say of their subscriber."""
    if a.identity.imsi and b.identity.imsi and a.identity.imsi != b.identity.imsi:
        return False
    for one, two in ((a.identity, b.identity), (b.identity, a.identity)):
        if one.msin and not (two.imsi.endswith(one.msin) if two.imsi else two.msin in ("", one.msin)):
            return False
    if a.ue_ipv4 and b.ue_ipv4 and a.ue_ipv4 != b.ue_ipv4:
        return False
    return not a.ue_ipv6 or not b.ue_ipv6 or _one_prefix(a.ue_ipv6, b.ue_ipv6)


def _one_prefix(a: str, b: str) -> bool:
    """Say whether two IPv6 addresses are equal, or one is a prefix that holds the other."""
    if a == b or ("/" not in a and "/" not in b):
        return a == b
    one, two = ipaddress.IPv6Interface(a).network, ipaddress.IPv6Interface(b).network
    return one.supernet_of(two) or two.supernet_of(one)


def together(parts: dict[str, Session]) -> Session:
    """Return what the parts of a session say together; the first word counts. The source is that of the IMSI."""
    sessions = list(parts.values())
    first = sessions[0]
    if len(sessions) == 1:
        return first

    def word(name: str) -> Any:
        return next((v for s in sessions if (v := getattr(s, name))), getattr(first, name))

    names = ("ue_ipv4", "ue_ipv6", "dnn", "snssai", "instance")
    identity = Identity(*(next((v for s in sessions if (v := getattr(s.identity, n))), "") for n in Identity.__slots__))
    core = next((s.source for s in sessions if s.source != RADIO), first.source)
    source = next((s.source for s in sessions if s.identity.imsi), core)
    tunnels = dict.fromkeys(sorted((t for s in sessions for t in s.tunnels), key=lambda t: not t.local))
    routes = tuple(dict.fromkeys(r for s in sessions for r in s.routes))
    words = {n: word(n) for n in names} | {"place": newest(s.place for s in sessions)}
    return replace(first, source=source, identity=identity, tunnels=tuple(tunnels), routes=routes, **words)


def is_of_ue(session: Session, ends: Sequence[str]) -> bool:
    """Say whether a flow between two addresses can be the session's: one of them is its UE's, where that is known.

    The kernel asks the same of each packet; this is for flows that are given to their session afterwards.
    """
    if any(in_routes(session, text) for text in ends):
        return True
    for text in ends:
        if ":" not in text:
            if not session.ue_ipv4 or text == session.ue_ipv4:
                return True
            continue
        prefix, _, length = session.ue_ipv6.partition("/")
        if not prefix or text.startswith("fe80:"):  # link-local addresses are any UE's
            return True
        if ipaddress.IPv6Address(text) in ipaddress.IPv6Network((prefix, int(length or 64)), strict=False):
            return True
    return False


def configured(s: StaticSession) -> Session:
    """Return a configured session as a source would tell it."""
    return Session(
        key=f"{CONFIGURED}-{s.name}",
        source=CONFIGURED,
        identity=Identity(imsi=s.imsi, nai=s.subscriber or (f"{LINE}{s.name}" if s.line else "")),
        ue_ipv4=s.ue_ipv4,
        ue_ipv6=s.ue_ipv6,
        dnn=s.dnn,
        instance=s.instance or s.dnn,
        tunnels=(
            *(Tunnel(a, t, Side.UPLINK) for a, t in s.uplink),
            *(Tunnel(a, t, Side.DOWNLINK) for a, t in s.downlink),
        ),
        routes=s.prefixes,
    )
