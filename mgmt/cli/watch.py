"""``snf watch`` and ``snf top``: a feed as a live table or as JSON lines, of a running function or saved.

    watch(endpoint, ...)    everything, or with ``subscriber=`` one subscriber in detail
    top(endpoint, ...)      the same rows, the worst experience first
    replayed(feed, ...)     the same of JSON lines, from a file or a pipe

All return the exit status: 0, also after Ctrl-C; 1 when nothing at all was heard in ``seconds``, or read.
Pictures are made by `mgmt.cli.picture` from values alone; here are the bus, the terminal and the time.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from feed.consumer import CurveKeys, Liveness, Subscriber
from feed.records import CHANGE_COLUMNS, FLOW_COLUMNS, RECORD_COLUMNS
from feed.wire import CHANGE_SCHEMA, FLOW_SCHEMA, HEALTH_SCHEMA, QOE_SCHEMA, Message, rows_of
from mgmt.cli import waiting
from mgmt.cli.board import Board
from mgmt.cli.cells import printable
from mgmt.cli.filters import EVERYTHING, Filters
from mgmt.cli.follower import Follower
from mgmt.cli.keyboard import Keyboard
from mgmt.cli.picture import screen
from mgmt.cli.saved import Saved
from mgmt.cli.view import View
from nf.errors import SnfError

__all__ = ["json_lines", "replayed", "top", "watch"]

_FRAME_S = 0.5  # between two pictures
_KEY_S = 0.1  # between two looks at the keyboard
_WORST = View(sort="score")
_PLAIN = View()


def watch(
    endpoint: str,
    *,
    output: str = "table",
    subscriber: str | None = None,
    seconds: float | None = None,
    curve: CurveKeys | None = None,
    filters: Filters = EVERYTHING,
    view: View = _PLAIN,
) -> int:
    """Show what is published; *subscriber* is followed in detail, and may be the beginning of a pseudonym."""
    with Subscriber(endpoint, ["health.v1/", "change.v1/"], curve) as bus:
        follower = Follower(bus, subscriber, time.monotonic()) if subscriber else None
        if follower is None:
            bus.subscribe("qoe.v1/")
        if output == "table":
            bus.snapshot()
        heard = waiting.Heard(replace(filters, subscriber=None))
        title = f"snf watch   {printable(subscriber)}" if subscriber else "snf watch"
        return _show(_Session(bus, endpoint, output, seconds, view, heard, follower, curve is not None, title))


def top(
    endpoint: str,
    *,
    output: str = "table",
    seconds: float | None = None,
    curve: CurveKeys | None = None,
    filters: Filters = EVERYTHING,
    view: View = _WORST,
) -> int:
    """Show what is published, the worst score first."""
    with Subscriber(endpoint, ["health.v1/", "change.v1/", "qoe.v1/"], curve) as bus:
        if output == "table":
            bus.snapshot()
        heard = waiting.Heard(filters)
        return _show(_Session(bus, endpoint, output, seconds, view, heard, None, curve is not None, "snf top"))


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


def _print_lines(message: Message) -> None:
    for line in json_lines(message):
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


# -- a saved feed ------------------------------------------------------------


def replayed(
    descriptor: int,
    *,
    output: str = "table",
    seconds: float | None = None,
    filters: Filters = EVERYTHING,
    view: View = _PLAIN,
    title: str = "snf watch",
) -> int:
    """Show a saved feed: all of its rows, each with its last record; while it is written still, live on a terminal."""
    saved, heard, board, terminal = Saved(descriptor), waiting.Heard(filters), Board(forget_s=None), _Terminal()
    live = terminal.live and not stat.S_ISREG(os.fstat(descriptor).st_mode)
    drawn_s = time.monotonic()

    def picture(height: int | None) -> list[Text]:
        return screen(board, 0, view, width=terminal.width, height=height, title=f"{title}   saved", notes=[board.mark])

    with terminal.drawing(live) as draw:
        try:
            for message in saved.messages(seconds, _FRAME_S):
                if message is not None:
                    wanted = heard.hear(message, 0)
                    if output == "json":
                        _print_lines(wanted)
                    else:
                        board.feed(wanted, 0)
                if live and output != "json" and time.monotonic() - drawn_s >= _FRAME_S:
                    draw(picture(terminal.height))
                    drawn_s = time.monotonic()
        except KeyboardInterrupt:
            pass  # as the end of the feed
        except OSError as error:
            raise SnfError(
                f"The saved feed cannot be read: {error.strerror}.", "Give a file, or - for a pipe."
            ) from None
        if output != "json" and board.rows:
            draw(picture(terminal.height if live else None))
    if saved.others:
        _say(f"{saved.others:,} lines are no rows of a feed, and were left out.")
    if not saved.records and not board.flows:
        _say("There are no records. Give what snf watch --output json or snf replay --qoe FILE.jsonl wrote.")
        return 1
    _say(waiting.unmatched(heard))
    return 0


# -- the loop ------------------------------------------------------------------


@dataclass(slots=True)
class _Session:
    bus: Subscriber
    endpoint: str
    output: str
    seconds: float | None
    view: View
    heard: waiting.Heard
    follower: Follower | None
    curve: bool
    title: str
    begun_s: float = field(default_factory=time.monotonic)
    said: str = ""  # the last sentence on standard error

    def say(self, text: str) -> None:
        """Write a sentence, unless it is the one before."""
        if text and text != self.said:
            _say(text)
        self.said = text or self.said

    def trouble(self) -> str:
        """Return what to look at; empty when all is well."""
        bus, now_s = self.bus, time.monotonic()
        return waiting.trouble(
            self.endpoint,
            bus.link,
            bus.liveness(waiting.QUIET_S),
            now_s - self.begun_s,
            self.curve,
            self.follower is not None,
        )

    def waits(self) -> str:
        """Return why there are no rows."""
        if self.heard.beats and self.follower is not None:
            return self.follower.said()
        if found := waiting.unmatched(self.heard):
            return found
        return waiting.hope(self.endpoint, self.bus.link, self.heard.beats, time.monotonic())


def _show(session: _Session) -> int:
    try:
        if session.output == "json":
            _print_json(session)
        else:
            _draw(session)
    except KeyboardInterrupt:
        return 0
    following = session.follower is not None
    if session.bus.heard_s is None:
        short_s = waiting.SILENT_S  # the time is up, so nothing is left to be patient for
        state = Liveness.SILENT
        session.say(waiting.trouble(session.endpoint, session.bus.link, state, short_s, session.curve, following))
        return 1
    if session.bus.data_s is None:
        session.say(waiting.quiet(session.endpoint, following))
    elif following and session.follower is not None and not session.follower.heard:
        session.say(session.follower.said())
    session.say(waiting.unmatched(session.heard))
    return 0


def _print_json(session: _Session) -> None:
    told = _Teller(session, session.say)
    for message in _wanted(session):
        told.look()
        told.hear(message)
        if message is not None:
            _print_lines(message)


def _draw(session: _Session) -> None:
    terminal, board, notes = _Terminal(), Board(), _Notes()
    told, keyboard, drawn_s = _Teller(session, notes.tell if terminal.live else session.say), Keyboard(), 0.0

    def picture() -> list[Text]:
        lost = f"{session.bus.gaps:,} messages lost" if session.bus.gaps else ""
        strangers = any(row.unknown for row in board.rows.values())
        wait = session.trouble() or session.waits() if not board.rows else ""
        said = session.follower.said() if session.follower is not None and board.rows else ""
        return screen(
            board,
            time.monotonic(),
            session.view,
            width=terminal.width,
            height=terminal.height,
            title=session.title,
            waiting=wait,
            notes=[notes.text if board.rows else "", said, lost, board.mark if strangers else board.banner],
            keys=terminal.live and keyboard.there,
        )

    with keyboard.opened(), terminal.drawing(terminal.live) as draw:
        for message in _wanted(session, _KEY_S if terminal.live and keyboard.there else _FRAME_S):
            told.look()
            told.hear(message)
            if message is not None:
                board.feed(message, time.monotonic())
            pressed = keyboard.pressed() if terminal.live else ""
            if "q" in pressed:
                break
            for key in pressed:
                session.view = session.view.press(key)
            if terminal.live and (pressed or time.monotonic() - drawn_s >= _FRAME_S):
                draw(picture())
                drawn_s = time.monotonic()
        if board.rows or terminal.live:
            draw(picture())


def _wanted(session: _Session, quiet_s: float = _FRAME_S) -> Iterator[Message | None]:
    for message in session.bus.messages(session.seconds, quiet_s=quiet_s):
        now_s = time.monotonic()
        if message is None:
            yield None
            continue
        theirs = message.header.schema in (QOE_SCHEMA, FLOW_SCHEMA, HEALTH_SCHEMA)
        mine = session.follower is None or session.follower.takes(message, now_s)
        if mine or not theirs or message.header.schema == HEALTH_SCHEMA:
            yield session.heard.hear(message, now_s)
        else:
            yield None


# -- the terminal ----------------------------------------------------------------


class _Terminal:
    """Standard output: a terminal that is drawn on again and again, or a file or a pipe that gets the last picture."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self.live = self._console.is_terminal

    @property
    def width(self) -> int | None:
        """Characters of a line; None for a file or a pipe, which cut nothing off unless COLUMNS says so."""
        return self._console.width if self.live or "COLUMNS" in os.environ else None

    @property
    def height(self) -> int | None:
        """Lines of the terminal; None for a file or a pipe."""
        return self._console.height if self.live else None

    def drawing(self, live: bool) -> _Drawing:
        """Return what draws pictures: one over the other, or each below the one before."""
        return _Drawing(self, Live(console=self._console, auto_refresh=False) if live else None)

    def write(self, lines: list[Text]) -> None:
        """Write lines, with colours on a terminal."""
        if self.live:
            for line in lines:
                self._console.print(line, no_wrap=True, crop=True)
        else:
            sys.stdout.write("".join(f"{line.plain.rstrip()}\n" for line in lines))
            sys.stdout.flush()


class _Drawing:
    """A context manager; calling what it gives draws."""

    def __init__(self, terminal: _Terminal, live: Live | None) -> None:
        self._terminal, self._live = terminal, live

    def __enter__(self) -> Callable[[list[Text]], None]:
        if self._live is None:
            return self._terminal.write
        self._live.start()
        return self._update

    def _update(self, lines: list[Text]) -> None:
        assert self._live is not None
        self._live.update(Text("\n", no_wrap=True, overflow="crop").join(lines), refresh=True)

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()


class _Notes:
    """The last news, which stands below the rows."""

    def __init__(self) -> None:
        self.text = ""

    def tell(self, text: str) -> None:
        """Take a sentence in the place of the one before."""
        self.text = text


def _say(text: str) -> None:
    if text:
        sys.stderr.write(f"snf: {text}\n")


class _Teller:
    """Tells once when the feed falls silent, and again only after it has come back."""

    def __init__(self, session: _Session, tell: Callable[[str], Any]) -> None:
        self._session, self._tell = session, tell
        self._told, self._unmatched = "", False
        self._not_read: dict[str, str] = {}  # by function

    def look(self) -> None:
        """Tell what is wrong, if it is news."""
        said = self._session.trouble()
        if said != self._told:
            self._told = said
            self._tell(said)
        session = self._session
        if not self._unmatched and time.monotonic() - session.begun_s > waiting.QUIET_S:
            self._unmatched = True
            missed = session.follower is not None and not session.follower.heard and session.bus.data_s is not None
            self._tell(session.follower.said() if missed and session.follower else waiting.unmatched(session.heard))

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
