"""Doubts of host names that their server contradicts: a flow may say any name it likes.

A flow that says a name of one application is doubted when its server is known to be another's: by the prefix lists, by
the named flows of many clients, or because its subscriber's resolver gave the address for the name of a VPN. Owners of
several applications (`OWNERS`) serve one from the addresses of another, so that is no contradiction. A claim of several
clients, or claims of several applications at one owner, are believed: then the lists are wrong.

Limit: a fronted connection, whose inner request names another host than its ClientHello, looks like the front.
"""

from __future__ import annotations

import enum
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from feed.records import APP_CLASSES
from nf.apps.owned import OWNERS, is_one_of, owner_of
from nf.apps.signatures import Signatures
from nf.flows.search import at
from nf.naming.servers import Ends, Learned

__all__ = ["LEAST_EVIDENCE", "OWNERS", "TUNNEL_PACKETS", "VPNS", "Doubt", "Doubts", "Owners", "looks_like_a_tunnel"]

LEAST_EVIDENCE = 16  # pieces of evidence of the server's one application, and of the claimed application at all servers
_BELIEVED = 3  # clients that claim the same of one server, or applications claimed in the prefixes of one
_MOST_CLAIMS = 8192
# Classes whose prefixes serve nobody else; those of clouds, content networks and portals host others.
_DEDICATED = ("video", "live-video", "conferencing", "voice", "gaming", "messaging")
# A tunnel that carries data both ways at once fills its packets both ways. Data one way and then the other does not:
# an acknowledgement for every second packet keeps the mean below 1000 bytes.
_TUNNEL_BYTES, TUNNEL_PACKETS, _TUNNEL_RATIO = 1000, 2000, 2.0
_CLAIMED_BY_TUNNELS = ("web", "social", "messaging")

VPNS = (
    *("*VPN", "WireGuard", "IPsec", "Surfshark", "Mullvad", "Psiphon", "Tor", "TorGuard", "Tailscale", "ZeroTier"),
    *("HotspotShield", "CyberGhost", "PrivateInternetAccess", "PIA", "IPVanish", "Windscribe", "TunnelBear"),
    *("CloudflareWARP", "WARP", "AnyConnect", "GlobalProtect", "UltraSurf", "Lantern", "Shadowsocks", "SoftEther"),
    *("Zscaler", "FortiClient", "PPTP", "L2TP", "ApplePrivateRelay", "PrivateRelay"),
    *("HideMe", "Hola", "Netskope"),
)
"""Applications that are tunnels, by the names of the signature file (`*`: any beginning)."""


class Doubt(enum.IntEnum):
    """The reason why a name is not believed."""

    NONE = 0
    PREFIX = 1  # the address is in a prefix of another application
    LEARNED = 2  # the named flows of many clients to this server were all of another application
    RESOLVER = 3  # DNS told the subscriber this address for the name of a VPN
    TUNNEL = 4  # packets filled in both directions at once


class Owners:
    """Applications of addresses by the prefix lists, in columns. IPv6 prefixes beyond /64 are left to `Signatures`."""

    def __init__(self, signatures: Signatures) -> None:
        self._v4: list[tuple[np.uint64, NDArray[np.uint64], NDArray[np.uint16]]] = []
        self._v6: list[tuple[np.uint64, NDArray[np.uint64], NDArray[np.uint16]]] = []
        for version, tables in signatures.networks.items():
            for shift, found in tables:
                if version == 6 and shift < 64:
                    continue
                bits = np.array(sorted(found), np.uint64) if version == 4 else np.array(sorted(found), object)
                apps = np.array([found[b] for b in sorted(found)], np.uint16)
                move = np.uint64(shift if version == 4 else shift - 64)
                (self._v4 if version == 4 else self._v6).append((move, bits.astype(np.uint64), apps))

    def of(self, addresses: NDArray[np.uint8]) -> NDArray[np.uint16]:
        """Return the application of each address (n, 16), 0 where no prefix holds it."""
        halves = np.ascontiguousarray(addresses).view(">u8").reshape(-1, 2).astype(np.uint64)
        mapped = (halves[:, 0] == 0) & (halves[:, 1] >> np.uint64(32) == 0xFFFF)
        out = np.zeros(len(addresses), np.uint16)
        for tables, values, mine in (
            (self._v4, halves[:, 1] & np.uint64(0xFFFF_FFFF), mapped),
            (self._v6, halves[:, 0], ~mapped),
        ):
            for move, bits, apps in tables:  # the longest prefixes first
                key = values >> move
                rows, known = at(bits, key)
                hit = mine & (out == 0) & known
                out[hit] = apps[rows[hit]]
        return out


def looks_like_a_tunnel(
    octets: NDArray[np.uint64], packets: NDArray[np.uint32], class_of: NDArray[np.uint8], claims: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Say which flows (n, 2) of the classes *claims* fill packets both ways at once, as those classes never do."""
    full = (octets > _TUNNEL_BYTES * packets.astype(np.uint64)) & (packets >= TUNNEL_PACKETS)
    more, less = octets.max(axis=1), octets.min(axis=1)
    tunnel: NDArray[np.bool_] = full.all(axis=1) & (more <= _TUNNEL_RATIO * less) & np.isin(class_of, claims)
    return tunnel


_NUMBERS = {owner: -1 - i for i, owner in enumerate(OWNERS)}


def _owner(name: str, number: int) -> int:
    """Return a number of the owner of an application: negative for `OWNERS`, else the application's own."""
    return _NUMBERS.get(owner_of(name), number)


class Doubts:
    """Memory of doubted claims; ``counters`` has their number by reason."""

    def __init__(self, signatures: Signatures) -> None:
        self.counters = dict.fromkeys((f"doubted_{d.name.lower()}" for d in Doubt if d), 0)
        self._claims: OrderedDict[int, set[int]] = OrderedDict()  # number of (server, application) to clients
        self._true: set[int] = set()  # those of them that are believed
        self._hosts: dict[int, set[int]] = {}  # owner of prefixes to applications claimed there
        self.use(signatures)

    def use(self, signatures: Signatures) -> None:
        """Judge by other signatures from now on."""
        self.owners = Owners(signatures)
        self.owner: NDArray[np.intp] = np.array([_owner(name, i) for i, name in enumerate(signatures.names)])
        self.vpn: NDArray[np.bool_] = np.array([is_one_of(name, VPNS) for name in signatures.names])
        dedicated = [APP_CLASSES.index(name) for name in _DEDICATED]
        self._dedicated = np.isin(signatures.class_of, dedicated)
        self.claimed_by_tunnels = np.array([APP_CLASSES.index(name) for name in _CLAIMED_BY_TUNNELS], np.uint8)

    def kin(self, a: NDArray[np.uint16], b: NDArray[np.uint16]) -> NDArray[np.bool_]:
        """Say which pairs of applications have one owner, or lack one of the two."""
        same: NDArray[np.bool_] = (self.owner[a] == self.owner[b]) | (a == 0) | (b == 0)
        return same

    def judge(
        self,
        servers: Ends,
        apps: NDArray[np.uint16],
        clients: NDArray[np.uint32],
        told: NDArray[np.uint16],
        learned: Learned,
        at_s: float,
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
        """Return (`Doubt`, application of the server) of flows that claim *apps*; *told* is the application by DNS."""
        doubt = np.zeros(len(apps), np.uint8)
        other = np.zeros(len(apps), np.uint16)

        def mark(where: NDArray[np.bool_], reason: Doubt, whose: NDArray[np.uint16]) -> None:
            where = where & (doubt == 0) & ~self.kin(apps, whose)
            doubt[where], other[where] = int(reason), whose[where]

        mark(self.vpn[told], Doubt.RESOLVER, told)
        owner = self.owners.of(servers.address)
        mark(self._dedicated[owner], Doubt.PREFIX, owner)
        known, evidence = learned.evidence(servers, at_s)
        mark((evidence >= LEAST_EVIDENCE) & (learned.evidence_of(apps) >= LEAST_EVIDENCE), Doubt.LEARNED, known)
        rare = np.flatnonzero(doubt)
        claims = _claims(learned, servers.take(rare), apps[rare])
        for i, claim in zip(rare.tolist(), claims.tolist(), strict=True):
            owner_of_claim = int(self.owner[apps[i]])
            if self._believed(Doubt(int(doubt[i])), claim, int(clients[i]), int(other[i]), owner_of_claim):
                doubt[i] = other[i] = 0
            else:
                self.counters[f"doubted_{Doubt(int(doubt[i])).name.lower()}"] += 1
        return doubt, other

    def over(
        self,
        servers: Ends,
        apps: NDArray[np.uint16],
        doubt: NDArray[np.uint8],
        other: NDArray[np.uint16],
        learned: Learned,
        at_s: float,
    ) -> NDArray[np.bool_]:
        """Say for which doubted flows, which claimed *apps*, the doubt is over."""
        known, evidence = learned.evidence(servers, at_s)
        gone = (doubt == Doubt.LEARNED) & ((known != other) | (evidence < LEAST_EVIDENCE))
        hosts = [app for app, claimed in self._hosts.items() if len(claimed) >= _BELIEVED]
        gone |= (doubt == Doubt.PREFIX) & np.isin(other, hosts)
        true = np.isin(_claims(learned, servers, apps), np.array(sorted(self._true), np.uint64))
        gone |= true & ((doubt == Doubt.PREFIX) | (doubt == Doubt.LEARNED))
        return np.asarray(gone, np.bool_)

    def _believed(self, doubt: Doubt, claim: int, client: int, other: int, owner_of_claim: int) -> bool:
        """Remember a claim; say whether there are enough like it to believe it."""
        if doubt == Doubt.RESOLVER:
            return False
        if doubt == Doubt.PREFIX:
            claimed = self._hosts.setdefault(other, set())
            claimed.add(owner_of_claim)
            if len(claimed) >= _BELIEVED:
                return True
        people = self._claims.setdefault(claim, set())
        self._claims.move_to_end(claim)
        if len(people) < _BELIEVED:
            people.add(client)
        if len(self._claims) > _MOST_CLAIMS:
            self._true.discard(self._claims.popitem(last=False)[0])
        if len(people) >= _BELIEVED:
            self._true.add(claim)
        return claim in self._true


def _claims(learned: Learned, servers: Ends, apps: NDArray[np.uint16]) -> NDArray[np.uint64]:
    """Return a number for each (server, application)."""
    claims: NDArray[np.uint64] = learned.keys(servers) ^ (apps.astype(np.uint64) << np.uint64(40))
    return claims
