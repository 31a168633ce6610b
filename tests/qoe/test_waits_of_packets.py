"""Generated captures of the table of scores: what is measured of their packets, and the scores that follow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.truth import waits
from bench.truth.web_captures import intervals, packets
from nf.qoe import messaging, pages, web


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """The intervals of a capture, and of the seconds after it."""
    folder = tmp_path_factory.mktemp("generated")
    return lambda name: list(intervals(packets(waits.write(name, folder)), quiet_s=6))


def chat_of(interval: pages.Seen, access_ms: float) -> messaging.Seen:
    """Return the columns of a chat out of those of all flows, whose access side is known."""
    unknown = np.full(len(interval.row), np.nan)
    asked = np.fmin.reduce(np.where(interval.asked_s > 0, interval.asked_s, unknown), initial=np.nan)
    return messaging.Seen(
        now_s=interval.now_s,
        interval_s=interval.interval_s,
        rtt_access_ms=np.array([access_ms]),
        asked_s=np.array([asked]),
        moved=np.array([len(interval.row) > 0]),
        row=interval.row[interval.chunk],
        request_s=interval.request_s,
        first_s=interval.first_s,
    )


class TestPages:
    """A page of 1 s gets 3.4 and one of 8 s 1.6, whether servers or the link take the time."""

    @pytest.mark.parametrize(
        ("name", "truth_s", "mos", "access_ms"),
        [
            ("page-1s", 1, 3.4, 20),
            ("page-8s-servers", 8, 1.6, 20),
            ("page-8s-link", 8, 1.6, 670),  # a window of 45 segments of 1454 bytes at 0.8 Mbit/s
        ],
    )
    def test_the_time_and_the_score(self, seen, name, truth_s, mos, access_ms):
        state, ended = np.zeros(1, pages.STATE), []
        for interval in (replace(i, rtt_access_ms=np.array([float(access_ms)])) for i in seen(name)):
            state, estimates = web.advance(state, interval, web.PROFILE)
            if estimates.pages[0]:
                ended.append((estimates.page_s[0], web.score(estimates)[0]))

        ((page_s, score),) = ended
        assert page_s == pytest.approx(truth_s, rel=0.08)
        assert score == pytest.approx(mos, abs=0.3)

    def test_a_page_that_lasts_is_bad_before_it_ends(self, seen):
        state, scores = np.zeros(1, pages.STATE), []
        for interval in seen("page-8s-servers"):
            state, estimates = web.advance(state, interval, web.PROFILE)
            if not estimates.pages[0] and interval.now_s < waits.START_S + 8:
                scores.append(web.score(estimates)[0])

        known = [score for score in scores if not np.isnan(score)]
        assert known == sorted(known, reverse=True)
        assert known[-1] < 2.2


class TestChats:
    """A chat at 982 ms is bad in most intervals, one at 20 ms good; pings are no messages."""

    def scores(self, intervals: list[pages.Seen], access_ms: float) -> np.ndarray:
        state, scores = np.zeros(1, messaging.STATE), []
        for interval in intervals:
            state, estimates = messaging.advance(state, chat_of(interval, access_ms))
            scores.append(messaging.score(estimates)[0])
        return np.array(scores)

    def test_at_982_ms(self, seen):
        assert np.mean(self.scores(seen("chat-982ms"), 491) <= 2.5) > 0.8

    def test_at_20_ms(self, seen):
        scores = self.scores(seen("chat-20ms"), 10)

        assert np.mean(~np.isnan(scores)) > 0.8
        assert np.nanmin(scores) >= 4.8

    def test_keep_alive_only(self, seen):
        scores = self.scores(seen("chat-keep-alive"), 10)

        assert np.isnan(scores[12:]).all()  # the handshake, whose ClientHello was answered, was held for ten seconds


class TestWire:
    """The packets are what their sum says."""

    def test_a_download_fills_its_link(self):
        capture = waits.CASES["download-queue"]()

        octets = sum(
            len(frame) for at_s, frame in capture.frames if 5 <= at_s < 15 and frame[26:30] == b"\xc6\x33\x64\x07"
        )
        assert 8 * octets / 10 == pytest.approx(2e6, rel=0.02)

    def test_its_queue_is_as_long_as_its_window(self):
        """143 segments of 1454 bytes at 2 Mbit/s are 0.83 s."""
        capture = waits.CASES["download-queue"]()
        sent, queued = {}, []
        for at_s, frame in sorted(capture.frames):
            seq, ack = (int.from_bytes(frame[38 + n : 42 + n], "big") for n in (0, 4))
            if frame[26:30] == b"\xc6\x33\x64\x07" and len(frame) > 1000:
                sent[seq + len(frame) - 54] = at_s
            elif ack in sent and at_s > 5:
                queued.append(at_s - sent[ack])

        assert np.median(queued) == pytest.approx(0.83, abs=0.05)
