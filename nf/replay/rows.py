"""The rows of ``snf replay --flows``: what the flow table, the tunnels and the names say of each flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.apps.basis import Basis
from nf.kernel.dataplane import address_text
from nf.naming import Leg
from nf.pipeline import Pipeline

__all__ = ["Ended", "flow_rows"]

_NO_RTT = 0xFFFF_FFFF  # NO_RTT of flow.h


class Ended:
    """Flows that the kernel began again under another session: what they had counted until then."""

    def __init__(self) -> None:
        self.events: list[NDArray[np.void]] = []
        self._begun: dict[int, tuple[Any, int]] = {}

    def add(self, events: NDArray[np.void]) -> None:
        """Record events (``struct flow_event``)."""
        for e in events:
            self._begun[int(e["number"])] = (e, int(e["at_ns"]))
            if e["old_number"]:
                self.events.append(e)

    def rows(self, row: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield a row for each ended flow, made by *row* of what is known of it."""
        for e in self.events:
            begun = self._begun.get(int(e["old_number"]))
            if begun is None:
                continue
            first, first_ns = begun
            yield row(
                {
                    "number": int(e["old_number"]),
                    "key": e["key"],
                    "address": (e["address_a"].tobytes(), e["address_b"].tobytes()),
                    "first_dir": int(first["dir"]),
                    "packets": e["old_packets"].tolist(),
                    "octets": e["old_bytes"].tolist(),
                    "first_ns": first_ns,
                    "last_ns": int(e["at_ns"]),
                    "session": int(e["old_session"]),
                    "gtpu": int(e["gtpu"]),
                }
            )


def flow_rows(pipeline: Pipeline, ended: Ended, file_of: Callable[[int], str]) -> list[dict[str, Any]]:
    """Return a row (design, section 6) for each flow, in the order of their first packets."""

    def row(flow: Mapping[str, Any]) -> dict[str, Any]:
        return _row(pipeline, flow, file_of(flow["number"]))

    keys, flows = pipeline.plane.read_flows()
    rows = list(ended.rows(row)) + [row(_table_row(k, f)) for k, f in zip(keys, flows, strict=True)]
    rows.sort(key=lambda r: (r["first_s"], r["file"]))
    return rows


def _table_row(key: Any, flow: Any) -> dict[str, Any]:
    return {
        "number": int(flow["number"]),
        "key": key,
        "address": (flow["address_a"].tobytes(), flow["address_b"].tobytes()),
        "first_dir": int(flow["first_dir"]),
        "packets": flow["packets"].tolist(),
        "octets": flow["bytes"].tolist(),
        "first_ns": int(flow["first_ns"]),
        "last_ns": int(flow["last_ns"].max()),
        "session": int(flow["session"]),
        "gtpu": int(flow["gtpu"]),
        "retrans": flow["retrans"].tolist(),
        "handshake_us": flow["handshake_us"].tolist(),
        "rtt_min_us": flow["rtt_min_us"].tolist(),
        "rtt_n": int(flow["rtt_n"].sum()),
        "frags": int(flow["frags"]),
    }


def _row(pipeline: Pipeline, flow: Mapping[str, Any], file: str) -> dict[str, Any]:
    fwd = flow["first_dir"]
    rev = 1 - fwd
    key, address = flow["key"], [address_text(a) for a in flow["address"]]
    ports = (int(key["port_a"].byteswap()), int(key["port_b"].byteswap()))
    legs = pipeline.tunnels.legs.get(flow["number"], (Leg(), Leg()))
    app, basis, name = pipeline.names.get(flow["number"])
    subscriber, source = _who(pipeline, flow)
    retrans = flow.get("retrans", ("", ""))
    handshake = flow.get("handshake_us", (0, 0))
    floors = [us for us in flow.get("rtt_min_us", ()) if us != _NO_RTT]
    return {
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
        "app": pipeline.signatures.name(app) if app else "",
        "app_basis": Basis(basis).text,
        "name": name,
        "retrans_fwd": retrans[fwd],
        "retrans_rev": retrans[rev],
        "rtt_handshake_ms": round(sum(handshake) / 1e3, 3) if all(handshake) else "",
        "rtt_min_ms": round(sum(floors) / 1e3, 3) if floors else "",
        "rtt_n": flow.get("rtt_n", ""),
        "frags": flow.get("frags", ""),
    }


def _who(pipeline: Pipeline, flow: Mapping[str, Any]) -> tuple[str, str]:
    """Return (subscriber, identity source) of a flow, by the binding that held when it was last seen."""
    store, last_s = pipeline.store, flow["last_ns"] / 1e9
    binding = store.by_index(flow["session"]) if flow["session"] else None
    receivers = pipeline.tunnels.receivers(flow["number"])
    for address, teid in receivers if binding is None else ():
        binding = binding or store.by_tunnel(address, teid, last_s)
    if binding is not None:
        return store.subscriber(binding.index, pipeline.pseudonymiser), binding.session.source
    if receivers:
        address, teid = receivers[0]
        return f"teid:{address}:0x{teid:08x}", "none"
    return "", "none"
