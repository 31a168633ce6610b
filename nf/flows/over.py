"""Flows that are over: their last packet said so, or their question is answered.

Such a flow leaves the table after `SILENT_S`, not after minutes. A packet that comes for it later begins a flow, and no
connection: without a SYN there is no handshake (counted as ``tcp_midway``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.abi import TCP_FIN_SENT, TCP_RST_SENT
from nf.flows.deltas import of_dns
from nf.kernel.rows import rows_at

__all__ = ["SILENT_S", "are_over"]

# An end whose last FIN or ACK was lost sends it again: the retransmission timer begins at one second and doubles
# (RFC 6298, 2.1 and 5.5), so three resends fit.
SILENT_S = 10.0
_TCP = 6


def are_over(keys: NDArray[np.void], flows: NDArray[np.void], rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Say for each of *rows* of the table (*keys*, *flows*) whether nothing is to come.

    Both ends of a TCP connection sent a FIN, or one of them a RST (RFC 9293, 3.6 and 3.5.3). All queries of a DNS flow
    have their answers.
    """
    key, flow = rows_at(keys, rows), rows_at(flows, rows)
    seen = flow["transport"]["tcp"]["seen"]
    a, b = seen[:, 0], seen[:, 1]
    closed = (a & b & TCP_FIN_SENT > 0) | ((a | b) & TCP_RST_SENT > 0)
    dns: NDArray[Any] = flow["transport"]["dns"]
    answered = (dns["answers"] > 0) & (dns["asked_us"][:, 0] | dns["asked_us"][:, 1] == 0)
    over: NDArray[np.bool_] = np.where(key["proto"] == _TCP, closed, of_dns(key) & answered)
    return over
