"""Tools that the live tests share: probes of the network that do not come from the code under test."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.lab import Lab
from lab.wait import slowness, wait_until

__all__ = ["Echo", "capture", "echo_ms", "until", "wait_until"]

Echo = Callable[..., list[float]]


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


@pytest.fixture(scope="session")
def echo_ms() -> Echo:
    """ICMP echo (RFC 792) from a namespace: round-trip times in ms of those that came back."""

    def run(lab: Lab, namespace: str, address: str, count: int = 5, wait_s: float = 1.0) -> list[float]:
        wait_s *= slowness()

        def open_it() -> socket.socket:
            return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)

        times = []
        with lab.net.call(namespace, open_it) as s:
            for n in range(count):
                head = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, n)
                head = head[:2] + struct.pack("!H", _checksum(head + bytes(56))) + head[4:]
                start = time.monotonic()
                s.sendto(head + bytes(56), (address, 0))
                while (left := start + wait_s - time.monotonic()) > 0:
                    s.settimeout(left)
                    try:
                        got = s.recv(2048)
                    except TimeoutError:
                        break
                    kind, _, _, ident, sequence = struct.unpack_from("!BBHHH", got, 20)
                    if (kind, ident, sequence) == (0, os.getpid() & 0xFFFF, n):
                        times.append((time.monotonic() - start) * 1000)
                        break
        return times

    return run


def _marked(lab: Lab, port: str, file: Path, mark: bytes) -> bool:
    """Put a frame of no protocol on the wire of *port*, and say whether one like it is in the capture."""
    mark = b"mark of the test: " + mark
    with lab.net.call("upf", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as s:
        s.bind((f"m-{port}", 0))
        s.send(bytes.fromhex("020000000001 020000000002 88b5") + mark.ljust(60))  # local experimental (IEEE 802)
    return file.exists() and mark in file.read_bytes()


@pytest.fixture(scope="session")
def capture() -> Callable[..., object]:
    """A capture of a port of the probe, read by tshark."""

    @contextmanager
    def run(lab: Lab, port: str, file: Path) -> Iterator[Callable[..., list[str]]]:
        words = [*lab.net.prefix("probe"), "tshark", "-q", "-i", port, "-w", str(file)]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as sniffer:
            wait_until(lambda: _marked(lab, port, file, b"begin"), "tshark begins to capture")

            def fields(display_filter: str, *names: str) -> list[str]:
                if sniffer.poll() is None:
                    wait_until(lambda: _marked(lab, port, file, b"end"), "tshark wrote all that came before")
                    sniffer.terminate()
                    sniffer.wait()
                select = [w for n in names for w in ("-e", n)]
                words = ["tshark", "-r", str(file), "-Y", display_filter, "-T", "fields", *select]
                done = subprocess.run(words, capture_output=True, text=True, check=True)
                return done.stdout.splitlines()

            try:
                yield fields
            finally:
                if sniffer.poll() is None:
                    sniffer.terminate()

    return run


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    """Wait for something, or fail with what was waited for."""
    return wait_until
