"""The vocabulary between a tracker and a binding store: events of sessions, as signalling tells them.

A tracker (`gtp.pfcp.tracker`) turns messages into these values; a store (`nf.sessions`) turns
these values into bindings. All are immutable. Times are seconds since the epoch, as the capture
or the clock of the caller gives them. The IMSI is personal data: these values are never logged.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

__all__ = [
    "NOWHERE",
    "EndReason",
    "Identity",
    "Notice",
    "PeersRefused",
    "Place",
    "Session",
    "SessionDown",
    "SessionEvent",
    "SessionMoved",
    "SessionUp",
    "SessionsEnded",
    "Side",
    "Tunnel",
]


class Side(enum.Enum):
    """Direction of the traffic received on a tunnel endpoint (TS 29.244, 8.2.2 Source Interface)."""

    UPLINK = "uplink"  # received by the UPF from the access network
    DOWNLINK = "downlink"  # received by the gNB (or the next UPF) from the core


@dataclass(frozen=True, slots=True, order=True)
class Tunnel:
    """One end of a GTP-U tunnel: a TEID is unique only at the address that receives it (TS 29.281, 5.1)."""

    address: str  # of the receiver; IPv4 or IPv6 in canonical text
    teid: int
    side: Side = field(compare=False, default=Side.UPLINK)
    # True: the session's own UPF receives here; False: another one does, and it may be another session's end.
    local: bool = field(compare=False, default=True)

    def __str__(self) -> str:
        return f"0x{self.teid:08x}@{self.address}"


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """The subscriber's identity, as far as the signalling says it (TS 29.244, 8.2.101). Empty means not said."""

    imsi: str = ""  # decimal digits
    imei: str = ""
    msisdn: str = ""
    nai: str = ""
    msin: str = ""  # the last digits of an IMSI whose first are not known (TS 23.003, 2.2)

    def __bool__(self) -> bool:
        return bool(self.imsi or self.msisdn or self.nai)

    def __repr__(self) -> str:
        """Say only which fields are known: an identity must not reach a log by accident."""
        known = [name for name in self.__slots__ if getattr(self, name)]
        return f"Identity({', '.join(known) or 'unknown'})"


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a subscriber, as far as signalling tells it (`gtp.places` has the forms). Empty means not said."""

    rat: str = ""  # radio access technology, by its name in TS 29.571
    tai: str = ""  # tracking area
    cell: str = ""
    at_s: float = field(default=0.0, compare=False)  # when it was said

    def __bool__(self) -> bool:
        return bool(self.rat or self.tai or self.cell)


NOWHERE = Place()


@dataclass(frozen=True, slots=True)
class Session:
    """A PDU session as it stands after a message.

    ``key`` names it for the life of the tracker and is opaque to the store. ``instance`` is the
    network instance that keeps equal UE addresses of two data networks apart.
    """

    key: str
    source: str  # pfcp, gtp-c, radius, ngap, netconf
    identity: Identity = Identity()
    ue_ipv4: str = ""
    ue_ipv6: str = ""  # an address, or a prefix as "2001:db8:1::/64"
    dnn: str = ""
    snssai: str = ""  # SST, or SST-SD with six hexadecimal digits: "1-000001"
    instance: str = ""
    tunnels: tuple[Tunnel, ...] = ()
    routes: tuple[str, ...] = ()  # further prefixes of the UE, in canonical text: framed routes, more IPv6 prefixes
    place: Place = NOWHERE


class EndReason(enum.Enum):
    """Reason why a session ended."""

    DELETED = "deleted"  # the deletion was accepted
    REPORTED = "reported"  # the UPF reported its end (PSDBU)
    RESTARTED = "restarted"  # the peer came back with a newer recovery time stamp
    RELEASED = "released"  # the association, or the session set, was released
    SUPERSEDED = "superseded"  # its TEID or UE address was given to a newer session
    REMOVED = "removed"  # taken out of the configuration


@dataclass(frozen=True, slots=True)
class SessionUp:
    """A session was accepted and traffic may flow."""

    at_s: float
    session: Session


@dataclass(frozen=True, slots=True)
class SessionMoved:
    """A session changed: its tunnels (handover, idle, resume), its addresses or what is known of it.

    ``gone`` are tunnels that were replaced; late packets may still arrive on them for a while.
    """

    at_s: float
    session: Session
    gone: tuple[Tunnel, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionDown:
    """A session ended; ``session`` is its last state."""

    at_s: float
    session: Session
    reason: EndReason


SessionEvent = SessionUp | SessionMoved | SessionDown


@dataclass(frozen=True, slots=True)
class PeersRefused:
    """A change of sessions came from two nodes that are not known to be peers; told once a minute for a pair.

    The exchange is kept ``apart`` until it is known whether they are peers, or it was refused for good.
    """

    at_s: float
    peers: tuple[str, str]  # addresses
    exchanges: int  # since it was last told
    apart: bool


@dataclass(frozen=True, slots=True)
class SessionsEnded:
    """One exchange between two nodes ended several sessions; each of them has its own `SessionDown`."""

    at_s: float
    peers: tuple[str, str]  # addresses
    sessions: int
    reason: EndReason


Notice = PeersRefused | SessionsEnded
"""Notices for the operator beside the events of sessions; they hold addresses of nodes, never of subscribers."""
