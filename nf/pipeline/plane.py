"""The part of a data plane that the stages of an interval use.

`nf.kernel.dataplane.DataPlane` describes each member.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nf.kernel.details import DetailTable
from nf.kernel.flows import FlowTable
from nf.naming.stage import Kernel
from nf.settings import Action

__all__ = ["Plane"]


class Plane(Kernel, Protocol):
    """A data plane, or what a shard has of one."""

    legs: bool

    @property
    def flows(self) -> FlowTable:
        """The flow table."""

    @property
    def details(self) -> DetailTable:
        """The details of media flows."""

    @property
    def taken_over(self) -> bool:
        """Say whether a process that died left the tables."""

    @property
    def attached(self) -> Mapping[str, Any]:
        """The attached ports by name, each with its ``interface``."""

    @property
    def host_addresses(self) -> frozenset[bytes]:
        """The addresses of the ports."""

    def sees(self, *, translated: bool) -> tuple[bool, bool]:
        """Say whether the ports are sure to see uplink and downlink."""

    def set_policies(
        self,
        policies: Mapping[int, tuple[Action, int]],
        coarse: Collection[int] = (),
        detailed: Collection[int] = (),
        groups: Sequence[Mapping[int, tuple[Action, int]]] = (),
        grown: Collection[int] = (),
    ) -> None:
        """Put policies in force."""

    def new_epoch(self, intervals: int = 1) -> None:
        """Begin an interval."""

    def read_counters(self) -> dict[str, int]:
        """Return the counters of all ports."""

    def read_ended(self) -> NDArray[np.void]:
        """Return the flows that left their place since the last call (``struct ended``)."""

    def read_chunks(self) -> NDArray[np.void]:
        """Return the request-answer pairs since the last call (``struct chunk``)."""

    def read_copies(self) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """Return (flow numbers, (n, 2) packets by direction that had passed in another tunnel)."""

    def read_earlies(self) -> dict[int, tuple[list[int], list[int]]]:
        """Return (packets, bytes) by direction of fragments before the last of their datagram, by flow number."""

    def read_delays(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Return (``struct delay_key``, ``struct delay``) of QoS flows."""

    def read_transits(self) -> tuple[NDArray[np.uint32], NDArray[np.void]]:
        """Return (sessions, ``struct transit``)."""

    def read_echoes(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Return (``struct path_key``, ``struct path``) of GTP-U paths."""
