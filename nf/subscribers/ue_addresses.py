"""UE addresses of sessions whose beginning was not seen: signalling gives a tunnel, its packets the address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nf.abi import SNF_UE_UNKNOWN
from nf.flows.batch import FlowBatch
from nf.flows.book import FlowBook
from nf.sessions import BindingStore

__all__ = ["seen_in_tunnels"]


def seen_in_tunnels(
    batch: FlowBatch, flows: NDArray[np.void], book: FlowBook, store: BindingStore
) -> Iterator[tuple[int, str]]:
    """Yield (session, address of its UE) for the flows of an interval in sessions of which only tunnels are known.

    *flows* (``struct flow``) has the rows of *batch*. A link-local address may be any UE's (TS 23.501, 5.8.2.2.3).
    """
    nameless = store.nameless()
    if not len(nameless):
        return
    hits = np.flatnonzero(np.isin(batch.session, nameless) & (flows["ue_end"] != SNF_UE_UNKNOWN))
    for row in hits.tolist():  # seldom: only until the first interval of such a session is over
        address = book.ends(int(batch.flow_id[row]))[int(flows["ue_end"][row])]
        if address and not _is_anybodys(address):
            yield int(batch.session[row]), address


def _is_anybodys(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    return ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_loopback
