"""The picture's height from the sizes of the answers that a player fetched: a forest of small trees, else a ladder.

The forest was fitted on sessions of one service (bench/truth/fit_video.py); it reads only sums that grow with each
answer: how many there were and how many bytes, by size, and over how long. Neither rate, delay, protocol nor address
of the network is in it beside the mean rate of the session. Outside the range of that data, where answers stand for
a few seconds of content or the rate is higher, the media bitrate is looked up on a ladder of usual encodings.
It misses: a video of few bits (slides, drawings) looks one level lower than it is.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import Array

__all__ = [
    "EARLY_S",
    "EDGES",
    "HEIGHTS",
    "LEAST_BPS",
    "MOST_BPS",
    "SIZES",
    "by_forest",
    "by_ladder",
    "features",
    "observe",
]

HEIGHTS = np.array([144, 240, 360, 480, 720, 1080])
# Sizes of answers in bytes: quarter octaves, and eighths where the services cap a request (about 2 MiB).
EDGES = 2.0 ** np.r_[np.arange(15, 19.5, 0.25), np.arange(19.5, 21.51, 0.125)]
BINS = len(EDGES)  # the last one has no end
_COMMON = np.searchsorted(EDGES, [4.1e5, 6.4e5])  # the sizes between hold half a minute of sound at 128 kbit/s

SIZES = [
    ("sizes", "f4", (BINS,)),  # answers by size; those under EDGES[0] are not in it
    ("size_octets", "f4", (BINS,)),  # their bytes
    ("octets", "f8"),  # of all answers
    ("first_s", "f8"),  # first request; 0 before one was seen
    ("last_s", "f8"),  # last byte of an answer
]
"""Fields of a row of state that the forest reads."""

LEAST_BPS = np.array([0, 120e3, 115e3, 230e3, 100e3, 400e3])
MOST_BPS = np.array([450e3, 640e3, 950e3, 1.3e6, np.inf, np.inf])
"""Media rates of the levels that the forest may vote for, (6,): somewhat beyond those of its data. It has seen no
others, and calls segments of 10 s 720p at 90 kbit/s, and 240p at 900."""

EARLY_S = 200.0  # between the moments of 120 and 300 s that the forests were fitted on

_FILE = Path(__file__).with_name("levels.npz")


def observe(state: NDArray[np.void], rows: NDArray[np.intp], octets: Array) -> None:
    """Add one answer of each of *rows* (no row twice) to *state*, in place."""
    state["octets"][rows] += octets
    at = np.searchsorted(EDGES, octets, side="right") - 1
    kept = at >= 0
    state["sizes"][rows[kept], at[kept]] += 1
    state["size_octets"][rows[kept], at[kept]] += octets[kept]


def features(state: NDArray[np.void]) -> Array:
    """Return what the forest reads of rows of state, a column a feature."""
    count, octets = state["sizes"].astype(np.float64), state["size_octets"].astype(np.float64)
    n, total = np.maximum(count.sum(1), 1), np.maximum(state["octets"], 1)
    seconds = np.maximum(state["last_s"] - state["first_s"], 1)
    low, high = _COMMON
    big, common = count[:, high:].sum(1), count[:, low:high].sum(1)
    big_octets, common_octets = octets[:, high:].sum(1), octets[:, low:high].sum(1)
    columns = [
        np.log(total / seconds),
        np.log(total / n),
        np.log(np.where(big > 0, big_octets / np.maximum(big, 1), EDGES[low])),
        np.log((total - common_octets + 5e4) / (common_octets + 3e5)),
        np.log((big + 1) / (common + 1)),
        np.log(seconds / (big + 1)),
        np.log(seconds),
    ]
    tails = [column[:, ::-1].cumsum(1)[:, ::-1] for column in (octets / total[:, None], count / n[:, None])]
    return np.hstack([np.column_stack(columns), *tails])


@cache
def _forest(moment: str) -> dict[str, NDArray[Any]]:
    """Return the trees of *moment*: feature, threshold, left, right (trees, nodes); votes (trees, nodes, 6).

    A leaf is its own child, so all trees are walked for the depth of the deepest.
    """
    with np.load(_FILE, allow_pickle=False) as file:
        return {name: file[f"{moment}_{name}"] for name in ("feature", "threshold", "left", "right", "votes", "depth")}


def by_forest(state: NDArray[np.void]) -> Array:
    """Return the share of votes of each level, (n, 6); the first `EARLY_S` of a session have a forest of their own."""
    x = features(state).astype(np.float32)
    early = state["last_s"] - state["first_s"] < EARLY_S
    votes = np.zeros((len(x), len(HEIGHTS)))
    for moment, rows in (("early", early), ("late", ~early)):
        if rows.any():
            votes[rows] = _voted(x[rows], _forest(moment))
    return votes


def _voted(x: NDArray[np.float32], forest: dict[str, NDArray[Any]]) -> Array:
    """Return the mean vote of the trees; the loop is over their depth, never over rows."""
    trees = np.arange(len(forest["feature"]))[None, :]
    rows = np.arange(len(x))[:, None]
    node = np.zeros((len(x), trees.size), np.intp)
    for _ in range(int(forest["depth"])):
        less = x[rows, forest["feature"][trees, node]] <= forest["threshold"][trees, node]
        node = np.where(less, forest["left"][trees, node], forest["right"][trees, node])
    votes: Array = forest["votes"][trees, node].astype(np.float64).mean(axis=1)
    shares: Array = votes / np.maximum(votes.sum(axis=1, keepdims=True), 1e-9)
    return shares


def by_ladder(media_bps: Array, ladder_bps: tuple[float, ...]) -> NDArray[np.intp]:
    """Return the level, 0..5, that a media rate stands for; *ladder_bps* are the five rates where the next begins."""
    return np.searchsorted(np.asarray(ladder_bps), media_bps, side="right")
