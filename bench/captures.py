"""The captures that peers and we are run on, all through GTP-U: mixed, dense, and real ones end to end."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import columns, dense, traffic
from bench.columns import GNB, UE_NET, UPF, read_pcap
from bench.dense import Dense
from bench.ours import Capture
from nf.capture import merged
from nf.errors import SnfError
from nf.settings import StaticSession

__all__ = [
    "BUILD",
    "SHARED",
    "Tunnels",
    "ends_of",
    "inner_packet",
    "load_mixed",
    "made_dense",
    "mixed",
    "real",
    "session_of",
    "sessions_of",
]

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "bench"
SHARED = Path(os.environ.get("SNF_SHARED") or ROOT.parent / "shared") / "captures" / "pcap"
_HEAD = 192  # bytes of a frame with all headers, and of RTP's own beside them
_WHOLE = 8  # payload packets of a flow from its first on that are fed whole
_PAYLOAD_AT = {6: 110, 17: 86}  # offset of the payload in a frame of `write_pcap`, by inner protocol
_ETHERNET, _GTPU = 1, 2152
_PAUSE_NS = 100_000  # longer pauses within and between real captures are cut to this: 12,000 packets a second
_MOST = 3392  # bytes of a frame that a test run takes


def _made(name: str, by: tuple[ModuleType, ...], make: Callable[[Path], str]) -> tuple[Path, str]:
    """Return a capture and what *make* said of it, made anew when one of the modules that make it has changed."""
    BUILD.mkdir(parents=True, exist_ok=True)
    path, words = BUILD / f"{name}.pcap", BUILD / f"{name}.txt"
    mark = f"{traffic.hash_of(''.join(Path(str(module.__file__)).read_text() for module in by)):08x} "
    if not path.exists() or not words.exists() or not words.read_text().startswith(mark):
        words.write_text(mark + make(path))
    return path, words.read_text().removeprefix(mark)


def mixed() -> tuple[Path, str]:
    """Return the mixed capture, made when it is not there, and its mix in words."""
    return _made("mixed", (traffic, columns), lambda path: traffic.describe(traffic.build(path)))


def made_dense() -> tuple[Path, Dense]:
    """Return the mixed capture made dense, made when it is not there, and what is in it."""
    by = (dense, traffic, columns)
    path, words = _made("dense", by, lambda path: json.dumps(dataclasses.asdict(dense.build(path))))
    return path, Dense(**json.loads(words))


def load_mixed(path: Path) -> Capture:
    """Return the mixed capture, or the dense one, with the sessions of its UEs."""
    times, frames = read_pcap(path)
    return Capture(times, frames, _lengths(frames), sessions_of(traffic.UES))


def sessions_of(ues: int) -> tuple[StaticSession, ...]:
    """Return the sessions of so many UEs, as these captures have them."""
    return tuple(
        session_of(ue, str(ipaddress.IPv4Address(UE_NET + ue)), 0x1000 + ue, str(ipaddress.IPv4Address(GNB + ue % 4)))
        for ue in range(ues)
    )


def session_of(number: int, ue: str, teid: int, gnb: str = "", imsi: str = "") -> StaticSession:
    """Return the session of a UE whose uplink TEID is *teid*, as `Tunnels` and the mixed capture have it."""
    version: dict[str, Any] = {"ue_ipv6": ue} if ":" in ue else {"ue_ipv4": ue}
    upf, gnb = str(ipaddress.IPv4Address(UPF)), gnb or str(ipaddress.IPv4Address(GNB))
    return StaticSession(
        name=f"ue{number:05d}",
        imsi=imsi,
        dnn="internet",
        uplink=((upf, teid),),
        downlink=((gnb, teid + 1_000_000),),
        **version,
    )


def _lengths(frames: list[bytes]) -> NDArray[np.int64]:
    """Return how much of each frame is fed: all of a flow's first payloads and of DNS, else the headers."""
    seen: dict[bytes, int] = {}
    lengths = np.empty(len(frames), np.int64)
    for i, frame in enumerate(frames):
        key = b"".join(sorted((frame[70:74] + frame[78:80], frame[74:78] + frame[80:82])))
        n = seen.get(key, 0)
        lengths[i] = len(frame) if n < _WHOLE else min(len(frame), _HEAD)
        seen[key] = n + (len(frame) > _PAYLOAD_AT[frame[67]])
    return lengths


# -- real captures ------------------------------------------------------------


class Tunnels:
    """Gives each UE of a capture a tunnel each way.

    The UE is the end with a private address; of two such the one with more *peers*, else the first to speak.
    """

    def __init__(self, peers: Mapping[bytes, int] | None = None) -> None:
        self.teids: dict[bytes, int] = {}
        self._peers = peers or {}
        self._ue_of: dict[frozenset[bytes], bytes] = {}

    def wrap(self, packet: bytes) -> bytes | None:
        """Return the frame of an IP packet in its tunnel; None when it is none, or too long for one."""
        src, dst = ends_of(packet)
        if not src or len(packet) > 65_000:
            return None
        ue = self._ue_of.setdefault(frozenset((src, dst)), self._choose(src, dst))
        teid = self.teids.setdefault(ue, 0x1000 + len(self.teids))
        up = src == ue
        gtp = struct.pack("!BBHIHBB", 0x34, 255, len(packet) + 8, teid + (0 if up else 1_000_000), 0, 0, 0x85)
        gtp += bytes((1, 0x10 if up else 0, 9, 0))
        udp = struct.pack("!HHHH", _GTPU, _GTPU, 8 + len(gtp) + len(packet), 0)
        ends = (GNB, UPF) if up else (UPF, GNB)
        outer = struct.pack("!BBHHHBBHII", 0x45, 0, 28 + len(gtp) + len(packet), 0, 0x4000, 64, 17, 0, *ends)
        return b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\x00" + outer + udp + gtp + packet

    def _choose(self, src: bytes, dst: bytes) -> bytes:
        private = [ipaddress.ip_address(end).is_private for end in (src, dst)]
        if private == [False, True] or (private[0] == private[1] and self._peers.get(dst, 0) > self._peers.get(src, 0)):
            return dst
        return src


def ends_of(packet: bytes) -> tuple[bytes, bytes]:
    """Return the addresses of an IP packet, empty when it is none."""
    version = packet[0] >> 4 if packet else 0
    size, at = {4: (4, 12), 6: (16, 8)}.get(version, (0, 0))
    if not size or len(packet) < at + 2 * size:
        return b"", b""
    return packet[at : at + size], packet[at + size : at + 2 * size]


def inner_packet(frame: bytes) -> tuple[bytes, bool]:
    """Return (the IP packet of an Ethernet frame, whether it is in a tunnel already); empty when there is none."""
    at = 12
    while frame[at : at + 2] in (b"\x81\x00", b"\x88\xa8", b"\x91\x00"):
        at += 4
    if frame[at : at + 2] == b"\x88\x64" and frame[at + 8 : at + 10] in (b"\x00\x21", b"\x00\x57"):
        at += 8  # PPPoE (RFC 2516), and PPP's number of IPv4 or IPv6
    elif frame[at : at + 2] not in (b"\x08\x00", b"\x86\xdd"):
        return b"", False
    packet = frame[at + 2 :]
    if packet[:1] and packet[0] >> 4 == 4:  # bytes behind the packet in a short frame are padding
        packet = packet[: max(20, int.from_bytes(packet[2:4], "big"))]
    udp = 4 * (packet[0] & 15) if packet and packet[0] >> 4 == 4 and packet[9:10] == b"\x11" else 0
    return packet, bool(udp) and packet[udp + 2 : udp + 4] == _GTPU.to_bytes(2, "big")


def _real_frames(tunnels: Tunnels) -> Iterator[tuple[int, bytes]]:
    now_ns = 1_700_000_000_000_000_000
    for path in sorted(SHARED.iterdir()):
        before: int | None = None
        for _, at_ns, frame, link, _ in merged([path]):
            if link != _ETHERNET:
                break
            now_ns += min(_PAUSE_NS, max(0, at_ns - before) if before is not None else _PAUSE_NS)
            before = at_ns
            packet, tunnelled = inner_packet(frame)
            made = frame if tunnelled else tunnels.wrap(packet)
            if made is not None:
                yield now_ns // 1000 * 1000, made


def real() -> tuple[Path, Capture, str]:
    """Return the Ethernet captures end to end through GTP-U: file, content, and its description.

    A packet that was in a tunnel stays as it is. Raises SnfError when the captures are not there.
    """
    if not SHARED.is_dir():
        raise SnfError(f"The captures are not at {SHARED}.", "Set SNF_SHARED to the folder that holds captures/.")
    BUILD.mkdir(parents=True, exist_ok=True)
    tunnels = Tunnels()
    times, frames = zip(*_real_frames(tunnels), strict=True)
    path = BUILD / "real.pcap"
    with path.open("wb") as out:
        out.write(columns.PCAP)
        for at_ns, frame in zip(times, frames, strict=True):
            out.write(struct.pack("<IIII", at_ns // 10**9, at_ns % 10**9 // 1000, len(frame), len(frame)) + frame)
    sessions = tuple(
        session_of(i, str(ipaddress.ip_address(ue)), teid) for i, (ue, teid) in enumerate(tunnels.teids.items())
    )
    lengths = np.array([min(len(f), _MOST) for f in frames], np.int64)
    words = f"{len(frames)} packets of the Ethernet captures end to end, pauses cut to 0.1 ms"
    return path, Capture(np.array(times, np.int64), frames, lengths, sessions), words
