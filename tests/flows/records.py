"""Records of the kernel as plain values: the fields that user space reads, by their names, and nothing compiled."""

from __future__ import annotations

import ipaddress
from typing import Any

import numpy as np

from nf.abi import FLOW_FIRST_B, SNF_FLOW_NEW, SNF_FLOW_TUNNEL, SNF_UE_A, SNF_UE_B, SNF_UE_UNKNOWN
from nf.flows.batch import FlowBatch

UE, SERVER, OTHER_SERVER = "10.45.0.2", "192.0.2.1", "192.0.2.9"
GNB, UPF = "172.16.0.1", "172.16.0.2"
A, B, UNKNOWN = SNF_UE_A, SNF_UE_B, SNF_UE_UNKNOWN  # the UE's end of a flow
FIRST_B = FLOW_FIRST_B  # end b spoke first
TCP, UDP = 6, 17
NEW, TUNNEL = SNF_FLOW_NEW, SNF_FLOW_TUNNEL  # kinds of flow events

KEY = np.dtype([("a", "u4"), ("b", "u4"), ("port_a", "u2"), ("port_b", "u2"), ("proto", "u1")])
EVENT = np.dtype(
    [
        *(("number", "u8"), ("at_ns", "u8"), ("key", KEY), ("name", "u8")),
        *((n, "u1", 16) for n in ("address_a", "address_b", "outer_src", "outer_dst")),
        *(("teid", "u4"), ("session", "u4"), ("app", "u2")),
        *((n, "u1") for n in ("kind", "dir", "qfi", "gtpu", "first_dir", "ue_end", "ttl")),
    ]
)
FLOW = np.dtype([("packets", "u4", 2), ("ue_end", "u1"), ("flags", "u1")])
_DNS = ("queries", "answers", "failed", "again", "timed", "sum_us")
_ONE = ("flow_id", "session", "app", "basis", "confidence", "proto", *(f"dns_{n}" for n in _DNS))
_TYPES = {"session": "u4", "app": "u2", "basis": "u1", "confidence": "u1", "proto": "u1", "qfi": "u1",
          **dict.fromkeys(("retrans", "spurious", "filled", "rtt_n", "rtt_min_us", "rtt_high_us"), "u4"),
          "gap_max_us": "u4"}  # fmt: skip


def packed(address: str) -> bytes:
    """Return an address as 16 bytes, IPv4 mapped."""
    parsed = ipaddress.ip_address(address)
    return parsed.packed if parsed.version == 6 else bytes(10) + b"\xff\xff" + parsed.packed


def network_order(port: int) -> int:
    """Return the 16-bit number of this host whose bytes are those of a port on the wire."""
    return int(np.frombuffer(port.to_bytes(2, "big"), "u2")[0])


def key(a: str = UE, port_a: int = 40000, b: str = SERVER, port_b: int = 443, proto: int = TCP) -> np.ndarray:
    """Return one flow key; addresses stand for their last four bytes."""
    out = np.zeros(1, KEY)
    out["a"], out["b"] = (int.from_bytes(packed(end)[12:], "little") for end in (a, b))
    out["port_a"], out["port_b"], out["proto"] = network_order(port_a), network_order(port_b), proto
    return out


def event(
    number: int,
    a: str = UE,
    port_a: int = 40000,
    b: str = SERVER,
    port_b: int = 443,
    proto: int = TCP,
    outer: tuple[str, str] | None = None,
    **fields: Any,
) -> np.ndarray:
    """Return one flow event, of a flow that its end a began in the direction 0; *outer* are the ends of its tunnel."""
    out = np.zeros(1, EVENT)
    out["number"], out["kind"], out["ttl"], out["key"] = number, NEW, 64, key(a, port_a, b, port_b, proto)
    ends = {"address_a": a, "address_b": b}
    if outer:
        ends |= {"outer_src": outer[0], "outer_dst": outer[1]}
    for name, address in ends.items():
        out[name] = np.frombuffer(packed(address), np.uint8)
    out["gtpu"] = outer is not None
    for name, value in fields.items():
        out[name] = value
    return out


def events(*several: np.ndarray) -> np.ndarray:
    """Return several events in one batch."""
    return np.concatenate(several)


def batch(n: int, t_end_s: float = 1_700_000_001.0, **columns: Any) -> FlowBatch:
    """Return an interval of a second in which *n* flows did only what *columns* say."""
    counts = [f for f in FlowBatch.__dataclass_fields__ if not f.startswith("t_") and f != "media"]
    shapes = {f: (n,) if f in _ONE else (n, 2) for f in counts}
    values = {f: np.zeros(shape, _TYPES.get(f, "u8")) for f, shape in shapes.items()}
    values["flow_id"] = np.arange(1, n + 1, dtype=np.uint64)
    for name, given in columns.items():
        values[name][:] = given
    return FlowBatch(t_start_s=t_end_s - 1, t_end_s=t_end_s, **values)


def flows(n: int, **columns: Any) -> np.ndarray:
    """Return the fields of *n* ``struct flow`` that are read beside their differences; no end is known as the UE's."""
    out = np.zeros(n, FLOW)
    out["ue_end"] = UNKNOWN
    for name, given in columns.items():
        out[name] = given
    return out
