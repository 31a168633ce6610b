"""Copies: packets of a subscriber that pass here in several tunnels, so that each counts in one of them only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nf.flows.batch import FlowBatch
from nf.flows.deltas import from_b
from nf.flows.search import values_at

__all__ = ["in_several_tunnels", "without_copies"]

_RETURNS = 10  # of flows to tunnels that they had left; handovers do not return


def in_several_tunnels(returned: int) -> bool:
    """Say whether flows came back so often (`nf.flows.book.FlowBook.returned`) that it is no handover."""
    return returned > _RETURNS


def without_copies(
    batch: FlowBatch, flows: NDArray[np.void], number: NDArray[np.uint64], copies: NDArray[np.uint32]
) -> FlowBatch:
    """Clear packets and octets of the directions of legs of a replay that are mostly copies; return the batch.

    *flows* (``struct flow``) has the rows of *batch*. *copies* (k, 2) counts, for the flows *number* (k,) and in the
    order of directions of the kernel, the packets since their begin that were copies.
    """
    if not len(number):
        return batch
    order = np.argsort(number)
    found = values_at(number[order], copies[order], batch.flow_id)
    first = 2 * found < flows["packets"]  # most of them passed here first
    first = np.where(from_b(flows)[:, None], first[:, ::-1], first)
    return replace(batch, packets=batch.packets * first, octets=batch.octets * first)
