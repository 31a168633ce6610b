"""Real video sessions with the truth of their player, as columns that estimators take (../shared/data/qoe).

Chunks are those of `chunks.jsonl.gz`; where a session has rows of 100 ms and no capture, they are its bursts.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DATA", "LEVELS", "Session", "labelled", "sessions"]

DATA = Path(os.environ.get("SNF_SHARED") or Path(__file__).parents[3] / "shared") / "data" / "qoe"
LEVELS = ("tiny", "small", "medium", "large", "hd720", "hd1080")
_FOLDER = DATA / "requet_youtube"
_VIDEOS, _FIRST = 40, 28  # each recording date played the same 40 videos in order, the first as number 28, 108, 148 ...
_QUIET_ROWS, _CAP = 1, 1_950_000  # a burst ends at 200 ms without data, or at the size at which the service splits


@dataclass(frozen=True, slots=True)
class Session:
    """One session; *chunks* (n, 4): request, first byte, last byte (s), bytes, in order of requests."""

    name: str
    level: int  # index into LEVELS
    video: int
    seconds: float
    chunks: NDArray[np.float64]
    playing_s: float = float("nan")  # first picture, counted from the first packet


def _video_of(name: str) -> int:
    return (int(name.rsplit("_", 1)[1]) - _FIRST) % _VIDEOS


@cache
def sessions() -> tuple[Session, ...]:
    """Return the sessions with requests that have a level, 132 of them."""
    found = []
    with gzip.open(_FOLDER / "chunks.jsonl.gz", "rt") as file:
        for row in map(json.loads, file):
            chunks = np.array(row["chunks"], float)[:, :4]
            chunks = chunks[np.argsort(chunks[:, 0], kind="stable")]
            if row["res"] in LEVELS:
                name = row["session"]
                found.append(Session(name, LEVELS.index(row["res"]), _video_of(name), row["dur"], chunks))
    return tuple(found)


@cache
def labelled() -> tuple[Session, ...]:
    """Return the 29 sessions with labels of 100 ms; their bursts stand for chunks, as uplinks are not in the rows."""
    found = []
    for path in sorted(_FOLDER.glob("*.labels.csv.gz")):
        with gzip.open(path, "rt") as file:
            rows = list(csv.DictReader(file))
        name = path.name.removesuffix(".labels.csv.gz")
        level = next(row["quality"] for row in reversed(rows) if row["quality"])
        playing = next(float(row["t_end_s"]) for row in rows if row["ev_playing"] != "0")
        end = float(rows[-1]["t_end_s"])
        found.append(Session(name, LEVELS.index(level), _video_of(name), end, _bursts(rows), playing))
    return tuple(found)


def _bursts(rows: list[dict[str, Any]]) -> NDArray[np.float64]:
    """Return runs of rows with data; header bytes (IP and UDP) are taken off."""
    bursts: list[list[float]] = []
    last = -10
    for i, row in enumerate(rows):
        octets, end = float(row["bytes_dn"]) - 28 * float(row["pkts_dn"]), float(row["t_end_s"])
        if octets < 3000:
            continue
        if not bursts or i - last > _QUIET_ROWS or bursts[-1][3] > _CAP:
            bursts.append([end - 0.1, end - 0.1, end, 0.0])
        bursts[-1][2], bursts[-1][3], last = end, bursts[-1][3] + octets, i
    return np.array(bursts)
