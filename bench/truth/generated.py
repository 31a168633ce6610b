"""Streams of calls and games whose truth is by construction: who sent what, what was lost, late, frozen or cut.

Times are those at the probe. All is seeded, so that a figure can be made again.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

from bench.truth.streams import Packet, rtp

__all__ = ["Game", "Video", "game", "talkers", "video"]

_UP, _DOWN = 0, 1
SPEECH_HZ, VIDEO_HZ = 8000, 90_000


def talkers(
    seconds: int,
    *,
    loss: float = 0.0,
    run: int = 1,
    every: int = 0,
    jitter_ms: float = 0.0,
    seed: int = 1,
) -> tuple[list[Packet], list[int]]:
    """Return two G.711 talkers of 50 packets a second, and how many packets were lost (uplink, downlink).

    Loss is at random with ratio *loss*, or *run* packets in a row of each *every* downlink ones. *jitter_ms* is the
    standard deviation of each packet's delay, which keeps the order.
    """
    rng, packets, lost = random.Random(seed), [], [0, 0]
    for down in (_UP, _DOWN):
        last = 0.0
        for i in range(seconds * 50):
            in_run = down and every and 0 <= i % every - every // 2 < run
            if in_run or rng.random() < loss:
                lost[down] += 1
                continue
            late_s = abs(rng.gauss(0, jitter_ms / 1000)) if i else 0.0  # who speaks first is the UE
            last = max(last + 1e-5, 0.1 + 0.01 * down + 0.02 * i + late_s)
            packets.append(Packet(last, bool(down), rtp(100 + i, 160 * i, pt=0, ssrc=7 + down, size=160)))
    return packets, lost


@dataclass(slots=True)
class Video:
    """A video call or a cloud game: its packets, and the frames of each second that were whole when they came."""

    packets: list[Packet] = field(default_factory=list)
    frames: dict[int, int] = field(default_factory=dict)


def video(
    seconds: int,
    *,
    fps: float,
    kbps: float,
    split: str,
    jitter_ms: float = 0.0,
    frozen: tuple[float, float] = (0.0, 0.0),
    sound: bool = True,
    full: int = 1200,
    pace_us: float = 100.0,
    seed: int = 1,
) -> Video:
    """Return a downlink of frames, with sound both ways.

    *split* is ``rtp`` (headers in clear, equal packets), ``equal`` or ``filled`` (no headers). Between the times of
    *frozen* nothing of the picture comes.
    """
    rng, out, number, at = random.Random(seed), Video(), 0, 0.05
    for i in range(int(seconds * fps)):
        at = max(at + 1e-4, 0.05 + i / fps + abs(rng.gauss(0, jitter_ms / 1000)))
        if frozen[0] <= at < frozen[1]:
            continue
        size = max(320, round(kbps * 125 / fps * rng.lognormvariate(0, 0.2) * (3.5 if i % int(10 * fps) == 0 else 1)))
        count = -(-size // full)
        sizes = [size // count + (1 if n < size % count else 0) for n in range(count)]
        if split == "filled":
            sizes = [full] * (size // full) + ([size % full] if size % full > 306 else [])
            sizes = sizes or [max(size, 320)]
        for n, part in enumerate(sizes):
            number += 1
            payload = bytes(rng.getrandbits(8) & 0x3F for _ in range(16))
            if split == "rtp":
                stamp = round(i * VIDEO_HZ / fps)
                payload = rtp(number, stamp, pt=96, ssrc=99, size=4, marker=n == len(sizes) - 1)
            out.packets.append(Packet(at + n * pace_us / 1e6, True, payload, part))
        end = int(at + (len(sizes) - 1) * pace_us / 1e6)
        out.frames[end] = out.frames.get(end, 0) + 1
    if sound:
        for down in (_UP, _DOWN):
            for i in range(seconds * 50):
                speech = rtp(i, 960 * i, pt=111, ssrc=5 + down, size=80) if split == "rtp" else bytes([1] * 92)
                out.packets.append(Packet(0.01 + 0.003 * down + 0.02 * i, bool(down), speech))
    return out


@dataclass(slots=True)
class Game:
    """A tick game: its packets, ticks sent and lost, and spikes as (begin, length) in s."""

    packets: list[Packet] = field(default_factory=list)
    sent: int = 0
    lost: int = 0
    spikes: list[tuple[float, float]] = field(default_factory=list)


def game(
    seconds: int,
    *,
    tick_hz: float,
    core_ms: float,
    access_ms: float,
    loss: float = 0.0,
    jitter_ms: float = 0.0,
    spike: tuple[float, float] = (0.0, 0.0),
    seed: int = 1,
) -> Game:
    """Return a game whose server answers each input of the player at once, with the stamp that the input began with.

    *spike* is (each so many seconds, length in s): so long nothing comes down. An answer passes *core_ms* after its
    input, and the player acknowledges it with its stamp, *access_ms* later. *jitter_ms* is the standard deviation of
    both delays.
    """
    rng, out = random.Random(seed), Game()
    each, length = spike
    last = 0.0
    for i in range(int(seconds * tick_hz)):
        at = 0.2 + i / tick_hz
        stamp = struct.pack("!II", 0x10000000 + i, rng.getrandbits(32))
        out.packets.append(Packet(at, False, stamp + bytes(40)))
        back = at + core_ms / 1000 + abs(rng.gauss(0, jitter_ms / 1000))
        if each and back % each >= each - length:
            continue
        out.sent += 1
        if rng.random() < loss:
            out.lost += 1
            continue
        if each and last and back - last > length:
            out.spikes.append((last, back - last))
        last = back
        out.packets.append(Packet(back, True, stamp + bytes(rng.randrange(60, 200))))
        out.packets.append(Packet(back + access_ms / 1000 + abs(rng.gauss(0, jitter_ms / 1000)), False, stamp))
    return out
