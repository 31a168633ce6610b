"""Questions to the history: the worst of an hour, one subscriber's month, the first view of the page over a month.

A site of 1,111 records a second (4 M an hour) for the hour, and of 386 (1,000 M a month) for the month. Records are
those of the test samples, rolled up as the collector does it; the other hours of the month are such an hour again, each
with another sixth of the subscribers. What the collector has merged away by then (records, minutes of subscribers) is
not written. Files are in memory, as those of yesterday are that were just written. Each question is asked in a process
of its own, from nothing, and its memory is the largest of that process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bench import rig
from bench.figure import Figure
from history.collect.rolling import facts_of_facts, facts_of_records, minutes_of_facts
from history.store import files
from history.store.layout import HOUR_MS, MINUTE_MS, place
from history.store.schema import table_of
from lab.wait import wait_until

__all__ = ["measure"]

EVERY_S = 10  # a record of each subscriber and application
HOUR_RECORDS, MONTH_RECORDS = 4_000_000, 1_000_000_000
DAYS, PIECES = 30, 12  # five minutes each: the collector rolls up so often
GNBS, AWAY = 20, 6  # one of six subscribers is there in an hour
BEGIN_MS = 1_790_812_800_000  # 2026-10-01
ASKED = 3  # times, of which the median is told
_REQUESTS = ("", *(f"static/{name}" for name in ("style.css", "app.js", "dom.js", "worst.js", "chart.js", "table.js")))


def _records(pairs: int, begin_ms: int, piece: int) -> pa.Table:
    """Return five minutes of so many subscribers with an application each."""
    from tests.feed.samples import records

    rows = pairs * (300 // EVERY_S)
    columns = records(rows, pairs)
    columns["t_ms"] = begin_ms + piece * 5 * MINUTE_MS + (np.arange(rows) // pairs + 1) * EVERY_S * 1000
    columns["interval_ms"] = np.full(rows, EVERY_S * 1000)
    at = np.arange(rows) % pairs % GNBS
    columns |= {name: [""] * rows for name in ("rat", "tai", "cell")}
    columns |= {"gnb": [f"10.100.0.{i}" for i in at.tolist()], "nf": ["upf-1"] * rows, "boot": ["b"] * rows}
    columns |= {"app_class": ["video"] * rows, "seq": np.arange(rows) // 1000}
    return table_of("records", columns, rows)


def _put(folder: Path, table: str, hour_ms: int, span: str, numbers: tuple[int, int], rows: Iterator[Any]) -> Path:
    path = place(folder, table, hour_ms, span, *numbers).path
    first = next(rows)
    files.write(path, first.schema, [first, *rows])
    return path


def _hour(folder: Path, pairs: int) -> dict[str, Path]:
    """Write an hour in three states, each into a folder of its own: as it came, while it goes on, and over."""
    states = {name: folder / name for name in ("records", "minutes", "hours")}
    template, rolled = _records(pairs, BEGIN_MS, 0), []
    at = template.column_names.index("t_ms")
    for piece in range(PIECES):
        rig.progress(f"an hour, piece {piece + 1} of {PIECES}")
        numbers, t_ms = (piece + 1, piece + 1), pc.add(template["t_ms"], piece * 5 * MINUTE_MS)
        rows = template.set_column(at, template.field(at), t_ms)
        path = _put(states["records"], "records", BEGIN_MS, "", numbers, iter([rows]))
        target = states["minutes"]
        if piece == PIECES - 1:
            _put(target, "records", BEGIN_MS, "", numbers, iter([rows]))
            target = folder / "aside"
        rolled.append(_put(target, "facts", BEGIN_MS, "minute", numbers, facts_of_records(path)))
    _put(states["hours"], "facts", BEGIN_MS, "hour", (1, PIECES), facts_of_facts(rolled, HOUR_MS))
    return states


def _month(folder: Path, pairs: int) -> str:
    """Write a month of hours and minutes; return the name of a subscriber of it."""
    aside = folder / "aside"
    template = _records(pairs, BEGIN_MS, 0)
    at = template.column_names.index("t_ms")
    minute, rolled = [], []
    for piece in range(PIECES):
        rows = template.set_column(at, template.field(at), pc.add(template["t_ms"], piece * 5 * MINUTE_MS))
        each = _put(aside, "records", BEGIN_MS, "", (piece + 1, piece + 1), iter([rows]))
        rolled.append(_put(aside, "facts", BEGIN_MS, "minute", (piece + 1, piece + 1), facts_of_records(each)))
        minute += list(minutes_of_facts(rolled[-1]))
    tables = {
        "facts": pa.concat_tables(facts_of_facts(rolled, HOUR_MS)),
        "minutes": pa.concat_tables(minute),
    }
    people = [sorted(set(tables["facts"]["subscriber"].to_pylist()))]
    people += [[f"{int(name[:8], 16) + i:08x}{name[8:]}"[-32:] for name in people[0]] for i in range(1, AWAY)]
    kept = folder / "month"
    for number in range(DAYS * 24):
        if number % 24 == 0:
            rig.progress(f"a month, day {number // 24 + 1} of {DAYS}")
        hour_ms = BEGIN_MS + number * HOUR_MS
        for table, rows in tables.items():
            where = rows.column_names.index("t_ms")
            moved = rows.set_column(where, rows.field(where), pc.add(rows["t_ms"], number * HOUR_MS))
            if table == "facts":
                who = moved.column_names.index("subscriber")
                names = pa.DictionaryArray.from_arrays(_codes(rows["subscriber"]), pa.array(people[number % AWAY]))
                moved = moved.set_column(who, rows.field(who), names)
            span = {"facts": "hour", "minutes": "minute"}.get(table, "")
            _put(kept, table, hour_ms, span, (number + 1, number + 1), iter([moved]))
    return str(people[0][pairs // 2])


def _codes(column: Any) -> Any:
    names = column.combine_chunks().cast(pa.string())
    return pc.index_in(names, value_set=pc.unique(names).sort()).cast(pa.int32())


def _ask(folder: Path, name: str, **more: Any) -> dict[str, float]:
    """Return seconds and memory of a question in a process of its own."""
    found = []
    for _ in range(ASKED):
        words = [sys.executable, "-m", "bench.questions", str(folder), name, json.dumps(more)]
        begun = time.monotonic()
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout) | {"s with starting Python": time.monotonic() - begun})
    return {key: float(np.median([each[key] for each in found])) for key in found[0]}


def _peak_mb(process: str) -> float:
    """Return the largest resident memory of a process; that of getrusage has its parent's before the exec in it."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def _used_s(process: int) -> float:
    """Return the processor time of a process and its threads."""
    ticks = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _answers(base: str) -> bool:
    try:
        with urllib.request.urlopen(base, timeout=10):
            return True
    except OSError:
        return False


def _page(folder: Path) -> dict[str, float]:
    """Return seconds and bytes of all that a browser asks for, one after the other, for the first view of a range.

    The page opens with the last day of what there is; a month is what the reader chooses.
    """
    words = [sys.executable, "-m", "mgmt.cli.main", "web", "--folder", str(folder), "--listen", "127.0.0.1:0"]
    month = {"since": BEGIN_MS, "until": BEGIN_MS + DAYS * 24 * HOUR_MS}
    found: dict[str, float] = {}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            base = next(word for line in iter(process.stdout.readline, "") for word in line.split() if "://" in word)  # type: ignore[union-attr]
            base = base.rstrip("./") + "/"
            wait_until(lambda: _answers(base), "the page answers", 20)
            for range_, words_of in (("a day", {}), ("a month", month)):
                asked = [*_REQUESTS, *(f"static/uplot/{name}" for name in ("uPlot.iife.min.js", "uPlot.min.css"))]
                asked += ["api/overview", f"api/worst?{urllib.parse.urlencode(words_of | {'by': 'subscriber'})}"]
                seconds, used = [], []
                for _ in range(ASKED):
                    begun, used_s, octets = time.monotonic(), _used_s(process.pid), 0
                    for path in asked:
                        request = urllib.request.Request(base + path, headers={"Accept-Encoding": "gzip"})
                        with urllib.request.urlopen(request, timeout=60) as answer:
                            octets += len(answer.read())
                    seconds.append(time.monotonic() - begun)
                    used.append(_used_s(process.pid) - used_s)
                found |= {f"{range_}, s": seconds[0], f"{range_}, s of processor": used[0]}
                found[f"{range_}, kB"] = octets / 1e3
            found["MB"] = _peak_mb(str(process.pid))
        finally:
            process.terminate()
    return found


def _cases(of: str, found: dict[str, float]) -> dict[str, float]:
    return {f"{of}, {name}": value for name, value in found.items()}


def measure(hour_records: int = HOUR_RECORDS, month_records: int = MONTH_RECORDS) -> list[Figure]:
    """Return the figures."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        states = _hour(folder, hour_records * EVERY_S // 3600)
        span = {"since_ms": BEGIN_MS, "until_ms": BEGIN_MS + HOUR_MS}
        hour = {state: _ask(where, "worst", **span, by="subscriber") for state, where in states.items()}
        who = _month(folder / "m", month_records // (DAYS * 24) * EVERY_S // 3600)
        rig.progress("a month is asked")
        month = {"since_ms": BEGIN_MS, "until_ms": BEGIN_MS + DAYS * 24 * HOUR_MS}
        one = _ask(folder / "m" / "month", "subscriber", **month, filters={"subscriber": who}, numbers={"limit": 1000})
        page = _page(folder / "m" / "month")
        rig.progress("")
    texts = {
        "records": "worst of an hour, all of it still records",
        "minutes": "worst of an hour, its last five minutes records",
        "hours": "worst of an hour that is over",
    }
    cases = {key: value for state, found in hour.items() for key, value in _cases(texts[state], found).items()}
    cases |= _cases("one subscriber's month", one) | _cases("first view of the page", page)
    cases |= {"records of the hour": float(hour_records), "records of the month": float(month_records)}
    note = (
        "processor time of all threads, which an idle machine does not exceed, as two threads read files that are in "
        "memory; each in a process of its own; the month is hours, as the collector keeps it"
    )
    used = "s of processor"
    return [
        Figure("worst of an hour of 4 M records", hour["minutes"][used], "s", 1, cases, note),
        Figure("worst of an hour of 4 M records, memory", hour["minutes"]["MB"], "MB", 500, cases, note),
        Figure("one subscriber's month of 1,000 M records", one[used], "s", 2, cases, note),
        Figure("one subscriber's month, memory", one["MB"], "MB", 500, cases, note),
        Figure("first view of the page, a day of a month", page[f"a day, {used}"], "s", 1, cases, note),
        Figure("first view of the page, all of a month", page[f"a month, {used}"], "s", 1, cases, note),
        Figure("first view of the page, size", max(page["a day, kB"], page["a month, kB"]), "kB", 300, cases, note),
    ]


# -- the other process ---------------------------------------------------------


def _child(folder: Path, name: str, words: dict[str, Any]) -> None:
    from history.questions.run import History
    from history.questions.text import Asked

    begun, used = time.monotonic(), time.process_time()
    with History(folder) as history:
        rows = len(history.ask(name, Asked(**words)).rows)
    found = {
        "s": time.monotonic() - begun,
        "s of processor": time.process_time() - used,
        "MB": _peak_mb("self"),
        "rows": rows,
    }
    print(json.dumps(found))


def _main(words: Sequence[str]) -> None:
    folder, name, more = words
    _child(Path(folder), name, json.loads(more))


if __name__ == "__main__":
    _main(sys.argv[1:])
