"""The class of an unnamed flow by its behaviour: a small forest over sums of the kernel's own columns.

`PATTERN` columns are sums over the intervals of a flow, `features` turns them into values that do not depend on the
length of an interval, and `Forest` gives the probability of each class. A flow that is like nothing of the training, or
between two classes, gets none. `bench/train.py` makes the file; nothing here needs more than numpy.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nf.kernel.rows import copied

__all__ = [
    "CLASSES",
    "FEATURES",
    "FILE",
    "LEAST_INTERVALS",
    "LEAST_PACKETS",
    "PATTERN",
    "Forest",
    "add_interval",
    "features",
]

FILE = Path(__file__).with_name("class_model.npz")
CLASSES = ("video", "live-video", "conferencing", "voice", "gaming", "messaging", "web", "download")
LEAST_INTERVALS, LEAST_PACKETS = 3, 20  # least of a flow that can be judged: fewer show no rhythm
_BULK_BYTES_S = 125_000.0  # 1 Mbit/s
_EARLY_S = 10.0
_TINY = 1e-9

# The memory of a flow: sums over its intervals with packets. Second axis: from the UE, to the UE.
PATTERN = np.dtype(
    [
        ("number", "u8"),
        ("first_s", "f8"),
        ("last_s", "f8"),
        ("active_s", "f8"),
        ("octets", "f8", 2),
        ("packets", "f8", 2),
        ("payload_packets", "f8", 2),
        ("gap_n", "f8", 2),
        ("gap_sum_s", "f8", 2),  # gaps between packets of one direction, each cut at one second
        ("gap_sq_s2", "f8", 2),
        ("gap_max_s", "f8", 2),
        ("rate_peak", "f8"),  # bytes/s to the UE, by interval
        ("rate_sq", "f8"),  # sum of squares, by second
        ("bulk_s", "f8"),  # time in intervals of more than 1 Mbit/s to the UE
        ("early", "f8"),  # bytes to the UE in the first ten seconds: a player fills its buffer
        ("intervals", "u4"),
        ("due", "u4"),  # intervals at which it is judged next
        ("udp", "?"),
        ("rtp", "?"),
    ]
)

FEATURES = (
    *("udp", "rtp", "log span s", "active share", "log rate up", "log rate down", "log packets/s up"),
    *("log packets/s down", "mean size up", "mean size down", "log bytes down/up", "log packets down/up"),
    *("log gap up", "log gap down", "gap variation up", "gap variation down", "longest gap up", "longest gap down"),
    *("peak over mean", "variation of rate", "bulk share", "payload share up", "payload share down"),
    *("early rate over mean", "log requests/s", "log bytes/request"),
)
_UP, _DOWN = 0, 1


def add_interval(
    pattern: NDArray[np.void], interval: NDArray[np.void], span_s: tuple[float, float]
) -> NDArray[np.void]:
    """Return patterns with one more interval: *span_s* is (start, end), *interval* has its sums, row by row."""
    length_s = max(span_s[1] - span_s[0], 1e-3)
    p = copied(pattern)
    new = p["intervals"] == 0
    p["first_s"] = np.where(new, span_s[0], p["first_s"])
    p["last_s"] = span_s[1]
    p["active_s"] += length_s
    for name in ("octets", "packets", "payload_packets", "gap_n", "gap_sum_s", "gap_sq_s2"):
        p[name] += interval[name]
    p["gap_max_s"] = np.maximum(p["gap_max_s"], interval["gap_max_s"])
    rate = interval["octets"][:, _DOWN] / length_s
    p["rate_peak"] = np.maximum(p["rate_peak"], rate)
    p["rate_sq"] += rate**2 * length_s
    p["bulk_s"] += np.where(rate > _BULK_BYTES_S, length_s, 0)
    p["early"] += np.where(span_s[0] < p["first_s"] + _EARLY_S, interval["octets"][:, _DOWN], 0)
    p["intervals"] += 1
    p["udp"], p["rtp"] = interval["udp"], p["rtp"] | interval["rtp"]
    return p


def features(p: NDArray[np.void]) -> NDArray[np.float32]:
    """Return the features (n, len(FEATURES)) of patterns (n,)."""
    span_s = np.maximum(p["last_s"] - p["first_s"], 1e-3)
    active_s = np.maximum(p["active_s"], 1e-3)
    packets, octets = np.maximum(p["packets"], _TINY), p["octets"]
    gap_n = np.maximum(p["gap_n"], 1)
    gap_s = p["gap_sum_s"] / gap_n
    deviation = np.sqrt(np.maximum(p["gap_sq_s2"] / gap_n - gap_s**2, 0))
    mean_rate = octets[:, _DOWN] / active_s
    rate_variance = np.maximum(p["rate_sq"] / active_s - mean_rate**2, 0)
    log_rate, log_pps = np.log10(octets / span_s[:, None] + 1), np.log10(p["packets"] / active_s[:, None] + 0.01)
    log_gap, varied = np.log10(gap_s + 1e-4), deviation / np.maximum(gap_s, 1e-4)
    size, payload = octets / np.maximum(packets, 1), p["payload_packets"] / np.maximum(packets, 1)
    columns = [
        *(p["udp"], p["rtp"], np.log10(span_s), active_s / span_s, *log_rate.T, *log_pps.T, *size.T),
        np.log10((octets[:, _DOWN] + 1) / (octets[:, _UP] + 1)),
        np.log10((p["packets"][:, _DOWN] + 1) / (p["packets"][:, _UP] + 1)),
        *(*log_gap.T, *varied.T, *p["gap_max_s"].T),
        p["rate_peak"] / np.maximum(mean_rate, 1),
        np.sqrt(rate_variance) / np.maximum(mean_rate, 1),
        *(p["bulk_s"] / active_s, *payload.T),
        p["early"] / np.minimum(span_s, _EARLY_S) / np.maximum(octets[:, _DOWN] / span_s, 1),
        np.log10(p["payload_packets"][:, _UP] / span_s + 0.01),
        np.log10((octets[:, _DOWN] + 1) / (p["payload_packets"][:, _UP] + 1)),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


class Forest:
    """Trees as columns: node *i* of a tree asks whether feature ``feature[i]`` is at most ``threshold[i]``.

    Leaves have feature -1 and themselves for children, so that all rows take the same number of steps.
    """

    def __init__(self, path: Path = FILE) -> None:
        with np.load(path, allow_pickle=False) as file:
            self.roots = file["roots"]
            self._feature, self._threshold = file["feature"], file["threshold"]
            self._children = file["children"]  # (nodes, 2): next node for yes and for no
            self._share = file["share"].astype(np.float32) / 255  # (nodes, classes + 1), the last one: none of them
            self._steps = int(file["steps"])
            self.least = float(file["least"])  # probability from which a class is told
        self._ask = np.maximum(self._feature, 0)

    def probabilities(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (n, classes + 1) for features (n, len(FEATURES)); the last column stands for none of the classes."""
        at = np.broadcast_to(self.roots, (len(x), len(self.roots))).copy()
        row = np.arange(len(x))[:, None]
        for _ in range(self._steps):
            no = x[row, self._ask[at]] > self._threshold[at]
            at = self._children[at, no.astype(np.intp)]
        mean: NDArray[np.float32] = self._share[at].mean(axis=1)
        return mean

    def classify(self, patterns: NDArray[np.void]) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
        """Return (index of CLASSES, confidence in percent) of each flow; (-1, 0) where none is likely enough."""
        if not len(patterns):
            return np.zeros(0, np.intp), np.zeros(0, np.uint8)
        p = self.probabilities(features(patterns))
        best = p.argmax(axis=1)
        share = p[np.arange(len(p)), best]
        sure = (share >= self.least) & (best < len(CLASSES))
        return np.where(sure, best, -1), np.where(sure, np.floor(100 * share), 0).astype(np.uint8)
