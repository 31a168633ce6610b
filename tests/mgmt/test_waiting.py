"""The sentences of a feed that shows nothing, from values alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from feed.consumer import Liveness
from feed.link import Link
from feed.wire import Header, decode, encode
from mgmt.cli.board import Beat
from mgmt.cli.filters import Filters
from mgmt.cli.waiting import Heard, duration, hope, trouble, unmatched
from tests.feed.samples import records

AT = "tcp://192.0.2.1:5556"


class TestHope:
    """While nothing is wrong yet, a person reads what is waited for."""

    @pytest.mark.parametrize(
        ("link", "said"),
        [
            (Link.UNREACHED, f"Nobody takes connections at {AT} yet"),
            (Link.REACHED, f"{AT} takes connections: waiting for its answer"),
            (Link.OPEN, f"Connected to {AT}. Its heart beats each second"),
        ],
    )
    def test_before_a_heartbeat_it_is_the_connection(self, link: Link, said: str) -> None:
        assert hope(AT, link, {}, 0).startswith(said)

    @pytest.mark.parametrize(
        ("next_batch_s", "said"),
        [
            (8.0, "First batch in 6 s."),
            (0.0, "it had no traffic in the last interval."),
            (None, "each 10 s by default."),
        ],
    )
    def test_then_it_is_the_first_batch(self, next_batch_s: float | None, said: str) -> None:
        beat = Beat(seen_s=100, uptime_s=7500, sessions=1204, next_batch_s=next_batch_s)

        words = hope(AT, Link.OPEN, {"upf-west": beat}, now_s=102)

        assert words.startswith("upf-west is up for 2 h 5 min and knows 1,204 sessions.")
        assert words.endswith(said)

    @pytest.mark.parametrize(
        ("seconds", "text"), [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3725, "1 h 2 min"), (200_000, "2 d 7 h")]
    )
    def test_a_time_has_its_two_largest_units(self, seconds: float, text: str) -> None:
        assert duration(seconds) == text


class TestTrouble:
    """A fault is told with the next thing to look at; a refused key at once, silence after five seconds."""

    @pytest.mark.parametrize(
        ("link", "curve", "said"),
        [
            (Link.REFUSED, True, "refuses this key"),
            (Link.CUT, True, "server_key in the file of --curve is not the key of this function"),
            (Link.CUT, False, "it wants CURVE keys (--curve FILE"),
        ],
    )
    def test_of_a_key_at_once(self, link: Link, curve: bool, said: str) -> None:
        assert said in trouble(AT, link, Liveness.SILENT, 0.1, curve, following=False)

    @pytest.mark.parametrize(
        ("link", "said"),
        [
            (Link.UNREACHED, f"Nothing was heard from {AT}. Check that snf run is up"),
            (Link.REACHED, f"Nothing was heard from {AT}: it takes connections and says nothing."),
            (Link.OPEN, f"Connected to {AT}, and nothing comes, not even a heartbeat."),
        ],
    )
    def test_of_silence_after_a_while(self, link: Link, said: str) -> None:
        assert trouble(AT, link, Liveness.SILENT, 4.9, curve=False, following=False) == ""
        assert trouble(AT, link, Liveness.SILENT, 5.0, curve=False, following=False).startswith(said)

    def test_of_a_function_that_ended_at_once_and_of_a_quiet_one_after_more_than_a_batch(self) -> None:
        assert "fell silent" in trouble(AT, Link.LOST, Liveness.DEAD, 0, curve=False, following=False)
        assert trouble(AT, Link.OPEN, Liveness.QUIET, 14.9, curve=False, following=False) == ""
        assert "publishes nothing: no traffic" in trouble(
            AT, Link.OPEN, Liveness.QUIET, 15, curve=False, following=False
        )

    def test_of_a_feed_that_goes_on_there_is_none(self) -> None:
        assert trouble(AT, Link.OPEN, Liveness.ALIVE, 1e6, curve=True, following=False) == ""


class TestUnmatched:
    """Filters that match nothing are told with what came instead."""

    def heard(self, **filters: Any) -> Heard:
        columns = records(3, 3) | {"app": ["youtube", "netflix", ""], "mos": np.array([4.0, 4.0, 4.0])}
        heard = Heard(Filters(**filters))
        heard.hear(decode(encode(b"qoe.v1/nf1/video/", Header("snf.qoe.v1", "nf1", "b", 0, 0, 1), columns)), 0)
        return heard

    def test_a_name_that_nobody_has(self) -> None:
        assert unmatched(self.heard(app="yotube")) == (
            "Nothing matches: of 3 records none has application yotube. Applications that came: netflix, youtube."
        )

    def test_a_class_that_is_not_there(self) -> None:
        assert unmatched(self.heard(app_class="web")).endswith("none has class web. Classes that came: video.")

    def test_a_score_that_nobody_has_is_no_reason_to_list_anything(self) -> None:
        assert unmatched(self.heard(score_below=3)) == "Nothing matches: of 3 records none has score below 3."

    def test_one_match_is_enough(self) -> None:
        assert unmatched(self.heard(app="Netflix")) == ""
        assert unmatched(Heard(Filters(app="x"))) == "", "nothing came, so nothing is known"
