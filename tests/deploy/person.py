"""A person who types the commands of docs/first-port.md into a shell of a machine, and the traffic at its ports.

Ports are pairs of veth: the function gets one end, and the end with ``-far`` behind its name is the wire.
"""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

from nf.capture.reader import open_capture
from tests.deploy.page import Block

__all__ = ["PORTS", "Shell", "crosses", "traffic"]

PORTS = ("enp3s0", "enp4s0", "enp6s0", "enp7s0")  # those of the page: N3, N4, and a pair
_COPIES = {"n3": "enp3s0-far", "n4": "enp4s0-far"}
_PFCP_TYPE, _SESSION_DELETION = 14 + 20 + 8 + 1, b"\x36"  # of Ethernet, IPv4, UDP; TS 29.244, table 7.3-1
_DONE = "done-of-a-block"


@contextmanager
def traffic(shared: Path) -> Iterator[None]:
    """Play copies of N3 and N4 beside a real UPF in their time, again and again, in this network namespace."""
    stop = threading.Event()
    packets = []
    for name, port in _COPIES.items():
        with open_capture(shared / "realupf" / f"dev-{name}.pcapng.gz") as capture:
            packets += [(at_ns, port, bytes(data)) for at_ns, data, _, _ in capture]
    packets.sort()
    # Until the sessions end: to the one who looks they go on.
    ends_ns = min(
        at
        for at, port, data in packets
        if port == _COPIES["n4"] and data[_PFCP_TYPE : _PFCP_TYPE + 1] == _SESSION_DELETION
    )
    packets = [packet for packet in packets if packet[0] < ends_ns]

    def play() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            while not stop.is_set():
                begun_s = time.monotonic()
                for at_ns, port, data in packets:
                    wait_s = begun_s + (at_ns - packets[0][0]) / 1e9 - time.monotonic()
                    if wait_s > 0.001 and stop.wait(wait_s):
                        return
                    wire.sendto(data, (port, 0))

    player = threading.Thread(target=play, name="player")
    player.start()
    try:
        yield
    finally:
        stop.set()
        player.join()


def crosses(one: str, two: str) -> bool:
    """Say whether a frame that comes in at one end of a pair leaves at the other."""
    frame = bytes.fromhex("020000000001 020000000002 0800") + bytes(60)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as far:
        far.bind((two, 0x0800))
        far.settimeout(1)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as near:
            near.sendto(frame, (one, 0))
        try:
            return far.recv(2000).startswith(frame[:14])
        except TimeoutError:
            return False


class Shell:
    """A shell that somebody types into; ``said`` has what it answered, by the heading that the commands stand under."""

    def __init__(self, words: Sequence[str], folder: Path | None = None) -> None:
        self.said: dict[str, str] = {}
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder, text=True
        )

    def types(self, block: Block) -> str:
        """Type a block; return what it says. Raises AssertionError when one of its commands does not end well."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        # Its commands read nothing: what the shell reads next is not theirs.
        lines = ("trap 'echo failed: $BASH_COMMAND' ERR", f"eval {quote(block.text)} </dev/null", "trap - ERR")
        self.process.stdin.write("\n".join(lines) + f"; echo {_DONE}\n")
        self.process.stdin.flush()
        text = "".join(iter(self.process.stdout.readline, f"{_DONE}\n"))
        self.said[block.heading] = self.said.get(block.heading, "") + text
        assert "failed: " not in text, f"line {block.line} of the page: {text}"
        return text

    def close(self) -> None:
        """Leave the shell."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
