"""Transport payloads of the development captures, flow by flow, read by scapy: what the kernel would hand over."""

from __future__ import annotations

import csv
import ipaddress
import os
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from scapy.contrib import gtp  # noqa: F401  (binds UDP 2152)
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.packet import NoPayload
from scapy.utils import PcapReader

from nf.abi import SNF_PAYLOAD
from nf.apps.signatures import Signatures
from nf.naming.payloads import Namer, Payload, Verdict

SHARED = Path(os.environ.get("SNF_SHARED", Path(__file__).resolve().parents[3] / "shared"))
CAPTURES = SHARED / "captures"
KERNEL_CUT = SNF_PAYLOAD  # bytes of a payload that the kernel hands over

Flow = tuple[int, str, int, str, int]


def expected_flows() -> list[dict[str, str]]:
    """Return the rows of expected_flows.csv."""
    path = CAPTURES / "expected_flows.csv"
    if not path.is_file():
        pytest.fail(f"The captures are not at {CAPTURES}; set SNF_SHARED to the shared folder.")
    with path.open(newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def flow_of(row: dict[str, str]) -> Flow:
    """Return the key of a row of expected_flows.csv."""
    return _key(int(row["proto"]), row["src"], int(row["sport"]), row["dst"], int(row["dport"]))


def _key(proto: int, a: str, a_port: int, b: str, b_port: int) -> Flow:
    ends = sorted([(str(ipaddress.ip_address(a)), a_port), (str(ipaddress.ip_address(b)), b_port)])
    return proto, *ends[0], *ends[1]


@cache
def payloads(file: str) -> tuple[tuple[Flow, Payload], ...]:
    """Return the TCP and UDP payloads of a capture in its order, of the innermost IP packets."""
    return tuple(_read(file))


def _read(file: str) -> Iterator[tuple[Flow, Payload]]:
    path = CAPTURES / "pcap" / file
    if not path.is_file():
        pytest.fail(f"{path} is missing; set SNF_SHARED to the shared folder.")
    with PcapReader(str(path)) as reader:
        for packet in reader:
            layer = _innermost(packet)
            if layer is None:
                continue
            transport = layer.getlayer(TCP) or layer.getlayer(UDP)
            if transport is None or isinstance(transport.payload, NoPayload):
                continue
            data = bytes(transport.payload)
            if isinstance(layer, IP):  # Ethernet pads short frames
                data = data[: max(0, layer.len - layer.ihl * 4 - (transport.dataofs * 4 if TCP in layer else 8))]
            elif TCP not in layer:
                data = data[: max(0, (transport.len or 0) - 8)]
            if not data:
                continue
            proto = 6 if isinstance(transport, TCP) else 17
            src, dst = (str(ipaddress.ip_address(a)) for a in (layer.src, layer.dst))
            flow = _key(proto, src, transport.sport, dst, transport.dport)
            yield (
                flow,
                Payload(
                    flow_id=zlib.crc32(repr(flow).encode()),
                    session=0,
                    proto=proto,
                    src=src,
                    sport=transport.sport,
                    dst=dst,
                    dport=transport.dport,
                    data=data,
                    seq=transport.seq if proto == 6 else 0,
                    at_s=float(packet.time),
                ),
            )


def _innermost(packet: object) -> IP | IPv6 | None:
    found = None
    layer = packet
    while layer and not isinstance(layer, NoPayload):
        if isinstance(layer, IP | IPv6):
            found = layer
            if isinstance(layer, IP) and layer.frag:
                return None
            if isinstance(layer, IPv6) and IPv6ExtHdrFragment in layer and layer[IPv6ExtHdrFragment].offset:
                return None
        layer = layer.payload  # type: ignore[attr-defined]
    return found


class _Budget:
    """The kernel's budget of payloads for a flow (docs/architecture.md, "A packet as data")."""

    def __init__(self) -> None:
        self._left: defaultdict[tuple[str, int], int] = defaultdict(lambda: 3)
        self._hellos: Counter[tuple[str, int]] = Counter()

    def takes(self, p: Payload) -> bool:
        if 53 in (p.sport, p.dport):
            return True
        sender, data = (p.src, p.sport), p.data
        hello = len(data) >= 48 and data[:2] == b"\x16\x03" and data[5] == 1
        if p.proto == 17:
            initial = len(data) >= 1200 and data[0] & 0xF0 == (0xD0 if data[1:5] == _QUIC_V2 else 0xC0)
            hello = (initial and any(data[1:5])) or (data[:2] == b"\x16\xfe" and data[13:14] == b"\1")
        if hello and self._left[sender] <= 3 and self._hellos[sender] < 3:
            self._hellos[sender] += 1
            self._left[sender] = 7
        elif not hello and self._hellos[sender] and p.proto == 17:
            return False
        self._left[sender] -= 1
        return self._left[sender] >= 0


_QUIC_V2 = bytes.fromhex("6b3343cf")  # RFC 9369, 3.1


def verdicts(file: str, signatures: Signatures, cut: int = KERNEL_CUT) -> tuple[dict[Flow, Verdict], Namer]:
    """Feed a capture as the kernel does: no more payloads than it hands over, none after the final verdict."""
    namer = Namer(signatures)
    budgets: defaultdict[Flow, _Budget] = defaultdict(_Budget)
    last: dict[Flow, Verdict] = {}
    for flow, p in payloads(file):
        if (flow in last and last[flow].final) or not budgets[flow].takes(p):
            continue
        if verdict := namer.feed(replace(p, data=p.data[:cut])):
            last[flow] = verdict
    return last, namer
