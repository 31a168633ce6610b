"""No score of any class rises when something that it reads gets worse, nor does a number become nothing by it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from nf.qoe import calls, codecs, download, gaming, messaging, pages, video
from nf.qoe.models import MODELS

PAIRS = 2000
FROZEN_S = 1.0  # of an interval of a second

# Bounds of what gets worse as it rises, and of what does as it falls; other estimates are the same on both sides.
CALL = {"round_trip_ms": 3000, "least_trip_ms": 3000, "loss": 1, "loss_burst": 50, "jitter_ms": 500}
CALL |= {"frozen_s": FROZEN_S}
GAME = {"lag_ms": 2000, "lag_jitter_ms": 500, "tick_loss": 1, "loss": 1, "spike_ms": 3000}
WAIT = {"page_s": 60}
RISES = {
    "video": {"stalled_s": 1},
    "live-video": {"stalled_s": 1},
    "conferencing": CALL,
    "voice": CALL,
    "gaming": GAME,
    "web": WAIT,
    "social": WAIT,
    "navigation": WAIT,
    "messaging": {"answer_ms": 60_000},
    "download": {},
}
FALLS = {
    "video": {"video_height": 2160, "media_bps": 30e6},
    "live-video": {"video_height": 2160, "media_bps": 30e6},
    "conferencing": {"fps": 65, "video_bps": 5e6},
    "gaming": {"fps": 130, "video_bps": 50e6},
    "download": {"speed_bps": 1e9},
}
LEAST = {"video_height": 144}
OF = {"video": video, "live-video": video, "conferencing": calls, "voice": calls, "gaming": gaming}
OF |= {"web": pages, "social": pages, "navigation": pages, "messaging": messaging, "download": download}
EQUAL = {"tick_ms": 50.0, "most_fps": 60.0, "interval_s": 1.0, "confidence": 1.0}


def estimates(name: str, columns: dict[str, np.ndarray]):
    kind = OF[name].Estimates
    out = {}
    for field in dataclasses.fields(kind):
        whole = field.name in ("unmeasured", "state", "codec", "limit")
        out[field.name] = np.zeros(PAIRS, np.uint8) if whole else np.full(PAIRS, EQUAL.get(field.name, 0.0))
    return kind(**(out | columns))


def two(rng, bounds: dict[str, float]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return PAIRS of lower and of higher values of each column; some are equal, and some are at a bound."""
    low, high = {}, {}
    for column, most in bounds.items():
        drawn = np.clip(rng.uniform(-0.1, 1.1, (2, PAIRS)), 0, 1) ** rng.choice([1, 3]) * most
        drawn[1] = np.where(rng.random(PAIRS) < 0.4, drawn[0], drawn[1])
        drawn += LEAST.get(column, 0)
        low[column], high[column] = drawn.min(axis=0), drawn.max(axis=0)
    return low, high


class TestEachClass:
    """Whatever gets worse, alone or together with more."""

    def test_no_class_is_left_out(self):
        assert set(RISES) == set(OF) == set(MODELS)

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("name", MODELS)
    def test_is_not_better_for_being_worse(self, name, seed):
        rng = np.random.default_rng(seed)
        (good, bad), (few, many) = two(rng, RISES[name]), two(rng, FALLS.get(name, {}))
        codec = {"codec": rng.integers(0, len(codecs.CODECS), PAIRS).astype(np.uint8)} if OF[name] is calls else {}

        better = MODELS[name].score(estimates(name, good | many | codec))
        worse = MODELS[name].score(estimates(name, bad | few | codec))

        assert not (np.isnan(worse) & ~np.isnan(better)).any()
        seen = ~np.isnan(better)
        assert seen.mean() > 0.9
        assert (worse[seen] <= better[seen] + 1e-9).all()
        assert (worse[seen] >= 1).all()
        assert (better[seen] <= 5).all()
        assert (worse[seen] < better[seen] - 0.01).mean() > 0.05


class TestLies:
    """Numbers that nothing can measure make no score out of range."""

    LIES = (math.nan, -1.0, 0.0, 1e30)

    @pytest.mark.parametrize("name", MODELS)
    def test_of_estimates(self, name):
        rng = np.random.default_rng(1)
        columns = {column: rng.choice(self.LIES, PAIRS) for column in RISES[name] | FALLS.get(name, {})}

        mos = MODELS[name].score(estimates(name, columns))

        assert (np.isnan(mos) | ((mos >= 1) & (mos <= 5))).all()
