"""The figures of the heartbeat: what was lost on the way, how full tables are, and whose the bytes of records are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from feed.records import RecordBatch
from nf.kernel.dataplane import DataPlane
from nf.sessions import BindingStore
from nf.sessions.at_rest.records import NOBODY

__all__ = ["Owners", "figures"]

_LOST = ("payload_ring_full", "chunk_ring_full", "ended_ring_full")  # what found these full comes by no other way
_SOURCES = ("pfcp", "gtp-c", "radius", "ngap", "netconf")


class Owners:
    """The bytes of all records since the start, and of those whose subscriber nobody told."""

    def __init__(self) -> None:
        self.recorded_bytes = self.unowned_bytes = 0

    def see(self, batch: RecordBatch) -> None:
        """Count the bytes of some records of the interval."""
        octets = sum(np.nan_to_num(np.asarray(batch.columns[f"{way}_bytes"], np.float64)) for way in ("ul", "dl"))
        self.recorded_bytes += int(np.sum(octets))
        sources = batch.columns["identity_source"]
        if NOBODY in sources:
            self.unowned_bytes += int(np.sum(octets, where=np.array(sources, object) == NOBODY))


def figures(
    plane: DataPlane, counters: Mapping[str, int], store: BindingStore, session_room: int, owners: Owners
) -> dict[str, int]:
    """Return figures by the columns of the heartbeat; *counters* are those of all ports."""
    by_source = store.count_by_source()
    return {
        "sessions": len(store),
        "partial_sessions": store.partial,
        "ring_lost": sum(counters[name] for name in _LOST),
        "flows": len(plane.flows.present()),
        "flow_room": len(plane.flows),
        "evicted_flows": counters["flow_evicted"],
        "details": plane.details.used,
        "detail_room": len(plane.details),
        "undetailed_packets": counters["detail_full"],
        "session_room": session_room,
        **{f"sessions_{name.replace('-', '_')}": by_source[name] for name in _SOURCES},
        "recorded_bytes": owners.recorded_bytes,
        "unowned_bytes": owners.unowned_bytes,
    }
