"""Suspect of each row with a bad score: where the quality was lost, by which measure, and its value.

evidence of both sides of the probe, of N3 and UPF, of server and player ── `suspect` ── word, measure, value
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import Array
from nf.qoe.n3 import PROFILE as N3_PROFILE

__all__ = [
    "ACCESS",
    "CORE",
    "GOOD_MOS",
    "LONG_MS",
    "MEASURES",
    "MUCH_LOSS",
    "SUSPECTS",
    "VARIED_MS",
    "Evidence",
    "Verdicts",
    "suspect",
]

GOOD_MOS = 4.0  # "good" on the scale of P.800

CORE, ACCESS = 0, 1  # second axis of evidence: the side behind the probe as seen from the UE, and the UE's

LONG_MS = 100.0  # round trip of one side: players of fast games call such a lag bad (own; docs/qoe.md, "Suspect"),
LONG_WAY_MS = 120.0  # or of both, then the longer side is meant (own; G.1072 falls below good there)
VARIED_MS = 60.0  # high samples above the least of a side (own: a delayed acknowledgement takes 40 ms, RFC 9293)
MUCH_LOSS = 0.01  # (own, after T-RAT's limit between loss that the network causes and none)
MUCH_JITTER_MS = 30.0  # (own; the limit of bad jitter for games)
LONG_RADIO_MS = 50.0  # one way, as the gNB reports it (own: half of LONG_MS)
LONG_TRANSIT_MS = 30.0  # N3 and back, or through the UPF: both take a millisecond where nothing is amiss (own)
SILENCE_S = 0.5  # one direction stands still while the other goes on
SPIKES_MS = 100.0  # in an interval: the least spike of a game (nf.qoe.ticks)
WAITED_MS = 300.0  # an answer beyond the round trip (own: three times what users notice, G.1030)

SUSPECTS = np.array(["", "access", "core", "loss", "app", "n3", "upf", "server", "device", "unknown"], object)
_NONE, _ACCESS, _CORE, _LOSS, _APP, _N3, _UPF, _SERVER, _DEVICE, _UNKNOWN = range(10)
_OF_SIDE = np.array([_CORE, _ACCESS])

MEASURES = np.array(
    ["", "delay", "variation", "loss", "jitter", "silence", "spikes", "radio delay", "wait", "level", "frames",
     "echo", "neighbours"],
    object,
)  # fmt: skip
"""By which measure a suspect was convicted: ms, but ratio of loss, s of silence, height of level, frames a second."""
_DELAY, _VARIATION, _LOST, _JITTER, _SILENCE, _SPIKES, _RADIO, _WAIT, _LEVEL, _FRAMES, _ECHO, _NEIGHBOURS = range(1, 13)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Columns of n rows, (n,) or (n, 2) of CORE, ACCESS; NaN: not seen."""

    least_ms: Array  # (n, 2) round trip, least of the last seconds
    high_ms: Array  # (n, 2) largest samples, mean of the last seconds
    loss: Array  # (n, 2) ratio of what was lost on that side, of the last seconds
    jitter_ms: Array  # (n, 2) of media as they came from that side
    silence_s: Array  # (n, 2) nothing came from that side while something came from the other
    spikes_ms: Array  # (n, 2) gaps in media that came from that side, in the interval
    radio_ms: Array  # (n,) one way, the longer one
    n3_ms: Array  # (n,) probe to gNB and back, by time stamps of QoS monitoring; where there are none:
    echo_ms: Array  # (n,) so much more than usual, by an echo of the path
    echo_sure: Array  # (n,) 0 to 1
    neighbours_ms: Array  # (n,) likewise, by what others at the same gNB have lost as well
    neighbours_sure: Array
    upf_ms: Array  # (n, 2) through the UPF: of what goes to that side
    wait_ms: Array  # (n,) longest answer of the interval beyond the round trip, or one that waits so far
    fresh: NDArray[np.bool_]  # (n,) the core was seen in this very interval
    enough: NDArray[np.bool_]  # (n,) throughput that was seen was more than the media need
    level: Array  # (n,) height of the picture that a player took, while it played
    fps: Array  # (n,) frames a second that came
    rise_ms: float = N3_PROFILE.rise_ms  # limit of what neighbours say

    def __len__(self) -> int:
        return len(self.wait_ms)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Columns (n,): indices of SUSPECTS and MEASURES, the value of the measure, and how sure it is; NaN: not told."""

    word: NDArray[np.intp]
    by: NDArray[np.intp]
    value: Array
    sure: Array

    def __len__(self) -> int:
        return len(self.word)


def suspect(seen: Evidence) -> Verdicts:
    """Return the suspect of each row, all of which have a bad score.

    Each cause is measured in multiples of its limit; the largest one from 1 on is named. Without any it is the server
    whose answers wait, the player or its user, or the application; but only with evidence that the network had room:
    delay that was seen on both sides, that of the core just now, or throughput. Without that it is not known.
    """
    words, measures, values, multiples = _causes(seen)
    multiples = np.nan_to_num(multiples, nan=0.0)
    place, rows = multiples.argmax(axis=1), np.arange(len(seen))
    convicted = multiples[rows, place] >= 1
    word = np.where(convicted, words[place], _beyond(seen))
    framed = (word == _APP) & ~np.isnan(seen.fps)
    by = np.where(convicted, measures[place], np.where(framed, _FRAMES, _MEASURE_OF[word]))
    of_beyond = np.select([by == _WAIT, by == _LEVEL, by == _FRAMES], [seen.wait_ms, seen.level, seen.fps], np.nan)
    value = np.where(convicted, values[rows, place], of_beyond)
    lost = seen.loss / MUCH_LOSS
    both = convicted & (by == _LOST) & (np.nan_to_num(lost).min(axis=1) >= np.maximum(1, multiples[rows, place] / 2))
    sure = np.select([by == _ECHO, by == _NEIGHBOURS], [seen.echo_sure, seen.neighbours_sure], np.nan)
    return Verdicts(np.where(both, _LOSS, word), by, value, sure)


_MEASURE_OF = np.zeros(len(SUSPECTS), np.intp)  # of the words that no limit of the network convicts
_MEASURE_OF[_SERVER], _MEASURE_OF[_DEVICE] = _WAIT, _LEVEL


def _causes(seen: Evidence) -> tuple[NDArray[np.intp], NDArray[np.intp], Array, Array]:
    """Return words (k,) and measures (k,) of the causes, their values (n, k), and these over their limits (n, k)."""
    echo_ms = np.where(seen.echo_ms >= LONG_TRANSIT_MS, seen.echo_ms, np.nan)  # less acquits no radio
    n3_ms = np.fmax(seen.n3_ms, np.fmax(echo_ms, seen.neighbours_ms))
    transit = np.stack([seen.upf_ms[:, CORE], _sum(n3_ms, seen.upf_ms[:, ACCESS])], axis=1)
    own_ms = np.maximum(seen.least_ms - np.nan_to_num(transit), 0)  # without what N3 and the UPF have of it
    way_ms = np.nan_to_num(own_ms)
    longer = way_ms >= way_ms[:, ::-1]
    delays = np.maximum(own_ms / LONG_MS, np.where(longer, way_ms.sum(axis=1)[:, None] / LONG_WAY_MS, 0))
    varied_ms = seen.high_ms - seen.least_ms
    sides = (
        (_DELAY, seen.least_ms, delays),
        (_VARIATION, varied_ms, varied_ms / VARIED_MS),
        (_LOST, seen.loss, seen.loss / MUCH_LOSS),
        (_JITTER, seen.jitter_ms, seen.jitter_ms / MUCH_JITTER_MS),
        (_SILENCE, seen.silence_s, seen.silence_s / SILENCE_S),
        (_SPIKES, seen.spikes_ms, seen.spikes_ms / SPIKES_MS),
    )
    upf_ms = np.nanmax(np.column_stack([seen.upf_ms, np.zeros(len(seen))]), axis=1)
    single = (
        (_ACCESS, _RADIO, seen.radio_ms, seen.radio_ms / LONG_RADIO_MS),
        (_N3, _DELAY, seen.n3_ms, seen.n3_ms / LONG_TRANSIT_MS),
        (_N3, _ECHO, seen.echo_ms, seen.echo_ms / LONG_TRANSIT_MS),
        (_N3, _NEIGHBOURS, seen.neighbours_ms, seen.neighbours_ms / seen.rise_ms),
        (_UPF, _DELAY, upf_ms, upf_ms / LONG_TRANSIT_MS),
    )
    words = np.r_[np.tile(_OF_SIDE, len(sides)), [word for word, *_ in single]]
    measures = np.r_[np.repeat([by for by, *_ in sides], 2), [by for _, by, *_ in single]]
    values = np.column_stack([value for _, value, _ in sides] + [value for *_, value, _ in single])
    multiples = np.column_stack([times for *_, times in sides] + [times for *_, times in single])
    return words, measures, values, multiples


def _sum(a: Array, b: Array) -> Array:
    """Return the sum of what is known of both."""
    return np.nan_to_num(a) + np.nan_to_num(b)


def _beyond(seen: Evidence) -> NDArray[np.intp]:
    """Return the word for rows whose network is without fault: as far as that is known."""
    near = ~np.isnan(seen.least_ms[:, ACCESS])
    far = (seen.fresh & ~np.isnan(seen.least_ms[:, CORE])) | ~np.isnan(seen.jitter_ms[:, CORE])
    room = (near & far) | seen.enough
    words = [room & (seen.wait_ms >= WAITED_MS), room & ~np.isnan(seen.level), room]
    return np.select(words, [_SERVER, _DEVICE, _APP], _UNKNOWN)
