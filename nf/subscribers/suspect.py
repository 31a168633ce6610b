"""Suspect of each row, one word: access, core, application, or loss whose place is not known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import DOWNLINK, UPLINK, Array, Inputs, known_or, worst

__all__ = ["GOOD_MOS", "SUSPECTS", "suspect"]

GOOD_MOS = 4.0  # "good" on the scale of P.800
LONG_RTT_MS = 100.0  # of one side: players of fast games call such a lag bad (own; docs/qoe.md, "Suspect")
MUCH_LOSS = 0.01  # (own, after T-RAT's limit between loss that the network causes and none)
MUCH_JITTER_MS = 30.0  # (own; the limit of bad jitter for games)

SUSPECTS = np.array(["", "access", "core", "loss", "app"], object)
_NONE, _ACCESS, _CORE, _LOSS, _APP = range(5)


def suspect(r: Inputs, mos: Array, rtp: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return for each row an index into `SUSPECTS`: 0 where the score is good or not known.

    Each cause is measured in multiples of its limit; the largest one from 1 on is named. The probe
    sits between the radio and the core: a packet of the uplink that is missing or late came so from
    the access, one of the downlink from the core. A TCP segment that is sent again does not tell
    the place; where only one side's round trip is long, that side is named.
    """
    loss, jitter_ms = known_or(r.loss, 0), known_or(r.jitter_ms, 0)
    placed = np.where(rtp, loss, 0)  # RTP numbers tell on which side of the probe packets are missing
    access_rtt, core_rtt = known_or(r.rtt_access_ms, 0) / LONG_RTT_MS, known_or(r.rtt_core_ms, 0) / LONG_RTT_MS
    access = np.maximum(access_rtt, np.maximum(placed[:, UPLINK] / MUCH_LOSS, jitter_ms[:, UPLINK] / MUCH_JITTER_MS))
    core = np.maximum(core_rtt, np.maximum(placed[:, DOWNLINK] / MUCH_LOSS, jitter_ms[:, DOWNLINK] / MUCH_JITTER_MS))
    unplaced = worst(np.where(rtp, 0, loss)) / MUCH_LOSS
    causes = np.stack([access, core, unplaced], axis=1)
    word = np.where(causes.max(axis=1) >= 1, causes.argmax(axis=1) + _ACCESS, _APP)
    word = np.where((word == _LOSS) & (access_rtt >= 1) & (core_rtt < 1), _ACCESS, word)
    word = np.where((word == _LOSS) & (core_rtt >= 1) & (access_rtt < 1), _CORE, word)
    return np.where(mos < GOOD_MOS, word, _NONE)
