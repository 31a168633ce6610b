"""Evidence that delay was lost on N3, between probe and gNB, where no time stamps of QoS monitoring tell it.

    round trip of echoes over their base ── `by_echo` ──────┐
    access delay of many over their bases ── `by_neighbours` ┴─ milliseconds on N3, and how sure that is

An echo says what the way to a gNB takes, seldom; the neighbours of a subscriber say that it is not his own radio. Both
take columns, and both would rather say nothing than blame N3 for a radio.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import Array

__all__ = ["PROFILE", "N3Profile", "by_echo", "by_neighbours", "is_recent"]


@dataclass(frozen=True, slots=True)
class N3Profile:
    """Constants of the evidence; an operator may change them (`nf.qoe.profiles`)."""

    # On a path an echo is sent at most every 60 s (TS 29.281, 7.2.1): an older one is of a path that is not asked.
    echo_s: float = 60.0
    # An echo that is as old as what a score tells of the past (`HOLD_S` of the suspects) is of now.
    recent_s: float = 10.0
    # The base of a path wants so many echoes (own: an answer alone may have waited in the gNB's own processor).
    echoes: int = 3
    # The base of a subscriber wants so many intervals with samples (own: three windows of 3 s of a round trip's least).
    intervals: int = 10
    # The window of a round trip's least is 3 s, so that a delayed acknowledgement (RFC 9293: 40 ms) is no rise;
    # one counts from half of a long access delay on (own: `LONG_RADIO_MS` of the suspects).
    rise_ms: float = 50.0
    # So many subscribers of a gNB, and as many of other ones, are needed (own: two may be neighbours in one train).
    subscribers: int = 3
    # More than this share of those of a gNB rose together (a majority).
    share: float = 0.5
    # Together is within this share of their median (own: queues of radios differ by more).
    spread: float = 0.25
    # At most this share of the subscribers of other gNBs rose (own: one radio of ten is bad somewhere); of nine none.
    elsewhere: float = 0.1


PROFILE = N3Profile()


def is_recent(age_s: Array, answers: Array, profile: N3Profile = PROFILE) -> NDArray[np.bool_]:
    """Say of the newest echoes of gNBs whether they tell of now, whatever they tell; NaN: there is none."""
    recent: NDArray[np.bool_] = (age_s <= profile.recent_s) & (answers >= profile.echoes)
    return recent


def by_echo(
    rise_ms: Array, age_s: Array, answers: Array, fastest_ms: Array, profile: N3Profile = PROFILE
) -> tuple[Array, Array]:
    """Return how much the way to a gNB takes more than usual, NaN unknown, and how sure that is.

    *rise_ms* is what the newest echo took over the least of its path, *age_s* how old it is, and *answers* how many
    made that base. *fastest_ms* is the shortest access round trip that any subscriber of the gNB had in this interval,
    NaN without a sample: N3 is a part of it, so it cannot take more, which acquits an N3 that has recovered and a gNB
    that merely answers late. Without a sample only a recent echo counts. Sure is a new echo, and less an older one.
    """
    felt = ~np.isnan(fastest_ms)
    usable = (answers >= profile.echoes) & (age_s <= profile.echo_s) & (felt | is_recent(age_s, answers, profile))
    ms = np.where(usable, np.fmin(rise_ms, fastest_ms), np.nan)
    sure = (1 - age_s / profile.echo_s) * np.where(felt, 1.0, 0.5)
    return ms, np.where(usable, sure, np.nan)


def by_neighbours(
    gnb: NDArray[np.intp], rise_ms: Array, intervals: Array, profile: N3Profile = PROFILE
) -> tuple[Array, Array]:
    """Return by how much the access delay of each subscriber rose with that of others of his gNB, else NaN; how sure.

    Columns of subscribers: the number of the gNB, -1 unknown; the rise of the access round trip over the subscriber's
    own base, NaN unknown, and the intervals that made the base. A gNB is convicted when at least *subscribers* of it,
    and a majority of those whose rise is known, rose by the same amount, while hardly any of at least as many
    subscribers of other gNBs did. So nothing is said where only one is known. Sure is the share that rose.
    """
    ms, sure = np.full(len(gnb), np.nan), np.full(len(gnb), np.nan)
    known = np.flatnonzero((gnb >= 0) & ~np.isnan(rise_ms) & (intervals >= profile.intervals))
    of, rise = gnb[known], rise_ms[known]
    up = rise >= profile.rise_ms
    if np.count_nonzero(up) < profile.subscribers:
        return ms, sure
    n = int(of.max()) + 1
    middle = _medians(of[up], rise[up], n)
    together = up & (np.abs(rise - middle[of]) <= profile.spread * middle[of])
    active, risen, alike = (np.bincount(of[rows], minlength=n) for rows in (slice(None), up, together))
    others, others_up = len(of) - active, np.count_nonzero(up) - risen
    share = alike / np.maximum(active, 1)
    convicted = (alike >= profile.subscribers) & (share > profile.share)
    convicted &= (others >= profile.subscribers) & (others_up <= profile.elsewhere * others)
    told = together & convicted[of]
    ms[known[told]] = middle[of[told]]
    sure[known[told]] = (share * (1 - others_up / np.maximum(others, 1)))[of[told]]
    return ms, sure


def _medians(of: NDArray[np.intp], values: Array, n: int) -> Array:
    """Return the median of the values of each of *n* gNBs, of two the lower one; NaN without a value."""
    order = np.lexsort((values, of))
    count = np.bincount(of, minlength=n)
    middle = np.cumsum(count) - count + (count - 1) // 2
    out = np.full(n, np.nan)
    out[count > 0] = values[order][middle[count > 0]]
    return out
