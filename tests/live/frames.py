"""Frames that are sent all the time, at a pace that any machine keeps up with."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence

__all__ = ["Sent", "sender"]

PACE_S = 0.05


class Sent:
    """The number of frames that left."""

    def __init__(self) -> None:
        self.frames = 0


@contextlib.contextmanager
def sender(device: str, frames: Sequence[bytes], pace_s: float = PACE_S) -> Iterator[Sent]:
    """Send all *frames* again and again by a device of this namespace, which may go and come back."""
    stop, sent = threading.Event(), Sent()

    def run() -> None:
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with raw:
            while not stop.wait(pace_s):
                for frame in frames:
                    with contextlib.suppress(OSError):
                        raw.sendto(frame, (device, 0))
                        sent.frames += 1

    thread = threading.Thread(target=run, name="sender")
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()
