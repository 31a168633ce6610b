"""``snf watch`` and ``snf top`` against a real publisher."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feed.records import FLOW_COLUMNS, RECORD_COLUMNS, RecordBatch
from feed.wire import Header, decode, encode
from lab.wait import slowness
from mgmt.cli import watch as view
from mgmt.cli.filters import Filters
from mgmt.cli.sieve import chosen
from nf.publish import Publisher
from tests.feed.samples import batch, eventually, flows, records

ROOT = Path(__file__).parents[2]
PSEUDONYM = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def publisher(start: Callable[..., Publisher]) -> Iterator[Publisher]:
    """A publisher with traffic of one subscriber, and its detail while it is followed."""
    publisher = start()
    stop = threading.Event()

    def pipeline() -> None:
        while not stop.wait(0.05):
            columns = records(2, 2) | {"subscriber": [PSEUDONYM, "f" * 32]}
            publisher.publish(RecordBatch("video", 0, 1, columns))
            for who in publisher.followed():
                publisher.publish_subscriber(who, batch(1).columns, flows(2), 0, 1)

    thread = threading.Thread(target=pipeline)
    thread.start()
    yield publisher
    stop.set()
    thread.join()


def lines(text: str) -> list[dict[str, Any]]:
    """Return the objects of JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


class TestJsonLines:
    """One object a record, with exactly the columns of the contract, its class and its function."""

    def test_a_record_has_the_columns_in_their_order(self) -> None:
        frames = encode(b"qoe.v1/nf1/gaming/", Header("snf.qoe.v1", "nf1", "b", 0, 0, 1), records(3, 3))

        out = [json.loads(line) for line in view.json_lines(decode(frames))]

        assert [list(o) for o in out] == [[*RECORD_COLUMNS, "class", "nf"]] * 3
        assert {(o["class"], o["nf"]) for o in out} == {("gaming", "nf1")}

    def test_missing_is_null(self) -> None:
        columns = records(1, 1) | {"mos": np.array([np.nan])}
        frames = encode(b"qoe.v1/nf1/gaming/", Header("snf.qoe.v1", "nf1", "b", 0, 0, 1), columns)

        (line,) = view.json_lines(decode(frames))

        assert json.loads(line, parse_constant=pytest.fail)["mos"] is None

    def test_a_mark_of_a_change_is_a_line_of_its_own(self) -> None:
        mark = {"t_ms": np.array([1_785_000_000_000], np.uint64), "text": ["new release"], "who": ["anna"],
                "app": [""], "gnb": [""], "dnn": ["ims"], "slice": [""]}  # fmt: skip
        frames = encode(b"change.v1/nf1/", Header("snf.change.v1", "nf1", "b", 0, 0, 0), mark)

        (line,) = view.json_lines(decode(frames))

        assert json.loads(line) == {"t_ms": 1_785_000_000_000, "text": "new release", "who": "anna", "app": "",
                                    "gnb": "", "dnn": "ims", "slice": "", "nf": "nf1"}  # fmt: skip

    def test_a_heartbeat_is_no_line(self) -> None:
        frames = encode(b"health.v1/nf1/", Header("snf.health.v1", "nf1", "b", 0, 0, 1), {"topic": ["a"]})

        assert list(view.json_lines(decode(frames))) == []


class TestChosen:
    """Records can be asked for by what they say; everything else is shown as it is."""

    def message(self) -> Any:
        columns = records(3, 3) | {
            "subscriber": ["a" * 32, "b" * 32, "ue-" + "a" * 32],
            "app": ["youtube", "netflix", "youtube"],
            "gnb": ["192.0.2.1", "192.0.2.1", "192.0.2.2"],
            "mos": np.array([2.9, 3.0, np.nan]),
        }
        return decode(encode(b"qoe.v1/nf1/video/", Header("snf.qoe.v1", "nf1", "b", 0, 0, 1), columns))

    @pytest.mark.parametrize(
        ("filters", "left"),
        [
            (Filters(), "abu"),
            (Filters(app="YouTube"), "au"),
            (Filters(app="YouTube", gnb="192.0.2.1"), "a"),
            (Filters(slice="7"), ""),
            (Filters(app_class="video"), "abu"),
            (Filters(app_class="web"), ""),
            (Filters(subscriber="bb"), "b"),
            (Filters(subscriber="ue-aa"), "u"),
            (Filters(score_below=3), "a"),
            (Filters(score_below=5, gnb="192.0.2.1"), "ab"),
        ],
        ids=lambda x: x.words() if isinstance(x, Filters) else x,
    )
    def test_all_of_them_have_to_be_there(self, filters: Filters, left: str) -> None:
        told = chosen(self.message(), filters)

        assert "".join(json.loads(line)["subscriber"][0] for line in view.json_lines(told)) == left
        assert told.header.rows == len(left)

    def test_other_messages_are_whole_but_for_flows_of_other_subscribers(self) -> None:
        flow = decode(encode(b"sub.v1/nf1/ab/", Header("snf.flow.v1", "nf1", "b", 0, 0, 1), flows(2)))

        assert chosen(flow, Filters(app="netflix")) is flow
        assert chosen(flow, Filters(subscriber="a")).header.rows == 2
        assert chosen(flow, Filters(subscriber="b")).header.rows == 0


class TestWatch:
    """It shows the feed, or one subscriber of it."""

    def test_json_shows_every_record(self, publisher: Publisher, capsys: pytest.CaptureFixture[str]) -> None:
        assert view.watch(publisher.endpoint, output="json", seconds=slowness()) == 0

        out = lines(capsys.readouterr().out)
        assert len(out) >= 4
        assert {o["subscriber"] for o in out} == {PSEUDONYM, "f" * 32}

    @pytest.mark.parametrize("wanted", [PSEUDONYM, PSEUDONYM[:8]])
    def test_one_subscriber_is_followed_also_by_the_beginning_of_its_pseudonym(
        self, publisher: Publisher, capsys: pytest.CaptureFixture[str], wanted: str
    ) -> None:
        assert view.watch(publisher.endpoint, output="json", subscriber=wanted, seconds=2.2 * slowness()) == 0

        out = lines(capsys.readouterr().out)
        details = [o for o in out if "remote" in o]
        assert list(details[0]) == [*FLOW_COLUMNS, "subscriber", "nf"]
        assert {o["subscriber"] for o in details} == {PSEUDONYM}
        assert any("mos" in o for o in out)
        assert eventually(lambda: publisher.followed() == frozenset())

    def test_the_table_without_a_terminal_is_the_last_picture(
        self, publisher: Publisher, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "100")

        assert view.top(publisher.endpoint, seconds=slowness()) == 0

        out = capsys.readouterr().out
        assert out.count("\n 01234567 ") == 1
        assert "MOS" in out

    def test_nothing_heard_is_a_sentence_that_says_what_to_check(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert view.watch("tcp://127.0.0.1:1", output="json", seconds=0.3) == 1

        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("snf: Nothing was heard from tcp://127.0.0.1:1. Check that snf run is up")

    def test_a_function_without_traffic_is_said_to_be_quiet(
        self, start: Callable[..., Publisher], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert view.watch(start().endpoint, output="json", seconds=1.5 * slowness()) == 0

        assert "is up, but publishes nothing" in capsys.readouterr().err

    def test_what_is_not_read_is_told_once_with_what_to_set(
        self, start: Callable[..., Publisher], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A share that moves is no news, so that a terminal is not filled with it."""
        publisher, stop = start(), threading.Event()

        def intervals() -> None:
            share = 31
            while not stop.wait(0.05):
                share += 1
                publisher.not_read(f"n3: {share} % of frames are VXLAN: not read. Set encapsulation to auto or vxlan.")

        thread = threading.Thread(target=intervals)
        thread.start()
        try:
            view.watch(publisher.endpoint, output="json", seconds=4 * slowness())
        finally:
            stop.set()
            thread.join()

        said = [line for line in capsys.readouterr().err.splitlines() if "VXLAN" in line]
        assert len(said) == 1
        assert said[0].startswith("snf: nf1: n3: ")
        assert said[0].endswith("Set encapsulation to auto or vxlan.")

    @pytest.mark.parametrize("output", ["json", "table"])
    def test_control_c_ends_it_with_0(self, publisher: Publisher, output: str) -> None:
        code = (
            f"import sys; from mgmt.cli import watch; sys.exit(watch.watch({publisher.endpoint!r}, output={output!r}))"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert eventually(lambda: publisher.subscriptions == 3)
            os.kill(process.pid, signal.SIGINT)
            _, err = process.communicate()

        assert (process.returncode, err) == (0, "")
