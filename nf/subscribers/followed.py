"""Detail of a followed subscriber: its flows as FLOW_COLUMNS."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from feed.records import Columns
from nf.abi import FLOW_FIRST_B, SNF_UE_UNKNOWN
from nf.apps.basis import Basis
from nf.apps.signatures import Signatures
from nf.flows.batch import ACCESS, CORE, DOWNLINK, UPLINK, FlowBatch
from nf.flows.book import FlowBook
from nf.flows.delays import DelayInterval
from nf.subscribers.domains import registrable_domain

__all__ = ["flow_columns"]


def _end(text: str, port: int) -> str:
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def flow_columns(
    batch: FlowBatch,
    keys: NDArray[np.void],
    flows: NDArray[np.void],
    rows: NDArray[np.intp],
    book: FlowBook,
    delays: DelayInterval,
    signatures: Signatures,
) -> Columns:
    """Return FLOW_COLUMNS for *rows* of an interval; names are cut to the registrable domain."""
    ue, remote, host = [], [], []
    for i in rows:
        number = int(batch.flow_id[i])
        a, b = book.ends(number)
        ends = _end(a, int(keys["port_a"][i].byteswap())), _end(b, int(keys["port_b"][i].byteswap()))
        ue_end = int(flows["ue_end"][i])
        at = int(flows["flags"][i] & FLOW_FIRST_B > 0) if ue_end == SNF_UE_UNKNOWN else ue_end
        ue.append(ends[at])
        remote.append(ends[1 - at])
        host.append(registrable_domain(book.host(number)))

    def mean_ms(side: int) -> NDArray[np.float32]:
        n = batch.rtt_n[rows, side].astype(np.float64)
        total = batch.rtt_sum_us[rows, side].astype(np.float64)
        return np.where(n > 0, total / np.maximum(n, 1) / 1e3, np.nan).astype(np.float32)

    def media(name: str) -> NDArray[np.generic]:
        return batch.media.column(name, batch.flow_id[rows])

    apps = batch.app[rows].tolist()
    n = len(rows)
    return {
        "t_ms": np.full(n, round(batch.t_end_s * 1e3), np.uint64),
        "interval_ms": np.full(n, round((batch.t_end_s - batch.t_start_s) * 1e3), np.uint32),
        "proto": batch.proto[rows],
        "ue": ue,
        "remote": remote,
        "app": [signatures.name(a) if a else "" for a in apps],
        "app_basis": [Basis(b).text for b in batch.basis[rows].tolist()],
        "name": host,
        "qfi": batch.qfi[rows].max(axis=1) if n else batch.qfi[rows][:, 0],
        "ul_bytes": batch.octets[rows, UPLINK],
        "dl_bytes": batch.octets[rows, DOWNLINK],
        "ul_packets": batch.packets[rows, UPLINK].astype(np.uint32),
        "dl_packets": batch.packets[rows, DOWNLINK].astype(np.uint32),
        "retrans_ul": batch.retrans[rows, UPLINK],
        "retrans_dl": batch.retrans[rows, DOWNLINK],
        "rtt_access_ms": mean_ms(ACCESS),
        "rtt_core_ms": mean_ms(CORE),
        "gap_max_dl_ms": (batch.gap_max_us[rows, DOWNLINK] / 1e3).astype(np.float32),
        **delays.flows(batch.session[rows], batch.qfi[rows].max(axis=1)),
        "peak_dl_bps": media("peak_bps"),
        "frames_dl": media("frames"),
        "frozen_dl_ms": media("frozen_ms"),
        "chunks": media("chunks"),
        "chunk_bytes": media("chunk_octets"),
        "app_confidence": batch.confidence[rows],
    }
