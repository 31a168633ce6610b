"""Streams of datagrams as a plan: which packet is due at which time, and which one is left out. Values only.

A voice of frames of 20 ms by RTP; the ticks of a game, both ways; a picture stream of a cloud game. Packets that are
left out are the exact loss before the probe; their numbers are in the plan with an empty payload.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["CODECS", "Due", "frame_of", "game", "lost", "number_of", "picture", "stream_of", "voice"]

_FRAME_S = 0.020
# Payload type, RTP clock in Hz and octets a frame of 20 ms (RFC 3551, table 4; RFC 4867; RFC 7587; TS 26.445).
CODECS = {
    "PCMU": (0, 8_000, 160),
    "PCMA": (8, 8_000, 160),
    "G722": (9, 8_000, 160),
    "AMR-WB": (104, 16_000, 33),
    "EVS": (110, 16_000, 36),
    "opus": (111, 48_000, 80),
}
_FILL = random.Random(1).randbytes(1 << 16)
_TICK, _INPUT = b"TK", b"IN"
_PACKET_BYTES = 1200  # of a picture stream, as WebRTC and cloud games send them


@dataclass(frozen=True, slots=True)
class Due:
    """A packet of a plan; *payload* is empty when it is left out."""

    at_s: float
    number: int
    payload: bytes


def lost(choices: Mapping[str, Any], pick: random.Random) -> Iterator[bool]:
    """Yield for each packet if it is left out: each on its own with ``loss``, or in runs of a mean length ``run``."""
    share, run = float(choices.get("loss", 0)), max(1.0, float(choices.get("run", 1)))
    leave = 1 / run  # two states (Gilbert): the mean run is 1 / leave, the share enter / (enter + leave)
    enter = share * leave / (1 - share) if share < 1 else 1.0
    away = False
    while True:
        again = 1 - leave if run > 1 else share
        away = pick.random() < (again if away else enter if run > 1 else share)
        yield away


def voice(choices: Mapping[str, Any], seconds: float, seed: str) -> Iterator[Due]:
    """Yield RTP packets (RFC 3550, 5.1) of a codec, late by up to ``jitter_ms``, in order; gaps by ``silence``."""
    pick = random.Random(seed)
    kind, clock, octets = CODECS[choices["codec"]]
    ssrc, first = pick.getrandbits(32), pick.getrandbits(15)
    away, at_s = lost(choices, pick), 0.0
    silences = [tuple(s) for s in choices.get("silence", ())]
    for n in range(int(seconds / _FRAME_S)):
        at_s = max(at_s, n * _FRAME_S + pick.random() * float(choices.get("jitter_ms", 0)) / 1000)
        stamp = (n * clock // 50) & 0xFFFFFFFF
        head = struct.pack("!BBHII", 0x80, kind, (first + n) & 0xFFFF, stamp, ssrc)
        silent = any(begin <= n * _FRAME_S < end for begin, end in silences)
        out = next(away) or silent
        yield Due(at_s, n, b"" if out else head + _FILL[:octets])


def game(choices: Mapping[str, Any], seconds: float, seed: str, role: str) -> Iterator[Due]:
    """Yield the ticks of a server (``far``) or the inputs of a player (``ue``), one each ``tick_ms``.

    The server leaves ticks out with ``loss``, and all in ``spikes`` (begin and end in seconds).
    """
    pick = random.Random(seed)
    tick_s = float(choices["tick_ms" if role == "far" else "input_ms"]) / 1000
    away = lost(choices if role == "far" else {}, pick)
    spikes = [tuple(s) for s in choices.get("spikes", ())] if role == "far" else []
    for n in range(int(seconds / tick_s)):
        at_s = n * tick_s
        octets = int(pick.gauss(160, 40)) if role == "far" else int(pick.gauss(60, 8))
        start = pick.randrange(1 << 15)
        body = (_TICK if role == "far" else _INPUT) + n.to_bytes(6, "big") + _FILL[start : start + max(octets, 20)]
        spiked = any(begin <= at_s < end for begin, end in spikes)
        yield Due(at_s, n, b"" if next(away) or spiked else body)


def picture(choices: Mapping[str, Any], seconds: float, seed: str) -> Iterator[Due]:
    """Yield the packets of pictures at ``fps`` and ``bps``, cut as ``cutting`` says: filled, or in equal parts.

    With ``rtp`` they have RTP headers, a picture's last one with the marker. In ``slow`` (begin, end) every other
    picture is left out, as by an encoder that is short of time. `frame_of` tells the picture of a packet's number.
    """
    pick = random.Random(seed)
    fps, bps = int(choices["fps"]), float(choices["bps"])
    ssrc, sequence = pick.getrandbits(32), pick.getrandbits(15)
    slow = [tuple(s) for s in choices.get("slow", ())]
    away = lost(choices, pick)
    for n in range(int(seconds * fps)):
        octets = int(bps / fps / 8 * (4.0 if n % (fps * 4) == 0 else pick.lognormvariate(0, 0.25)))
        if n % 2 and any(begin <= n / fps < end for begin, end in slow):
            continue
        parts = max(1, -(-octets // _PACKET_BYTES))
        each = -(-octets // parts) if choices["cutting"] == "equal" else _PACKET_BYTES
        for i in range(parts):
            size = max(40, min(each, octets - i * each))
            marker = 0x80 if i == parts - 1 else 0
            stamp = n * 90_000 // fps
            head = struct.pack("!BBHII", 0x80, marker | 96, (sequence + i) & 0xFFFF, stamp, ssrc)
            body = head if choices["rtp"] else b"\x01" + pick.randbytes(11)
            at_s = n / fps + min(i * 0.0002, 0.5 / fps)
            yield Due(at_s, n << 8 | min(i, 255), b"" if next(away) else body + _FILL[i * 64 : i * 64 + size])
        sequence += parts


def frame_of(number: int) -> int:
    """Return the picture that a packet of `picture` belongs to."""
    return number >> 8


def number_of(payload: bytes) -> int:
    """Return a number by which a receiver names a packet: of a tick or an input its own, of RTP its sequence number."""
    if payload[:2] in (_TICK, _INPUT):
        return int.from_bytes(payload[2:8], "big")
    return int.from_bytes(payload[2:4], "big")


def stream_of(kind: str, role: str, choices: Mapping[str, Any], seconds: float, seed: int) -> Iterator[Due]:
    """Return what one end of a kind sends."""
    name = f"{kind}/{seed}/{role}"
    if kind == "rtp":
        return voice(choices, seconds, name)
    if kind == "cloud" and role == "far":
        return picture(choices, seconds, name)
    return game({"input_ms": 8, **choices} if kind == "cloud" else choices, seconds, name, role)
