"""The mixed capture made dense: the same flows at 100,000 packets a second, of which 10,000 are active at any time.

The mixed capture has 360 flows that move in a second, at 21,000 packets a second: it shows what an interval costs at
the least, not what a flow costs. Here each flow streams over `STAY_S` seconds instead of a fraction of one. A window of
`WINDOW_S` seconds is cut out of the steady state. What began before it and goes on in it is seen from its beginning,
too: the first packets of these flows, and the DNS answers that they rest on, come in a ramp before the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.columns import Packets, write_pcap
from bench.traffic import Blob, make_flows, packets_of

__all__ = ["PPS", "Dense", "active_flows", "build", "flow_numbers"]

PPS = 100_000  # of ramp and window
WINDOW_S, STAY_S, BEFORE_S = 5.0, 20.5, 25.0
FLOWS = 34_050  # that begin in BEFORE_S and WINDOW_S: 100,000 packets a second, of 10,000 active flows
SEED = 29281
HEAD = 10  # packets: a TCP and TLS handshake, QUIC's first flight and its answer


@dataclass(frozen=True, slots=True)
class Dense:
    """The content of a dense capture."""

    ramp: int  # packets before the window
    window: int
    flows: int
    active: int  # flows with packets in a second of the window, the mean

    def __str__(self) -> str:
        return (
            f"{self.ramp + self.window} packets of {self.flows} flows, the kinds of the mixed capture; the first "
            f"{self.ramp} begin the flows that go on in the rest, where {self.active} flows are active in a second and "
            f"{PPS} packets"
        )


def _cut(rows: NDArray[np.void], begin_us: int, end_us: int) -> NDArray[np.void]:
    """Return a flow's rows in the window, and behind its first ones if it began before; none when it ended before."""
    at = rows["at_us"]
    inside = (at >= begin_us) & (at < end_us)
    if not inside.any():
        return rows[:0]
    kept: NDArray[np.void] = rows[inside | ((at < begin_us) & (np.arange(len(rows)) < HEAD))]
    return kept


def build(path: Path, *, flows: int = FLOWS, seed: int = SEED) -> Dense:
    """Write the capture, and return what is in it; fewer flows make the same traffic of fewer packets a second."""
    rng = np.random.default_rng(seed)
    blob = Blob(rng)
    begin_us, end_us = round(BEFORE_S * 1e6), round((BEFORE_S + WINDOW_S) * 1e6)
    made = make_flows(rng, blob, flows, (0.2, BEFORE_S + WINDOW_S), STAY_S)
    parts: list[NDArray[np.void]] = []
    for flow in made:
        rows = packets_of(flow, rng)
        asked_for_it = flow.kind == "dns" and len(parts[-1])  # a flow is followed by its query
        parts.append(rows if asked_for_it else _cut(rows, begin_us, end_us))
    rows, number = np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    order = np.argsort(rows["at_us"], kind="stable")
    rows, number = rows[order], number[order]
    ramp = int(np.searchsorted(rows["at_us"], begin_us))
    second = (rows["at_us"][ramp:] - np.uint64(begin_us)) // np.uint64(1_000_000)
    active = len(np.unique(second.astype(np.int64) * len(parts) + number[ramp:])) / WINDOW_S
    gap_us = 1e6 * WINDOW_S / (len(rows) - ramp)
    rows["at_us"][:ramp] = begin_us - (gap_us * np.arange(ramp, 0, -1)).astype(np.int64)
    rows["at_us"] -= rows["at_us"][0]
    write_pcap(path, Packets(rows, blob.take()))
    return Dense(ramp, len(rows) - ramp, int(sum(1 for part in parts if len(part))), round(active))


def flow_numbers(frames: Sequence[bytes]) -> NDArray[np.int64]:
    """Return a number for each frame that is that of its flow, whatever its direction."""
    ids: dict[bytes, int] = {}
    ends = (b"".join(sorted((f[70:74] + f[78:80], f[74:78] + f[80:82]))) for f in frames)
    return np.array([ids.setdefault(both, len(ids)) for both in ends], np.int64)


def active_flows(numbers: NDArray[np.int64], at_once: int) -> float:
    """Return how many flows have frames among so many of them that come one after the other, the mean."""
    whole = len(numbers) // at_once * at_once
    spans = numbers[:whole].reshape(-1, at_once) if whole else numbers[None]
    return float(np.mean([len(np.unique(span)) for span in spans]))
