"""A player's own account, made into facts: start-up, stalls, levels and segments. Pure functions on what it told.

A sample has the position ``at`` in content seconds each 250 ms. While a video plays, the position moves as time does;
so a stall begins at the time of the last moving sample plus the content that was still shown after it, and ends at the
time of the first that moves again less the content shown by then. Events of the media element do not tell it: players
hold a video by a rate of 0 until their buffer is as they like it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

__all__ = ["LEAST_S", "segments", "stalls", "startup", "summary"]

LEAST_S = 0.3  # a shorter stand is one of the samples, or of a picture that was decoded late
_MOVED_S = 0.02  # of content: more than the rounding of a position, less than a picture
_SEGMENT = re.compile(r"/s(\d+)-(\d+)\.m4s$")

Sample = Mapping[str, Any]


def _playing(samples: Iterable[Sample], first_frame_s: float) -> list[Sample]:
    return [s for s in samples if "buffer_s" in s and s["t"] >= first_frame_s]


def stalls(told: Sequence[Sample]) -> list[tuple[float, float]]:
    """Return (begin, end) in seconds since the epoch of each stall after the first picture; the last may be open."""
    begun = startup(told)["first_frame"]
    if begun is None:
        return []
    seeks = [e["t"] for e in told if e.get("event") in ("seeking", "seeked")]
    ended = next((e["t"] for e in told if e.get("event") == "ended"), float("inf"))
    stood = _stands(_playing(told, begun))
    found: list[tuple[float, float]] = []
    for i, (first, last) in enumerate(stood):
        begin, end = first["t"], told[-1]["t"]
        if i:
            before = stood[i - 1][1]
            begin = min(begin, before["t"] + first["at"] - before["at"])
        if i + 1 < len(stood):
            after = stood[i + 1][0]
            end = max(last["t"], after["t"] - (after["at"] - first["at"]))
        begin = max(begin, found[-1][1]) if found else begin
        sought = any(begin - 0.5 <= t <= end + 0.5 for t in seeks)
        if first is not last and end - begin >= LEAST_S and not sought and end < ended and not first["paused"]:
            found.append((round(begin, 3), round(end, 3)))
    return found


def _stands(samples: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    """Return the first and the last sample of each position, in order."""
    found: list[tuple[Sample, Sample]] = []
    for sample in samples:
        if found and abs(sample["at"] - found[-1][0]["at"]) <= _MOVED_S and sample["paused"] == found[-1][0]["paused"]:
            found[-1] = found[-1][0], sample
        else:
            found.append((sample, sample))
    return found


def startup(told: Sequence[Sample]) -> dict[str, float | None]:
    """Return the times of load, first request and first picture, and the seconds between the last two."""
    load = next((e["t"] for e in told if e.get("event") == "load"), None)
    first = next((e["t"] for e in told if e.get("event") == "first frame"), None)
    asked = min(
        (e["begin"] for e in told if e.get("event") == "fetched" and load and e["begin"] >= load - 0.1), default=None
    )
    seconds = round(first - asked, 3) if first is not None and asked is not None else None
    return {"load": load, "first_request": asked, "first_frame": first, "startup_s": seconds}


def segments(told: Sequence[Sample], levels: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the media segments that were fetched, in order: times, level, octets and seconds of content."""
    by_id = {level["id"]: level for level in levels}
    found = []
    for entry in told:
        match = _SEGMENT.search(entry.get("path", ""))
        if match:
            level = by_id[int(match[1])]
            found.append(
                {k: round(entry[k], 4) for k in ("begin", "request", "first", "end")}
                | {"height": level["height"], "bps": level["bps"], "number": int(match[2]), "octets": entry["octets"]}
                | {"content_s": level["segment_s"], "protocol": entry["protocol"]}
            )
    return sorted(found, key=lambda s: s["begin"])


def summary(told: Sequence[Sample], levels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the facts of a session, from its first request to its end."""
    start = startup(told)
    stood = stalls(told)
    shown: dict[int, float] = {}
    samples = _playing(told, start["first_frame"] or float("inf"))
    for before, sample in pairwise(samples):
        if sample["at"] > before["at"]:
            shown[sample["shown"]] = shown.get(sample["shown"], 0.0) + sample["t"] - before["t"]
    watched = sum(shown.values())
    stalled = sum(end - begin for begin, end in stood)
    heights = [s["shown"] for s in samples if s["shown"]]
    return {
        **start,
        "stalls": stood,
        "stall_ratio": round(stalled / (watched + stalled), 4) if watched + stalled else None,
        "shown_s": {str(h): round(s, 2) for h, s in sorted(shown.items())},
        "switches": sum(a != b for a, b in pairwise(heights)),
        "segments": segments(told, levels),
        "errors": [e for e in told if e.get("event") in ("error", "exception")],
        "player_late_ms": max((s["late_ms"] for s in samples), default=None),
    }
