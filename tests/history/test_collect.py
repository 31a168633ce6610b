"""The collector on a real bus: what was published is in files, or told as a gap, and a wrong message is no end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from feed import wire
from feed.consumer import CurveKeys, key_pair
from history.collect.caretaker import request
from history.collect.collector import TOPICS, Collector
from history.collect.ledger import Ledger, last_number
from history.collect.sequences import Sequences
from history.collect.settings import Settings
from history.collect.writing import Writing
from history.store import layout
from lab.wait import wait_until
from mgmt.cli.collect import _summary
from mgmt.cli.main import main
from nf.publish import Publisher
from nf.settings import Curve, Export
from tests.feed.samples import batch, records
from tests.history.written import HOUR_MS, ask

SERVER, CLIENT = key_pair(), key_pair()
TOPIC = b"qoe.v1/nf1/video/"


@contextmanager
def collecting(
    folder: Path, endpoint: str, curve: CurveKeys | None = None, said: list[str] | None = None
) -> Iterator[Collector]:
    """Run a collector of one function until the block ends, and then write what it has."""
    told = [] if said is None else said
    with Collector(Settings(((endpoint, curve),), folder, write_every_s=0.2), told.append) as collector:
        stop = threading.Event()
        thread = threading.Thread(target=collector.run, args=(stop,))
        thread.start()
        try:
            yield collector
        finally:
            stop.set()
            thread.join()


class Wire:
    """A publisher that says whatever a test wants, at an endpoint."""

    def __init__(self) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # of each collector, also of one that comes before another is gone
        self.endpoint = f"tcp://127.0.0.1:{self._socket.bind_to_random_port('tcp://127.0.0.1')}"
        self.seq = 0

    def awaited(self) -> None:
        """Wait until a collector has asked for all that it wants, in whatever order."""
        wanted = {b"\x01" + topic.encode() for topic in TOPICS}
        while wanted:
            wanted.discard(self._socket.recv())

    def say(self, columns: dict[str, Any], topic: bytes = TOPIC, schema: str = wire.QOE_SCHEMA, **head: Any) -> None:
        """Publish columns as the next message of the class."""
        now_s = time.time()
        header = wire.Header(
            **{"t_start": now_s, "t_end": now_s, **head}, schema=schema, nf="nf1", boot="b", seq=self.seq
        )
        self.seq += 1
        self._socket.send_multipart(wire.encode(topic, header, columns))

    def raw(self, *frames: bytes) -> None:
        """Publish frames."""
        self._socket.send_multipart(frames)

    def close(self) -> None:
        """End."""
        self._context.destroy(linger=0)


@pytest.fixture
def bus() -> Iterator[Wire]:
    found = Wire()
    yield found
    found.close()


def came(collector: Collector, **counts: int) -> Callable[[], bool]:
    """Return what says whether so much was counted."""
    return lambda: all(collector.counters[name] >= count for name, count in counts.items())


class TestPublished:
    """The sums over the files are the sums of what was published."""

    def test_over_curve_from_the_product_s_publisher(self, tmp_path: Path) -> None:
        curve = Curve(secret_key=SERVER[1], public_key=SERVER[0], clients=(CLIENT[0],))
        publisher = Publisher(Export(endpoint="tcp://127.0.0.1:*", batch_rows=1, curve=curve), "nf1")
        publisher.start()
        keys = CurveKeys(server_key=SERVER[0], public_key=CLIENT[0], secret_key=CLIENT[1])
        sent = [batch(20, seed=seed) for seed in range(10)]
        try:
            with collecting(tmp_path, publisher.endpoint, keys) as collector:
                wait_until(came(collector, messages=1), "a heartbeat is heard")
                for each in sent:
                    publisher.publish(each)
                wait_until(came(collector, rows=200), "all records came")
        finally:
            publisher.stop()

        octets = sum(int(np.sum(each.columns["dl_bytes"])) for each in sent)
        assert ask(tmp_path, "SELECT count(*), sum(dl_bytes), count(DISTINCT seq) FROM records") == [(200, octets, 10)]
        assert ask(tmp_path, "SELECT DISTINCT nf, app_class FROM records") == [("nf1", "video")]
        assert ask(tmp_path, "SELECT count(*) FROM gaps") == [(0,)]
        assert ask(tmp_path, "SELECT count(*) > 0 FROM health WHERE nf = 'nf1'") == [(True,)]

    def test_what_was_published_while_no_collector_ran_is_a_gap_and_nothing_is_there_twice(
        self, tmp_path: Path, bus: Wire
    ) -> None:
        for first in (0, 5):
            with collecting(tmp_path, bus.endpoint) as collector:
                bus.awaited()
                bus.seq = first
                for _ in range(3):
                    bus.say(records(10, 10))
                bus.seq = first + 2  # and the last one once more
                bus.say(records(10, 10))
                wait_until(came(collector, messages=4), "four messages came")

        assert ask(tmp_path, "SELECT seq, count(*) FROM records GROUP BY 1 ORDER BY 1") == [
            (seq, 10) for seq in (0, 1, 2, 5, 6, 7)
        ]
        assert ask(tmp_path, "SELECT topic, seq, messages, why FROM gaps") == [(TOPIC.decode(), 3, 2, "lost")]


class TestWrongMessages:
    """A message that does not fit is counted and told, and those behind it are kept."""

    def test_each_kind_is_counted_and_the_others_are_kept(self, tmp_path: Path, bus: Wire) -> None:
        good = records(10, 10)
        with collecting(tmp_path, bus.endpoint) as collector:
            bus.awaited()
            bus.say(good)  # 0
            bus.raw(TOPIC, b"\x80", b"")
            bus.raw(b"qoe.v1/", b"nothing")
            bus.say(good | {"mos": ["good"] * 10})  # 1, of another type
            bus.say(good | {"flows": np.full(10, 2**40)})  # 2, too large
            bus.say({"subscriber": ["a"], "imsi": ["001010000000001"]}, schema=wire.IMSI_SCHEMA)  # 3, not for files
            bus.say(good, topic=b"qoe.v1/other/video/")  # 4, of another function than its topic says
            bus.say(good | {"news": np.arange(10.0), "imsi": ["001010000000001"] * 10})  # 5, of a later version
            bus.say(good, t_start=0.0, t_end=1e300)  # 6, of a clock that is far away
            bus.say({name: good[name] for name in ("t_ms", "subscriber", "dl_bytes")})  # 7, of an earlier version
            wait_until(came(collector, messages=10), "all came")
            assert {n: collector.counters[n] for n in ("damaged", "foreign", "wrong_clocks")} == {
                "damaged": 3,
                "foreign": 3,
                "wrong_clocks": 2,
            }

        assert ask(tmp_path, "SELECT DISTINCT seq FROM records ORDER BY 1") == [(0,), (5,), (6,), (7,)]
        assert ask(tmp_path, "SELECT sum(news), sum(records.dl_bytes) FROM records") == [
            (45, int(sum(good["dl_bytes"])) * 4)
        ]
        assert sorted(ask(tmp_path, "SELECT seq, messages, why FROM gaps")) == [
            (1, 1, "foreign"),
            (2, 1, "foreign"),
            (3, 1, "foreign"),
            (4, 1, "damaged"),
        ]
        files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        assert not any(b"00101000000000" in data for data in files)

    def test_numbers_that_no_file_has_room_for_are_no_end(self, tmp_path: Path, bus: Wire) -> None:
        good = records(10, 10)
        health = {"topic": [TOPIC.decode()], "next_seq": np.array([1])}
        nan, huge = np.array([np.nan]), np.array([2**63 + 5], np.uint64)
        said: list[str] = []
        with collecting(tmp_path, bus.endpoint, said=said) as collector:
            bus.awaited()
            bus.say(good)
            for t_end in (np.nan, np.inf, 1e300, -1.0):
                bus.say(health, b"health.v1/nf1/", wire.HEALTH_SCHEMA, t_end=t_end)
            for t_ms in (nan, huge):
                bus.say({"t_ms": t_ms, "subscriber": good["subscriber"][:1]}, b"purge.v1/nf1/", wire.PURGE_SCHEMA)
            bus.say(good, epoch=2**64 - 1)
            bus.say({name: good[name] for name in ("t_ms", "subscriber")} | {"mos": np.full(10, 1e130)})
            bus.say(good)
            wait_until(came(collector, messages=10, rows=30), "all came")
            assert {n: collector.counters[n] for n in ("damaged", "foreign")} == {"damaged": 1, "foreign": 2}
            wait_until(lambda: any("of whom to erase did not come" in text for text in said), "it is told")
            assert collector.caretaker.is_alive()

        assert ask(tmp_path, "SELECT count(*) FROM records") == [(30,)]
        assert ask(tmp_path, "SELECT count(*) FROM health WHERE t_ms > 1_785_000_000_000") == [(1,)]

    def test_a_message_of_fifty_thousand_rows_is_kept(self, tmp_path: Path, bus: Wire) -> None:
        rows = 50_000
        columns = {"t_ms": np.full(rows, 1_785_000_000_000), "subscriber": [f"{n:032x}" for n in range(rows)]}
        with collecting(tmp_path, bus.endpoint) as collector:
            bus.awaited()
            bus.say(columns | {"dl_bytes": np.arange(rows)})
            bus.say(columns | {"dl_bytes": np.arange(rows)})
            wait_until(came(collector, rows=2 * rows), "both came")

        wanted = [(2 * rows, rows, rows * (rows - 1))]
        assert ask(tmp_path, "SELECT count(*), count(DISTINCT subscriber), sum(dl_bytes) FROM records") == wanted


class TestErasing:
    """Whoever is purged is in no file, whether the function says so or a person."""

    def test_by_the_function_and_by_a_person(self, tmp_path: Path, bus: Wire) -> None:
        columns = records(12, 3)
        one, two, three = columns["subscriber"][:3]
        said: list[str] = []
        with collecting(tmp_path, bus.endpoint, said=said) as collector:
            bus.awaited()
            bus.say(columns)
            wait_until(came(collector, rows=12), "records came")
            now_ms = round(time.time() * 1e3)
            purge = {"t_ms": np.array([now_ms]), "subscriber": [one], "epoch": np.array([1]), "why": ["opt-out"]}
            bus.say(purge, topic=b"purge.v1/nf1/", schema=wire.PURGE_SCHEMA)
            asked = request(tmp_path, [two], now_ms)
            wait_until(lambda: not asked.exists() and not list(tmp_path.rglob("*.new")), "the person's wish is done")
            wait_until(lambda: sum("erased" in text for text in said) >= 1, "it is told")
            wait_until(lambda: ask(tmp_path, "SELECT DISTINCT subscriber FROM records") == [(three,)], "both are gone")

    @pytest.mark.parametrize("broken", ["", "{", "[]", '{"a": "x"}', '{"a": null}'])
    def test_a_request_that_cannot_be_read_keeps_no_other_from_being_done(
        self, tmp_path: Path, bus: Wire, broken: str
    ) -> None:
        said: list[str] = []
        good = records(10, 10)
        name = good["subscriber"][0]
        with collecting(tmp_path, bus.endpoint, said=said) as collector:
            bus.awaited()
            bus.say(good)
            wait_until(came(collector, rows=10), "records came")
            (tmp_path / ".erase-0.json").write_text(broken)
            request(tmp_path, [name], 1 << 62)
            wait_until(lambda: any("were erased" in text for text in said), "it is told")

        assert any("is no request to erase" in text for text in said)
        assert ask(tmp_path, f"SELECT count(*) FROM records WHERE subscriber = '{name}'") == [(0,)]
        assert list(tmp_path.glob(".erase-*")) == []


class TestAway:
    """A collector that was away asks the function what it missed; what the function cannot tell any more is told."""

    @contextmanager
    def publishing(self, place: Path, *, snapshots: bool) -> Iterator[Publisher]:
        """Run the product's publisher at an endpoint that has a place for snapshots beside it, or not."""
        endpoint = f"ipc://{place}/feed"
        publisher = Publisher(
            Export(endpoint=endpoint, snapshot_endpoint=f"{endpoint}.snapshot" if snapshots else "", batch_rows=1),
            "nf1",
        )
        publisher.start()
        try:
            yield publisher
        finally:
            publisher.stop()

    def away(self, folder: Path, publisher: Publisher, said: list[str]) -> tuple[str, str]:
        """Collect, miss records and a purge meanwhile, and collect until that is told; return two names."""
        first, missed = batch(12, seed=1), batch(12, seed=2)
        gone, stays = list(dict.fromkeys(first.columns["subscriber"]))[:2]
        with collecting(folder, publisher.endpoint) as collector:
            wait_until(came(collector, messages=1), "a heartbeat is heard")
            publisher.publish(first)
            wait_until(came(collector, rows=12), "records came")
        publisher.publish(missed)
        publisher.publish_purge({gone: 1}, "purge", time.time())
        with collecting(folder, publisher.endpoint, said=said):
            wait_until(lambda: any("eras" in text for text in said), "it is told")
        return gone, stays

    def test_with_a_snapshot_the_purge_is_done_and_no_record_is_missing(self, tmp_path: Path) -> None:
        said: list[str] = []
        with self.publishing(tmp_path, snapshots=True) as publisher:
            gone, stays = self.away(tmp_path / "store", publisher, said)

        there = {name for (name,) in ask(tmp_path / "store", "SELECT DISTINCT subscriber FROM records")}
        assert stays in there
        assert gone not in there
        assert ask(tmp_path / "store", "SELECT DISTINCT seq FROM records ORDER BY 1") == [(0,), (1,)]
        assert ask(tmp_path / "store", "SELECT topic, why FROM gaps WHERE topic NOT LIKE 'health%'") == []
        assert any(text.startswith("1 names of subscribers were erased") for text in said)

    def test_without_one_both_are_told(self, tmp_path: Path) -> None:
        said: list[str] = []
        with self.publishing(tmp_path, snapshots=False) as publisher:
            self.away(tmp_path / "store", publisher, said)

        missing = "SELECT topic, seq, messages, why FROM gaps WHERE topic NOT LIKE 'health%' ORDER BY 1"
        assert ask(tmp_path / "store", missing) == [
            ("purge.v1/nf1/", 0, 1, "lost"),
            ("qoe.v1/nf1/video/", 1, 1, "lost"),
        ]
        assert any(text.startswith("1 messages of whom to erase did not come") for text in said)


class TestRefusals:
    """A refusal is one sentence and a status."""

    def refused(self, capsys: pytest.CaptureFixture[str], *words: str, status: int = 2) -> str:
        """Return the one line that a command says when it is refused."""
        with pytest.raises(SystemExit) as end:
            main(["collect", *words])
        assert end.value.code == status
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    def test_a_path_that_is_no_folder(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "file"
        path.write_text("")
        line = self.refused(capsys, "--from", "tcp://127.0.0.1:1", "--folder", str(path))
        assert line == f"snf: {path} is no folder. Give one with --folder."

    def test_keys_that_others_can_read(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        keys = tmp_path / "a.curve"
        keys.write_text("")
        keys.chmod(0o640)
        line = self.refused(capsys, "--from", "tcp://127.0.0.1:1", "--curve", str(keys), "--folder", str(tmp_path))
        assert line.endswith(f"Mend that: chmod 600 {keys}")

    def test_two_collectors_in_one_folder(self, tmp_path: Path, bus: Wire, capsys: pytest.CaptureFixture[str]) -> None:
        with collecting(tmp_path, bus.endpoint):
            line = self.refused(capsys, "--from", bus.endpoint, "--folder", str(tmp_path), status=os.EX_TEMPFAIL)
        assert line.startswith(f"snf: Another collector, process {os.getpid()}, writes into {tmp_path}.")

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            ((), "no function to collect from"),
            (("--from", "probe1"), "probe1 is no endpoint"),
            (("--from", "tcp://nowhere"), "Cannot connect to tcp://nowhere"),
            (("--from", "tcp://127.0.0.1:99999"), "Cannot connect to tcp://127.0.0.1:99999"),
            (("--from", "tcp://127.0.0.1:0"), "Cannot connect to tcp://127.0.0.1:0"),
            (("--from", "tcp://a:1", "--from", "tcp://a:1"), "given twice"),
            (("--from", "tcp://a:1", "--keep-records", "long"), "no length of time"),
            (("--from", "tcp://a:1", "--disk", "50"), "no size"),
            (("--from", "tcp://a:1", "--write-every", "nan"), "no number of seconds"),
        ],
    )
    def test_options(
        self, words: tuple[str, ...], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert says in self.refused(capsys, "--folder", str(tmp_path), *words)

    @pytest.mark.parametrize(
        ("text", "says"),
        [("disk =", "is no TOML"), ('dsk = "5G"', "dsk, which is no setting"), ('[[from]]\nhost = "a"', "[[from]]")],
    )
    def test_files(self, text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "collector.toml"
        path.write_text(text)
        assert says in self.refused(capsys, "--config", str(path))

    def test_an_endpoint_that_is_silent_is_told_and_waited_for(self, tmp_path: Path) -> None:
        said: list[str] = []
        late = Wire()
        late.close()
        with collecting(tmp_path, late.endpoint, said=said):
            wait_until(lambda: said, "it is told")
        assert said == [
            f"Nothing was heard from {late.endpoint} yet. Is the function up, and may this key read there? "
            "The collector goes on waiting."
        ]


class TestFull:
    """A full disk is told by the numbers of the messages that came meanwhile, and by no others."""

    def test_what_was_not_kept_is_told_at_the_end(self, tmp_path: Path, bus: Wire) -> None:
        with collecting(tmp_path, bus.endpoint) as collector:
            bus.awaited()
            bus.say(records(10, 10))
            bus.raw(TOPIC, b"", b"")
            bus.say({"subscriber": np.arange(3)})
            wait_until(came(collector, damaged=1, foreign=1), "all came")
            collector.writing.lose("nf1", "b", TOPIC.decode(), 9, (0, 0))

        said = "10 rows were written; 0 messages were lost, 1 could not be read, 1 did not fit, 1 came while the disk "
        assert _summary(collector) == f"{said}was full."

    def test_numbers_that_follow_each_other_are_a_row(self, tmp_path: Path) -> None:
        writing = Writing(tmp_path, Ledger(), Sequences(), lambda _: None)
        for seq in (3, 4, 6, 7, 8):  # 5 is missing for another reason, and told elsewhere
            writing.lose("nf1", "b", TOPIC.decode(), seq, (1000 * seq, 1000 * seq + 999))
        writing.commit()

        rows = ask(tmp_path, "SELECT seq, messages, since_ms, until_ms, why FROM gaps ORDER BY seq")
        assert rows == [(3, 2, 3000, 4999, "full"), (6, 3, 6000, 8999, "full")]


class TestStart:
    """A start removes what a writing left that did not come to its end."""

    def test_what_is_merged_is_what_the_state_knows(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tended: list[tuple[int, int]] = []  # number that may be merged, and that of the state then
        saved = Ledger.save
        ledger = Ledger()

        def save(self: Ledger, folder: Path) -> None:
            tended.append((writing.number, self.number))  # files have their names, and the state has not
            saved(self, folder)

        monkeypatch.setattr(Ledger, "save", save)
        writing = Writing(tmp_path, ledger, Sequences(), lambda _: None)
        writing.add("records", HOUR_MS, records(10, 10), 10)
        writing.commit()

        assert tended == [(0, 1)]
        assert writing.number == last_number(tmp_path) == 1

    def test_a_file_that_the_state_does_not_know_was_not_written_for_good(self, tmp_path: Path, bus: Wire) -> None:
        with collecting(tmp_path, bus.endpoint) as collector:
            bus.awaited()
            bus.say(records(10, 10))
            wait_until(came(collector, rows=10), "records came")
        (file,) = layout.closed(tmp_path, "records")
        beyond = layout.place(tmp_path, "records", file.hour_ms, "", 999, 999).path
        beyond.write_bytes(file.path.read_bytes())
        draft = file.path.with_name(".0000001000-0000001000.parquet.tmp")
        draft.write_bytes(b"PAR1")

        with collecting(tmp_path, bus.endpoint):
            assert not beyond.exists()
            assert not draft.exists()
        assert ask(tmp_path, "SELECT count(*) FROM records") == [(10,)]
