"""The collector: records a second of one core from the bus to named files, bytes a record, memory for many functions.

A publisher of this process sends messages of 1,000 records of 1,000 subscribers each, as fast as they are taken; the
collector is a process of its own and says what it took: processor time of all its threads, from the first message to
the last file. Then it merges and rolls up what it wrote, which is told apart. 200 bodies are different, and more rows
lie between two equal ones than stand together in a file's group.

Memory is that of another run, in which the collector merges and rolls up all the time while it collects, and ends the
hour at last: the largest resident memory of its one process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import zmq

from bench import rig
from bench.figure import Figure
from feed import wire
from history.collect.collector import TOPICS

__all__ = ["measure"]

ROWS = 1000  # of a message
BODIES, SUBSCRIBERS = 200, 10_000
MESSAGES = 1000
CLASSES = ("video", "web", "gaming", "social")


def _bodies() -> list[list[bytes]]:
    """Return frames of messages without their header."""
    from tests.feed.samples import records

    columns = records(BODIES * ROWS, SUBSCRIBERS)
    header = wire.Header(wire.QOE_SCHEMA, "nf", "b", 0, 0.0, 0.0)
    return [
        wire.encode(b"", header, {name: column[at : at + ROWS] for name, column in columns.items()})
        for at in range(0, BODIES * ROWS, ROWS)
    ]


@contextmanager
def _functions(count: int) -> Iterator[tuple[list[Any], list[str]]]:
    context: zmq.Context[Any] = zmq.Context()
    sockets = []
    for _ in range(count):
        socket = context.socket(zmq.XPUB)
        socket.setsockopt(zmq.XPUB_NODROP, 1)
        socket.sndhwm = 16
        sockets.append(socket)
    ports = [socket.bind_to_random_port("tcp://127.0.0.1") for socket in sockets]
    try:
        yield sockets, [f"tcp://127.0.0.1:{port}" for port in ports]
    finally:
        context.destroy(linger=0)


def _publish(sockets: list[Any], bodies: list[list[bytes]], messages: int) -> None:
    """Send so many messages, in turn from each function and class."""
    for socket in sockets:
        wanted = {b"\x01" + topic.encode() for topic in TOPICS}
        while wanted:
            wanted.discard(socket.recv())
    now_s = time.time()
    seqs: dict[tuple[int, str], int] = {}
    for number in range(messages):
        which, app_class = number % len(sockets), CLASSES[number // len(sockets) % len(CLASSES)]
        seq = seqs[which, app_class] = seqs.get((which, app_class), -1) + 1
        body = bodies[_which_body(number, len(sockets))]
        head = msgpack.unpackb(body[1])
        head |= {"nf": f"nf{which}", "seq": seq, "t_start": now_s - 10, "t_end": now_s}
        frames = [wire.topic("qoe.v1", f"nf{which}", app_class), msgpack.packb(head), body[2]]
        sockets[which].send_multipart(frames)


def _which_body(number: int, functions: int) -> int:
    """Return which body is sent: all in turn, of many functions for each those of its own thousand subscribers."""
    which, turn = number % functions, number // functions
    blocks = SUBSCRIBERS // ROWS  # body n has the subscribers of block n % blocks
    return turn % BODIES if functions == 1 else (which + blocks * (turn + which)) % BODIES


def _run(functions: int, messages: int, tend_s: float = 3600) -> dict[str, float]:
    """Return what a collector of so many functions says of itself; it looks for what to roll up every *tend_s*."""
    bodies = _bodies()
    with _functions(functions) as (sockets, endpoints), tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "bench.collect", folder, str(messages * ROWS), str(tend_s), *endpoints]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            _publish(sockets, bodies, messages)
            out, _ = process.communicate()
        if process.returncode:
            raise RuntimeError("The collector did not come to its end.")
        found: dict[str, float] = json.loads(out)
        return found


def measure() -> list[Figure]:
    """Return the figures of the collector."""
    found: dict[int, dict[str, float]] = {}
    for functions in (1, 100):
        rig.progress(f"{functions} functions")
        found[functions] = _run(functions, MESSAGES)
        both = _run(functions, MESSAGES, tend_s=0.3)
        found[functions] |= {f"{name}, tending at the same time": both[name] for name in ("MB", "MB, before the end")}
    rig.progress("")
    cases = {f"{name}, {n} functions": value for n, values in found.items() for name, value in values.items()}
    note = (
        f"{MESSAGES:,} messages of {ROWS:,} records of as many of {SUBSCRIBERS:,} subscribers; processor time of all "
        "threads from the first message to the last file, ZeroMQ's among them; then merging and rolling up, apart; "
        "memory of as many that are merged and rolled up while they come"
    )
    one, many = (found[n]["MB, tending at the same time"] for n in (1, 100))
    return [
        Figure("collector, records a second of a core", found[1]["records/s"], "1/s", 100_000, cases, note, more=True),
        Figure("collector, resident memory, 1 function", one, "MB", 300, cases, note),
        Figure("collector, resident memory, 100 functions", many, "MB", 300, cases, note),
        Figure("collector, bytes a record on disk", found[1]["B a record, merged"], "B", 45, cases, note),
    ]


# -- the other process ---------------------------------------------------------


def _size(folder: Path, table: str) -> tuple[int, int]:
    """Return the bytes and the rows of a table."""
    import pyarrow.parquet as pq

    from history.store.layout import closed

    files = closed(folder, table)
    return sum(f.path.stat().st_size for f in files), sum(pq.read_metadata(f.path).num_rows for f in files)


def _most_mb() -> float:
    """Return the largest resident memory of this process; the figure of getrusage has the parent's from before exec."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def _child(folder: Path, rows: int, tend_s: float, endpoints: list[str]) -> None:
    from history.collect import caretaker, upkeep
    from history.collect.collector import Collector
    from history.collect.settings import Settings
    from history.store.layout import HOUR_MS, hours

    caretaker._TEND_S = tend_s
    stop = threading.Event()
    with Collector(Settings(tuple((each, None) for each in endpoints), folder), lambda _: None) as collector:
        begun = [0.0]

        def watch(_: object) -> None:
            begun[0] = begun[0] or time.process_time()
            if collector.counters["rows"] >= rows:
                stop.set()

        collector._watchers = (watch,)
        collector.run(stop)
        took_s = time.process_time() - begun[0]
    size, there = _size(folder, "records")
    if there != rows or collector.sequences.lost:
        raise SystemExit(f"{there} of {rows} records are in files.")
    collecting_mb = _most_mb()
    begun_s = time.process_time()
    for table in ("records", "facts", "minutes", "buckets"):
        for hour_ms, _ in list(hours(folder, table)):
            upkeep.tend(folder, table, hour_ms, hour_ms + 3 * HOUR_MS)
    tended_s = time.process_time() - begun_s
    merged, _ = _size(folder, "records")
    facts, groups = _size(folder, "facts")
    found = {
        "records/s": rows / took_s,
        "us a record": took_s / rows * 1e6,
        "us a record, merging and rolling up": tended_s / rows * 1e6,
        "MB": _most_mb(),
        "MB, before the end": collecting_mb,
        "B a record": size / rows,
        "B a record, merged": merged / rows,
        "B a row of facts": facts / max(1, groups),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    _child(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
