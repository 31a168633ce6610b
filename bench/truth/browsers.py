"""Frames of browsers' calls without their headers, on the labelled sets of `make truth`, where there are any.

The truth is in the RTP headers at the probe, which the rules on lengths and pauses do not get to see: a frame is what
has one time stamp, and belongs to the second of its last packet. Seconds in which the host had no time are left out.
"""

from __future__ import annotations

import json
import os
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.figure import Figure
from bench.truth.streams import Packet, Wire
from nf.qoe import conferencing

__all__ = ["figures"]

_SETS = Path(os.environ.get("SNF_TRUTH_CACHE", "/var/cache/snf-truth")) / "sets"
_UE = bytes([10, 45, 0, 2])
_SETTLED_S, _RISE_S = 5, 20
_SOUND = 111  # payload type of Opus in browsers
_GTPU, _OUTER, _MANDATORY, _LONG = 2152, 42, 8, 12  # port; bytes before GTP-U; its header without and with options
_Advance = Callable[..., tuple[list[object], list[float]]]


@dataclass(frozen=True, slots=True)
class _Call:
    packets: list[Packet]
    radio: list[tuple[float, float, float]]  # s of the call; rate and loss of the downlink from then on
    lost_s: frozenset[int]  # seconds in which the host was late


def _datagrams(path: Path) -> Iterator[tuple[float, bool, bytes, int]]:
    """Yield (s, down, payload as far as it was captured, its length) of UDP in GTP-U over IPv4."""
    octets, at = path.read_bytes(), 24
    while at + 16 <= len(octets):
        second, us, captured, _ = struct.unpack_from("<4I", octets, at)
        frame = octets[at + 16 : at + 16 + captured]
        at += 16 + captured
        if frame[12:14] != b"\x08\x00" or len(frame) <= _OUTER + _LONG or frame[36:38] != struct.pack("!H", _GTPU):
            continue
        begin = _OUTER + _MANDATORY
        if frame[_OUTER] & 7:
            begin, extension = _OUTER + _LONG, frame[_OUTER + _LONG - 1]
            while extension:
                begin += 4 * frame[begin]
                extension = frame[begin - 1]
        packet = frame[begin:]
        if len(packet) > 28 and packet[0] == 0x45 and packet[9] == 17:
            length = int.from_bytes(packet[24:26], "big") - 8
            yield second + us / 1e6, packet[16:20] == _UE, packet[28:], length


def _calls() -> Iterator[_Call]:
    for folder in sorted(_SETS.glob("*/call-*")):
        told = json.loads((folder / "conditions.json").read_text())
        found = [Packet(at_s, down, payload, size) for at_s, down, payload, size in _datagrams(folder / "n3.pcap")]
        begin_s = found[0].at_s
        steps = [(begin_s, told["radio"]["downlink"])]
        steps += [(one["t"], one["downlink"]) for one in told["applied"] if one.get("downlink")]
        radio = [(at - begin_s, how["rate_bps"], how["loss"]) for at, how in steps]
        late = frozenset(int(second - begin_s) for second in told["load"]["path"]["over_limit"])
        packets = [Packet(p.at_s - begin_s, p.down, p.payload, p.wire) for p in found]
        yield _Call(packets, radio, late | {second + 1 for second in late})


def _bare(call: _Call) -> tuple[list[Packet], Counter[int]]:
    """Return the packets of a downlink without headers, and its frames by second."""
    mine = [p for p in call.packets if p.down]
    rtp = [p for p in mine if p.payload[0] >> 6 == 2 and not 192 <= p.payload[1] <= 223]
    sources = Counter(p.payload[8:12] for p in rtp if p.payload[1] & 0x7F != _SOUND)
    picture = sources.most_common(1)[0][0]
    ends = {p.payload[4:8]: p.at_s for p in rtp if p.payload[8:12] == picture}
    bare = [Packet(p.at_s + 0.01, True, b"\1" * 16, p.wire) for p in mine]
    frames = Counter(int(at + 0.01) for at in ends.values())
    return [Packet(0.0, False, b"\1" * 16, 60), *bare], frames


def figures(line: Wire, app: str, advance: _Advance) -> list[Figure]:
    """Return the figures of all sets, none without any: steady, with a rate that fell, and after it rose again."""
    off: dict[str, list[float]] = {"steady": [], "shaped": [], "after the rate rose": [], "with loss": []}
    calls = 0
    for call in _calls():
        calls += 1
        packets, truth = _bare(call)
        estimates, _ = advance(conferencing, line.run(packets, app))
        for second, estimate in enumerate(estimates[:-1]):
            if second >= min(truth) + _SETTLED_S and second not in call.lost_s and estimate is not None:
                shown = float(np.nan_to_num(estimate.fps[0]))  # type: ignore[attr-defined]
                off[_part(call, second)].append(abs(shown - truth[second]))
    note = "lab truth: time stamps at the probe; Chromium; seconds in which the host was late left out"
    out = []
    for part, goal in (("steady", 0.3), ("shaped", 1.0), ("after the rate rose", 1.0), ("with loss", 1.0)):
        if off[part]:
            near = 100 * float(np.mean(np.array(off[part]) <= 2))
            cases = {"seconds": float(len(off[part])), "calls": float(calls), "within 2 fps %": near}
            name = f"fps of Chromium by lengths, {part}"
            out.append(Figure(name, float(np.mean(off[part])), "1/s", goal, cases, note))
    return out


def _part(call: _Call, second: int) -> str:
    """Return what the radio did in a second."""
    so_far = [one for one in call.radio if one[0] <= second]
    at, rate, loss = so_far[-1]
    if rate < call.radio[0][1] or loss > call.radio[0][2]:
        return "shaped" if rate < call.radio[0][1] else "with loss"
    rose = min(before for _, before, _ in so_far) < rate and second - at <= _RISE_S
    return "after the rate rose" if rose else "steady"
