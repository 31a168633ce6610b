"""The common score of voice and conferencing: from delay, jitter and loss of both directions to a MOS."""

from __future__ import annotations

import numpy as np

from nf.qoe import emodel, freeze
from nf.qoe.inputs import Array, Inputs, known_or, round_trip_ms, worst

__all__ = ["late_share", "score"]

BUFFER_DEVIATIONS = 2.0  # an adaptive jitter buffer holds about twice the jitter (own; usual planning value)
BUFFER_MOST_MS = 60.0  # and a packet later than this is lost (own; usual default of VoIP terminals)
CODEC_MS = 25.0  # one frame of 20 ms and 5 ms of look-ahead


def late_share(jitter_ms: Array) -> Array:
    """Return the share of packets later than the jitter buffer holds, for delays with a Laplace distribution."""
    late: Array = 0.5 * np.exp(-np.sqrt(2) * BUFFER_MOST_MS / np.maximum(jitter_ms, 1e-3))
    return late


def score(r: Inputs, jitter_ms: Array, late: Array) -> Array:
    """Return the MOS, 1..4.5, of the worse direction; NaN where no direction has a media flow."""
    buffered_ms = np.minimum(BUFFER_DEVIATIONS * jitter_ms, 2 * BUFFER_MOST_MS)
    delay_ms = known_or(round_trip_ms(r), 0) / 2 + buffered_ms + CODEC_MS
    lost = np.minimum(worst(r.loss) + late, 1.0)
    mos = emodel.to_mos(emodel.rating(delay_ms, 100 * lost))
    frozen = freeze.share(r.gap_mean_ms, r.gap_max_ms, r.interval_s).max(axis=1)
    silent = np.isnan(r.gap_mean_ms).all(axis=1)
    return np.where(silent, np.nan, np.maximum(mos * freeze.factor(frozen), 1.0))
