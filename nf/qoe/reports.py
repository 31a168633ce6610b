"""Reports of receivers (RTCP, RFC 3550, 6.4): what they say of the way behind the probe, and of which time.

A report tells of all packets since the one before, seconds ago, and of the whole way. Those of them that the probe
missed were lost before it, and are not lost once more behind it. A report of a time that is over says nothing of now:
where the same side lost packets of the other direction as well, or of other flows in the same QoS flow, and loses none
any more, it is over.

    downlink, missing at the probe: core        downlink, by reports of the UE: access
    uplink, missing at the probe: access        uplink, by reports of the far side: core
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nf.qoe import losses
from nf.qoe.inputs import Array, known_or
from nf.qoe.realtime import Seen
from nf.qoe.states import copied

__all__ = ["TOLD", "follow"]

TOLD = np.dtype(
    [
        ("behind", losses.WINDOW, (2,)),  # lost behind the probe
        ("from_s", "f8", (2,)),  # of what time the last report told,
        ("until_s", "f8", (2,)),  # to when: it passed; 0: none did
        ("edge", "f4", (2,)),  # packets that were missing at the probe in the interval of that report,
        ("missing", "f4", (2,)),  # and in those since
        ("side", losses.WINDOW, (2, 2)),  # what the probe saw lost on the side that these reports tell of, by direction
        ("hurt_s", "f8", (2,)),  # when a packet was lost there last,
        ("rate", "f4", (2, 2)),  # the loss then,
        ("since", "f4", (2, 2)),  # and packets since then, of which none was lost
        ("over_s", "f8", (2,)),  # when it was lost once that is over; 0: it is not
        ("was", "f4", (2,)),  # the loss until then, with that of reports
    ]
)
"""By direction of the stream that reports are about: UPLINK, which tell of the CORE, and DOWNLINK, of the ACCESS."""

# Two reports in a row did not come: they come each five seconds, at most half as much later (RFC 3550, 6.2 and 6.3.1).
LONGEST_S = 12.0
# A loss of TCP is seen once the segment is sent again, up to a time-out later (RFC 6298, 2.4: a second), and a full
# queue drops in bursts. So long nothing may be lost before it is over.
QUIET_S = 2.0


def follow(before: NDArray[np.void], seen: Seen, kept_s: Array) -> NDArray[np.void]:
    """Return the state, (n,) of TOLD, after an interval.

    The time of the last report is *kept_s* (n,) later than it was: in a pause of the call no report is due.
    """
    after = copied(before)
    until_s = np.where(before["until_s"] > 0, before["until_s"] + np.reshape(kept_s, (-1, 1)), 0.0)
    told = (seen.rtcp_reports > 0) & (seen.rtcp_expected > 0)
    behind = _behind(after, seen, told)
    _over(after, before, seen)
    of, lost = _of_now(after, until_s, seen, behind, told)
    runs = np.maximum(lost, 0.0)
    after["behind"] = losses.follow(before["behind"], of, lost, runs, seen.interval_s)
    passed = seen.rtcp_reports > 0
    after["from_s"] = np.where(passed, np.where(until_s > 0, until_s, seen.now_s), before["from_s"])
    after["until_s"] = np.where(passed, seen.now_s, until_s)
    over = (after["over_s"] > 0) & (before["over_s"] != after["over_s"])
    losses.forgive(after["behind"], over & (after["from_s"] < after["over_s"]))
    losses.forget(after["behind"], ~passed & (seen.now_s - after["until_s"] > LONGEST_S))
    return after


def _behind(after: NDArray[np.void], seen: Seen, told: NDArray[np.bool_]) -> Array:
    """Return (n, 2) what was lost behind the probe by the reports of an interval; go on with what was missing at it.

    Nobody knows when in its interval a report was made, so of the packets that were missing in that one, and in that of
    the report before, some are meant: as many as the report leaves nothing behind the probe by, else half of them.
    """
    now = seen.rtp_expected.astype(np.float64) - seen.rtp_received
    between, edge = after["missing"].astype(np.float64), after["edge"].astype(np.float64)
    lost = seen.rtcp_lost - between
    least, most = np.maximum(now, 0) + np.maximum(edge, 0), np.minimum(now, 0) + np.minimum(edge, 0)
    behind = np.where((lost >= most) & (lost <= least), 0.0, lost - (now + edge) / 2)
    passed = seen.rtcp_reports > 0
    after["missing"] = np.where(passed, 0.0, between + now)
    after["edge"] = np.where(passed, now, edge)
    return np.where(told, behind, 0.0)


def _over(after: NDArray[np.void], before: NDArray[np.void], seen: Seen) -> None:
    """Note whether the loss of a side is over: so many packets came that some of them would have been lost as before.

    Each direction counts by what it lost, as each has a queue of its own: one that never lost any says nothing.
    """
    gone, of = seen.side_lost.astype(np.float64), seen.side_sent.astype(np.float64)
    after["side"] = losses.follow(before["side"], of, gone, np.maximum(gone, 0), seen.interval_s)
    lost = (gone[..., 0] > 0) | (gone[..., 1] > 0)
    after["rate"] = np.where(lost[..., None], known_or(losses.loss(after["side"]), 0), before["rate"])
    after["since"] = np.where(lost[..., None], 0.0, before["since"] + of)
    should = after["rate"] * after["since"]
    ended = (should[..., 0] + should[..., 1] > losses.TOO_LONG) & (before["over_s"] == 0)
    ended &= seen.now_s - before["hurt_s"] >= QUIET_S
    after["hurt_s"] = np.where(lost, seen.now_s, before["hurt_s"])
    after["over_s"] = np.where(lost, 0.0, np.where(ended, before["hurt_s"], before["over_s"]))
    highest = np.fmax(np.maximum(after["rate"][..., 0], after["rate"][..., 1]), losses.loss(before["behind"]))
    after["was"] = np.where(ended, highest, before["was"])


def _of_now(
    after: NDArray[np.void], until_s: Array, seen: Seen, behind: Array, told: NDArray[np.bool_]
) -> tuple[Array, Array]:
    """Return what reports expected and lost (n, 2) of the time since the loss of their side is over.

    The share that is older may have lost as many as before, and as many more as chance may have it.
    """
    expected = np.where(told, seen.rtcp_expected, 0).astype(np.float64)
    span_s = np.maximum(seen.now_s - until_s, seen.interval_s)
    older = np.where(after["over_s"] > 0, np.clip((after["over_s"] - until_s) / span_s, 0, 1), 0.0)
    should = expected * older * after["was"]
    beyond = behind - should
    chance = (older > 0) & (beyond <= losses.TOO_OFTEN * np.sqrt(should + 1))
    return expected * (1 - older), np.where(chance, np.minimum(behind, 0.0), np.where(older > 0, beyond, behind))
