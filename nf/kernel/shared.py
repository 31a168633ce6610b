"""Things that user space shares with the programs: maps, types of their records, rings, the control page, the ports.

A caller that attaches, tells or asks sees one face of it (`nf.kernel.attach`, `nf.kernel.tell`, `nf.kernel.ask`); a
data plane (`nf.kernel.dataplane`) has all three.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping

import numpy as np

from nf.abi import (
    COUNTERS,
    SNF_RING_CHUNKS,
    SNF_RING_ENDED,
    SNF_RING_EVENTS,
    SNF_RING_EVICTED,
    SNF_RING_NAMES,
    SNF_RING_PAYLOADS,
)
from nf.kernel import source
from nf.kernel.details import DetailTable
from nf.kernel.flows import FlowTable
from nf.kernel.histograms import Histograms
from nf.kernel.ports import Ports
from nf.kernel.programs import Programs
from nf.kernel.ring import Rings
from nf.settings import Limits

__all__ = ["Shared"]

_RECORDS = {
    SNF_RING_EVENTS: "event",
    SNF_RING_PAYLOADS: "payload",
    SNF_RING_CHUNKS: "chunk",
    SNF_RING_NAMES: "named",
    SNF_RING_ENDED: "ended",
    SNF_RING_EVICTED: "evicted",
}


class Shared:
    """The maps of one function, made or taken over."""

    def __init__(self, limits: Limits, *, replay: bool) -> None:
        self._replay = replay
        self._programs = Programs(limits, replay=replay)
        self.taken_over = self._programs.taken_over  # from a process that died
        self._maps = self._programs.maps
        self.counters = COUNTERS
        self._fds = self._descriptors()
        self._types = self._record_types()
        control = self._maps["control"].value
        self._control_map = mmap.mmap(self._maps["control"].fd, mmap.PAGESIZE, mmap.MAP_SHARED)
        self._control = np.frombuffer(self._control_map, control, 1)
        self._clock = self._control["clock_ns"]
        self._wire_length = self._control["wire_length"]
        self._next_flow = self._control["next_flow"]
        self._rings = self._open_rings()
        self.flows = FlowTable(self._maps["flow_buckets"], self._maps["flows"], self._control, at_once=replay)
        self.details = DetailTable(self._maps["detail_sets"], self._maps["details"], self._control)
        self.histograms = Histograms(self._maps["delay_counts"])
        self._instances: dict[str, int] = {"": 0}
        self._spent_instances = 0  # numbers that ports of the previous process may still have
        self._ports = Ports(self._programs, self.instance_number)

    def _descriptors(self) -> dict[str, int]:
        return {
            name: self._maps[name].fd
            for name in (
                *("policies", "sessions", "endpoints", "routes", "gateways"),
                *("ports", "paths", "earlies", "answers"),
                *("delays", "transits", "copies"),
            )
        }

    def _record_types(self) -> dict[str, np.dtype[np.void]]:
        return {
            "event": self._maps["event_type"].value,
            "payload": self._maps["payload_type"].value,
            "flow_key": self._maps["flow_buckets"].value["keys"].base,
            "flow": self._maps["flows"].value,
            "verdict": self._maps["flow_buckets"].value["verdicts"].base,
            "policy": self._maps["policies"].value,
            "path_key": self._maps["paths"].key,
            "path": self._maps["paths"].value,
            "detail": self._maps["details"].value,
            "chunk": self._maps["chunk_type"].value,
            "named": self._maps["named_type"].value,
            "ended": self._maps["ended_type"].value,
            "evicted": self._maps["evicted_type"].value,
            "delay_key": self._maps["delays"].key,
            "delay": self._maps["delays"].value,
            "transit": self._maps["transits"].value,
            "copies": self._maps["copies"].value,
            "early": self._maps["earlies"].value,
        }

    def _open_rings(self) -> dict[int, Rings]:
        """Return the rings of each kind of record (``enum snf_ring``)."""
        fds = self._programs.rings
        sizes = source.ring_sizes(len(fds[0]))
        return {kind: Rings(fds[kind], sizes[kind], self._types[record]) for kind, record in _RECORDS.items()}

    def instance_number(self, name: str) -> int:
        """Return the number of a network instance; a new name gets the next one."""
        return self._instances.setdefault(name, self._spent_instances + len(self._instances))

    @property
    def record_types(self) -> Mapping[str, np.dtype[np.void]]:
        """The numpy types of keys, values and records, by the names of abi.h."""
        return self._types

    def free(self, *, leave_behind: bool) -> None:
        """Free maps and programs; nobody may use them any more."""
        for rings in self._rings.values():
            rings.close()
        self.flows.close()
        self.details.close()
        self.histograms.close()
        del self._clock, self._wire_length, self._next_flow, self._control
        self._control_map.close()
        self._programs.close(leave_behind=leave_behind)
