"""Words for what happened to a user: the estimates of a record, for whoever shows it to a person."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["happened", "rate"]

# Estimates in their order, each with its form: trouble first, which is what a narrow screen must not cut off.
_ESTIMATES = (
    ("stalled_s", "stalled {:.1f} s"),
    ("frozen_s", "frozen {:.1f} s"),
    ("spikes", "{:.0f} spikes"),
    ("video_height", "{:.0f}p"),
    ("fps", "{:.0f} fps"),
    ("lag_ms", "lag {:.0f} ms"),
    ("page_s", "page {:.1f} s"),
    ("answer_ms", "answer {:.0f} ms"),
    ("speed_bps", "{} Mbit/s"),
    ("media_bps", "{} Mbit/s"),
    ("buffer_s", "buffer {:.0f} s"),
)
_NO_NEWS = ("stalled_s", "frozen_s", "spikes")  # when they are zero


def rate(bps: float) -> str:
    """Return a bit rate as Mbit/s, with three significant digits where they fit five characters."""
    mbps = bps / 1e6
    return f"{mbps:.0f}" if mbps >= 100 else f"{mbps:.1f}" if mbps >= 10 else f"{mbps:.3f}"


def happened(record: Mapping[str, Any]) -> str:
    """Return in words what happened to a user, or why nobody can say."""
    if record.get("unmeasured"):
        return str(record["unmeasured"])
    told = [
        form.format(rate(record[name]) if name.endswith("_bps") else record[name])
        for name, form in _ESTIMATES
        if isinstance(record.get(name), int | float)
        and not math.isnan(record[name])
        and (record[name] or name not in _NO_NEWS)
    ]
    return ", ".join(told)
