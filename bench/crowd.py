"""A crowd's flows with the truth about each: 90 of 100 say a name, 10 none, and some servers serve everybody.

python -m bench.crowd [FLOWS]     makes the capture, replays it, and prints how many names are right

Half of the flows of each application go to servers of its own, half to a content network of ten addresses that fifty
applications share. Named flows are TLS with the host's ClientHello, or follow an answer of the subscriber's resolver;
the others are resumed in their middle, so that only their server is to be seen.
"""

from __future__ import annotations

import ipaddress
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.columns import PACKET, UE_NET, Packets, write_pcap
from bench.traffic import ACK, FIN, PUSH, SYN, client_hello, dns_pair
from nf.apps.signatures import Signatures

__all__ = ["Score", "Truth", "make", "score"]

UES, APPS, SHARED_APPS, SHARED_ADDRESSES = 500, 120, 50, 10
UNNAMED, BY_RESOLVER, ASKED = 0.10, 0.15, 0.2  # shares of flows; of the unnamed, those whose name was asked for
SECONDS = 120.0
_OWN, _SHARED = int(ipaddress.IPv4Address("198.18.0.0")), int(ipaddress.IPv4Address("203.0.113.0"))
_RESOLVER = int(ipaddress.IPv4Address("10.20.0.53"))
_STEPS = 7  # packets of a flow
_FIRST_PORT = 20_000


@dataclass(frozen=True, slots=True)
class Truth:
    """One flow: its application, whether its packets or its resolver say a name, whether others share the server."""

    app: str
    named: bool
    shared: bool


class _Blob:
    """Bytes that packets carry."""

    def __init__(self) -> None:
        self._parts, self._size = [bytes(range(256)) * 6], 1536
        self.place = cache(self._add)

    def _add(self, data: bytes) -> int:
        self._parts.append(data)
        self._size += len(data)
        return self._size - len(data)

    def take(self) -> bytes:
        return b"".join(self._parts)


def _hosts(signatures: Signatures) -> list[tuple[str, str]]:
    """Return (application, host name) of the first applications of the signature file that have a domain."""
    by_app: dict[int, str] = {}
    for suffix, app in signatures.suffixes.items():
        by_app.setdefault(app, suffix)
    return [(signatures.name(app), f"www.{suffix}") for app, suffix in by_app.items()][:APPS]


def make(path: Path, flows: int, seed: int, signatures: Signatures) -> dict[tuple[str, int], Truth]:
    """Write the capture; return the truth by (UE address, UE port)."""
    rng, blob, hosts = np.random.default_rng(seed), _Blob(), _hosts(signatures)
    popularity = 1 / np.arange(1, len(hosts) + 1) ** 0.8
    app = rng.choice(len(hosts), flows, p=popularity / popularity.sum())
    shared = (app % len(hosts) < SHARED_APPS) & (rng.random(flows) < 0.5)
    own = _OWN + app.astype(np.int64) * 16 + rng.integers(0, 3, flows)
    server = np.where(shared, _SHARED + rng.integers(0, SHARED_ADDRESSES, flows), own)
    chance = rng.random(flows)
    unnamed, told = chance < UNNAMED, (chance >= UNNAMED) & (chance < UNNAMED + BY_RESOLVER)
    ue, sport = rng.integers(0, UES, flows), _FIRST_PORT + np.arange(flows) // UES
    ue = np.arange(flows) % UES if flows > UES else ue
    start_us = np.sort(rng.uniform(1e6, SECONDS * 1e6, flows)).astype(np.int64)
    asks = told | (unnamed & (rng.random(flows) < ASKED))

    places, lengths = _hellos([host for _, host in hosts], blob)
    rows = np.zeros((flows, _STEPS), PACKET)
    rows["ue"], rows["sport"], rows["server"] = ue[:, None], sport[:, None], server[:, None]
    rows["dport"], rows["tcp"] = 443, True
    rows["at_us"] = start_us[:, None] + np.array([0, 20, 40, 41, 61, 62, 100]) * 1000
    rows["up"] = np.array([True, False, True, True, False, False, True])
    rows["flags"] = np.array([SYN, SYN | ACK, ACK, PUSH, PUSH, PUSH, FIN])
    opaque = unnamed | told
    rows["at"][:, 3] = np.where(opaque, 0, places[app])
    rows["length"][:, 3] = np.where(opaque, 400, lengths[app])
    rows["length"][:, 4:6] = 1200
    rows["seq"] = np.where(rows["up"], 1000, 9000) + _sent(rows)
    keep = np.ones((flows, _STEPS), np.bool_)
    keep[unnamed, :3] = False  # begun before the capture
    packets = np.concatenate([rows[keep], _asked(asks, app, server, ue, sport, start_us, [h for _, h in hosts], blob)])
    write_pcap(path, Packets(packets[np.argsort(packets["at_us"], kind="stable")], blob.take()))
    return {
        (str(ipaddress.IPv4Address(UE_NET + int(u))), int(p)): Truth(hosts[a][0], not n, bool(s))
        for u, p, a, n, s in zip(ue, sport, app, unnamed & ~asks, shared, strict=True)
    }


def _hellos(names: list[str], blob: _Blob) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    hellos = [client_hello(name) for name in names]
    return np.array([blob.place(h) for h in hellos]), np.array([len(h) for h in hellos])


def _sent(rows: NDArray[np.void]) -> NDArray[np.int64]:
    """Return the bytes that each packet's sender had sent before it, SYN among them."""
    size = rows["length"].astype(np.int64) + (rows["flags"] & SYN > 0)
    up, down = size * rows["up"], size * ~rows["up"]
    before: NDArray[np.int64] = np.where(rows["up"], np.cumsum(up, axis=1) - up, np.cumsum(down, axis=1) - down)
    return before


def _asked(
    asks: NDArray[np.bool_],
    app: NDArray[np.int64],
    server: NDArray[np.int64],
    ue: NDArray[np.int64],
    sport: NDArray[np.int64],
    start_us: NDArray[np.int64],
    names: list[str],
    blob: _Blob,
) -> NDArray[np.void]:
    """Return the queries and answers before the flows that ask."""
    which = np.flatnonzero(asks)
    rows = np.zeros((len(which), 2), PACKET)
    rows["ue"], rows["server"], rows["dport"] = ue[which][:, None], _RESOLVER, 53
    rows["sport"] = (sport[which] + 20_000)[:, None]
    rows["at_us"] = start_us[which][:, None] - np.array([60_000, 30_000])
    rows["up"] = np.array([True, False])
    for i, flow in enumerate(which.tolist()):
        for side, message in enumerate(dns_pair(names[app[flow]], int(server[flow]), 7)):
            rows["at"][i, side], rows["length"][i, side] = blob.place(message), len(message)
    return rows.ravel()


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of flows: named or not by truth, and right or wrong by the replay."""

    named: int
    named_right: int
    named_wrong: int
    unnamed: int
    unnamed_right: int
    unnamed_wrong: int
    shared_wrong: int  # of all wrong ones: flows of the content network

    @property
    def precision(self) -> float:
        """Share of right names among all names given."""
        right = self.named_right + self.unnamed_right
        return right / max(1, right + self.named_wrong + self.unnamed_wrong)

    def __str__(self) -> str:
        return (
            f"{self.named} flows that say a name: {self.named_right} right, {self.named_wrong} wrong; "
            f"{self.unnamed} that say none: {self.unnamed_right} right, {self.unnamed_wrong} wrong, the others none; "
            f"precision {self.precision:.4%}, wrong on the content network {self.shared_wrong}"
        )


def score(rows: list[dict[str, Any]], truth: Mapping[tuple[str, int], Truth]) -> Score:
    """Compare the rows of a replay's flows with the truth."""
    count = dict.fromkeys(Score.__dataclass_fields__, 0)
    for row in rows:
        for side in ("src", "dst"):
            known = truth.get((row[side], row["sport" if side == "src" else "dport"]))
            if known is None or 53 in (row["sport"], row["dport"]):
                continue
            kind = "named" if known.named else "unnamed"
            count[kind] += 1
            if row["app"]:
                right = row["app"] == known.app
                count[f"{kind}_{'right' if right else 'wrong'}"] += 1
                count["shared_wrong"] += known.shared and not right
    return Score(**count)


def main() -> int:
    """Make, replay, compare."""
    from nf.privacy import Pseudonymiser
    from nf.replay.records import Collector
    from nf.replay.run import Replay

    flows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    signatures = Signatures.load()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "crowd.pcap"
        truth = make(path, flows, 1, signatures)
        replay = Replay(signatures, Pseudonymiser(bytes(32), 1), Collector())
        try:
            print(score(replay.run([path], [None]).flows, truth))
        finally:
            replay.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
