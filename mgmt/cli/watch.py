"""``snf watch`` and ``snf top``: the feed of a running function, as a live table or as JSON lines.

    watch(endpoint, ...)    everything, or with ``subscriber=`` one subscriber in detail
    top(endpoint, ...)      the same rows, the worst experience first

Both return the exit status: 0, also after Ctrl-C; 1 when nothing at all was heard in ``seconds``.
Tables are made by `mgmt.cli.board` from values alone; here are the bus, the terminal and the time.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import compress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.live import Live

from feed.consumer import CurveKeys, Liveness, Subscriber
from feed.records import CHANGE_COLUMNS, FLOW_COLUMNS, RECORD_COLUMNS
from feed.wire import CHANGE_SCHEMA, FLOW_SCHEMA, HEALTH_SCHEMA, QOE_SCHEMA, Message, rows_of
from mgmt.cli.board import Board, screen

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["chosen", "json_lines", "top", "watch"]

_SILENT_S = 5.0  # of nothing at all, until the user is told
_QUIET_S = 15.0  # of heartbeats alone: longer than a batch waits by default
_FRAME_S = 0.5  # between two pictures
Only = Mapping[str, str | None]  # words that records have to have, by column
_ALL: Only = MappingProxyType({})  # no word: all of them
_PIPED_COLUMNS = 160  # a file or a pager cuts nothing off
_PSEUDONYM_DIGITS = 32  # nf.privacy.Pseudonymiser.name


def watch(
    endpoint: str,
    *,
    output: str = "table",
    subscriber: str | None = None,
    seconds: float | None = None,
    curve: CurveKeys | None = None,
    only: Only = _ALL,
) -> int:
    """Show what is published; *subscriber* is followed in detail, and may be the beginning of a pseudonym."""
    with Subscriber(endpoint, ["health.v1/", "change.v1/"], curve) as bus:
        follower = Follower(bus, subscriber) if subscriber else None
        if follower is None:
            bus.subscribe("qoe.v1/")
        if output == "table":
            bus.snapshot()
        return _show(_Session(bus, endpoint, output, seconds, follower, only=only))


def top(
    endpoint: str,
    *,
    output: str = "table",
    seconds: float | None = None,
    curve: CurveKeys | None = None,
    only: Only = _ALL,
) -> int:
    """Show what is published, the worst score first."""
    with Subscriber(endpoint, ["health.v1/", "change.v1/", "qoe.v1/"], curve) as bus:
        if output == "table":
            bus.snapshot()
        return _show(_Session(bus, endpoint, output, seconds, worst_first=True, only=only))


# -- JSON --------------------------------------------------------------------


def json_lines(message: Message) -> Iterator[str]:
    """Yield one JSON object per row: the columns of its schema in their order, ``class`` and ``nf``; missing is null.

    The detail of a followed subscriber has two schemas: its flows are the rows with ``remote``, and
    carry ``subscriber`` instead of ``class``. A mark of a change has a row with ``text``. A heartbeat yields nothing.
    """
    schema, nf = message.header.schema, message.header.nf
    for row in rows_of(message):
        if schema == QOE_SCHEMA:
            names, more = RECORD_COLUMNS, {"class": row.get("class", message.app_class), "nf": nf}
        elif schema == CHANGE_SCHEMA:
            names, more = CHANGE_COLUMNS, {"nf": nf}
        elif schema == FLOW_SCHEMA:
            names, more = FLOW_COLUMNS, {"subscriber": message.topic.split("/", 2)[2].rstrip("/"), "nf": nf}
        else:
            return
        yield json.dumps({name: row.get(name) for name in names} | more, separators=(",", ":"), allow_nan=False)


# -- following one subscriber --------------------------------------------------


class Follower:
    """Finds the topic of one subscriber: the heartbeat tells the name of the function, the feed the whole pseudonym."""

    def __init__(self, bus: Subscriber, wanted: str) -> None:
        self._bus, self._wanted = bus, wanted
        self.topics: set[str] = set()
        self._whole = len(wanted.rpartition("-")[2]) == _PSEUDONYM_DIGITS  # "ue-" or "teid-" stands before some
        if not self._whole:
            bus.subscribe("qoe.v1/")

    def takes(self, message: Message) -> bool:
        """Learn from *message*; return whether it is of the subscriber."""
        if message.topic in self.topics:
            return True
        if self._whole:
            self._follow(message.header.nf, self._wanted)
        elif not self.topics:
            names = message.columns.get("subscriber", [])
            found = next((n for n in names if n.startswith(self._wanted)), None)
            if found is not None:
                self._bus.unsubscribe("qoe.v1/")
                self._follow(message.header.nf, found)
        return False

    def _follow(self, nf_id: str, subscriber: str) -> None:
        topic = f"sub.v1/{nf_id}/{subscriber}/"
        if topic not in self.topics:
            self._bus.subscribe(topic)
            self.topics.add(topic)


# -- the loop ------------------------------------------------------------------


@dataclass(slots=True)
class _Session:
    bus: Subscriber
    endpoint: str
    output: str
    seconds: float | None
    follower: Follower | None = None
    worst_first: bool = False
    only: Only = field(default_factory=dict)


def _show(session: _Session) -> int:
    try:
        if session.output == "json":
            _print_json(session)
        else:
            _draw(session)
    except KeyboardInterrupt:
        return 0
    if session.bus.heard_s is None:
        _say(silence(Liveness.SILENT, session.endpoint, session.follower is not None))
        return 1
    if session.bus.data_s is None:
        _say(silence(Liveness.QUIET, session.endpoint, session.follower is not None))
    return 0


def _print_json(session: _Session) -> None:
    told = _Teller(session, _say)
    for message in _wanted(session):
        told.look()
        told.hear(message)
        if message is not None:
            for line in json_lines(message):
                sys.stdout.write(line + "\n")
            sys.stdout.flush()


def _draw(session: _Session) -> None:
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=_PIPED_COLUMNS)
    board = Board()
    note = ""

    def remember(text: str) -> None:
        nonlocal note
        note = text
        if text and not console.is_terminal:
            _say(text)

    def picture() -> RenderableType:
        lost = f"{session.bus.gaps} messages lost" if session.bus.gaps else ""
        height = console.height if console.is_terminal else 1000
        return screen(
            board, time.monotonic(), session.worst_first, height, "  ".join(filter(None, (note, lost, board.banner)))
        )

    told, drawn_s = _Teller(session, remember), 0.0
    with Live(console=console, auto_refresh=False, screen=False) as live:
        for message in _wanted(session):
            told.look()
            told.hear(message)
            if message is not None:
                board.feed(message, time.monotonic())
            if time.monotonic() - drawn_s >= _FRAME_S and console.is_terminal:
                live.update(picture(), refresh=True)
                drawn_s = time.monotonic()
        live.update(picture(), refresh=True)
    if not console.is_terminal:
        console.print()


def _wanted(session: _Session) -> Iterator[Message | None]:
    for message in session.bus.messages(session.seconds, quiet_s=_FRAME_S):
        marked = message is not None and message.header.schema == CHANGE_SCHEMA
        if message is not None and not marked and session.follower and not session.follower.takes(message):
            yield None
        else:
            yield None if message is None else chosen(message, session.only)


def chosen(message: Message, only: Only) -> Message:
    """Return a message with the records alone that have the words of *only*, by column; upper and lower case are one.

    Other messages (flows, marks, heartbeats) stay as they are.
    """
    wanted = {name: word.casefold() for name, word in only.items() if word}
    if not wanted or message.header.schema != QOE_SCHEMA:
        return message
    rows = np.ones(message.header.rows, np.bool_)
    for name, word in wanted.items():
        rows &= [str(value).casefold() == word for value in message.columns.get(name, [""] * message.header.rows)]
    columns = {
        name: list(compress(column, rows)) if isinstance(column, list) else column[rows]
        for name, column in message.columns.items()
    }
    return replace(message, header=replace(message.header, rows=int(rows.sum())), columns=columns)


def _say(text: str) -> None:
    if text:
        sys.stderr.write(f"snf: {text}\n")


def silence(state: Liveness, endpoint: str, following: bool) -> str:
    """Return a sentence on what to check when nothing comes; empty when all is well."""
    if state is Liveness.SILENT:
        return (
            f"Nothing was heard from {endpoint}. Check that snf run is up and publishes there, that no firewall is "
            "between, and, if it uses CURVE, that --curve holds its server key and a key pair that it allows."
        )
    if state is Liveness.DEAD:
        return f"The function at {endpoint} fell silent: it ended, or the way to it is broken. Waiting for it."
    if state is Liveness.QUIET:
        missing = "subscriber (has it traffic, and is it spelt in full?)" if following else "traffic"
        return (
            f"The function at {endpoint} is up, but publishes nothing: no {missing}. See its interfaces and policies."
        )
    return ""


class _Teller:
    """Tells once when the feed falls silent, and again only after it has come back."""

    def __init__(self, session: _Session, tell: Callable[[str], Any]) -> None:
        self._session, self._tell = session, tell
        self._begun_s, self._told = time.monotonic(), Liveness.ALIVE
        self._not_read: dict[str, str] = {}  # by function

    def look(self) -> None:
        state = self._session.bus.liveness(_QUIET_S)
        patience_s = _SILENT_S if state is Liveness.SILENT else _QUIET_S if state is Liveness.QUIET else 0
        if time.monotonic() - self._begun_s < patience_s or state is self._told:
            return
        self._told = state
        self._tell(silence(state, self._session.endpoint, self._session.follower is not None))

    def hear(self, message: Message | None) -> None:
        """Tell that a function does not read something, once, and again when its words change."""
        if message is None or message.header.schema != HEALTH_SCHEMA:
            return
        nf = message.header.nf
        text = str(next(iter(message.columns.get("not_read", ())), ""))
        if names(text) != names(self._not_read.get(nf, "")):
            self._tell(f"{nf}: {text}" if text else "")
        self._not_read[nf] = text


def names(text: str) -> str:
    """Return a text without its numbers, so that a share that changes is no news."""
    return "".join(c for c in text if not c.isdigit())
