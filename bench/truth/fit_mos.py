"""Fits the streaming score to viewers: python -m bench.truth.fit_mos [--write] prints the coefficients, or puts them
into nf/qoe/video/viewers.py.

Least squares by Levenberg and Marquardt over the product's own functions, second by second, with weak pulls to round
numbers: a test has few conditions, and one of the two has no wait before the first picture. `bench.truth.mos` fits on
one test and judges by the other. The data are free for research only, so none of them is in the project.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
import tarfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.truth.sessions import DATA
from nf.errors import SnfError
from nf.qoe.inputs import Array
from nf.qoe.video import rate, viewers
from nf.qoe.video.columns import STATE
from nf.qoe.video.viewers import Viewers

__all__ = ["FITTED", "PULL", "Sequences", "fit", "told", "watched"]

FITTED = ("TR04", "TR06")
PULL = 4.0  # of one round number against one MOS that is off by a third, where conditions left out are told best
_MOS_OFF = 0.32
_FOLDER = DATA / "p1203_open"
_Stalls = tuple[tuple[float, float], ...]
# Stands in for inputs of the data set that are not at hand: its conditions with stalls, by position in the content and length
# in s (position 0: before the first picture), as the inputs of the mode 0 of itu-p1203/open-dataset have them.
_STALLS: Mapping[str, _Stalls] = {
    "TR04_02": ((10, 12), (20, 12)),
    **{f"TR04_{condition}": ((0, 5),) for condition in (85, 86, 87)},
    "TR04_88": ((0, 10), (10, 5)),
    "TR04_89": ((0, 10), (50, 5)),
    "TR04_90": ((0, 5), (10, 10)),
    "TR04_91": ((0, 5), (50, 10)),
    "TR04_92": ((0, 2), (50, 20)),
    "TR04_93": ((0, 2), (10, 5)),
    "TR04_94": ((0, 2), (50, 5)),
    "TR04_95": ((0, 2), (10, 10)),
    "TR04_96": ((0, 2), (50, 10)),
    "TR06_02": ((35, 12), (45, 12)),
    "TR06_04": ((140, 15),),
    "TR06_17": ((140, 15),),
    "TR06_18": ((90, 15),),
}
# Name: the round number, how far from it a coefficient may well be, its least and its most. Coding: a picture of few
# bits loses three of the four MOS. Waiting: -0.862 lg(t + 6.718) + 5.381 (Hossfeld and others, QoMEX 2012).
_PULLS = {
    "coding": (3.0, 1.0, 0.5, 4.0),
    "coding_slope": (4.0, 1.5, 0.5, 10.0),
    "upscaling": (1.0, 0.5, 0.8, 3.0),
    "recovery_s": (8.0, 5.0, 0.1, 60.0),
    "recent": (1.0, 1.0, 0.0, 20.0),
    "stall": (0.1, 0.1, 0.0, 1.0),
    "stall_root": (0.1, 0.1, 0.0, 1.0),
    "forgotten": (0.5, 0.5, 0.0, 5.0),
    "waiting": (0.01, 0.005, 0.0, 0.1),
    "phone": (0.5, 0.5, 0.0, 1.0),
}
_STEPS, _TRIES, _ENOUGH = 40, 8, 1e-6


@dataclass(frozen=True, slots=True)
class Sequences:
    """Sequences that were watched, a row each, and a column a second; NaN after the end."""

    name: tuple[str, ...]
    phone: NDArray[np.bool_]
    mos: Array
    height: Array  # (n, seconds)
    bps: Array
    stalls: tuple[_Stalls, ...]

    @property
    def test(self) -> NDArray[np.str_]:
        """Return the subjective test of each."""
        return np.array([name[:4] for name in self.name])

    @property
    def condition(self) -> NDArray[np.str_]:
        """Return the test and the condition of each."""
        return np.array([_condition(name) for name in self.name])

    def of(self, rows: NDArray[np.bool_]) -> Sequences:
        """Return some of them."""
        kept = np.flatnonzero(rows)
        names, stalls = tuple(self.name[i] for i in kept), tuple(self.stalls[i] for i in kept)
        return Sequences(names, self.phone[rows], self.mos[rows], self.height[rows], self.bps[rows], stalls)


def _condition(name: str) -> str:
    return f"{name[:4]}_{name[-2:]}"


@cache
def watched() -> Sequences:
    """Return all sequences of the data at hand that have scores, seconds and stalls."""
    if not _FOLDER.is_dir():
        raise SnfError(f"The subjective tests are not at {_FOLDER}.", "Set SNF_SHARED to the folder that holds data/.")
    seconds: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with gzip.open(_FOLDER / "features" / "features_mode0.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            seconds[row["pvs_id"]].append((float(row["coding_height"]), 1e3 * float(row["bitrate_kbps_segment_size"])))
    inputs = _inputs(_FOLDER / "mode0_mode1_inputs.tar.gz")
    with (_FOLDER / "mos.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["pvs_id"] in seconds]
    rows = [r for r in rows if r["pvs_id"][:4] in FITTED or r["pvs_id"] in inputs]
    levels = np.full((len(rows), max(map(len, seconds.values())), 2), np.nan)
    for i, row in enumerate(rows):
        levels[i, : len(seconds[row["pvs_id"]])] = seconds[row["pvs_id"]]
    return Sequences(
        tuple(r["pvs_id"] for r in rows),
        np.array([r["context"] == "mobile" for r in rows]),
        np.array([float(r["mos"]) for r in rows]),
        levels[:, :, 0],
        levels[:, :, 1],
        tuple(inputs.get(r["pvs_id"], _STALLS.get(_condition(r["pvs_id"]), ())) for r in rows),
    )


def _inputs(path: Path) -> dict[str, _Stalls]:
    """Return the stalls of each sequence as the archive of inputs has them; nothing where it is empty."""
    found: dict[str, _Stalls] = {}
    if path.is_file():
        with tarfile.open(path) as tar:
            for member in tar.getmembers():
                name = re.search(r"([A-Z]{2}\d\d_SRC\d+_HRC\d\d).*input\.json$", member.name)
                file = tar.extractfile(member) if name else None
                if name and file:
                    stalling = json.load(io.TextIOWrapper(file)).get("I23", {}).get("stalling", [])
                    found[name[1]] = tuple((float(at), float(length)) for at, length in stalling)
    return found


def told(some: Sequences, of: Viewers, times: int = 1) -> Array:
    """Return the session's score of each sequence, as the product tells it; of *times* copies of them."""
    height, bps = np.tile(some.height, (times, 1)), np.tile(some.bps, (times, 1))
    stalls = list(some.stalls) * times
    state = np.zeros(len(height), STATE)
    wait = np.array([sum(length for at, length in s if at == 0) for s in stalls], float)
    stands = np.zeros(height.shape)
    for i, row in enumerate(stalls):
        for at, length in row:
            stands[i, min(int(at), height.shape[1] - 1)] += length if at > 0 else 0
    quality = rate.picture(height.T, bps.T, of)
    for second in range(height.shape[1]):
        if stands[:, second].any():
            rate.remember(state, quality[second], stands[:, second], of)
        state["played_s"] += ~np.isnan(quality[second])
        rate.remember(state, quality[second], np.zeros(len(state)), of)
    return rate.of_session(state, wait, of)


def _viewers(some: Sequences, coefficients: Array) -> Viewers:
    """Return viewers of *coefficients* (times, k), an array over copies of the sequences for each."""
    each = np.repeat(coefficients, len(some.mos), axis=0).T
    phones = np.tile(some.phone, len(coefficients)).astype(float)
    return Viewers(**dict(zip(_PULLS, each, strict=True)), phones=phones)


def _residuals(some: Sequences, coefficients: Array, pull: float) -> Array:
    """Return (times, n + k): scores less MOS, and what the pulls cost."""
    centre, width = (np.array([p[i] for p in _PULLS.values()]) for i in (0, 1))
    scores = told(some, _viewers(some, coefficients), len(coefficients)).reshape(len(coefficients), -1)
    return np.hstack([scores - some.mos, np.sqrt(pull) * _MOS_OFF * (coefficients - centre) / width])


def fit(some: Sequences, pull: float = PULL) -> Viewers:
    """Return the coefficients that fit *some* best; all is arithmetic, so the same data give the same numbers."""
    low, high = (np.array([p[i] for p in _PULLS.values()]) for i in (2, 3))
    at, damping = np.array([p[0] for p in _PULLS.values()]), 0.01
    small = 1e-4 * np.maximum(at, 0.05)
    for _ in range(_STEPS):
        rows = _residuals(some, np.vstack([at, at + np.diag(small)]), pull)
        off, slopes = rows[0], ((rows[1:] - rows[0]) / small[:, None]).T
        before, square = off @ off, slopes.T @ slopes
        for _ in range(_TRIES):
            step = np.linalg.solve(square + damping * np.diag(np.diag(square)), -slopes.T @ off)
            there = np.clip(at + step, low, high)
            after = np.square(_residuals(some, there[None], pull)[0]).sum()
            if after < before:
                at, damping = there, damping / 5
                break
            damping *= 4
        if after > before * (1 - _ENOUGH):
            break
    return Viewers(**dict(zip(_PULLS, at.tolist(), strict=True)))


def main() -> int:
    """Print the coefficients of a fit on both tests; with --write put them into the product."""
    some = watched()
    both = fit(some.of(np.isin(some.test, FITTED)))
    path = Path(viewers.__file__)
    text = path.read_text("utf-8")
    for name in _PULLS:
        value = f"{getattr(both, name):.3g}"
        print(f"{name:13} {value:>8}   in the product {getattr(viewers.VIEWERS, name):g}")
        text = re.sub(rf"^(    {name}: Number = )\S+", rf"\g<1>{value}", text, flags=re.MULTILINE)
    if "--write" in sys.argv[1:]:
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
