"""An audio and video call by WebRTC (aiortc): one side offers over HTTPS, the other answers."""

from __future__ import annotations

import asyncio
import fractions
import time
from typing import Any

import aioice.ice
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack
from av import VideoFrame

__all__ = ["answer", "joined", "offer", "received"]

_FPS, _WIDTH, _HEIGHT = 15, 320, 240
_CLOCK_HZ = 90_000  # RTP clock of video (RFC 3551)
_open: set[RTCPeerConnection] = set()


class Picture(MediaStreamTrack):  # type: ignore[misc,unused-ignore]
    """A moving pattern: cheap to draw, not trivial to encode."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._start = time.monotonic()
        self._count = 0
        self._noise = np.random.default_rng(1).integers(0, 255, (_HEIGHT, _WIDTH * 2, 3), np.uint8)

    async def recv(self) -> VideoFrame:
        """Return the next frame at its time."""
        await asyncio.sleep(max(0.0, self._start + self._count / _FPS - time.monotonic()))
        shift = self._count * 4 % _WIDTH
        image = self._noise[:, shift : shift + _WIDTH] // 4 + 64
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
        frame.pts, frame.time_base = self._count * _CLOCK_HZ // _FPS, fractions.Fraction(1, _CLOCK_HZ)
        self._count += 1
        return frame


def _connection(address: str) -> RTCPeerConnection:
    """Return a peer that knows *address* only: the data network's host has one for each service."""
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [address]
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTrack(AudioStreamTrack())
    peer.addTrack(Picture())
    sink = MediaBlackhole()

    async def take(track: MediaStreamTrack) -> None:
        sink.addTrack(track)
        await sink.start()

    async def changed() -> None:
        if peer.connectionState in ("failed", "closed"):
            await peer.close()
            _open.discard(peer)

    peer.on("track", take)
    peer.on("connectionstatechange", changed)
    _open.add(peer)
    return peer


async def offer(address: str) -> tuple[RTCPeerConnection, dict[str, str]]:
    """Return a peer at *address* and the offer to send."""
    peer = _connection(address)
    await peer.setLocalDescription(await peer.createOffer())
    return peer, {"type": peer.localDescription.type, "sdp": peer.localDescription.sdp}


async def joined(peer: RTCPeerConnection, answered: dict[str, str]) -> None:
    """Take the other side's answer to an offer."""
    await peer.setRemoteDescription(RTCSessionDescription(answered["sdp"], answered["type"]))


async def answer(offered: dict[str, str], address: str) -> dict[str, str]:
    """Join a call and return the answer to send."""
    peer = _connection(address)
    await peer.setRemoteDescription(RTCSessionDescription(offered["sdp"], offered["type"]))
    await peer.setLocalDescription(await peer.createAnswer())
    return {"type": peer.localDescription.type, "sdp": peer.localDescription.sdp}


async def received(peer: RTCPeerConnection) -> dict[str, dict[str, Any]]:
    """Return the media that arrived so far, by kind: packets, lost, jitter in RTP clock units."""
    found = {}
    for report in (await peer.getStats()).values():
        if report.type == "inbound-rtp":
            found[report.kind] = {
                "packets": report.packetsReceived,
                "lost": report.packetsLost,
                "jitter": report.jitter,
            }
    return found
