"""``snf watch`` and ``snf top`` of a feed that was saved as JSON lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feed.wire import Header, Message, decode, encode
from mgmt.cli import watch as view
from mgmt.cli.filters import Filters
from mgmt.cli.main import main
from mgmt.cli.saved import Saved
from tests.feed.samples import flows, records

MARK: dict[str, Any] = {"t_ms": 1_785_000_000_000, "text": "new release", "who": "anna", "app": "", "gnb": "",
                        "dnn": "", "slice": "", "nf": "nf1"}  # fmt: skip


def message(columns: Any, topic: str = "qoe.v1/nf1/video/", schema: str = "snf.qoe.v1") -> Message:
    """Return a message as it comes off the bus."""
    return decode(encode(topic.encode(), Header(schema, topic.split("/")[1], "b", 0, 0, 1), columns))


def feed() -> list[str]:
    """Return the lines of a feed of two functions with records of two classes, flows, and a mark of a change."""
    messages = [
        message(records(40, 20, seed=1)),
        message(records(7, 7, seed=2), "qoe.v1/upf-east/web/"),
        message(flows(3), f"sub.v1/nf1/{'a' * 32}/", "snf.flow.v1"),
    ]
    lines = [line for each in messages for line in view.json_lines(each)]
    return [*lines, json.dumps(MARK, separators=(",", ":"))]


@pytest.fixture(autouse=True)
def piped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no width given: one of the environment, as test runners set it, would count."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A file with that feed."""
    path = tmp_path / "records.jsonl"
    path.write_text("".join(f"{line}\n" for line in feed()))
    return path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Run a command; returns its exit status, output and errors."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


class TestSaved:
    """A saved feed is the feed that was heard."""

    def test_json_lines_of_it_are_the_same_to_the_byte(self, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(capsys, "watch", saved, "--output", "json") == (0, saved.read_text(), "")

    def test_the_table_has_each_subscriber_and_application_with_its_last_record(
        self, saved: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        status, out, err = run(capsys, "top", saved, "--limit", "1000")

        rows = [json.loads(line) for line in feed() if '"mos"' in line]
        last = {(r["nf"], r["subscriber"], r["class"], r["app"]): r for r in rows}
        shown = [line.split() for line in out.splitlines() if line[1:33] in {r["subscriber"] for r in rows}]
        assert (status, err) == (0, "")
        assert sorted((line[1], line[0], line[3], line[2]) for line in shown) == sorted(last)
        scores = [last[nf, who, app_class, app]["mos"] for who, nf, app, app_class, *_ in shown]
        assert scores == sorted(scores), "the worst is first"

    def test_filters_choose_rows(self, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
        _, out, _ = run(capsys, "watch", saved, "--output", "json", "--class", "web", "--score-below", "4")

        rows = [json.loads(line) for line in out.splitlines()]
        wanted = [r for line in feed() if (r := json.loads(line)).get("class") == "web" and r["mos"] < 4]
        assert [r for r in rows if "mos" in r] == wanted != []

    def test_filters_that_match_nothing_are_told(self, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, err = run(capsys, "top", saved, "--app", "nonesuch")

        assert (status, out) == (0, "")
        assert err.startswith("snf: Nothing matches: of 47 records none has application nonesuch. Applications")

    def test_a_class_that_there_is_not_is_refused(self, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
        status, _, err = run(capsys, "top", saved, "--class", "vidoe")

        assert status == 2
        assert "vidoe is no class; there are video" in err

    def test_lines_that_are_no_rows_are_counted_and_left_out(
        self, saved: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bad = ["{", "[1]", "null", '"mos"', '{"mos": 3}', "\x00", '{"remote"', "NaN", "1" * 5000]
        odd = '{"mos":"high","subscriber":7,"ul_bps":true,"t_ms":1e300,"class":[1],"app":"\\u001b[2J"}'
        saved.write_text("\n".join([*bad, *feed(), odd]))

        status, out, err = run(capsys, "watch", saved)

        assert (status, err) == (0, f"snf: {len(bad)} lines are no rows of a feed, and were left out.\n")
        assert "\x1b" not in out

    def test_a_file_without_records_ends_with_1(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "empty").touch()

        status, _, err = run(capsys, "top", tmp_path / "empty")

        assert status == 1
        assert err.startswith("snf: There are no records. Give what snf watch --output json")


class TestPipe:
    """A pipe is read while it is written: what is there is told at once."""

    @pytest.fixture
    def pipe(self) -> Iterator[tuple[int, int]]:
        """Both ends of a pipe."""
        ends = os.pipe()
        yield ends
        for end in ends:
            os.close(end)

    def test_lines_come_before_the_end_and_a_half_one_when_it_is_whole(self, pipe: tuple[int, int]) -> None:
        reading, writing = pipe
        first, second, *_ = feed()
        messages = Saved(reading).messages(quiet_s=0.01)

        os.write(writing, f"{first}\n{second[:100]}".encode())
        told = next(messages)
        quiet = next(messages)
        os.write(writing, f"{second[100:]}\n".encode())
        more = next(messages)

        assert told is not None
        assert [*view.json_lines(told)] == [first]
        assert quiet is None
        assert more is not None
        assert [*view.json_lines(more)] == [second]

    def test_filters_hold_for_the_flows_of_a_subscriber(self, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with saved.open("rb") as file:
            view.replayed(file.fileno(), output="json", filters=Filters(subscriber="b"))

        assert "remote" not in capsys.readouterr().out
