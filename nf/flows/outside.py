"""Flows outside of tunnels that are nobody's: traffic on N6, or beside it, that belongs to no subscriber.

A UPF's host has traffic of its own: neighbour discovery, routers, its addresses, signalling. If it translates
addresses, N6 carries the traffic of subscribers under an address that is none of theirs; then only N3 has their
volumes. Traffic that is left out of the records is counted by reason.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from nf.abi import FLOW_GTPU
from nf.flows.agree import Agree, alone
from nf.flows.batch import FlowBatch
from nf.flows.book import FlowBook
from nf.flows.deltas import from_b
from nf.kernel.rows import rows_at

__all__ = ["TEXTS", "Outside"]

_UDP, _ICMPV6, _SCTP = 17, 58, 132  # IANA protocol numbers
# PFCP, GTP-C, GTP-U, GTP' (TS 32.295, 5.2), RADIUS (RFC 2865, 3; RFC 2866, 3; RFC 5176, 3): between network functions.
_SIGNALLING = (8805, 2123, 2152, 3386, 1812, 1813, 3799)
_ND_HOPS = 255  # hop limit without which a neighbour discovery message is not valid (RFC 4861, 11.2)

# Reasons; `TEXTS` has a sentence for each.
LINK, HOST, SIGNALLING, NEIGHBOURS = "n6_link_scope", "n6_host_address", "n6_signalling", "n6_neighbours"
TRANSLATED, NO_SESSION = "n6_translated", "n6_without_session"
TEXTS = {
    LINK: "packets with a link-local or multicast address, outside of tunnels: nobody's",
    HOST: "packets of this host's own addresses: nobody's",
    SIGNALLING: "packets between network functions: nobody's",
    NEIGHBOURS: "packets of neighbour discovery: nobody's",
    TRANSLATED: "packets on N6 to servers of known subscribers, from an address of no session: N6 is translated",
    NO_SESSION: "packets outside of tunnels, of no known session: nobody's",
}
_REASONS = tuple(TEXTS)


class Outside:
    """Filter of flows that are nobody's; ``counters`` has packets and octets by reason (``NAME``, ``NAME_octets``).

    *agree*: other processes have flows of the same servers; a translated N6 is seen in the flows of all.
    """

    def __init__(self, agree: Agree = alone) -> None:
        self._agree = agree
        self.counters: Counter[str] = Counter()
        self.translated = False  # N6 was seen to carry what tunnels carry, under another address

    def owned(
        self,
        batch: FlowBatch,
        keys: NDArray[np.void],
        flows: NDArray[np.void],
        book: FlowBook,
        *,
        sessions_known: bool,
        hosts: Collection[bytes] = (),
    ) -> NDArray[np.bool_]:
        """Say which flows may be a subscriber's; *keys* and *flows* have the rows of *batch*.

        *sessions_known*: signalling or configuration named sessions, so an address of none of them is no UE.
        *hosts*: addresses of this host's ports, 16 bytes each.
        """
        owned = np.ones(len(batch), np.bool_)
        plain = np.flatnonzero((batch.session == 0) & (flows["flags"] & FLOW_GTPU == 0))
        remotes = np.zeros(0, np.uint64)
        compared = any(self._agree(sessions_known and len(plain) > 0))
        if compared:
            remotes = np.concatenate(self._agree(self._remotes(batch, keys, flows)))
        why = self._always(batch, keys, book, plain, hosts) if len(plain) else np.zeros(0, np.intp)
        if sessions_known:
            remote = np.isin(_ends(rows_at(keys, plain)), remotes).any(axis=1)
            # The usual translation is to the host's own address (masquerade).
            free = (why < 0) | (why == _REASONS.index(HOST))
            why = np.where(free & remote, _REASONS.index(TRANSLATED), why)
            why = np.where(why < 0, _REASONS.index(NO_SESSION), why)
        owned[plain[why >= 0]] = False
        found = self._count(batch, plain, why)
        if compared:
            here, left_out = np.sum(self._agree(found), axis=0).tolist()
            # A host of the operator may ask a server that a subscriber asks too; with translation that is most traffic.
            self.translated |= 2 * here > left_out > 0
        return owned

    def _always(
        self,
        batch: FlowBatch,
        keys: NDArray[np.void],
        book: FlowBook,
        plain: NDArray[np.intp],
        hosts: Collection[bytes],
    ) -> NDArray[np.intp]:
        """Return the reason (number) that makes each *plain* flow nobody's, sessions known or not; -1: none does."""
        numbers = batch.flow_id[plain]
        none = np.zeros(len(plain), np.uint8)
        ends = [book.addresses(numbers, none), book.addresses(numbers, none + 1)]
        proto, ports = keys["proto"][plain], _ports(rows_at(keys, plain))
        signalling = ((proto == _UDP) & np.isin(ports, _SIGNALLING).any(axis=1)) | (proto == _SCTP)
        own = np.array(sorted(hosts), "V16") if hosts else np.zeros(0, "V16")
        found = {
            LINK: np.any([_link_scope(end) for end in ends], axis=0),
            HOST: np.any([np.isin(end, own) for end in ends], axis=0) if len(own) else none > 0,
            SIGNALLING: signalling,
            NEIGHBOURS: (proto == _ICMPV6) & (book.ttls(numbers) == _ND_HOPS),
        }
        why = np.full(len(plain), -1, np.intp)
        for name in reversed(found):
            why[found[name]] = _REASONS.index(name)
        return why

    @staticmethod
    def _remotes(batch: FlowBatch, keys: NDArray[np.void], flows: NDArray[np.void]) -> NDArray[np.uint64]:
        """Return the far ends of the flows that have a session."""
        mine = np.flatnonzero(batch.session > 0)
        ends = _ends(rows_at(keys, mine))
        return np.unique(np.where(from_b(rows_at(flows, mine)), ends[:, 0], ends[:, 1]))

    def _count(self, batch: FlowBatch, plain: NDArray[np.intp], why: NDArray[np.intp]) -> tuple[int, int]:
        """Count what is left out; return the bytes of a translated N6, and of all."""
        packets, octets = batch.packets[plain].sum(axis=1), batch.octets[plain].sum(axis=1)
        for number, name in enumerate(_REASONS):
            mine = why == number
            if mine.any():
                self.counters[name] += int(packets[mine].sum())
                self.counters[f"{name}_octets"] += int(octets[mine].sum())
        return int(octets[why == _REASONS.index(TRANSLATED)].sum()), int(octets[why >= 0].sum())


def _ports(keys: NDArray[np.void]) -> NDArray[np.uint16]:
    ports = np.stack([keys["port_a"], keys["port_b"]], axis=1)
    return ports.byteswap() if sys.byteorder == "little" else ports


def _ends(keys: NDArray[np.void]) -> NDArray[np.uint64]:
    """Return (n, 2) numbers of address, port and protocol of each end."""
    address = np.stack([keys["a"], keys["b"]], axis=1).astype(np.uint64)
    low = _ports(keys).astype(np.uint64) << np.uint64(8) | keys["proto"].astype(np.uint64)[:, None]
    return address << np.uint64(24) | low


def _link_scope(addresses: NDArray[np.void]) -> NDArray[np.bool_]:
    """Say which addresses (16 bytes, IPv4 mapped) are link-local or multicast (RFC 4291, 2.4; RFC 3927; RFC 5771)."""
    octets = np.frombuffer(addresses.tobytes(), np.uint8).reshape(-1, 16)
    ipv4 = (octets[:, :10] == 0).all(axis=1) & (octets[:, 10:12] == 0xFF).all(axis=1)
    first, second = octets[:, 12], octets[:, 13]
    of_ipv4 = ((first == 169) & (second == 254)) | (first >= 224)
    of_ipv6 = ((octets[:, 0] == 0xFE) & (octets[:, 1] & 0xC0 == 0x80)) | (octets[:, 0] == 0xFF)
    found: NDArray[np.bool_] = np.where(ipv4, of_ipv4, of_ipv6)
    return found
