"""Packets of a subscriber that pass here more than once, in several tunnels: each counts in one of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nf.flows.batch import FlowBatch
from nf.flows.deltas import from_b
from nf.flows.search import values_at

__all__ = ["in_several_tunnels", "without_copies"]

_RETURNS = 10  # of flows to tunnels that they had left: handovers do not do that


def in_several_tunnels(returned: int) -> bool:
    """Say whether flows came back so often (`nf.flows.book.FlowBook.returned`) that it is no handover."""
    return returned > _RETURNS


def without_copies(
    batch: FlowBatch, flows: NDArray[np.void], number: NDArray[np.uint64], copies: NDArray[np.uint32]
) -> FlowBatch:
    """Leave out of an interval, by direction, the legs of a replay whose packets had passed in another tunnel.

    *flows* (``struct flow``) has the rows of *batch*. *copies* (n, 2) are, of the flows *number* and by direction as
    the kernel has them, the packets that were copies since they began.
    """
    if not len(number):
        return batch
    order = np.argsort(number)
    found = values_at(number[order], copies[order], batch.flow_id)
    first = 2 * found < flows["packets"]  # most of them passed here first
    first = np.where(from_b(flows)[:, None], first[:, ::-1], first)
    return replace(batch, packets=batch.packets * first, octets=batch.octets * first)
