"""What the kernel's tables of sessions are told: frozen values."""

from __future__ import annotations

from dataclasses import dataclass

from gtp.events import Side

__all__ = ["DropRoute", "DropTunnel", "DropUe", "PutRoute", "PutTunnel", "PutUe", "TableChange"]


@dataclass(frozen=True, slots=True)
class PutTunnel:
    """The kernel shall bind a tunnel to a session, for packets of its UE only where the addresses are known."""

    address: str
    teid: int
    side: Side
    index: int
    ue_ipv4: str = ""
    ue_ipv6: str = ""
    routed: bool = False  # the session has further prefixes, where a packet may be of as well


@dataclass(frozen=True, slots=True)
class DropTunnel:
    """The kernel shall forget a tunnel."""

    address: str
    teid: int


@dataclass(frozen=True, slots=True)
class PutUe:
    """The kernel shall bind a UE address, or IPv6 prefix, of a network instance to a session."""

    instance: str
    address: str
    index: int


@dataclass(frozen=True, slots=True)
class DropUe:
    """The kernel shall forget a UE address."""

    instance: str
    address: str


@dataclass(frozen=True, slots=True)
class PutRoute:
    """The kernel shall bind a further prefix of a session, in a network instance."""

    instance: str
    prefix: str
    index: int


@dataclass(frozen=True, slots=True)
class DropRoute:
    """The kernel shall forget that a session has a prefix."""

    instance: str
    prefix: str
    index: int


TableChange = PutTunnel | DropTunnel | PutUe | DropUe | PutRoute | DropRoute
