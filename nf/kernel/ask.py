"""The face of a data plane that asks the programs: flows, events, payloads, delays, paths, counters.

Addresses come out as text, records as numpy structures whose types bcc derived from the C.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from nf.abi import SNF_RING_CHUNKS, SNF_RING_ENDED, SNF_RING_EVENTS, SNF_RING_EVICTED, SNF_RING_NAMES, SNF_RING_PAYLOADS
from nf.kernel import syscall
from nf.kernel.addresses import address_text
from nf.kernel.paths import Path, paths
from nf.kernel.rows import joined
from nf.kernel.shared import Shared

__all__ = ["Ask"]


class Ask(Shared):
    """Questions to the programs. Reading empties rings, and leaves tables as they are."""

    def read_flows(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Return (keys, flows) of all flows in the table."""
        return self.flows.at(self.flows.present())

    def read_ended(self) -> NDArray[np.void]:
        """Return the flows that left their place since the last call, in their last state (``struct ended``)."""
        self.flows.evicted(self._rings[SNF_RING_EVICTED].read()["place"])
        gone, due = self._rings[SNF_RING_ENDED].read(), self.flows.due()
        if not len(due):
            return gone
        left = np.zeros(len(due), self._types["ended"])
        left["key"], left["flow"] = self.flows.at(due)
        left["place"] = due
        self.flows.free(due)
        return joined([gone, left])

    def read_earlies(self) -> dict[int, tuple[list[int], list[int]]]:
        """Return (packets, bytes) by direction of fragments before the last of their datagram, by flow number."""
        keys, values = syscall.read_map(self._fds["earlies"], np.dtype(np.uint64), self._types["early"], 4096)
        return {int(k): (v["packets"].tolist(), v["bytes"].tolist()) for k, v in zip(keys, values, strict=True)}

    def now_ns(self) -> int:
        """Return the time of the programs' clock: in a replay that of the packet before, else the kernel's."""
        return int(self._clock[0]) if self._replay else time.monotonic_ns()

    def read_events(self) -> NDArray[np.void]:
        """Return the flow events since the last call (``struct flow_event``)."""
        return self._rings[SNF_RING_EVENTS].read()

    def read_payloads(self) -> NDArray[np.void]:
        """Return the payload records since the last call (``struct payload``)."""
        return self._rings[SNF_RING_PAYLOADS].read()

    def read_names(self) -> NDArray[np.void]:
        """Return what the programs named since the last call (``struct named``)."""
        return self._rings[SNF_RING_NAMES].read()

    def read_chunks(self) -> NDArray[np.void]:
        """Return the request-answer pairs since the last call (``struct chunk``)."""
        return self._rings[SNF_RING_CHUNKS].read()

    def read_copies(self) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """Return (flow numbers, (n, 2) packets by direction that had passed in another tunnel).

        A replay has a flow for each leg.
        """
        keys, values = syscall.read_map(self._fds["copies"], np.dtype(np.uint64), self._types["copies"], 4096)
        return keys.astype(np.uint64), values["packets"].astype(np.uint32)

    def read_delays(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Return (``struct delay_key``, ``struct delay``) of the QoS flows that PDU Session Containers measure."""
        return syscall.read_map(self._fds["delays"], self._types["delay_key"], self._types["delay"], 512)

    def read_transits(self) -> tuple[NDArray[np.uint32], NDArray[np.void]]:
        """Return (sessions, ``struct transit``): the ways of their packets through the UPF."""
        keys, values = syscall.read_map(self._fds["transits"], np.dtype(np.uint32), self._types["transit"], 512)
        return keys.astype(np.uint32), values

    def read_tunnel_errors(self) -> list[tuple[str, int, int, int]]:
        """Return (receiving address, TEID, error indications, time of the last in ns) of tunnels that were refused."""
        keys, values = self._maps["tunnel_errors"].read()
        return [
            (address_text(bytes(key["address"])), int(key["teid"]), int(value["count"]), int(value["last_ns"]))
            for key, value in zip(keys, values, strict=True)
        ]

    def read_paths(self) -> list[Path]:
        """Return the GTP-U paths that echoes or error indications were seen on, by their ends."""
        return paths(*self.read_echoes())

    def read_echoes(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Return (``struct path_key``, ``struct path``) of the same paths."""
        return syscall.read_map(self._fds["paths"], self._types["path_key"], self._types["path"], 4096)

    def read_counters(self, name: str | None = None) -> dict[str, int]:
        """Return the counters of an interface that is attached, or was lost, by its configured name, or of all."""
        table = self._maps["stats"]
        counts = table.get(self._ports.slot(name))["n"][None] if name is not None else table.read()[1]["n"]
        total = counts.sum(axis=(0, 1), dtype=np.uint64).tolist()
        return {c.name: total[i] for i, c in enumerate(self.counters)}
