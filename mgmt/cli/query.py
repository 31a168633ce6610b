"""``snf query``: a question to the history, or somebody's own SQL, as a table, JSON lines, CSV or Parquet."""

from __future__ import annotations

import json
import re
import sys
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

import click

from mgmt.cli import beside, inputs
from mgmt.cli.options import EXISTING, PATH
from nf.errors import SnfError

if TYPE_CHECKING:
    from feed.change import Mark
    from history.questions.run import Answer, History
    from history.questions.text import Asked, Question

__all__ = ["COMMANDS"]

_FOLDER = Path("/var/lib/supernetflow-collector")
_SPANS_S = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_FILTERS = {
    "subscriber": "name of a subscriber, whole",
    "app": "application",
    "class": "class of applications",
    "gnb": "gNB, by its address",
    "slice": "slice: SST or SST-SD",
    "dnn": "data network name",
    "rat": "radio access technology",
    "tai": "tracking area",
    "cell": "cell",
    "nf": "function that published",
}
_SCOPE = ("app", "gnb", "dnn", "slice")


def _filtered(command: Any) -> Any:
    for name, what in reversed(_FILTERS.items()):
        command = click.option(f"--{name}", f"only_{name}", help=f"Only of this {what}.")(command)
    return command


@click.command()
@click.argument("name", required=False)
@click.option("--sql", type=EXISTING, help="File with one select over the tables, instead of a question.")
@click.option(
    "--folder",
    type=PATH,
    default=_FOLDER,
    show_default=True,
    envvar="SNF_HISTORY",
    show_envvar=True,
    help="What snf collect writes to.",
)
@click.option("--feed", type=click.File("rb"), help="A saved feed instead: JSON lines of snf watch; - for stdin.")
@click.option("--since", help="Begin: 90m, 6h, 2d, 1w ago, or a time as in 2026-11-29T12:30:00.")
@click.option("--until", help="End, in the same words; now, when it is not given.")
@click.option("--by", help="What rows are of: subscriber, app, gnb, slice and others.")
@click.option("--measure", help="Of busy: mos, rtt_access_ms, loss_dl and others.")
@click.option("--at", help="Of change: the time of a change; the last one that was marked, when it is not given.")
@click.option("--limit", type=click.IntRange(1), help="Most rows.")
@click.option("--least", type=click.IntRange(1), help="Fewest scores of a row, for it to be judged.")
@click.option("--days", type=click.IntRange(1), help="Of churn: fewest bad days one after another.")
@click.option("--output", type=click.Choice(["table", "json", "csv", "parquet"]), default="table", show_default=True)
@_filtered
def query(
    name: str | None,
    sql: Path | None,
    folder: Path,
    feed: IO[bytes] | None,
    since: str | None,
    until: str | None,
    at: str | None,
    output: str,
    **words: Any,
) -> None:
    """Ask the history a question.

    NAME is worst, subscriber, busy, change, apps, habits, churn or gaps; without it they are listed.
    """
    beside.needed()
    from history.questions.text import QUESTIONS

    if name is None and sql is None:
        for each, question in QUESTIONS.items():
            click.echo(f"{each:12}{question.says}")
        return
    if name is not None and sql is not None:
        raise SnfError("There are a question and SQL.", f"Give {name}, or --sql {sql}.")
    if output == "parquet" and sys.stdout.isatty():
        raise SnfError("Parquet is no text for a terminal.", "Send it to a file: > FILE.parquet")
    if feed is not None and name == "gaps":
        raise SnfError("A saved feed does not say what is missing.", "Ask the files of snf collect: --folder FOLDER.")
    from history.questions.run import History

    now_s = time.time()
    begin, end = (_moment(text, now_s, option) for text, option in ((since, "--since"), (until, "--until")))
    with ExitStack() as opened:
        if feed is not None:
            folder = Path(opened.enter_context(TemporaryDirectory(prefix="snf-feed-")))
            first_s, last_s = _saved(feed, folder)
            begin, end = first_s if begin is None else begin, last_s if end is None else end
        history = opened.enter_context(History(folder))
        if sql is not None:
            _refuse(words, at)
            _show(history.sql(_text(sql), _ms(begin), _ms(end)), output, f"Rows of {sql}", "", {})
            return
        assert name is not None
        if name not in QUESTIONS:
            raise SnfError(f"There is no question {name}.", f"Questions are {', '.join(QUESTIONS)}.")
        mark = _mark(history, at, end or now_s) if name == "change" else None
        if at is not None and mark is None:
            raise SnfError(f"The question {name} has no mark.", "Ask change, or without --at.")
        asked = _asked(QUESTIONS[name], words, (begin, end or now_s), mark, until is None and feed is None)
        answer = history.ask(name, asked)
        title, heads = _title(QUESTIONS[name], asked, mark), {"value": asked.by or next(iter(QUESTIONS[name].by), "")}
        _show(answer, output, title, _nothing(name, asked), heads)


def _saved(feed: IO[bytes], folder: Path) -> tuple[float, float]:
    """Write a saved feed into files of a folder; return the time of its records, in seconds."""
    from history.questions.saved import put
    from mgmt.cli.saved import Saved

    saved = Saved(feed.fileno())
    try:
        done = put((message for message in saved.messages() if message is not None), folder)
    except OSError as error:
        raise SnfError(f"The saved feed cannot be read, or kept in {folder.parent}: {error.strerror}.", "") from None
    if left_out := saved.others + done.left_out:
        click.echo(f"snf: {left_out:,} lines are no rows of a feed, and were left out.", err=True)
    if not done.records:
        remedy = "Give what snf watch --output json or snf replay --qoe FILE.jsonl wrote."
        raise SnfError("There are no records.", remedy)
    return done.first_ms / 1e3, (done.last_ms + 1) / 1e3


def _moment(text: str | None, now_s: float, option: str) -> float | None:
    """Return the seconds since the epoch of a time, or of a span before now; None without one."""
    if text is None:
        return None
    if found := re.fullmatch(r"(\d{1,6})([mhdw])", text):
        return now_s - int(found[1]) * _SPANS_S[found[2]]
    if text == "now":
        return now_s
    try:
        return inputs.moment(text, option)
    except SnfError:
        raise SnfError(f"{option} {text} is no time.", "Write it as 6h, 2d, or 2026-11-29T12:30:00.") from None


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise SnfError(f"{path} is no text that can be read.", "Give a file with one select.") from None


def _refuse(words: dict[str, Any], at: str | None) -> None:
    """Refuse options of questions beside somebody's own SQL."""
    given = [key.removeprefix("only_") for key, value in (words | {"at": at}).items() if value is not None]
    if given:
        raise SnfError(f"--{given[0]} is of questions.", "Write it in the SQL.")


def _mark(history: History, at: str | None, until_s: float) -> Mark:
    """Return the mark of a time that is given, else the last one that was marked."""
    from feed.change import Mark

    if at is not None:
        return Mark(inputs.moment(at, "--at"))
    for mark in history.marks(0, round(until_s * 1000)):
        return mark
    raise SnfError("There is no mark of a change in the history.", "Give its time: --at 2026-11-29T12:30:00.")


def _asked(
    question: Question, words: dict[str, Any], span: tuple[float | None, float], mark: Mark | None, open_end: bool
) -> Asked:
    """Return the parameters: from the full hour that the begin is in, and of a mark its own scope and days."""
    from history.questions.text import DAY_MS, HOUR_MS, Asked

    filters = {key.removeprefix("only_"): words[key] for key in words if key.startswith("only_")}
    filters["app_class"] = filters.pop("class")
    end = round(span[1] * 1000)
    middle = end
    if mark is not None:
        filters |= {key: getattr(mark, key) for key in _SCOPE if getattr(mark, key)}
        middle = -(-round(mark.at_s * 1000) // HOUR_MS) * HOUR_MS
        if open_end:
            end = min(end, middle + question.days * DAY_MS)
    begin = middle - question.days * DAY_MS if span[0] is None else round(span[0] * 1000)
    return Asked(
        since_ms=max(begin - begin % HOUR_MS, 0),
        until_ms=end,
        by=words["by"] or "",
        measure=words["measure"] or "mos",
        mark_ms=None if mark is None else round(mark.at_s * 1000),
        filters={key: value for key, value in filters.items() if value is not None},
        numbers={key: words[key] for key in ("limit", "least", "days") if words[key] is not None},
    )


def _title(question: Question, asked: Asked, mark: Mark | None) -> str:
    said = question.says[0].upper() + question.says[1:]
    first, last = (
        datetime.fromtimestamp(ms / 1000).strftime("%Y-%m-%d %H:%M") for ms in (asked.since_ms, asked.until_ms)
    )
    scope = "".join(f", {key} {value}" for key, value in asked.filters.items())
    changed = ""
    if mark is not None:
        when, by = datetime.fromtimestamp(mark.at_s).strftime("%Y-%m-%d %H:%M"), f" by {mark.who}" if mark.who else ""
        changed = f"\n{when}{by}: {mark.text or 'a change'}"
    measure = f", {asked.measure}" if "busiest" in question.says else ""
    return f"{said}\n{first} to {last}{measure}{scope}{changed}"


def _nothing(name: str, asked: Asked) -> str:
    """Return the sentence of a question without rows."""
    from history.questions.text import QUESTIONS

    least = asked.numbers.get("least", QUESTIONS[name].numbers.get("least", 0))
    return {
        "worst": f"Nothing has {least} scores in this time, which it needs to be judged (--least).",
        "gaps": "Nothing is missing in this time.",
        "churn": "No subscriber had so many bad days one after another.",
        "change": "Nobody has scores on both sides of the change.",
        "subscriber": "There is nothing of this subscriber in this time.",
    }.get(name, "There are no rows in this time.")


def _show(answer: Answer, output: str, title: str, nothing: str, heads: dict[str, str]) -> None:
    if not answer.table.num_rows:
        click.echo(f"snf: {nothing or 'The SQL has no rows.'}", err=True)
    if output == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(answer.table, sys.stdout.buffer)
    elif output == "csv":
        import pyarrow.csv as pc

        pc.write_csv(answer.table, sys.stdout.buffer)
    elif output == "json":
        for row in answer.rows:
            click.echo(json.dumps(dict(zip(answer.columns, row, strict=True)), separators=(",", ":"), default=str))
    elif answer.table.num_rows:
        from mgmt.cli import answers

        answers.show(answer.columns, answer.rows, title, heads)


COMMANDS = (query,)
