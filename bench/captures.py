"""The two captures that peers and we are run on: the mixed one, and real ones put end to end, both through GTP-U."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import traffic
from bench.columns import GNB, UE_NET, UPF, read_pcap
from bench.ours import Capture
from nf.settings import StaticSession

__all__ = ["BUILD", "mixed"]

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "bench"
_HEAD = 192  # bytes of a frame with all headers, and what is beside them of RTP
_WHOLE = 8  # payload packets of a flow from its first on that are fed whole
_PAYLOAD_AT = {6: 110, 17: 86}  # offset of the payload in a frame of `write_pcap`, by inner protocol


def mixed() -> tuple[Path, str]:
    """Return the mixed capture, made when it is not there, and its mix in words."""
    BUILD.mkdir(parents=True, exist_ok=True)
    path, words = BUILD / "mixed.pcap", BUILD / "mixed.txt"
    source = b"".join(Path(f).read_bytes() for f in (traffic.__file__, Path(traffic.__file__).with_name("columns.py")))
    mark = f"{traffic.hash_of(source.decode()):08x} "
    if not path.exists() or not words.exists() or not words.read_text().startswith(mark):
        words.write_text(mark + traffic.describe(traffic.build(path)))
    return path, words.read_text().removeprefix(mark)


def load_mixed(path: Path) -> Capture:
    """Return the mixed capture with the sessions of its UEs."""
    times, frames = read_pcap(path)
    sessions = tuple(
        StaticSession(
            name=f"ue{ue:05d}",
            ue_ipv4=str(ipaddress.IPv4Address(UE_NET + ue)),
            dnn="internet",
            uplink=((str(ipaddress.IPv4Address(UPF)), 0x1000 + ue),),
            downlink=((str(ipaddress.IPv4Address(GNB + ue % 4)), 0x1000 + ue + 1_000_000),),
        )
        for ue in range(traffic.UES)
    )
    return Capture(times, frames, _lengths(frames), sessions)


def _lengths(frames: list[bytes]) -> NDArray[np.int64]:
    """Return how much of each frame is fed: all of a flow's first payloads and of DNS, else the headers."""
    seen: dict[bytes, int] = {}
    lengths = np.empty(len(frames), np.int64)
    for i, frame in enumerate(frames):
        ends = frozenset((frame[70:74] + frame[78:80], frame[74:78] + frame[80:82]))
        key = b"".join(sorted(ends))
        payload = len(frame) > _PAYLOAD_AT[frame[67]]
        n = seen.get(key, 0)
        lengths[i] = len(frame) if n < _WHOLE else min(len(frame), _HEAD)
        seen[key] = n + payload
    return lengths
