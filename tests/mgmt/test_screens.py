"""The screens of ``snf watch`` and ``snf top`` in a terminal (tmux), beside the feed that a real publisher sends."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feed.consumer import key_pair
from feed.records import RecordBatch
from lab.wait import comes_true
from mgmt.cli.tables import RECORDS
from nf.publish import Publisher
from nf.settings import Curve, Export
from tests.feed.samples import flows, records

ROOT = Path(__file__).parents[2]
SNF = f"{shlex.quote(sys.executable)} -m mgmt.cli.main"
HEIGHT = 30
LAST = "whole names"  # in the last line, which is drawn last
ALIKE = ["0123456789abcdef" * 2, "0123456789" + "f" * 22]  # the first ten digits are the same
UNKNOWN = "teid-" + "c" * 32


def feed() -> dict[str, dict[str, Any]]:
    """Return one interval of a feed: columns by class."""
    video, web, unknown = records(4, 4, seed=1), records(3, 3, seed=2), records(1, 1, seed=3)
    video |= {"subscriber": [*ALIKE, *video["subscriber"][2:]], "stalled_s": np.array([2.5, 0, 0, 0])}
    video |= {"mos": np.array([1.5, 4.5, 3.5, np.nan]), "unmeasured": ["", "", "", "no media"], "app": ["youtube"] * 4}
    web |= {"mos": np.array([2.0, 4.0, 4.2]), "page_s": np.array([7.5, 0.8, 0.5]), "app": ["wikipedia", "", "reddit"]}
    unknown |= {"subscriber": [UNKNOWN], "app": [""], "mos": np.array([np.nan]), "identity_source": ["none"]}
    return {"video": video, "web": web, "unknown": unknown}


FEED = feed()
ROWS = [
    {"class": app_class, **{name: columns[name][n] for name in columns}}
    for app_class, columns in FEED.items()
    for n in range(len(columns["subscriber"]))
]


class Terminal:
    """A terminal of tmux with a command in it."""

    def __init__(self, folder: Path, width: int, command: str) -> None:
        self._socket = folder / "tmux"
        # COLUMNS may be that of who runs the tests; a run that is killed leaves nothing for long.
        shell = f"cd {ROOT} && unset COLUMNS LINES && exec timeout --foreground 900 {command}"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(HEIGHT), shell)

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(["tmux", "-S", str(self._socket), *words], capture_output=True, text=True, check=False)
        return done.stdout

    def lines(self) -> list[str]:
        """Return the lines as a person sees them."""
        return self._tmux("capture-pane", "-p").splitlines()

    def press(self, *keys: str) -> None:
        """Press keys."""
        self._tmux("send-keys", *keys)

    def shows(self, *texts: str) -> list[str]:
        """Wait until all *texts* stand on the screen; returns its lines."""
        seen: list[str] = []

        def there() -> bool:
            seen[:] = self.lines()
            return all(any(text in line for line in seen) for text in texts)

        assert comes_true(there, 20), "\n".join(seen)
        return seen

    def ended(self) -> bool:
        """Say whether the command has ended, and its terminal with it."""
        return comes_true(lambda: not self._tmux("list-sessions"), 20)

    def close(self) -> None:
        """End the terminal."""
        self._tmux("kill-server")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[[int, str], Terminal]]:
    """Open terminals of a width with a command, one a test."""
    opened: list[Terminal] = []

    def begin(width: int, command: str) -> Terminal:
        opened.append(Terminal(tmp_path, width, command))
        return opened[-1]

    yield begin
    for each in opened:
        each.close()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    """A publisher named upf-west whose batches wait until they are flushed."""
    publisher = Publisher(Export(endpoint="tcp://127.0.0.1:*", batch_rows=10_000, batch_ms=600_000), "upf-west")
    publisher.start()
    publisher.tell({"sessions": 40, "partial_sessions": 3})
    yield publisher
    publisher.stop()


def publish(publisher: Publisher) -> None:
    """Publish the feed."""
    for app_class, columns in FEED.items():
        publisher.publish(RecordBatch(app_class, 0, 1, columns))


@contextmanager
def flowing(publisher: Publisher) -> Iterator[None]:
    """Publish the feed again and again: a row without a new record is forgotten after half a minute."""
    stop = threading.Event()

    def go_on() -> None:
        while not stop.wait(0.5):
            publish(publisher)
            publisher.flush()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def rows_of(lines: list[str]) -> list[dict[str, str]]:
    """Return the rows of a table by the titles of its columns, read by their places as a person reads them."""
    head = next(n for n, line in enumerate(lines) if "subscriber" in line and "MOS" in line)
    spans = list(_spans(lines[head]))
    body = [line for line in lines[head + 2 :] if line[1:2].strip() and len(line.split()) > 3]
    return [{title: line[a:b].strip() for title, a, b in spans} for line in body if _is_row(line)]


def _is_row(line: str) -> bool:
    return any(line[1:9] == row["subscriber"][:8] for row in ROWS)


def _spans(head: str) -> Iterator[tuple[str, int, int]]:
    """Yield each title with the characters of its column: a number ends where its title does, a text begins there."""
    there = [c for c in RECORDS if f" {c.title} " in f" {head} "]
    begins = [f" {head} ".index(f" {c.title} ") for c in there]
    begins = [b + len(c.title) - c.most if c.right else b for c, b in zip(there, begins, strict=True)]
    yield from zip([c.title for c in there], begins, [*begins[1:], 1000], strict=True)


class TestTop:
    """The rows of the screen are the records of the feed, the worst first, at any width."""

    @pytest.mark.parametrize(
        ("width", "titles"),
        [
            (80, {"subscriber", "application", "down", "MOS", "suspect", "what happened"}),
            (160, {*("subscriber", "application", "class", "time", "up", "down", "access", "core", "loss", "MOS"),
                   *("scores", "suspect", "what happened")}),
        ],
    )  # fmt: skip
    def test_they_are_those_of_the_feed(
        self, publisher: Publisher, terminal: Callable[[int, str], Terminal], width: int, titles: set[str]
    ) -> None:
        screen = terminal(width, f"{SNF} top --endpoint {publisher.endpoint}")
        assert comes_true(lambda: publisher.subscriptions == 3)
        publish(publisher)
        screen.shows("upf-west is up", "First batch in ")  # it is on its way, and said so
        with flowing(publisher):
            lines = screen.shows("Not known, 1: attached before the probe (3 of 40 sessions)", LAST)

        head = next(line for line in lines if "MOS" in line)
        assert {t for t in titles if t not in head} == set()
        assert max(map(len, lines)) <= width
        shown = rows_of(lines)
        by_key = {row["subscriber"]: row for row in ROWS}
        found = [next(key for key in by_key if key.startswith(row["subscriber"])) for row in shown]
        assert sorted(found) == sorted(by_key), "each once, so no two keys look alike"
        scores = [by_key[key]["mos"] for key in found[:-1]]
        assert scores[:-1] == sorted(scores[:-1])
        assert found[-1] == UNKNOWN
        assert np.isnan(scores[-1]), "who has no score comes last"
        for key, row in zip(found, shown, strict=True):
            record = by_key[key]
            assert row["application"] == (record["app"] or f"({record['class']})")
            assert row["MOS"] == ("-" if np.isnan(record["mos"]) else f"{record['mos']:.2f}")
            assert row["suspect"] == record["suspect"]
        assert any("stalled 2.5 s" in line for line in lines)

    def test_keys_group_sort_and_say_why(self, publisher: Publisher, terminal: Callable[[int, str], Terminal]) -> None:
        screen = terminal(160, f"{SNF} top --endpoint {publisher.endpoint}")
        assert comes_true(lambda: publisher.subscriptions == 3)
        with flowing(publisher):
            screen.shows("worst score first", "Not known, 1")

            screen.press("g")
            lines = screen.shows(
                "grouped by class", "▸ video: 4 rows, mean score 3.17", "▸ web: 3 rows, mean score 3.40", LAST
            )
            assert [row["class"] for row in rows_of(lines)] == ["video"] * 4 + ["web"] * 3 + ["unknown"]
            screen.press("?")
            screen.shows("MOS is - in 1 row: no media.", "application is in brackets in 2 rows")
            screen.press("s", "s", "s")
            lines = screen.shows("most down first   grouped by class", LAST)
            rates = {row["subscriber"]: row["dl_bps"] for row in ROWS if row["class"] == "web"}
            shown = [row["subscriber"] for row in rows_of(lines) if row["class"] == "web"]
            assert shown == sorted(rates, key=lambda key: -rates[key])
        screen.press("q")
        assert screen.ended()


class TestWatch:
    """A screen without rows says what it waits for."""

    def test_a_key_that_is_refused(self, tmp_path: Path, terminal: Callable[[int, str], Terminal]) -> None:
        server, mine = key_pair(), key_pair()
        export = Export(endpoint="tcp://127.0.0.1:*", curve=Curve(server[1], server[0], (key_pair()[0],)))
        publisher = Publisher(export, "upf-west")
        publisher.start()
        keys = tmp_path / "mine.curve"
        keys.touch(0o600)
        keys.write_text(f"server_key={server[0]}\npublic_key={mine[0]}\nsecret_key={mine[1]}\n")

        screen = terminal(80, f"{SNF} watch --endpoint {publisher.endpoint} --curve {keys}")

        screen.shows("refuses this key")
        publisher.stop()

    def test_a_subscriber_whom_nobody_has_and_one_in_detail(
        self, publisher: Publisher, terminal: Callable[[int, str], Terminal]
    ) -> None:
        screen = terminal(80, f"{SNF} watch --subscriber {ALIKE[0]} --endpoint {publisher.endpoint}")
        screen.shows(f"snf watch   {ALIKE[0]}", f"Waiting for records of {ALIKE[0]}")
        assert comes_true(lambda: publisher.followed() == {ALIKE[0]})

        one = {name: column[:1] for name, column in FEED["video"].items()}
        publisher.publish_subscriber(ALIKE[0], one, flows(2) | {"remote": ["192.0.2.7:443", "192.0.2.8:443"]}, 0, 1)

        lines = screen.shows("flows of the subscriber", "192.0.2.7:443", "192.0.2.8:443", "1.50")
        assert max(map(len, lines)) <= 80


class TestPipe:
    """A pipe gets rows as wide as they are, which can be read again."""

    def test_the_feed_saved_and_shown_again(self, publisher: Publisher, tmp_path: Path) -> None:
        command = [*shlex.split(SNF), "watch", "--endpoint", publisher.endpoint, "--output", "json"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert comes_true(lambda: publisher.subscriptions == 3)
            publish(publisher)
            publisher.flush()
            assert process.stdout is not None
            saved = "".join(process.stdout.readline() for _ in ROWS)
            process.terminate()

        unset = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        done = subprocess.run(
            [*shlex.split(SNF), "top", "-", "--score-below", "3"],
            cwd=ROOT, env=unset, input=saved, capture_output=True, text=True, check=True,
        )  # fmt: skip

        assert len(saved.splitlines()) == len(ROWS)
        assert all(json.loads(line)["nf"] == "upf-west" for line in saved.splitlines())
        bad = [row for row in ROWS if row["mos"] < 3]
        shown = [line.split()[0] for line in done.stdout.splitlines() if _is_row(line)]
        assert shown == [row["subscriber"] for row in sorted(bad, key=lambda row: row["mos"])]
        assert done.stdout.splitlines() == [line.rstrip() for line in done.stdout.splitlines()]
