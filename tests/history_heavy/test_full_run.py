"""A whole run: the lab's signalling, the function, and all programs of the history beside it; and what they leave.

Three subscribers with IMSIs of their own attach. One plays a game on a radio that turns bad and good again, so that
his alarm is raised and cleared; another is purged, and the third opts out.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import socket
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgpack
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zmq

from feed import wire
from history.questions.text import QUESTIONS
from lab import plan
from lab.impair import Impairment
from lab.lab import Lab
from lab.net import inside
from lab.operator import ENDPOINT, PART, USER, Operator
from lab.wait import slowness, wait_until
from tests.history.nupf_rig import wanted
from tests.history.upf_client import Client, Sink
from tests.history_heavy.imsi_search import FORMS, contents, forms, search
from tests.test_house import ROOT

pytestmark = pytest.mark.timeout(900)
KEY = b"a key of the tests of a full run ..."
IMSIS = {"ue1": "001019283746501", "ue2": "001015647382919", "ue3": "001018372619504"}
PLAYER, PURGED, LEAVES = IMSIS
BAD = Impairment(delay_ms=150, jitter_ms=60, loss=0.08, rate_bps=1e6)
SNF = "urn:supernetflow:yang:snf-"
AL = "urn:ietf:params:xml:ns:yang:ietf-alarms"
ALARMS = f"""<subscriber-alarms xmlns="{SNF}alarms"><class><name>gaming</name><score>2.5</score>
  <clear-score>3</clear-score><raise-after>8</raise-after><clear-after>8</clear-after></class></subscriber-alarms>"""
LONG_S = 120.0  # on a quiet machine: more than an alarm takes to be raised, or cleared


def pseudonym(name: str) -> str:
    """First 16 bytes of HMAC-SHA-256 over the digits of the IMSI (docs/feed.md), written out here once more."""
    return hmac.new(KEY, IMSIS[name].encode(), hashlib.sha256).hexdigest()[:32]


class Heard:
    """All that is said on the bus, one message after another in a file, and the rows of alarms and purges."""

    def __init__(self, path: Path) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {"alarm.v1": [], "purge.v1": [], "change.v1": []}
        self.names: set[str] = set()
        self._file = path.open("wb")
        self._context = zmq.Context()
        self._bus, self._desk = self._context.socket(zmq.SUB), self._context.socket(zmq.DEALER)
        self._bus.connect(ENDPOINT)
        self._desk.connect("tcp://192.0.2.10:5557")
        for topic in (b"", *(f"sub.v1/snf/{pseudonym(name)}/".encode() for name in IMSIS)):
            self._bus.subscribe(topic)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._stop.is_set():
            if self._bus.poll(200):
                self._take(self._bus.recv_multipart())
            while self._desk.poll(0):
                self._take(self._desk.recv_multipart())

    def _take(self, frames: Sequence[bytes]) -> None:
        self._file.write(msgpack.packb(frames))
        message = wire.decode(frames)
        self.names |= set(message.columns.get("subscriber", []))
        rows = self.rows.get(message.topic.partition("/")[0])
        if rows is not None:
            rows += wire.rows_of(message)

    def ask(self) -> None:
        """Ask for the current state, which comes as what is said on the bus does."""
        self._desk.send_multipart([b"snapshot.v1", b"qoe.v1/", b"purge.v1/", b"health.v1/"])

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._context.destroy(0)
        self._file.close()


def datagrams(path: Path, stop: threading.Event) -> None:
    """Write down what is sent to the port of IPFIX."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, path.open("wb") as file:
        sock.bind(("127.0.0.1", 4739))
        sock.settimeout(0.2)
        while not stop.is_set():
            try:
                file.write(sock.recv(65_536))
            except TimeoutError:
                continue


@dataclass
class Left:
    """All that a run has left in a folder, and what was told of the alarm on the way."""

    folder: Path
    alarms: list[dict[str, Any]] = field(default_factory=list)  # rows of alarm.v1
    purges: list[dict[str, Any]] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)  # subscribers in the list of state while it stood
    notifications: list[tuple[str, str]] = field(default_factory=list)  # (resource, severity) of subscriber-degraded
    stood: list[dict[str, str]] = field(default_factory=list)  # entries of the list of alarms while it stood
    over: list[dict[str, str]] = field(default_factory=list)  # and when it was over
    metrics: str = ""


class Run:
    """The run, step by step."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        ues = plan.subscribers(("game", "chat"), ("game",), ("web", "chat"))
        self.left = Left(folder)
        self.lab = stack.enter_context(Lab([replace(ue, imsi=IMSIS[ue.name]) for ue in ues], steady=True))
        self.operator = stack.enter_context(Operator(self.lab))
        self.events = stack.enter_context(Operator(self.lab))
        self.operator.start_function()
        self.operator.configure(KEY, batch_ms=1000)
        self.operator.client.change(ALARMS)
        self.events.connect()
        self.events.client.subscribe()
        stop = threading.Event()
        stack.callback(stop.set)
        with inside(self.lab.net.path("ops")):  # threads that begin here stay here
            self.heard = Heard(folder / "bus.frames")
            self.sink = Sink()
            self.ipfix = threading.Thread(target=datagrams, args=(folder / "ipfix.datagrams", stop))
            self.ipfix.start()
        for close in (self.ipfix.join, stop.set, self.sink.close, self.heard.close):
            stack.callback(close)
        self._start_programs()

    def _start_programs(self) -> None:
        bus, history = ("--endpoint", ENDPOINT), self.left.folder / "history"
        host_key = self.lab.folder / "host.pub"
        way = (
            "--netconf",
            f"{plan.PROBE}:830",
            "--user",
            USER,
            "--key",
            self.operator.key_file,
            "--host-key",
            host_key,
        )
        collect = ("--from", ENDPOINT, "--folder", history, "--metrics", "127.0.0.1:9188", "--write-every", "1")
        self._start("collect", *collect)
        self._start("bridge", "ipfix", "--to", "127.0.0.1:4739", *bus)
        self._start("bridge", "nupf", *bus, "--find", *way)
        self._start("watch", *bus, "--output", "json")

    def _start(self, *words: str | Path) -> None:
        name = "-".join(str(word) for word in words[:2] if not str(word).startswith("-")) + ".program"
        self.lab.start_inside(name, "ops", *map(str, (*self.operator.program, *words)))

    def _get(self, url: str) -> bytes:
        with inside(self.lab.net.path("ops")), urllib.request.urlopen(url, timeout=60 * slowness()) as answer:
            body: bytes = answer.read()
            return body

    def _until(self, holds: Any, what: str) -> Any:
        return wait_until(holds, what, LONG_S, check=self.lab.check)

    def traffic(self) -> None:
        """Attach all, and wait until each is named; one is monitored by the bridge."""
        self.lab.announce_all()
        self.lab.start_clients()
        self._until(lambda: {pseudonym(name) for name in IMSIS} <= self.heard.names, "each subscriber is named")
        address = {"ipv4Addr": self.lab.subscribers[PLAYER].address}
        with inside(self.lab.net.path("ops")):
            made = Client(8564).subscribe(wanted(self.sink.uri, period_s=1, ueIpAddress=address))
        assert made.status == 201, made.body
        self._until(lambda: self.sink.got, "the bridge notifies")

    def alarm(self) -> None:
        """Turn a radio bad, and good again, and note what is told of its user."""
        healthy = self.lab.subscribers[PLAYER]
        self.lab.radio(PLAYER, uplink=BAD, downlink=BAD)
        self._until(lambda: self.heard.rows["alarm.v1"], "the alarm is raised on the bus")
        self._until(lambda: self._degraded() and self._listed(), "the alarm is raised in NETCONF")
        self.left.degraded, self.left.stood = self._degraded(), self._listed()
        self.lab.radio(PLAYER, uplink=healthy.uplink, downlink=healthy.downlink)
        self._until(lambda: len(self.heard.rows["alarm.v1"]) >= 2, "the alarm is cleared on the bus")
        self._until(lambda: self._listed()[0]["is-cleared"] == "true", "the alarm is cleared in NETCONF")
        self._until(lambda: not self._degraded(), "nobody is degraded")
        self.left.over = self._listed()
        while (event := self.events.client.event(2 * slowness())) is not None:
            for told in event.iter(f"{{{AL}}}alarm-notification"):
                kind, resource = (told.findtext(f"{{{AL}}}{name}", "") for name in ("alarm-type-id", "resource"))
                if kind.endswith("subscriber-degraded"):
                    self.left.notifications.append((resource, told.findtext(f"{{{AL}}}perceived-severity", "")))

    def _degraded(self) -> list[str]:
        data = self.operator.client.state(f'<subscriber-alarms xmlns="{SNF}alarms"><degraded/></subscriber-alarms>')
        return [each.text or "" for each in data.iter(f"{{{SNF}alarms}}subscriber")]

    def _listed(self) -> list[dict[str, str]]:
        data = self.operator.client.state(f'<alarms xmlns="{AL}"><alarm-list/></alarms>')
        listed = [{leaf.tag.rpartition("}")[2]: leaf.text for leaf in alarm} for alarm in data.iter(f"{{{AL}}}alarm")]
        return [alarm for alarm in listed if alarm["alarm-type-id"].endswith("subscriber-degraded")]

    def forget(self) -> None:
        """Mark a change, purge one, let another opt out, and ask for the state."""
        self.operator.client.mark({"text": "gNB 1 has new software", "gnb": plan.GNB_SITES[0]})
        self.operator.client.call(
            f'<purge-subscriber xmlns="{SNF}subscribers"><imsi>{IMSIS[PURGED]}</imsi></purge-subscriber>'
        )
        leaves = f"<subscriber><imsi>{IMSIS[LEAVES]}</imsi></subscriber>"
        self.operator.client.change(f'<opt-outs xmlns="{SNF}opt-out">{leaves}</opt-outs>')
        told = {pseudonym(PURGED), pseudonym(LEAVES)}
        self._until(lambda: told <= {row["subscriber"] for row in self.heard.rows["purge.v1"]}, "both are told")
        self.heard.ask()

    def ask(self) -> None:
        """Ask all questions, look at all of the page, and scrape."""
        folder = self.left.folder
        self._until(lambda: self._written("alarms") >= 2 and self._written("marks"), "alarms are in files")
        history = folder / "history"
        words = {"worst": ("--by", "subscriber", "--least", "1"), "subscriber": ("--subscriber", pseudonym(PLAYER))}
        for name in QUESTIONS:
            self._query(name, "json", *words.get(name, ()))
        self._query("worst", "table", "--by", "subscriber")
        self._query("worst", "parquet", *words["worst"])
        self._start("web", "--folder", history)
        self._until(lambda: "The page is at" in self.lab.log_lines("web.program", 9), "the page is there")
        shown = urllib.parse.urlencode({"names": "shown", "by": "subscriber", "name": pseudonym(PLAYER)})
        for page in ("", *(f"api/{name}?{shown}" for name in ("overview", "worst", "subscriber", "places", "health"))):
            (folder / f"page-{page.partition('?')[0].replace('/', '-')}.txt").write_bytes(
                self._get(f"http://127.0.0.1:8080/{page}")
            )
        self.left.metrics = self._get("http://127.0.0.1:9188/metrics").decode()
        (folder / "metrics.txt").write_text(self.left.metrics)

        for name in ("watch", "top"):
            with (folder / f"{name}.screen").open("wb") as out:
                looked = (*self.lab.net.prefix("ops"), *self.operator.program, name, "--endpoint", ENDPOINT)
                subprocess.run([*looked, "--seconds", "6"], stdout=out, stderr=out, cwd=ROOT, check=False)

    def _written(self, table: str) -> int:
        files = (self.left.folder / "history" / table).rglob("*.parquet")
        return sum(pq.read_metadata(file).num_rows for file in files)

    def _query(self, name: str, form: str, *words: str) -> None:
        path = self.left.folder / f"{name}.{form}"
        with path.open("wb") as out, (self.left.folder / "questions.log").open("ab") as log:
            asked = (*self.operator.program, "query", name, "--folder", self.left.folder / "history", *words)
            subprocess.run([*asked, "--output", form], stdout=out, stderr=log, cwd=ROOT, check=False)

    def end(self) -> Left:
        """Stop all programs; keep their logs, the function's among them, and its files that are no configuration."""
        programs = [log.stem for log in self.lab.folder.glob("*.program.log")]
        self.operator.disconnect()
        self.events.disconnect()
        self.lab.stop(*programs, PART)
        folder = self.left.folder
        (folder / "notified.json").write_text(json.dumps([self.sink.heads, self.sink.got]))
        for log in (*(f"{name}.log" for name in programs), f"{PART}.log"):
            shutil.copy(self.lab.folder / log, folder)
        for name in ("alarms.json", "sessions.snapshot"):
            shutil.copy(self.operator.state / name, folder)
        self.left.alarms, self.left.purges = self.heard.rows["alarm.v1"], self.heard.rows["purge.v1"]
        return self.left


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    with ExitStack() as stack:
        run = Run(stack, tmp_path_factory.mktemp("left"))
        run.traffic()
        run.alarm()
        run.forget()
        run.ask()
        found = run.end()
    return found


class TestAlarm:
    """A degradation of one subscriber is raised once and cleared once, wherever it is told."""

    def test_on_the_bus(self, left: Left) -> None:
        told = [(row["state"], row["subscriber"], row["app_class"]) for row in left.alarms]
        assert told == [("raised", pseudonym(PLAYER), "gaming"), ("cleared", pseudonym(PLAYER), "gaming")]
        assert left.alarms[0]["suspect"]  # the lab's own UPF is slow where the host is
        assert left.alarms[0]["since_ms"] == left.alarms[1]["since_ms"]
        assert left.alarms[0]["mos"] < 2.5
        assert left.alarms[1]["mos"] >= 3

    def test_in_netconf(self, left: Left) -> None:
        assert left.degraded == [pseudonym(PLAYER)]
        (stood,), (over,) = left.stood, left.over
        assert (stood["is-cleared"], over["is-cleared"]) == ("false", "true")
        assert over["last-raised"] == stood["last-raised"] == stood["time-created"]
        assert [severity == "cleared" for _, severity in left.notifications] == [False, True]
        assert {pseudonym(PLAYER) in resource for resource, _ in left.notifications} == {True}

    def test_in_files_and_metrics(self, left: Left) -> None:
        files = [pq.read_table(file) for file in (left.folder / "history" / "alarms").rglob("*.parquet")]
        kept = sorted(pa.concat_tables(files).to_pylist(), key=lambda row: row["t_ms"])
        assert [(row["state"], row["subscriber"]) for row in kept] == [
            ("raised", pseudonym(PLAYER)),
            ("cleared", pseudonym(PLAYER)),
        ]
        for state in ("raised", "cleared"):
            assert f'snf_subscriber_alarms_total{{app_class="gaming",state="{state}"}} 1.0' in left.metrics


class TestNoImsi:
    """No IMSI is in any file, page, metric, log or message that a run leaves; published names are."""

    @pytest.mark.parametrize(
        "file",
        [
            *("bus.frames", "history/records", "history/alarms", "worst.json", "worst.table", "worst.parquet"),
            *("page-api-worst.txt", "page-api-subscriber.txt", "watch.program.log"),
        ],
    )
    def test_there_is_something_to_search(self, left: Left, file: str) -> None:
        path = left.folder / file
        pieces = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
        assert any(pseudonym(PLAYER).encode() in piece for each in pieces for piece in contents(each))

    @pytest.mark.parametrize("name", ["watch", "top"])
    def test_of_the_screens(self, left: Left, name: str) -> None:
        assert (
            pseudonym(PLAYER)[:8] in (left.folder / f"{name}.screen").read_text()
        )  # as many digits as tell them apart

    @pytest.mark.parametrize(
        "file",
        [
            *("ipfix.datagrams", "notified.json", "metrics.txt", "collect.program.log", f"{PART}.log", "page-.txt"),
            *("subscriber.json", "apps.json", "page-api-health.txt"),
        ],
    )
    def test_nothing_is_empty(self, left: Left, file: str) -> None:
        assert (left.folder / file).stat().st_size > 100

    def test_who_was_purged_or_opted_out_is_told_by_name(self, left: Left) -> None:
        assert {(row["subscriber"], row["why"]) for row in left.purges} == {
            (pseudonym(PURGED), "purge"),
            (pseudonym(LEAVES), "opt-out"),
        }

    def test_there_is_none(self, left: Left) -> None:
        assert search(left.folder, IMSIS.values()) == []


class TestSearch:
    """The search finds an IMSI that is there, in each form and behind whatever it is packed with."""

    IMSI = IMSIS[PLAYER]

    @pytest.mark.parametrize("form", FORMS)
    def test_of_a_form(self, tmp_path: Path, form: str) -> None:
        for number, planted in enumerate(forms(self.IMSI)[form]):
            (tmp_path / f"{number}.bin").write_bytes(b"\x01\x02\x03" + planted + b"\x04\x05\x06")

        assert {where for where, found in search(tmp_path, [self.IMSI]) if found == form} == {
            path.name for path in tmp_path.iterdir()
        }

    @pytest.mark.parametrize("values", [[IMSI, "other"], [int(IMSI), 5], [f"imsi-{IMSI}", None]], ids=repr)
    def test_in_a_column(self, tmp_path: Path, values: list[Any]) -> None:
        pq.write_table(pa.table({"x": pa.array(values).dictionary_encode()}), tmp_path / "x.parquet")

        assert ("x.parquet", "digits of the subscriber alone") in search(tmp_path, [self.IMSI])

    def test_in_a_message(self, tmp_path: Path) -> None:
        columns = {"subscriber": [self.IMSI, "b", "c"] * 9, "app": ["youtube"] * 27}
        header = wire.Header(wire.QOE_SCHEMA, "nf1", "b", 0, 0.0, 1.0)
        (tmp_path / "x.frames").write_bytes(msgpack.packb(wire.encode(b"qoe.v1/nf1/video/", header, columns)))

        assert ("x.frames", "digits") in search(tmp_path, [self.IMSI])

    def test_in_the_name_of_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / f"subscriber={self.IMSI}").mkdir()

        assert (f"subscriber={self.IMSI}", "digits") in search(tmp_path, [self.IMSI])

    def test_of_another_there_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "x.bin").write_bytes(b"".join(each for many in forms(IMSIS[PURGED]).values() for each in many))

        assert search(tmp_path, [self.IMSI]) == []
