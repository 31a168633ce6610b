"""Kills and full disks: what is in files is what was published, less what gaps tell, and the function goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feed.consumer import key_pair
from feed.late import beside
from lab.wait import wait_until
from nf.publish import Publisher
from nf.settings import Curve, Export
from tests.feed.samples import batch
from tests.history.written import ask

KILLS = int(os.environ.get("SNF_KILLS", "50"))
SERVER, CLIENT = key_pair(), key_pair()
SNF = Path(sys.executable).with_name("snf")
CLASSES = ("video", "web")


class Function:
    """A publisher that publishes all the time and remembers each message; it can be killed and started."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"tcp://127.0.0.1:{port}"
        self.snapshot_endpoint = ""
        self.sent: dict[tuple[str, str], list[tuple[int, int]]] = {}  # by boot and topic: rows and bytes of each seq
        self._random = random.Random(4)
        self._stop = threading.Event()
        self._start()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _start(self) -> None:
        curve = Curve(secret_key=SERVER[1], public_key=SERVER[0], clients=(CLIENT[0],))
        export = Export(endpoint=self.endpoint, snapshot_endpoint=self.snapshot_endpoint, batch_rows=1, curve=curve)
        self.publisher = Publisher(export, "nf1")
        self.publisher.start()

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(0.02):
            number += 1
            app_class = self._random.choice(CLASSES)
            some = batch(self._random.randint(1, 30), app_class, t_s=time.time(), seed=number % 50)
            key = (self.publisher.boot, f"qoe.v1/nf1/{app_class}/")
            self.sent.setdefault(key, []).append((len(some), int(np.sum(some.columns["dl_bytes"]))))
            self.publisher.publish(some)

    def with_snapshots(self) -> None:
        """Give the last messages to whoever asks, from now on."""
        self.snapshot_endpoint = beside(self.endpoint)
        self.again()

    def again(self) -> None:
        """End and start anew: another boot, and sequences from 0 on."""
        self._stop.set()
        self._thread.join()
        self.publisher.stop()
        self._stop.clear()
        self._start()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def pause(self) -> None:
        """Publish no more records."""
        self._stop.set()
        self._thread.join()

    def close(self) -> None:
        """End."""
        self.pause()
        self.publisher.stop()


@pytest.fixture
def function(tmp_path: Path) -> Iterator[Function]:
    found = Function(random.Random().randint(20_000, 30_000))
    (tmp_path / "keys").touch(0o600)
    lines = zip(("server_key", "public_key", "secret_key"), (SERVER[0], *CLIENT), strict=True)
    (tmp_path / "keys").write_text("".join(f"{name}={key}\n" for name, key in lines))
    yield found
    found.close()


def words(function: Function, keys: Path, folder: Path) -> list[str]:
    """Return the command of a collector."""
    where = ["--from", function.endpoint, "--curve", str(keys), "--folder", str(folder)]
    return [str(SNF), "collect", *where, "--write-every", "0.3"]


@contextmanager
def collector(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a collector; end it with SIGTERM."""
    with log.open("ab") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            yield process
        finally:
            process.terminate()
            assert process.wait(60) in (0, -signal.SIGKILL)


def check(folder: Path, sent: dict[tuple[str, str], list[tuple[int, int]]]) -> dict[str, int]:
    """Assert that each message since the first contact is in one file or in one gap; return gaps by reason."""
    files = ask(
        folder,
        "SELECT boot, 'qoe.v1/nf1/' || app_class || '/', seq, count(*), sum(dl_bytes) FROM records GROUP BY 1, 2, 3",
    )
    found: dict[tuple[str, str], Counter[int]] = {}
    for boot, topic, seq, rows, octets in files:
        assert sent[boot, topic][seq] == (rows, octets), (boot, topic, seq)
        found.setdefault((boot, topic), Counter())[seq] += 1
    told: Counter[str] = Counter()
    for boot, topic, seq, messages, why in ask(folder, "SELECT boot, topic, seq, messages, why FROM gaps"):
        told[why] += messages
        if topic.startswith("qoe.v1/"):
            found.setdefault((boot, topic), Counter()).update(range(seq, seq + messages))
    boots = list(dict.fromkeys(boot for boot, _ in sent))
    for (boot, topic), messages in sent.items():
        numbers = found.get((boot, topic), Counter())
        assert set(numbers.values()) <= {1}, (boot, topic, "told twice")
        # Of a function that nobody had met, what it published before is no loss; and of what it published after its
        # last word that came, before it ended, nobody can tell the number.
        first = min(numbers) if boot == boots[0] else 0
        last = len(messages) if boot == boots[-1] else max(numbers, default=-1) + 1
        assert sorted(numbers) == list(range(first, last)), (boot, topic)
    restarts = ask(folder, "SELECT count(*) FROM gaps WHERE why = 'restart' AND messages = 0")
    assert restarts == [(len({boot for boot, _ in found}) - 1,)]
    facts = ask(folder, "SELECT sum(records), sum(dl_bytes) FROM facts")
    assert facts == ask(folder, "SELECT count(*), sum(dl_bytes) FROM records")
    return dict(told)


def number_of(folder: Path) -> int:
    """Return the number of the last writing that came to its end."""
    try:
        return int(json.loads((folder / "state.json").read_text())["number"])
    except FileNotFoundError:
        return -1


def wrote(folder: Path, before: int) -> bool:
    """Say whether there was a writing since that with this number."""
    return number_of(folder) > before


def settle(function: Function, folder: Path) -> None:
    """Wait until a heartbeat after the last record is in the files, which tells of what is missing at the end."""
    classes = f"SELECT count(DISTINCT app_class) FROM records WHERE boot = '{function.publisher.boot}'"
    wait_until(lambda: ask(folder, classes) == [(len(CLASSES),)], "records of each class came", 60)
    function.pause()
    at_ms = round(time.time() * 1e3) + 1500
    wait_until(
        lambda: ask(folder, f"SELECT count(*) > 0 FROM health WHERE t_ms > {at_ms}")[0][0], "a last heartbeat", 60
    )


def kill(function: Function, folder: Path, log: Path, kills: int, restarts_every: int) -> dict[str, int]:
    """Kill a collector so often at random moments, and start the function anew now and then; return what gaps tell."""
    draw = random.Random(50)
    command = words(function, log.parent / "keys", folder)
    for number in range(kills):
        with collector(command, log) as process:
            before = number_of(folder)
            wait_until(partial(wrote, folder, before), "it writes", check=process.poll)
            time.sleep(draw.uniform(0.0, 2.0))
            process.kill()
            process.wait()
        ask(folder, "SELECT sum(dl_bytes) FROM facts")  # no file that is there is half
        if number % restarts_every == restarts_every - 1:
            function.again()
    with collector(command, log):
        settle(function, folder)
    told = check(folder, function.sent)
    print(f"{kills} kills, told: {told}, published: {sum(map(len, function.sent.values()))}")
    assert "Traceback" not in log.read_text()
    return told


class TestKilled:
    """Killed at any moment, a collector has each message in a file or in a gap, and the function may die as well."""

    def test_fifty_times(self, function: Function, tmp_path: Path) -> None:
        told = kill(function, tmp_path / "store", tmp_path / "log", KILLS, restarts_every=10)
        assert told["lost"] > 0

    def test_where_the_function_gives_snapshots(self, function: Function, tmp_path: Path) -> None:
        function.with_snapshots()
        function.sent.clear()  # of the boot before, which nobody had met
        kill(function, tmp_path / "store", tmp_path / "log", max(1, KILLS // 5), restarts_every=4)
        lost = "SELECT coalesce(sum(messages), 0) FROM gaps WHERE why = 'lost' AND topic LIKE 'qoe.v1/%'"
        away = "SELECT coalesce(max(until_ms - since_ms), 0) FROM gaps WHERE why = 'lost'"
        # A snapshot has the last 30 s: a collector that was away for less has all messages.
        assert ask(tmp_path / "store", lost) == [(0,)] or ask(tmp_path / "store", away)[0][0] > 20_000


def fill(path: Path) -> None:
    """Write until the disk takes no more."""
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))


class TestFullDisk:
    """A full disk ends the writing with one sentence, and not the function; when there is room it goes on."""

    def test_it_is_told_and_over_when_there_is_room(self, function: Function, tmp_path: Path) -> None:
        disk = tmp_path / "disk"
        disk.mkdir()
        mounted = f"mount -t tmpfs -o size=96m none {disk} && exec " + " ".join(
            words(function, tmp_path / "keys", disk / "store")
        )
        with collector(["unshare", "-m", "sh", "-c", mounted], tmp_path / "log") as process:
            seen = Path(f"/proc/{process.pid}/root{disk}")
            store = seen / "store"
            log = tmp_path / "log"

            def said(text: str) -> Any:
                return lambda: text in log.read_text()

            wait_until(lambda: list(store.glob("records/*/*/*.parquet")), "it writes", check=process.poll)
            with pytest.raises(OSError, match="No space"):
                fill(seen / "filler")
            wait_until(said("takes nothing"), "it says that the disk is full")
            records = function.publisher.status()["records"]
            wait_until(lambda: function.publisher.status()["records"] > records + 100, "the function goes on")
            (seen / "filler").unlink()
            wait_until(said("has room again"), "it says that there is room")
            settle(function, store)
            told = check(store, function.sent)
        assert told["full"] > 0
        assert log.read_text().count("takes nothing") == 1
        assert "Traceback" not in log.read_text()
