"""Signs of a subscriber, over all its flows: DNS trouble, tunnels, devices behind the phone.

Columns by subject; NaN where there is nothing to report.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.flows.batch import FlowBatch
from nf.flows.search import one_of

__all__ = ["Ttls", "dns_columns", "is_tunnel", "vpn_share"]

Column = NDArray[np.float32]

_TCP, _UDP, _GRE, _ESP, _L2TP = 6, 17, 47, 50, 115  # IANA protocol numbers
# IANA: IKE and its NAT traversal (RFC 3948, 2), OpenVPN, L2TP; WireGuard's usual port; PPTP. A call over Wi-Fi is IPsec
# as well (TS 23.402): in the sums of one subscriber it counts as a tunnel.
_UDP_PORTS, _TCP_PORTS = (500, 4500, 1194, 1701, 51820), (1723, 1194)
_IS_TUNNEL = one_of((_GRE, _ESP, _L2TP))
_IS_UDP_PORT, _IS_TCP_PORT = (  # as the kernel keeps ports, in network order
    one_of((int.from_bytes(port.to_bytes(2, "big"), sys.byteorder) for port in ports), 0xFFFF)
    for ports in (_UDP_PORTS, _TCP_PORTS)
)

_TTL_SPAN_S = 600.0
_MOST_TTLS = 262_144
# Stacks begin with 64, 128 or 255 (RFC 1700); tools that count hops begin low, and 255 is for the link (RFC 5082).
_LEAST_TTL, _MOST_TTL = 33, 254


def dns_columns(batch: FlowBatch, subject: NDArray[np.int64], subjects: int) -> dict[str, Column]:
    """Return the columns that begin with ``dns_``."""
    rows = np.flatnonzero(batch.dns_queries | batch.dns_answers | batch.dns_again)  # few flows are DNS
    of = subject[rows]

    def total(values: NDArray[Any]) -> NDArray[np.float64]:
        return np.bincount(of, values[rows], subjects).astype(np.float64)

    queries, answers, timed = total(batch.dns_queries), total(batch.dns_answers), total(batch.dns_timed)
    return {
        "dns_queries": np.where(queries > 0, queries, np.nan).astype(np.float32),
        "dns_ms": _over(total(batch.dns_sum_us) / 1e3, timed),
        "dns_failed": _over(total(batch.dns_failed), answers),
        "dns_retried": _over(total(batch.dns_again), queries),
    }


def is_tunnel(keys: NDArray[np.void], of_vpn: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say which flows carry other traffic inside, by their keys and by *of_vpn*: their application is a VPN."""
    proto = keys["proto"]
    a, b = keys["port_a"], keys["port_b"]
    by_port = ((proto == _UDP) & (_IS_UDP_PORT[a] | _IS_UDP_PORT[b])) | (
        (proto == _TCP) & (_IS_TCP_PORT[a] | _IS_TCP_PORT[b])
    )
    tunnel: NDArray[np.bool_] = of_vpn | by_port | _IS_TUNNEL[proto]
    return tunnel


def vpn_share(batch: FlowBatch, tunnel: NDArray[np.bool_], subject: NDArray[np.int64], subjects: int) -> Column:
    """Return the share of each subject's bytes that are in tunnels, NaN for none."""
    octets = (batch.octets[:, 0] + batch.octets[:, 1]).astype(np.float64)
    inside = np.bincount(subject, np.where(tunnel, octets, 0), subjects).astype(np.float64)
    share = _over(inside, np.bincount(subject, octets, subjects).astype(np.float64))
    return np.where(inside > 0, share, np.nan).astype(np.float32)


def _over(values: NDArray[np.float64], counts: NDArray[np.float64]) -> Column:
    out = np.full(len(values), np.nan)
    np.divide(values, counts, out=out, where=counts > 0)
    return out.astype(np.float32)


class Ttls:
    """TTLs of the flows that each session's UE began, and when each was last seen. Bounded: the oldest leave first.

    A device that shares its connection forwards packets of others with one hop less, and other systems begin with
    another TTL; so a second value is a hint. A phone that routes IPv6 by prefix delegation shows none.
    """

    def __init__(self, most: int = _MOST_TTLS) -> None:
        self._most = most
        self._key: NDArray[np.uint64] = np.zeros(0, np.uint64)  # session << 8 | TTL, sorted
        self._seen_s: NDArray[np.float64] = np.zeros(0)

    def __len__(self) -> int:
        return len(self._key)

    def add(self, begun: NDArray[np.void], at_s: float) -> None:
        """Record flows that UEs began: columns ``session`` and ``ttl``."""
        if not len(begun):
            return
        ttl = begun["ttl"]
        begun = begun[(ttl >= _LEAST_TTL) & (ttl <= _MOST_TTL)]
        keys = np.unique(begun["session"].astype(np.uint64) << np.uint64(8) | begun["ttl"].astype(np.uint64))
        fresh = (self._seen_s > at_s - _TTL_SPAN_S) & ~np.isin(self._key, keys)
        key = np.concatenate([self._key[fresh], keys])
        seen_s = np.concatenate([self._seen_s[fresh], np.full(len(keys), at_s)])
        kept = np.argsort(seen_s, kind="stable")[-self._most :]
        kept = kept[np.argsort(key[kept])]
        self._key, self._seen_s = key[kept], seen_s[kept]

    def distinct(self, sessions: NDArray[np.uint32], at_s: float) -> Column:
        """Return the number of TTLs of each session's UE in ten minutes, NaN for fewer than two and for session 0."""
        live = self._key[self._seen_s > at_s - _TTL_SPAN_S] >> np.uint64(8)
        wanted = sessions.astype(np.uint64)
        count = np.searchsorted(live, wanted, "right") - np.searchsorted(live, wanted, "left")
        return np.where((count > 1) & (sessions > 0), count, np.nan).astype(np.float32)
