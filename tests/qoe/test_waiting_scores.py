"""Pages, screens, messages and downloads are scored by what was measured of them, and never better for being worse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nf.qoe import download, messaging, navigation, pages, social, web
from nf.qoe.reasons import REASONS

NOW_S = 1_700_000_000.0


def page(*page_s: float) -> pages.Estimates:
    n = len(page_s)
    return pages.Estimates(np.array(page_s), np.ones(n), np.ones(n), np.zeros(n, np.uint8))


class TestPages:
    """G.1030, annex A, with the times of its figures: 15 s for web, 6 s where users expect fast."""

    def test_of_web(self):
        # 5 + 4 / ln(0.165 / 15) * ln(t / 0.165)
        assert web.score(page(0.1, 1.0, 8.0, 15.0, 30.0)) == pytest.approx([5, 3.402, 1.558, 1, 1], abs=0.002)

    @pytest.mark.parametrize("score", [social.score, navigation.score])
    def test_of_screens(self, score):
        # 5 + 4 / ln(0.138 / 6) * ln(t / 0.138)
        assert score(page(0.1, 1.0, 6.0)) == pytest.approx([5, 2.900, 1], abs=0.002)

    @pytest.mark.parametrize("score", [web.score, social.score, navigation.score])
    def test_without_a_page_there_is_none(self, score):
        assert np.isnan(score(page(float("nan")))).all()

    @given(st.lists(st.floats(0, 100), min_size=2, max_size=2))
    def test_a_longer_page_is_no_better(self, times):
        shorter, longer = web.score(page(*sorted(times)))
        assert longer <= shorter


def chat(
    at_s: float,
    *answers_ms: float,
    access_ms: float = float("nan"),
    asked_s: float = float("nan"),
    moved: bool = True,
) -> messaging.Seen:
    """One chat: answers that came in the second before *at_s*."""
    n = len(answers_ms)
    first_s = np.full(n, NOW_S + at_s - 0.4)
    return messaging.Seen(
        now_s=NOW_S + at_s,
        interval_s=1.0,
        rtt_access_ms=np.array([access_ms]),
        asked_s=np.array([NOW_S + asked_s]),
        moved=np.array([moved]),
        row=np.zeros(n, np.intp),
        request_s=first_s - np.array(answers_ms) / 1000,
        first_s=first_s,
    )


def talked(*seen: messaging.Seen) -> list[messaging.Estimates]:
    state, out = np.zeros(1, messaging.STATE), []
    for interval in seen:
        state, estimates = messaging.advance(state, interval)
        out.append(estimates)
    return out


class TestMessages:
    """A message's time is that from the UE to the server and back, and the score is of both sides of the chat."""

    @pytest.mark.parametrize(("access_ms", "core_ms", "least", "most"), [(491, 491, 1, 2.5), (10, 10, 4.8, 5)])
    def test_chats_of_the_table(self, access_ms, core_ms, least, most):
        intervals = [chat(1, core_ms, access_ms=access_ms)]
        intervals += [chat(at, *([core_ms] if at % 5 == 0 else [])) for at in range(2, 40)]

        estimates = talked(*intervals)

        answers = np.concatenate([e.answer_ms for e in estimates])
        assert answers == pytest.approx(access_ms + core_ms, abs=0.1)
        scores = np.concatenate([messaging.score(e) for e in estimates])
        assert np.mean((scores >= least) & (scores <= most)) > 0.9

    def test_without_messages_a_chat_is_not_measurable(self):
        (estimates,) = talked(chat(1, access_ms=20))

        assert np.isnan(messaging.score(estimates)).all()
        assert REASONS[estimates.unmeasured[0]] == "no message yet"

    def test_half_of_the_way_is_no_time(self):
        (estimates,) = talked(chat(1, 20))

        assert np.isnan(estimates.answer_ms).all()
        assert REASONS[estimates.unmeasured[0]] == "delay not known"

    def test_unless_that_half_is_bad_enough(self):
        (estimates,) = talked(chat(1, 1200))

        assert messaging.score(estimates)[0] < 2.7

    def test_an_answer_fades_and_is_gone(self):
        estimates = talked(chat(1, 20, access_ms=20), *(chat(at, moved=False) for at in range(2, 14)))

        sure = [float(e.confidence[0]) for e in estimates]
        assert sure == sorted(sure, reverse=True)
        assert sure[-1] == 0
        assert np.isnan(estimates[-1].answer_ms[0])

    def test_a_message_that_waits_is_told_while_it_does(self):
        waits = [chat(at, asked_s=2.0, moved=at == 3) for at in range(3, 16)]
        estimates = talked(chat(1, 20, access_ms=20), *waits)

        told = [float(e.answer_ms[0]) for e in estimates[2:]]
        assert told == pytest.approx([1000 * (at - 2) + 20 for at in range(4, 16)])

    def test_nobody_waits_for_ever_and_it_stays_bad_for_a_while(self):
        estimates = talked(chat(1, 20, access_ms=20), *(chat(at, asked_s=2.0) for at in range(3, 20)))

        assert estimates[-1].answer_ms[0] == pytest.approx(15_020)

    def test_a_request_kept_for_news_counts_for_nothing_beside_answers(self):
        intervals = [chat(at, 20, access_ms=20, asked_s=0.0) for at in range(1, 14)]

        assert np.concatenate([e.answer_ms for e in talked(*intervals)]) == pytest.approx(40)

    def test_due_while_a_message_waits(self):
        state, _ = messaging.advance(np.zeros(1, messaging.STATE), chat(3, asked_s=2.0))

        assert messaging.due(state, NOW_S + 4).all()

    def test_the_median_of_several(self):
        (estimates,) = talked(chat(1, 900, 20, 30, access_ms=10))

        assert estimates.answer_ms[0] == pytest.approx(40)

    @given(
        answers=st.lists(st.floats(1, 8000), min_size=1, max_size=5),
        more=st.floats(0, 5000),
        which=st.integers(0, 4),
        access_ms=st.one_of(st.just(float("nan")), st.floats(1, 3000)),
    )
    def test_a_slower_answer_is_no_better_and_no_less_known(self, answers, more, which, access_ms):
        slower = [a + more * (n == which % len(answers)) for n, a in enumerate(answers)]
        one, other = (talked(chat(1, *a, access_ms=access_ms))[0] for a in (answers, slower))

        first, second = messaging.score(one)[0], messaging.score(other)[0]
        assert np.isnan(first) or second <= first

    def test_rows_do_not_touch_one_another(self):
        n = np.array([20.0, 40, 60])
        seen = messaging.Seen(
            NOW_S,
            1.0,
            n,
            np.full(3, np.nan),
            np.ones(3, bool),
            np.array([2, 0, 2]),
            NOW_S - n / 100,
            NOW_S - 0.1 * n / n,
        )

        _, estimates = messaging.advance(np.zeros(3, messaging.STATE), seen)

        # Waits of 0.1, 0.3 and 0.5 s, in rows 2, 0 and 2: of two the longer.
        assert estimates.answer_ms == pytest.approx([320, np.nan, 560], nan_ok=True)


def moving(at_s: float, bps: float, **more: object) -> download.Seen:
    values = {
        "now_s": NOW_S + at_s,
        "bulk_octets": np.array([[0.0, bps / 8]]),
        "busy": np.array([[0.0, 1.0 if bps else 0.0]]),
        "goodput_bps": np.array([[np.nan, bps or np.nan]]),
        "loss": np.array([[np.nan, 0.0]]),
        "rtt_access_ms": np.array([30.0]),
        "rtt_core_ms": np.array([10.0]),
        "moved": np.array([True]),
        "asked_s": np.array([np.nan]),
        "fresh": np.array([bps > 0]),
        "resent": np.array([False]),
        "closed": np.zeros((1, 2)),
    }
    return download.Seen(
        **(values | {name: np.asarray(value) if name != "now_s" else value for name, value in more.items()})
    )


def moved(*seen: download.Seen) -> list[download.Estimates]:
    state, out = np.zeros(1, download.STATE), []
    for interval in seen:
        state, estimates = download.advance(state, interval)
        out.append(estimates)
    return out


def limit(estimates: download.Estimates) -> str:
    return download.LIMITS[estimates.limit[0]]


class TestTransfersThatStand:
    """A transfer that stands still keeps a number, the worst one; a complete one is not said to stand still."""

    def begun(self) -> list[download.Seen]:
        return [moving(at, 8e6) for at in range(10)]

    @pytest.mark.parametrize("sign", [{"resent": [True]}, {"asked_s": [NOW_S + 9.5]}])
    def test_with_a_sign_it_is_bad_until_it_goes_on(self, sign):
        silent = [moving(at, 0, moved=[False]) for at in range(12, 40)]
        seen = moved(*self.begun(), moving(10, 0, **sign), moving(11, 0, **sign), *silent, moving(40, 8e6))
        scores = [download.score(e)[0] for e in seen]

        assert scores[11:-1] == [1.0] * 29
        assert scores[-1] == scores[9]

    def test_without_a_sign_it_is_complete(self):
        seen = moved(*self.begun(), *(moving(at, 0, moved=[False]) for at in range(10, 20)))

        assert np.isnan(download.score(seen[-1])[0])
        assert min(e.speed_bps[0] for e in seen if not np.isnan(e.speed_bps[0])) == 8e6

    def test_it_needs_rows_without_packets_for_a_minute(self):
        state = np.zeros(1, download.STATE)
        for seen in (*self.begun(), moving(10, 0, asked_s=[NOW_S + 9.5])):
            state, _ = download.advance(state, seen)

        assert download.due(state, NOW_S + 20)[0]
        assert not download.due(state, NOW_S + 80)[0]


class TestTransfers:
    """A transfer has a speed, and something that limits it."""

    def test_the_speed_decides_the_score(self):
        (estimates,) = moved(moving(1, 2e6))

        assert estimates.speed_bps[0] == pytest.approx(2e6)
        assert download.score(estimates)[0] == pytest.approx(1 + 4 * np.log(20) / np.log(200))

    def test_a_full_queue_is_the_networks(self):
        _, last = moved(moving(1, 2e6), moving(2, 2e6, rtt_access_ms=[830.0]))

        assert limit(last) == "network"
        assert last.queue_ms[0] == pytest.approx(800)

    @pytest.mark.parametrize(("later", "said"), [(4, "network"), (7, "server")])
    def test_a_queue_longer_than_an_interval_is_the_networks_without_a_sample(self, later: int, said: str) -> None:
        untimed = [moving(2 + n, 2e6, rtt_access_ms=[np.nan], rtt_core_ms=[np.nan]) for n in range(1, later)]
        *_, last = moved(moving(1, 2e6), moving(2, 2e6, rtt_access_ms=[1830.0]), *untimed)
        assert limit(last) == said

    @pytest.mark.parametrize(("access_ms", "said"), [(80.0, "network"), (60.0, "server")])
    def test_a_queue_as_long_as_the_way_is_the_networks(self, access_ms: float, said: str) -> None:
        """The least round trips are 30 and 10 ms, so that 40 ms more double them."""
        _, last = moved(moving(1, 2e6), moving(2, 2e6, rtt_access_ms=[access_ms]))
        assert limit(last) == said

    def test_loss_is_the_networks(self):
        (last,) = moved(moving(1, 2e6, loss=[[np.nan, 0.02]]))
        assert limit(last) == "network"

    @pytest.mark.parametrize(
        ("up", "down", "said"), [(0.0, 0.3, "receiver"), (0.3, 0.0, "network"), (0.0, 0.02, "network")]
    )
    def test_closed_windows_for_what_moves_are_the_receivers(self, up: float, down: float, said: str) -> None:
        """A tenth of its windows and more; what moves comes down here, and some of it is lost."""
        (last,) = moved(moving(1, 2e6, closed=[[up, down]], loss=[[np.nan, 0.02]]))
        assert limit(last) == said

    def test_pauses_are_the_applications(self):
        (last,) = moved(moving(1, 20e6, busy=[[0.0, 0.4]]))
        assert limit(last) == "application"

    def test_without_a_sign_it_is_the_server(self):
        (last,) = moved(moving(1, 2e6))
        assert limit(last) == "server"

    def test_without_a_transfer_there_is_no_score(self):
        (last,) = moved(moving(1, 0))

        assert np.isnan(download.score(last)).all()
        assert REASONS[last.unmeasured[0]] == "no transfer"

    def test_the_last_speed_fades(self):
        estimates = moved(moving(1, 2e6), *(moving(at, 0) for at in range(2, 8)))

        sure = [float(e.confidence[0]) for e in estimates]
        assert sure == sorted(sure, reverse=True)
        assert estimates[2].speed_bps[0] == pytest.approx(2e6)
        assert sure[-1] == 0

    @given(speeds=st.lists(st.floats(1e3, 1e9), min_size=2, max_size=2), rtt_ms=st.floats(1, 5000))
    def test_a_slower_one_is_no_better(self, speeds, rtt_ms):
        slow, fast = (download.score(moved(moving(1, bps, rtt_access_ms=[rtt_ms]))[0])[0] for bps in sorted(speeds))

        assert 1 <= slow <= fast <= 5
