"""Changes of the kernel's tables of sessions: frozen values.

A start makes millions of `PutTunnel` and `PutUe`: named tuples take a third of the time of frozen dataclasses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gtp.events import Side

__all__ = ["DropRoute", "DropTunnel", "DropUe", "PutRoute", "PutTunnel", "PutUe", "TableChange"]


class PutTunnel(NamedTuple):
    """The change that binds a tunnel, by its receiving end, to a session.

    Packets are checked to be of its UE only where the addresses are known.
    """

    address: str
    teid: int
    side: Side
    session: int
    ue_ipv4: str = ""
    ue_ipv6: str = ""  # an address, or its /64; a shorter prefix is not checked
    routed: bool = False  # the session has further prefixes, of which a packet may be as well


@dataclass(frozen=True, slots=True)
class DropTunnel:
    """The change that forgets a tunnel."""

    address: str
    teid: int


class PutUe(NamedTuple):
    """The change that binds a UE address, or IPv6 prefix, of a network instance to a session."""

    instance: str
    address: str
    session: int


@dataclass(frozen=True, slots=True)
class DropUe:
    """The change that forgets a UE address."""

    instance: str
    address: str


@dataclass(frozen=True, slots=True)
class PutRoute:
    """The change that binds a further prefix, in a network instance, to a session."""

    instance: str
    prefix: str
    session: int


@dataclass(frozen=True, slots=True)
class DropRoute:
    """The change that forgets a prefix of a session."""

    instance: str
    prefix: str
    session: int


TableChange = PutTunnel | DropTunnel | PutUe | DropUe | PutRoute | DropRoute
