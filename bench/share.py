"""The small share that leaves: messages of the publisher, and bytes of the rings, against the bytes on the wire.

The first figure is of records alone in 15 s; `bench.minutes` has all messages of a run of minutes, and its worst one.
"""

from __future__ import annotations

from bench import captures, minutes, rig
from bench.figure import Figure
from bench.ours import Ours
from nf.settings import Export


def measure() -> list[Figure]:
    """Return the figures of output and hand-off for the mixed capture."""
    rig.one_cpu()
    path, words = captures.mixed()
    capture = captures.load_mixed(path)
    ours = Ours(capture)
    try:
        cost = ours.run()
        rings = ours.ring_bytes(cost)
    finally:
        ours.close()
    wire = capture.octets
    cases: dict[str, float] = {
        "packets on the wire": len(capture.frames),
        "flows on the wire": cost.counters["flow_new"],
        "bytes on the wire": wire,
        "published bytes": cost.exported_bytes,
        "records": cost.records,
    }
    cases |= {f"{name}, bytes": size for name, size in rings.items()}
    export = Export()
    note = (
        f"{words}. Messages of {export.batch_rows} rows or {export.batch_ms / 1000:.0f} s, interval "
        f"{export.interval_ms / 1000:.0f} s; hand-off: payload bytes, the heads of their records, flow events; records "
        "of payloads take the room of a full one in the ring"
    )
    handed = rings["payloads"] + rings["heads"] + rings["events"]
    return [
        Figure("telemetry / bytes on the wire", 100 * cost.exported_bytes / wire, "%", 0.1, cases, note),
        Figure("ring hand-off / bytes on the wire", 100 * handed / wire, "%", 1, cases, note),
        *minutes.measure(capture),
    ]
