"""The share that leaves, minute by minute: all messages of a run in which most users come, stay, and go home.

The mixed capture is run again and again: three busy minutes, of which the first one has all flows anew, then one with a
tenth of its subscribers. Each has what a site with all signalling tells: 900 cells in 15 tracking areas. Heartbeats and
delays are in the count, as the publisher makes them: those of 13 classes a second, and those of each place a minute.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np

from bench.figure import Figure
from bench.ours import INTERVAL_NS, Capture, Messages, Ours
from feed import wire
from feed.records import APP_CLASSES, DELAY_MEASURES, HEALTH_COLUMNS, Columns, RecordBatch

__all__ = ["measure"]

_MINUTE = 60_000_000_000 // INTERVAL_NS  # intervals
_BUSY, _PART = 3, 10  # busy minutes; one subscriber of so many is there in the last one
_CELLS, _AREAS, _GNBS = 900, 15, 4
_LENGTHS = 60  # different delays of a measure at a gNB in a minute


class _Told(Messages):
    """Messages with places in the records, and the others that the publisher makes; ``bytes`` by interval."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: list[int] = []
        self._other = 0

    def records(self, batch: RecordBatch) -> None:
        """Take an interval of a class."""
        cells = [zlib.crc32(str(name).encode()) % _CELLS for name in batch.columns["subscriber"]]
        places: Columns = {
            "rat": ["NR"] * len(cells),
            "tai": [f"001-01-{cell % _AREAS:06x}" for cell in cells],
            "cell": [f"001-01-{cell * 0x4001:09x}" for cell in cells],
        }
        super().records(replace(batch, columns={**batch.columns, **places}))

    def ended(self) -> None:
        """Send the heartbeat of an interval, with the first one of a minute the delays; and count."""
        self._send("health.v1", wire.HEALTH_SCHEMA, self._heartbeat())
        if len(self.bytes) % _MINUTE == 0:
            self._send("delay.v1", wire.DELAY_SCHEMA, _delays())
        self.bytes.append(self.cost.exported_bytes + self._other - sum(self.bytes))

    def _send(self, family: str, schema: str, columns: Columns) -> None:
        header = wire.Header(schema, "bench", "0123456789abcdef", len(self.bytes), 0.0, 1.0)
        self._other += sum(map(len, wire.encode(wire.topic(family, "bench"), header, columns)))

    def _heartbeat(self) -> Columns:
        topics = [f"qoe.v1/bench/{each}/" for each in APP_CLASSES] + ["health.v1/bench/", "delay.v1/bench/"]
        n, number = len(topics), len(self.bytes)
        counters = {  # of a busy site: they differ, and go on
            name: np.full(n, (number + 1) * 7 ** (place % 12), np.int64)
            for place, name in enumerate(list(HEALTH_COLUMNS)[2:])
        }
        heads: Columns = {"topic": topics, "next_seq": np.arange(n, dtype=np.uint64) + number}
        return {**heads, **counters, "not_read": [""] * n}


def _delays() -> Columns:
    rows = _GNBS * len(DELAY_MEASURES) * _LENGTHS
    return {
        "t_ms": np.full(rows, 1_785_000_000_000, np.uint64),
        "interval_ms": np.full(rows, 60_000, np.uint32),
        "gnb": [f"10.100.3.{row % _GNBS}" for row in range(rows)],
        "slice": ["1-00000a"] * rows,
        "measure": [list(DELAY_MEASURES)[row // _GNBS % len(DELAY_MEASURES)] for row in range(rows)],
        "bucket": np.arange(rows, dtype=np.int64) // (_GNBS * len(DELAY_MEASURES)) + 100,
        "n": np.random.default_rng(1).geometric(0.02, rows).astype(np.uint32),
    }


def _part(capture: Capture) -> Capture:
    """Return the capture with the frames of one subscriber of ten: by the TEIDs of their tunnels."""
    teids = {int(s.uplink[0][1]) for s in capture.sessions[::_PART]}
    teids |= {int(s.downlink[0][1]) for s in capture.sessions[::_PART]}
    kept = [i for i, frame in enumerate(capture.frames) if int.from_bytes(frame[46:50], "big") in teids]
    frames = [capture.frames[i] for i in kept]
    return Capture(capture.times_ns[kept], frames, capture.lengths[kept], capture.sessions)


def _run(capture: Capture, minutes: int) -> list[tuple[int, float]]:
    """Return (bytes published, bytes on the wire) of each minute."""
    told, ours = _Told(), Ours(capture)
    seconds = (capture.times_ns // INTERVAL_NS).astype(np.int64)
    wire_bytes = np.bincount(seconds - seconds[0], [float(len(frame)) for frame in capture.frames])
    rounds = -(-minutes * _MINUTE // int(np.count_nonzero(wire_bytes)))
    try:
        ours.run(rounds=rounds, sink=told)
    finally:
        ours.close()
    passed = np.tile(wire_bytes[wire_bytes > 0], rounds)
    spans = [slice(minute * _MINUTE, (minute + 1) * _MINUTE) for minute in range(minutes)]
    return [(sum(told.bytes[span]), float(passed[span].sum())) for span in spans]


def measure(capture: Capture) -> list[Figure]:
    """Return the figures of a run over the mixed capture."""
    minutes = [*_run(capture, _BUSY), *_run(_part(capture), 1)]
    shares = [100 * out / through for out, through in minutes]
    cases = {f"minute {n}, %": share for n, share in enumerate(shares, 1)}
    cases |= {f"minute {n}, Mbit/s on the wire": through * 8 / 60e6 for n, (_, through) in enumerate(minutes, 1)}
    mean = 100 * sum(out for out, _ in minutes) / sum(through for _, through in minutes)
    note = (
        f"the mixed capture again and again: {_BUSY} minutes of all subscribers, all flows new in the first one, and "
        f"one of a tenth of them; {_CELLS} cells, heartbeats and delays"
    )
    return [
        Figure("all messages / bytes on the wire, mean of a run", mean, "%", 0.1, cases, note),
        Figure("all messages / bytes on the wire, worst minute", max(shares), "%", 0.1, cases, note),
    ]
