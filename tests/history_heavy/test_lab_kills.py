"""The lab's feed, collected while function and collector are killed: sums of the files are those of the feed."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
import zmq

from feed import wire
from lab import plan
from lab.lab import Lab
from lab.net import inside
from lab.operator import ENDPOINT, Operator
from lab.wait import wait_until
from tests.history.written import ask
from tests.history_heavy.test_kills import number_of, wrote

pytestmark = pytest.mark.timeout(900)
KILLS = 10  # of the collector; test_kills.py has fifty, of a publisher that sends more than a lab
RESTART_EVERY = 4
BOOTS = 1 + KILLS // RESTART_EVERY
COLLECTOR = "collect.program"
Sums = tuple[int, int, int]  # rows, and bytes either way


class Heard:
    """All records on the bus, by a reader that is never killed: their sums by boot and topic, and by number."""

    def __init__(self) -> None:
        self.sums: defaultdict[tuple[str, str], dict[int, Sums]] = defaultdict(dict)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._bus = self._context.socket(zmq.SUB)
        self._bus.rcvhwm, self._bus.reconnect_ivl = 0, 10
        self._bus.connect(ENDPOINT)
        self._bus.subscribe(b"qoe.v1/")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._stop.is_set():
            if self._bus.poll(100):
                message = wire.decode(self._bus.recv_multipart())
                down, up = (sum(map(int, message.columns.get(name, []))) for name in ("dl_bytes", "ul_bytes"))
                key = (message.header.boot, message.topic)
                self.sums[key][message.header.seq] = (message.header.rows, down, up)

    def boots(self) -> list[str]:
        """Return the boots in the order in which they were heard first."""
        return list(dict.fromkeys(boot for boot, _ in self.sums))

    def messages(self) -> int:
        return sum(map(len, self.sums.values()))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._context.destroy(0)


class Run:
    """A lab with its function, a collector that is killed, and a reader that is not."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.folder, self.said = folder / "history", ""
        self.lab = stack.enter_context(Lab(plan.subscribers(("chat", "web"), ("game",), ("web", "chat")), steady=True))
        self.operator = stack.enter_context(Operator(self.lab))
        with inside(self.lab.net.path("ops")):
            self.heard = Heard()
        stack.callback(self.heard.close)
        self.operator.start_function()
        self.operator.configure(b"a key of the tests of killed collectors", batch_ms=500)
        self.lab.announce_all()
        self.lab.start_clients()

    @contextmanager
    def collector(self, how: int) -> Iterator[None]:
        """Run a collector, and end it by a signal."""
        words = ("collect", "--from", ENDPOINT, "--folder", str(self.folder), "--write-every", "0.3")
        self.lab.start_inside(COLLECTOR, "ops", *map(str, self.operator.program), *words)
        yield
        self.lab.stop(COLLECTOR, how=how)
        self.said += (self.lab.folder / f"{COLLECTOR}.log").read_text()

    def kill(self) -> None:
        """Kill the collector at random moments, and the function now and then."""
        draw = random.Random(17)
        for number in range(KILLS):
            with self.collector(signal.SIGKILL):
                wait_until(partial(wrote, self.folder, number_of(self.folder)), "it writes", check=self.lab.check)
                time.sleep(draw.uniform(0, 2))
            ask(self.folder, "SELECT sum(dl_bytes) FROM facts")  # no file that is there is half
            if number % RESTART_EVERY == RESTART_EVERY - 1:
                self.operator.stop_function(signal.SIGKILL)
                self.operator.start_function()

    def end(self) -> None:
        """End the function, and then a collector that heard its last word."""
        wait_until(lambda: len(self.heard.boots()) == BOOTS, "the last boot is heard", 60, check=self.lab.check)
        before = self._of_last_boot()
        with self.collector(signal.SIGTERM):
            wait_until(lambda: self._of_last_boot() > before, "it writes what it hears", 60, check=self.lab.check)
            self.operator.stop_function()
            wait_until(lambda: self._of_last_boot() >= max(self._last()), "its last message is in a file", 60)

    def _last(self) -> list[int]:
        boot = self.heard.boots()[-1]
        return [max(sums) for (of, _), sums in self.heard.sums.items() if of == boot]

    def _of_last_boot(self) -> int:
        boot = self.heard.boots()[-1]
        return int(ask(self.folder, f"SELECT coalesce(max(seq), -1) FROM records WHERE boot = '{boot}'")[0][0])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with ExitStack() as stack:
        made = Run(stack, tmp_path_factory.mktemp("lab"))
        made.kill()
        made.end()
        yield made


@pytest.fixture(scope="module")
def files(run: Run) -> dict[tuple[str, str], dict[int, Sums]]:
    """Sums of what is in files, by boot and topic, and by number."""
    text = """SELECT boot, 'qoe.v1/' || nf || '/' || app_class || '/', seq, count(*), sum(dl_bytes), sum(ul_bytes)
        FROM records GROUP BY 1, 2, 3"""
    found: defaultdict[tuple[str, str], dict[int, Sums]] = defaultdict(dict)
    for boot, topic, seq, *sums in ask(run.folder, text):
        found[boot, topic][seq] = (sums[0], int(sums[1]), int(sums[2]))
    return found


@pytest.fixture(scope="module")
def numbers(run: Run, files: dict[tuple[str, str], dict[int, Sums]]) -> dict[tuple[str, str], Counter[int]]:
    """Counts of each number in files and gaps."""
    found = {key: Counter(dict.fromkeys(sums, 1)) for key, sums in files.items()}
    for boot, topic, seq, messages in ask(run.folder, "SELECT boot, topic, seq, messages FROM gaps"):
        if topic.startswith("qoe.v1/"):
            found.setdefault((boot, topic), Counter()).update(range(seq, seq + messages))
    return found


class TestLab:
    """Files have all that the lab's function published, less gaps that are told, whoever was killed."""

    def test_it_is_a_run_with_several_boots(self, run):
        assert len(run.heard.boots()) == BOOTS
        assert run.heard.messages() > 3 * KILLS

    def test_each_message_in_a_file_has_the_sums_of_the_one_on_the_bus(self, run, files):
        compared = 0
        for key, sums in files.items():
            heard = run.heard.sums.get(key, {})
            both = heard.keys() & sums.keys()
            assert {seq: sums[seq] for seq in both} == {seq: heard[seq] for seq in both}
            compared += len(both)
        assert compared > run.heard.messages() / 2

    def test_each_message_on_the_bus_is_in_one_file_or_in_one_gap(self, run, numbers):
        """The last words of a killed function, when the collector was not there to hear them, are known to nobody."""
        boots = run.heard.boots()
        for (boot, topic), sums in run.heard.sums.items():
            found = numbers.get((boot, topic), Counter())
            assert set(found.values()) <= {1}, topic
            first = min(found, default=0) if boot == boots[0] else 0
            last = max(sums) if boot == boots[-1] else max(found, default=-1)
            wanted = {seq for seq in sums if first <= seq <= last}
            assert wanted <= found.keys(), (boots.index(boot), topic)

    def test_sums_are_those_of_the_records(self, run):
        facts = ask(run.folder, "SELECT sum(records), sum(dl_bytes), sum(ul_bytes) FROM facts")
        assert facts == ask(run.folder, "SELECT count(*), sum(dl_bytes), sum(ul_bytes) FROM records")

    def test_each_restart_has_its_row_and_no_traceback_is_told(self, run):
        restarts = ask(run.folder, "SELECT count(*) FROM gaps WHERE why = 'restart'")
        assert restarts == [(BOOTS - 1,)]
        assert "Traceback" not in run.said
