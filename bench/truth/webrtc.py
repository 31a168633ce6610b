"""WebRTC calls by aiortc in this process, over loopback, through an impairment: packets and frames at the probe.

What a peer sends is held back or lost as the impaired link would (lab/impair.py), and leaves it at the probe. The truth
is of the sender's packets before the impairment: frames by their time stamps, and which of their packets arrived.
"""

from __future__ import annotations

import asyncio
import fractions
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import aioice.ice
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack
from av import VideoFrame

from bench.truth.streams import Packet
from lab.impair import CLEAN, Impairment, Shaper

__all__ = ["CONDITIONS", "FIGURES", "Call", "in_time", "without_headers"]

FIGURES = ("fps of aiortc", "aiortc")  # their names begin so

_FPS, _WIDTH, _HEIGHT, _CLOCK_HZ = 30, 640, 360, 90_000
_SECONDS = 25
_TRIES = 3
_HEADER_BYTES = 12  # RFC 3550, 5.1
_VP8 = 97  # payload type that aiortc gives the picture; retransmissions have the next one

CONDITIONS: tuple[tuple[str, Impairment, tuple[float, float]], ...] = (
    ("clean", CLEAN, (0.2, 1.3)),
    ("impaired", Impairment(delay_ms=20, jitter_ms=15, loss=0.01, rate_bps=3e6), (0.8, 1.3)),
)


@dataclass(slots=True)
class Call:
    """A call at the probe."""

    packets: list[Packet] = field(default_factory=list)
    arrived: dict[int, int] = field(default_factory=dict)  # frames whose last packet came, by second
    decoded: dict[int, int] = field(default_factory=dict)  # frames that the receiver showed, by second
    late_ms: float = 0.0  # the longest time that this process was late: more than a frame, and the truth is none


class _Camera(MediaStreamTrack):  # type: ignore[misc,unused-ignore]
    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._begun, self._count = time.monotonic(), 0
        self._noise = np.random.default_rng(1).integers(0, 255, (_HEIGHT, _WIDTH * 2, 3), np.uint8)

    async def recv(self) -> VideoFrame:
        """Return the next frame at its time."""
        await asyncio.sleep(max(0.0, self._begun + self._count / _FPS - time.monotonic()))
        shift = self._count * 4 % _WIDTH
        image = self._noise[:, shift : shift + _WIDTH] // 8 + 96
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
        frame.pts, frame.time_base = self._count * _CLOCK_HZ // _FPS, fractions.Fraction(1, _CLOCK_HZ)
        self._count += 1
        return frame


class _Link:
    """Both directions of a link, in front of the sockets of ICE."""

    def __init__(self, impairment: Impairment) -> None:
        self.call, self.begun = Call(), time.monotonic()
        self._shapers = [Shaper("up"), Shaper("down", impairment)]
        self._stamps: dict[int, list[float | None]] = defaultdict(list)

    def send(self, protocol: Any, data: bytes, to: tuple[str, int], *, down: bool) -> None:
        """Have a packet pass the probe, or lose it."""
        now = time.monotonic() - self.begun
        at = self._shapers[down].offer(now, len(data) + 28)
        if down and data[0] >> 6 == 2 and data[1] & 0x7F == _VP8:
            self._stamps[int.from_bytes(data[4:8], "big")].append(at)
        if at is None:
            return
        self.call.packets.append(Packet(at, down, data[: _HEADER_BYTES + 4], len(data)))

        def leave() -> None:
            if not protocol.transport.is_closing():
                protocol.transport.sendto(data, to)

        asyncio.get_running_loop().call_later(max(at - now, 0.0), leave)

    def finish(self) -> Call:
        """Return the call, with the frames that ended."""
        for times in self._stamps.values():
            came = [at for at in times if at is not None]
            if came:
                second = int(max(came))
                self.call.arrived[second] = self.call.arrived.get(second, 0) + 1
        return self.call


def in_time(impairment: Impairment) -> Call | None:
    """Have a call of a video sender in the data network and a UE; None when the host was late in each of three."""
    for _ in range(_TRIES):
        call = asyncio.run(_call(impairment))
        if call.late_ms <= 1000 / _FPS:
            return call
    return None


async def _call(impairment: Impairment) -> Call:
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    link, original = _Link(impairment), aioice.ice.StunProtocol.send_data
    server, ue = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))

    async def send_data(self: Any, data: bytes, to: tuple[str, int]) -> None:
        mine = server.getSenders()[0].transport.transport.iceGatherer._connection
        link.send(self, data, to, down=self.receiver is mine)

    server.addTrack(_Camera())
    server.addTrack(AudioStreamTrack())
    ue.addTrack(AudioStreamTrack())
    shown: list[asyncio.Task[None]] = []

    async def show(track: MediaStreamTrack) -> None:
        while True:
            await track.recv()
            if track.kind == "video":
                second = int(time.monotonic() - link.begun)
                link.call.decoded[second] = link.call.decoded.get(second, 0) + 1

    ue.on("track", lambda track: shown.append(asyncio.ensure_future(show(track))))
    await server.setLocalDescription(await server.createOffer())
    await ue.setRemoteDescription(server.localDescription)
    await ue.setLocalDescription(await ue.createAnswer())
    aioice.ice.StunProtocol.send_data = send_data  # type: ignore[method-assign,assignment,unused-ignore]
    try:
        await server.setRemoteDescription(ue.localDescription)
        due = time.monotonic()
        while due - link.begun < _SECONDS:
            due += 0.01
            await asyncio.sleep(max(due - time.monotonic(), 0))
            link.call.late_ms = max(link.call.late_ms, 1000 * (time.monotonic() - due))
    finally:
        for peer in (server, ue):
            await peer.close()
        for task in shown:
            task.cancel()
        aioice.ice.StunProtocol.send_data = original  # type: ignore[method-assign,unused-ignore]
    return link.finish()


def without_headers(call: Call) -> list[Packet]:
    """Return the packets of a call with nothing that can be read: lengths and times are left."""
    return [Packet(p.at_s, p.down, bytes([1]) * len(p.payload), p.wire) for p in call.packets]
