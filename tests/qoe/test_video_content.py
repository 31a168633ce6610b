"""Content by requests: rests, sound beside the picture, answers in pieces, answers that break off."""

from __future__ import annotations

import numpy as np
import pytest

from nf.qoe.video import columns, content, session
from nf.qoe.video.profile import DEFAULT

HTTP1, HTTP3, ACK = 580.0, 95.0, 64.0  # bytes of a request, and of an acknowledgement with ranges
Row = tuple[float, float, float, float, float]  # request, last byte, bytes, requests, request's length


def heard(
    rows: list[Row], seconds: int, told_s: float = np.nan, access_s: dict[int, float] | None = None
) -> tuple[np.ndarray, list[columns.Estimates]]:
    """Return state and estimates of one session; an answer is closed by the next request after its last byte.

    The round trip to the UE was timed in the seconds of *access_s*.
    """
    state, estimates = np.zeros(1, columns.STATE), list[columns.Estimates]()
    table = np.array(rows)
    closed_at = np.r_[np.maximum(table[1:, 0], table[:-1, 1]), np.inf]
    for now in np.arange(1.0, seconds + 1):
        closed = table[(closed_at > now - 1) & (closed_at <= now)]
        open_ = table[(table[:, 0] <= now) & (closed_at > now)].copy()
        late = open_[:, 1] > now
        open_[late, 1:3] = np.nan, 0.0  # nothing came yet
        timed_s = np.array([(access_s or {}).get(int(now), np.nan)])
        seen = columns.Seen(now, answers(closed), answers(open_), np.array([told_s]), timed_s)
        state, told = session.advance(state, seen)
        estimates.append(told)
    return state, estimates


def answers(rows: np.ndarray) -> columns.Answers:
    first = np.where(np.isnan(rows[:, 1]), np.nan, rows[:, 0] + 0.05)
    return columns.Answers(np.zeros(len(rows), np.intp), rows[:, 0], first, rows[:, 1], *rows[:, 2:].T)


def muxed(segment_s: float, segments: int, fill: int = 3) -> list[Row]:
    """Return segments of picture and sound: some at once, then one each *segment_s*."""
    at = [1.0 + 0.6 * k for k in range(fill)] + [1.0 + segment_s * k for k in range(1, segments)]
    return [(t, t + 0.4, 500_000.0, 1.0, HTTP1) for t in sorted(at)]


def apart(segment_s: float, segments: int) -> list[Row]:
    """Return the same with sound on a connection of its own, asked for while the picture comes."""
    return [
        row for t, last, octets, _, _ in muxed(segment_s, segments)
        for row in ((t, last, octets, 1.0, HTTP1), (t + 0.1, t + 0.2, 49_000.0, 1.0, HTTP1))
    ]  # fmt: skip


class TestRests:
    """Between two requests after a rest as much content came as time has passed."""

    @pytest.mark.parametrize("segment_s", [2.0, 4.0, 6.0, 10.0])
    def test_a_player_with_a_full_buffer_tells_the_length_of_its_segments(self, segment_s):
        state, estimates = heard(muxed(segment_s, 9), int(9 * segment_s))

        assert content.learned_s(state, DEFAULT) == pytest.approx([segment_s])
        assert estimates[-1].media_bps == pytest.approx([8 * 500_000 / segment_s], rel=0.1)

    @pytest.mark.parametrize(("kbps", "height"), [(90, 144), (160, 144), (900, 480), (1100, 480), (2000, 720)])
    def test_a_level_is_one_that_has_such_a_rate(self, kbps, height):
        """Segments of 10 s of one size are few in the forest's data, which are of another service."""
        rows = [(t, last, 1250.0 * kbps, n, length) for t, last, _, n, length in muxed(10.0, 9)]

        assert heard(rows, 90)[1][-1].video_height == pytest.approx([height])

    @pytest.mark.parametrize("queue_s", [0.8, 1.5, 2.5])
    def test_a_queue_behind_the_probe_is_no_rest(self, queue_s):
        """A link at half the media rate: 4 s of content take 8 s, and the UE has the last byte after *queue_s*.

        Content for some 10 s is there when it begins, so the picture stops; longer segments would fill the buffer.
        """
        rows = muxed(4.0, 6)
        at, timed = rows[-1][0] + 4.0, {}
        for _ in range(4):
            rows.append((at, at + 8.0 - queue_s, 500_000.0, 1.0, HTTP1))
            timed |= {int(at + 8.0 - queue_s): queue_s, int(at + 8.0) + 1: 0.03}  # the next answer finds no queue
            at += 8.01
        state, estimates = heard(rows, int(at), access_s=timed)

        assert content.segment_s(state, np.array([np.nan]), DEFAULT) == pytest.approx([4.0])
        assert estimates[-1].buffer_s[0] < 8
        assert sum(np.nan_to_num(e.stalled_s[0]) for e in estimates) > 3

    def test_sound_beside_the_picture_makes_two_requests_a_segment(self):
        state, estimates = heard(apart(4.0, 12), 46)

        assert content.parts(state) == [2]
        assert content.learned_s(state, DEFAULT) == pytest.approx([4.0])
        assert estimates[-1].media_bps == pytest.approx([8 * 549_000 / 4], rel=0.15)

    def test_segments_of_the_lowest_level_are_no_sound_though_of_one_size(self):
        """A live player falls from 3.5 Mbit/s to its lowest level twice, and comes back each time."""
        levels = ([437_500.0] * 20 + [50_000.0] * 15) * 2 + [100_000.0, 187_500.0] + [437_500.0] * 6
        rows = [(1.0 + k, 1.15 + k, octets, 1.0, HTTP1) for k, octets in enumerate(levels)]

        state, estimates = heard(rows, len(rows), told_s=1.0)

        assert content.parts(state) == [1]
        assert [float(e.video_height[0]) for e in estimates[-3:]] == [1080] * 3

    def test_before_a_rest_the_service_tells_and_after_many_the_session(self):
        state, _ = heard(muxed(4.0, 2), 3, told_s=6.0)
        later, _ = heard(muxed(4.0, 14), 56, told_s=6.0)

        assert content.segment_s(state, np.array([6.0]), DEFAULT) == [6.0]
        assert content.segment_s(later, np.array([6.0]), DEFAULT) == [4.0]


class TestRate:
    """Bytes between rests over their time; what is no rate is no number, as what is divided by it has no end."""

    @pytest.mark.parametrize(
        ("octets", "seconds", "bps"), [(500_000, 4, 1e6), (500_000, 0, np.nan), (0, 4, np.nan), (0, 0, np.nan)]
    )
    def test_of_a_player_that_rests(self, octets, seconds, bps):
        state = np.zeros(1, columns.STATE)
        state["paced_octets"], state["paced_s"] = octets, seconds

        assert content.paced_bps(state) == pytest.approx([bps], nan_ok=True)


class TestPieces:
    """A request divides an answer; an acknowledgement that looks like one does not."""

    def test_long_acknowledgements_cut_no_answer(self):
        whole = [(t, last, octets, 1.0, HTTP3) for t, last, octets, _, _ in muxed(4.0, 10)]
        cut = [row for row in whole if row[0] != 25.0]
        cut += [
            (25.0, 25.2, 200_000.0, 1.0, HTTP3),
            (25.21, 25.25, 3_000.0, 1.0, ACK),
            (25.26, 25.4, 297_000.0, 1.0, ACK),
        ]

        assert heard(sorted(cut), 38)[0]["count"] == heard(whole, 38)[0]["count"]
        assert heard(sorted(cut), 38)[1][-1].buffer_s == pytest.approx(heard(whole, 38)[1][-1].buffer_s)

    def test_an_answer_that_breaks_off_has_no_content(self):
        # the last answer has a fifth of the others and took 9 s; its request is sent again
        begun = muxed(4.0, 8)
        rows = [*begun, (33.0, 42.0, 100_000.0, 1.0, HTTP1), (42.1, 60.0, 500_000.0, 1.0, HTTP1)]

        _, estimates = heard(rows, 55, told_s=4.0)

        stalled = np.nan_to_num([float(e.stalled_s[0]) for e in estimates])
        # ten segments from 1.65 s on: the picture stops at 41.65 s, half a second less
        assert np.flatnonzero(stalled)[0] + 2 - stalled[np.flatnonzero(stalled)[0]] == pytest.approx(41.5, abs=1.5)
        assert columns.STATES[estimates[-1].state[0]] == "stalled"
