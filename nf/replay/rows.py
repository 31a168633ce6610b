"""The rows of ``snf replay --flows``: each flow by the flow table, its tunnels and its names."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.abi import NO_RTT
from nf.apps.basis import Basis
from nf.flows.book import FlowBook
from nf.pipeline import Pipeline
from nf.sessions import is_of_ue
from nf.sessions.lines import tunnel_name

__all__ = ["Ended", "flow_rows"]

_TCP = 6


class Ended:
    """Flows that gave their place in the table to another one: their last states."""

    def __init__(self) -> None:
        self._ended: list[NDArray[np.void]] = []

    def add(self, ended: NDArray[np.void]) -> None:
        """Record flows (``struct ended``)."""
        self._ended.append(ended)

    def flows(self) -> Iterator[tuple[Any, Any]]:
        """Yield their keys and states."""
        for ended in self._ended:
            yield from zip(ended["key"], ended["flow"], strict=True)


def flow_rows(pipeline: Pipeline, ended: Ended, file_of: Callable[[int], str]) -> list[dict[str, Any]]:
    """Return a row (`nf.replay.output.COLUMNS`, and more) for each flow, in the order of their first packets."""

    def row(flow: Mapping[str, Any]) -> dict[str, Any]:
        return _row(pipeline, flow, file_of(flow["number"]))

    keys, flows = pipeline.plane.read_flows()
    earlies = pipeline.plane.read_earlies()
    all_flows = itertools.chain(ended.flows(), zip(keys, flows, strict=True))
    rows = [row(_table_row(k, f, pipeline.book, earlies)) for k, f in all_flows]
    rows.sort(key=lambda r: (r["first_s"], r["file"], r["number"]))  # the table's own order differs from run to run
    rows = _early_fragments_apart(rows)
    rows.sort(key=lambda r: (r["first_s"], r["file"], r["number"]))
    return rows


_EARLY = ("early_packets", "early_octets")
_SAME = ("file", "proto", "src", "dst", "outer_fwd", "outer_rev", "gtpu")


def _early_fragments_apart(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Show fragments before the last of their datagram in a row without ports, as tools that reassemble do.

    The kernel counts every fragment for its flow. A capture tool knows the ports of a datagram only
    when its last fragment is there; rows made the same way make both lists equal.
    """
    out: list[dict[str, Any]] = []
    apart: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        packets, octets = (row.pop(name, (0, 0)) for name in _EARLY)
        for name, column in (("pkts", packets), ("ipbytes", octets)):
            row[f"{name}_fwd"] -= column[0]
            row[f"{name}_rev"] -= column[1]
        out.append(row)
        if not sum(packets):
            continue
        portless = {
            **row,
            "sport": 0,
            "dport": 0,
            "name": "",
            "app": "",
            "app_basis": Basis.NONE.text,
            "app_confidence": 0,
        }
        if not packets[0]:  # the sender of the first fragment is its source
            portless = _turned(portless)
            packets, octets = packets[::-1], octets[::-1]
        portless.update(pkts_fwd=packets[0], pkts_rev=packets[1], ipbytes_fwd=octets[0], ipbytes_rev=octets[1])
        portless.update(retrans_fwd=0, retrans_rev=0, rtt_handshake_ms="", rtt_min_ms="", rtt_n=0, frags=sum(packets))
        known = apart.setdefault(tuple(portless[n] for n in _SAME), portless)
        if known is portless:
            out.append(portless)
            continue
        for name in ("pkts_fwd", "pkts_rev", "ipbytes_fwd", "ipbytes_rev", "frags"):
            known[name] += portless[name]
    return [r for r in out if r["pkts_fwd"] + r["pkts_rev"]]


def _turned(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as its other end sees it."""
    other = {"src": "dst", "dst": "src", "sport": "dport", "dport": "sport"}
    for name in row:
        if name.endswith("_fwd"):
            other[name], other[f"{name[:-4]}_rev"] = f"{name[:-4]}_rev", name
    return {name: row[other.get(name, name)] for name in row}


def _table_row(
    key: Any, flow: Any, book: FlowBook, earlies: Mapping[int, tuple[list[int], list[int]]]
) -> dict[str, Any]:
    number = int(flow["number"])
    known = book.get(number)
    is_tcp, tcp = key["proto"] == _TCP, flow["rare"]["tcp"]
    early = earlies.get(number, ([0, 0], [0, 0]))
    return {
        "number": number,
        "key": key,
        "first_dir": int(known["first_dir"]),
        "packets": flow["packets"].tolist(),
        "octets": flow["bytes"].tolist(),
        "first_ns": int(known["first_ns"]),
        "last_ns": int(known["last_ns"]),
        "session": int(flow["session"]),
        "gtpu": int(known["gtpu"]),
        "retrans": tcp["retrans"].tolist() if is_tcp else [0, 0],
        "connect_us": int(tcp["connect_us"]) if is_tcp else 0,
        "rtt_min_us": known["rtt_min_us"].tolist(),
        "rtt_n": int(flow["rtt_n"].sum()),
        "frags": int(flow["frags"]),
        "early_packets": early[0],
        "early_octets": early[1],
    }


def _row(pipeline: Pipeline, flow: Mapping[str, Any], file: str) -> dict[str, Any]:
    fwd = flow["first_dir"]
    rev = 1 - fwd
    book = pipeline.book
    key, address = flow["key"], book.ends(flow["number"])
    ports = (int(key["port_a"].byteswap()), int(key["port_b"].byteswap()))
    legs = book.leg(flow["number"], 0), book.leg(flow["number"], 1)
    known = book.get(flow["number"])
    subscriber, source = _who(pipeline, flow)
    retrans = flow.get("retrans", ("", ""))
    connect_us = flow.get("connect_us", 0)
    floors = [us for us in flow.get("rtt_min_us", ()) if us != NO_RTT]
    return {
        "number": int(flow["number"]),
        "file": file,
        "proto": int(key["proto"]),
        "src": address[fwd],
        "sport": ports[fwd],
        "dst": address[rev],
        "dport": ports[rev],
        "pkts_fwd": flow["packets"][fwd],
        "pkts_rev": flow["packets"][rev],
        "ipbytes_fwd": flow["octets"][fwd],
        "ipbytes_rev": flow["octets"][rev],
        "first_s": f"{flow['first_ns'] / 1e9:.6f}",
        "last_s": f"{flow['last_ns'] / 1e9:.6f}",
        "teid_fwd": "|".join(f"0x{t:08x}" for t in sorted(legs[fwd].teids)),
        "teid_rev": "|".join(f"0x{t:08x}" for t in sorted(legs[rev].teids)),
        "qfi_fwd": "|".join(map(str, sorted(legs[fwd].qfis))),
        "qfi_rev": "|".join(map(str, sorted(legs[rev].qfis))),
        "outer_fwd": "|".join(f"{a}>{b}" for a, b in sorted(legs[fwd].outers)),
        "outer_rev": "|".join(f"{a}>{b}" for a, b in sorted(legs[rev].outers)),
        "gtpu": flow["gtpu"],
        "subscriber": subscriber,
        "identity_source": source,
        "app": pipeline.signatures.name(int(known["app"])) if known["app"] else "",
        "app_basis": Basis(int(known["basis"])).text,
        "app_confidence": int(known["confidence"]),
        "app_class": pipeline.signatures.app_class(int(known["app"])),
        "app_evidence": "; ".join(map(str, pipeline.explain_flow(flow["number"]))),
        "name": book.host(flow["number"]),
        "retrans_fwd": retrans[fwd],
        "retrans_rev": retrans[rev],
        "rtt_handshake_ms": connect_us / 1e3 if connect_us else "",
        "rtt_min_ms": round(sum(floors) / 1e3, 3) if floors else "",
        "rtt_n": flow.get("rtt_n", ""),
        "frags": flow.get("frags", ""),
        **{name: (flow[name][fwd], flow[name][rev]) for name in _EARLY if name in flow},
    }


def _who(pipeline: Pipeline, flow: Mapping[str, Any]) -> tuple[str, str]:
    """Return (subscriber, identity source) of a flow, by the binding that held when it was last seen."""
    store, last_s = pipeline.store, flow["last_ns"] / 1e9
    binding = store.by_index(flow["session"]) if flow["session"] else None
    receivers = pipeline.book.receivers(flow["number"])
    ends = pipeline.book.ends(flow["number"])
    for address, teid in receivers if binding is None else ():
        late = store.by_tunnel(address, teid, last_s)
        if binding is None and late is not None and is_of_ue(late.whole, ends):
            binding = late
    if binding is not None:
        label = store.label(binding.index)
        source = label.identity_source if label else "none"
        return store.subscriber(binding.index, pipeline.pseudonymiser), source
    if receivers:
        return pipeline.pseudonymiser.unknown(tunnel_name(*receivers[0])), "none"
    return "", "none"
