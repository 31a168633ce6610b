"""Paths of the page and their answers, as JSON. A question that cannot be answered is one sentence."""

from __future__ import annotations

import html
import logging
import math
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from feed.change import Mark
from feed.errors import SnfError
from history.web import asked, data
from history.web.asked import Asked
from history.web.files import Files
from history.web.guard import Guard, Tokens
from history.web.mask import Mask

__all__ = ["make"]

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
_DIGITS = 6  # significant ones of a number that is a mean: a picture has fewer
_MOST_DAYS = 31  # on each side of a change
_DAY_MS = 86_400_000
_LOGIN = {"wrong": "This token is wrong.", "slow": "Wrong tokens came from this address; wait a minute."}
_SPACE = 1024  # bytes; a smaller answer is not worth compressing


class _Page:
    """Answers over one folder; *tokens* is there where somebody has to log in."""

    def __init__(self, folder: Path, tokens: Tokens | None) -> None:
        self._files, self._tokens, self._mask = Files(folder), tokens, Mask()

    def _read(self, request: Request) -> Asked:
        words, newest = dict(request.query_params), data.newest_ms(self._files)
        return asked.read(words, newest if newest is not None else int(time.time() * 1000))

    def overview(self, request: Request) -> Mapping[str, Any]:
        """Range of the folder, and names to choose from."""
        wanted, hours = self._read(request), self._files.hours("facts")
        return {
            "oldest_ms": hours[0] if hours else None,
            "newest_ms": data.newest_ms(self._files),
            "names": data.names(self._files, wanted),
            "gaps": len(data.gaps(self._files, wanted)),
            "login": self._tokens is not None,
        }

    def worst(self, request: Request) -> Mapping[str, Any]:
        """Return the ranking, with the line of all above it."""
        wanted = self._read(request)
        rows = data.worst(self._files, wanted)
        if wanted.by == "subscriber":
            rows = [self._named(request, row, "value") for row in rows]
        return self._of(wanted) | {"rows": rows, "line": data.timeline(self._files, wanted)}

    def subscriber(self, request: Request) -> Mapping[str, Any]:
        """Return one subscriber, by his name or the handle of a row."""
        wanted, name = self._read(request), self._mask.name(request.query_params.get("name", ""))
        if not name:
            raise SnfError("No subscriber is named.", "Choose one in the list of the worst.")
        found = data.subscriber(self._files, wanted, name)
        return self._of(wanted) | self._named(request, {"name": name}, "name") | found

    def change(self, request: Request) -> Mapping[str, Any]:
        """Return the marks, and what happened at one of them, or at a time."""
        wanted, words = self._read(request), request.query_params
        marks = data.marks(self._files, wanted)
        chosen = self._mark(words, marks)
        if chosen is None:
            return self._of(wanted) | {"marks": marks, "effects": []}
        days = words.get("days", "1")
        if not (days.isascii() and days.isdigit()) or not 1 <= int(days[:3]) <= _MOST_DAYS:
            raise SnfError(f"A change is compared over 1 to {_MOST_DAYS} days on each side.", "Give one of them.")
        found = data.change(self._files, wanted, chosen, int(days) * _DAY_MS)
        return self._of(wanted) | {"marks": marks, "at_ms": int(chosen.at_s * 1000), "text": chosen.text} | found

    @staticmethod
    def _mark(words: Mapping[str, str], marks: data.Rows) -> Mark | None:
        """Return the mark at the time that was asked for, or that time without one; the newest without a time."""
        at = words.get("at", "")
        if at and not (at.isascii() and at.isdigit() and len(at) <= 15):
            raise SnfError("The time of the change is no number.", "Times are milliseconds since 1970.")
        found = next((m for m in marks if not at or m["t_ms"] == int(at)), None)
        if found is None:
            return Mark(int(at) / 1000) if at else None
        scope = {name: found[name] or "" for name in ("text", "who", "app", "gnb", "dnn", "slice")}
        return Mark(found["t_ms"] / 1000, **scope)

    def places(self, request: Request) -> Mapping[str, Any]:
        """Return the edges of the map."""
        wanted = self._read(request)
        return self._of(wanted) | data.places(self._files, wanted)

    def health(self, request: Request) -> Mapping[str, Any]:
        """Return what functions said of themselves, and what is missing."""
        wanted = self._read(request)
        wrong = self._tokens.attempts.wrong if self._tokens else 0
        return self._of(wanted) | {
            "now_ms": int(time.time() * 1000),
            "functions": data.health(self._files, wanted),
            "gaps": data.gaps(self._files, wanted),
            "wrong_tokens": wrong,
        }

    def index(self, _: Request) -> Response:
        """Return the page itself."""
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    def login(self, request: Request) -> Response:
        """Return the form; where no token is needed there is nothing to log in to."""
        if self._tokens is None:
            return RedirectResponse("/", 303)
        said = next((text for word, text in _LOGIN.items() if word in request.query_params), "")
        text = (STATIC / "login.html").read_text(encoding="utf-8")
        return HTMLResponse(text.replace("{said}", html.escape(said)))

    def _named(self, request: Request, row: dict[str, Any], column: str) -> dict[str, Any]:
        """Put a handle and a label in the place of a name, unless the name is asked for."""
        name = str(row[column])
        shown = request.query_params.get("names") == "shown"
        return row | {column: name if shown else self._mask.label(name), "handle": self._mask.handle(name)}

    @staticmethod
    def _of(wanted: Asked) -> dict[str, Any]:
        return {"since_ms": wanted.since_ms, "until_ms": wanted.until_ms, "step_ms": data.step_ms(wanted)}


def make(folder: Path, names: Collection[str] = (), tokens: Tokens | None = None) -> ASGIApp:
    """Return the application over a folder. *names*: of this host, beside its addresses."""
    page = _Page(folder, tokens)
    answers = (page.overview, page.worst, page.subscriber, page.change, page.places, page.health)
    routes = [
        Route("/", page.index),
        Route("/login", page.login),
        *(Route(f"/api/{answer.__name__}", _json(answer)) for answer in answers),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    found = Starlette(routes=routes, exception_handlers={404: _unknown, Exception: _fault})
    return Guard(GZipMiddleware(found, minimum_size=_SPACE), names, tokens)


def _json(answer: Callable[[Request], Mapping[str, Any]]) -> Callable[[Request], Response]:
    def respond(request: Request) -> Response:
        try:
            return JSONResponse(_plain(answer(request)))
        except SnfError as error:
            return JSONResponse({"error": str(error)}, 503 if error.passing else 400)

    return respond


def _plain(value: Any) -> Any:
    """Return what JSON can say: missing is null, and a mean has as many digits as anybody reads."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _unknown(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "There is nothing at this path."}, 404)


def _fault(_: Request, error: Exception) -> Response:
    """Tell of a fault of the program by its place: its text may name a subscriber."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{type(error).__name__} at {Path(last.filename).name} line {last.lineno}"
    log.error("A fault of the program: %s.", where)
    return JSONResponse({"error": f"A fault of the program: {where}."}, 500)
