"""The collector: messages of several functions come in, closed files go out, until it is told to end.

One thread receives, decodes, checks the sequence and writes; it waits for nothing but the bus and the disk. The other
one is `history.collect.caretaker`. What a message is not fit for is counted, and told as a gap where its number is
known.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np

from feed import wire
from feed.columns import Coded
from feed.consumer import Several
from feed.errors import SnfError
from history.collect.caretaker import Caretaker
from history.collect.erasing import later
from history.collect.intake import UNFIT, health_of, names_of_purge, rows_of_message, tables
from history.collect.ledger import lock, recover
from history.collect.sequences import MAX_SEQ, Gap, Sequences
from history.collect.settings import Settings
from history.collect.upkeep import CLOCKS_MS
from history.collect.writing import Writing
from history.store.schema import BadColumn

__all__ = ["TOPICS", "Collector"]

TOPICS = ("qoe.v1/", "change.v1/", "delay.v1/", "alarm.v1/", "purge.v1/", "health.v1/")  # never imsi.v1, nor sub.v1
_PURGES = "purge.v1/"
_ASKED = ("qoe.v1/", "change.v1/", "delay.v1/", _PURGES)  # of a snapshot, whose alarms have a number of another message
_WAIT_S = 0.25
_HEALTH_S = 10.0  # between two rows of health of a function, whose counters go on
_DEAD_S = 3.0  # three heartbeats
_NEVER_S = 5.0  # of nothing at all, until it is told
_NAME_LENGTH = 255
# All of them from the beginning: of one that is not there before it counts, Prometheus misses the first.
_COUNTERS = ("messages", "rows", "duplicates", "damaged", "foreign", "wrong_clocks", "purges")
_MOST_BOOTS = 10_000  # of a source; who has more is no function

Watcher = Callable[[wire.CodedMessage], None]


@dataclass(slots=True)
class _Source:
    """One publisher, as far as it was heard."""

    endpoint: str
    heard_s: float | None = None  # monotonic
    heard_ms: int = 0
    silent: bool = False  # and it was told
    damaged: int = 0  # since the last gap
    functions: set[str] = field(default_factory=set)
    boots: set[tuple[str, str]] = field(default_factory=set)  # functions and boots that were asked what was missed
    asked_purges: int = 0  # what a heartbeat said when it was last asked for these
    held: list[list[bytes]] = field(default_factory=list)  # what came before the answer, and is taken after it


class Collector:
    """A collector of one folder. Raises SnfError when the folder, a key or an endpoint is none, or is in use.

    *say* gets sentences for people. *watchers* see each message that is new.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None], watchers: Sequence[Watcher] = ()) -> None:
        self.settings = settings
        self.counters = Counter(dict.fromkeys(_COUNTERS, 0))
        self._say, self._watchers = say, watchers
        self._lock = lock(settings.folder)
        self._ledger, known = recover(settings.folder)
        self.sequences = Sequences()
        if known:
            with suppress(ValueError, KeyError, TypeError, AttributeError):
                self.sequences.restore(self._ledger.sequences)
        elif self._ledger.number:
            say(f"{settings.folder} has files and no state.json; what was lost before now is not told.")
        self.writing = Writing(settings.folder, self._ledger, self.sequences, say)
        self._sources = [_Source(endpoint) for endpoint, _ in settings.sources]
        self._health_s: dict[str, float] = {}
        self._unerased: dict[str, int] = {}  # of whom the caretaker has not been told yet
        self._told_purges = 0
        self._begun_s = time.monotonic()
        self._flush_wanted, self._flushed = threading.Event(), threading.Event()
        self.caretaker = Caretaker(settings.folder, settings.keep, say, self._flush, self._ledger.number)
        try:
            self._bus = Several(settings.sources, TOPICS)
        except SnfError:
            self._lock.close()
            raise

    def run(self, stop: threading.Event) -> None:
        """Collect until *stop* is set; what waits then is written."""
        self.caretaker.start()
        if self._ledger.erasing:
            self.caretaker.erase(dict(self._ledger.erasing))
        due_s = looked_s = time.monotonic()
        due_s += self.settings.write_every_s
        while not stop.is_set():
            for number, frames, past in self._bus.receive(_WAIT_S):
                self._take(number, frames, past)
            self._after_answers()
            now_s = time.monotonic()
            if now_s >= due_s or self.writing.large or self._flush_wanted.is_set():
                due_s = now_s + self.settings.write_every_s
                self._commit()
            if now_s - looked_s >= 1:
                looked_s = now_s
                self.writing.look_again()
                self._listen(now_s)
        self._after_answers(ended=True)
        self._commit()
        self._flushed.set()

    # -- one message ---------------------------------------------------------

    def _take(self, number: int, frames: list[bytes], past: bool = False, held: bool = False) -> None:
        """Take a message; *past*: of the answer to a question, *held*: which waited for that."""
        source = self._sources[number]
        self.counters["messages"] += not held
        try:
            message = wire.decode_coded(frames)
            self._check(message)
        except (wire.WireError, BadColumn):
            self.counters["damaged"] += 1
            source.damaged += 1
            return
        header = message.header
        if header.schema == wire.SNAPSHOT_SCHEMA:
            if past:
                now_ms = round(time.time() * 1e3)
                self.sequences.may_read(header.nf, header.boot, [topic for topic, _ in _heads(message)], now_ms)
            return
        if not past and not held and self._ask_first(number, message):
            source.held.append(frames)
            return
        self._heard(source, header.nf)
        now_ms = round(time.time() * 1e3)
        span_ms = self._span_ms(header, now_ms)
        why = "damaged" if source.damaged else "lost"
        before = self.sequences.lost
        new = self.sequences.come(header.nf, header.boot, message.topic, header.seq, span_ms, now_ms, why)
        if new and header.schema == wire.HEALTH_SCHEMA:
            heads = _heads(message)
            self.sequences.heartbeat(header.nf, header.boot, heads, span_ms[1], now_ms, why)
        if self.sequences.lost > before:
            source.damaged = 0
        if not new:
            self.counters["duplicates"] += not past
            return
        self._keep(message, span_ms, now_ms)
        for watcher in self._watchers:
            watcher(message)

    def _ask_first(self, number: int, message: wire.CodedMessage) -> bool:
        """Ask a function that is met, or met again, for what was missed; say whether *message* has to wait for that.

        A snapshot has the last half minute, and all that is to be erased since the function started.
        """
        source, nf, boot = self._sources[number], message.header.nf, message.header.boot
        topics: Sequence[str] = ()
        if source.silent or (nf, boot) not in source.boots:
            topics = _ASKED
        elif message.header.schema == wire.HEALTH_SCHEMA:
            topic = f"{_PURGES}{nf}/"
            head = dict(_heads(message)).get(topic, 0)
            if head != source.asked_purges and self.sequences.next(nf, boot, topic) < head:
                topics, source.asked_purges = (_PURGES,), head
        if len(source.boots) < _MOST_BOOTS:
            source.boots.add((nf, boot))
        if topics:
            self._bus.ask(number, topics)
        return self._bus.asking(number)

    def _after_answers(self, ended: bool = False) -> None:
        """Take what waited for an answer that is over, or all when the collector is, and have erased who is to be."""
        for number, source in enumerate(self._sources):
            if source.held and (ended or not self._bus.asking(number)):
                held, source.held = source.held, []
                for frames in held:
                    self._take(number, frames, held=True)
        if self._unerased:
            self._commit()  # rows of them that came before are in files then
            with suppress(OSError):  # of a full disk: it is remembered as long as this process lives
                self._ledger.save(self.settings.folder)
            self.caretaker.erase(self._unerased)
            self._unerased = {}
        if self.sequences.lost_purges > self._told_purges:
            count, self._told_purges = self.sequences.lost_purges - self._told_purges, self.sequences.lost_purges
            self._say(
                f"{count} messages of whom to erase did not come, as the table gaps tells. Purge them there again, or "
                "erase them here (snf collect erase). A function with a snapshot-endpoint tells them again, to a key "
                "that may read purge.v1/."
            )

    def _keep(self, message: wire.CodedMessage, span_ms: tuple[int, int], now_ms: int) -> None:
        header = message.header
        which = (header.nf, header.boot, message.topic, header.seq)
        if header.schema == wire.PURGE_SCHEMA:
            if not self._purge(message):
                self._foreign(which, span_ms, now_ms)
        elif self.writing.full:
            self.writing.lose(*which, span_ms)
        elif header.schema == wire.HEALTH_SCHEMA:
            self._keep_health(message, span_ms[1])
        elif header.schema not in tables:
            self._foreign(which, span_ms, now_ms)
        else:
            try:
                table, columns = rows_of_message(message)
            except UNFIT:
                self._foreign(which, span_ms, now_ms)
                return
            self.writing.hold(*which, span_ms)
            if header.rows:
                self.counters["rows"] += header.rows
                self.writing.add(table, span_ms[1], columns, header.rows)

    def _foreign(self, which: tuple[str, str, str, int], span_ms: tuple[int, int], now_ms: int) -> None:
        nf, boot, topic, seq = which
        self.counters["foreign"] += 1
        self.writing.miss(Gap(nf, boot, seq, now_ms, topic, 1, *span_ms, "foreign"))

    def _keep_health(self, message: wire.CodedMessage, end_ms: int) -> None:
        nf, now_s = message.header.nf, time.monotonic()
        if not message.header.rows or now_s - self._health_s.get(nf, -math.inf) < _HEALTH_S:
            return
        self._health_s[nf] = now_s
        with suppress(*UNFIT):
            self.writing.add("health", end_ms, health_of(message, end_ms), 1)

    def _purge(self, message: wire.CodedMessage) -> bool:
        """Note who is to be erased; return whether that can be read. If not, it is as if it had not come."""
        try:
            until_ms = names_of_purge(message).items()
        except UNFIT:
            self.sequences.lost_purges += 1
            return False
        self.counters["purges"] += 1
        self._ledger.erasing = later(self._ledger.erasing, until_ms)
        self._unerased = later(self._unerased, until_ms)
        return True

    @staticmethod
    def _check(message: wire.CodedMessage) -> None:
        header, parts = message.header, message.topic.split("/")
        if len(parts) < 3 or parts[1] != header.nf or not header.nf or header.seq > MAX_SEQ:
            raise wire.WireError("the topic is not that of the header")
        if max(len(header.nf), len(header.boot), len(message.topic)) > _NAME_LENGTH:
            raise wire.WireError("a name is too long")
        if header.epoch > MAX_SEQ:
            raise wire.WireError("the epoch is no number of a key")
        if header.schema == wire.QOE_SCHEMA and len(parts) < 4:
            raise wire.WireError("the topic has no class")

    def _span_ms(self, header: wire.Header, now_ms: int) -> tuple[int, int]:
        """Return begin and end of a message; those of a clock that is far from ours are now."""
        found = []
        for at_s in (header.t_start, header.t_end):
            near = math.isfinite(at_s) and abs(at_s * 1e3 - now_ms) <= CLOCKS_MS
            self.counters["wrong_clocks"] += not near
            found.append(round(at_s * 1e3) if near else now_ms)
        return found[0], found[1]

    # -- who is heard ----------------------------------------------------------

    def _heard(self, source: _Source, nf: str) -> None:
        now_ms = round(time.time() * 1e3)
        if nf not in source.functions:
            source.functions.add(nf)
            self._say(f"{nf} at {source.endpoint} is heard.")
        if source.silent and source.heard_s is not None:
            self._say(f"{', '.join(sorted(source.functions))} at {source.endpoint} is heard again.")
            for each in source.functions:
                self.sequences.silent(each, source.heard_ms, now_ms)
        source.heard_s, source.heard_ms, source.silent = time.monotonic(), now_ms, False

    def _listen(self, now_s: float) -> None:
        for source in self._sources:
            if source.silent:
                continue
            if source.heard_s is None and now_s - self._begun_s >= _NEVER_S:
                source.silent = True
                self._say(
                    f"Nothing was heard from {source.endpoint} yet. Is the function up, and may this key read there? "
                    "The collector goes on waiting."
                )
            elif source.heard_s is not None and now_s - source.heard_s >= _DEAD_S:
                source.silent = True
                names = ", ".join(sorted(source.functions))
                self._say(f"{names} at {source.endpoint} fell silent. The collector goes on waiting.")

    # -- writing ---------------------------------------------------------------

    def _commit(self) -> None:
        with suppress(queue.Empty):
            while True:
                self.writing.miss(self.caretaker.damaged.get_nowait())
        with suppress(queue.Empty):
            while True:
                for name, until_ms in self.caretaker.erased.get_nowait().items():
                    if self._ledger.erasing.get(name) == until_ms:
                        del self._ledger.erasing[name]
        self._flush_wanted.clear()
        written = self.writing.commit()
        self.caretaker.changed(written, self.writing.number)
        self._flushed.set()

    def _flush(self) -> None:
        """Have what waits written; called by the other thread."""
        self._flushed.clear()
        self._flush_wanted.set()
        self._flushed.wait(60.0)

    def close(self) -> None:
        """Release bus and folder."""
        if self.caretaker.is_alive():
            self.caretaker.stop()
        self._bus.close()
        self._lock.close()

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _heads(message: wire.CodedMessage) -> list[tuple[str, int]]:
    topics, heads = message.columns.get("topic"), message.columns.get("next_seq")
    if not isinstance(topics, Coded) or not isinstance(heads, np.ndarray) or heads.dtype.kind not in "iu":
        return []
    return [(topics.values[at], head) for at, head in zip(topics.index.tolist(), heads.tolist(), strict=True)]
