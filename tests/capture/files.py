"""Capture files made by hand, byte by byte, and wireshark's reading of any file."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("SNF_SHARED") or Path(__file__).resolve().parents[3] / "shared")
PCAPS = SHARED / "captures" / "pcap"

FRAME = bytes(range(60))
BIG, LITTLE = ">", "<"


def captures() -> list[Path]:
    """Return all shared captures."""
    files = sorted(PCAPS.glob("*.pcap*"))
    if not files:
        pytest.fail(f"There are no captures at {PCAPS}: set SNF_SHARED to the folder that holds captures/pcap.")
    return files


def pcap(
    packets: Sequence[tuple[int, int, bytes]], order: str = LITTLE, *, nanoseconds: bool = False, link: int = 1
) -> bytes:
    """Return a pcap file of (seconds, fraction, frame) packets (draft-ietf-opsawg-pcap, 4 and 5)."""
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for seconds, fraction, frame in packets:
        out += struct.pack(order + "IIII", seconds, fraction, len(frame), len(frame)) + frame
    return out


def block(kind: int, body: bytes, order: str = LITTLE) -> bytes:
    """Return a pcapng block (draft-ietf-opsawg-pcapng, 3.1)."""
    body += bytes(-len(body) % 4)
    length = len(body) + 12
    return struct.pack(order + "II", kind, length) + body + struct.pack(order + "I", length)


def section(order: str = LITTLE) -> bytes:
    """Return a Section Header Block of unknown length."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(
    link: int = 1, resolution: int | None = None, offset_s: int | None = None, order: str = LITTLE, snap: int = 0
) -> bytes:
    """Return an Interface Description Block with its clock."""
    body = struct.pack(order + "HHI", link, 0, snap) + struct.pack(order + "HH", 2, 3) + b"n3\0\0"  # if_name
    if resolution is not None:
        body += struct.pack(order + "HHB3x", 9, 1, resolution)
    if offset_s is not None:
        body += struct.pack(order + "HHq", 14, 8, offset_s)
    return block(1, body + bytes(4), order)


def enhanced(ticks: int, frame: bytes = FRAME, number: int = 0, order: str = LITTLE, wire: int | None = None) -> bytes:
    """Return an Enhanced Packet Block with a comment behind the packet."""
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), wire or len(frame))
    comment = struct.pack(order + "HH", 1, 5) + b"hello\0\0\0" + bytes(4)
    return block(6, head + frame + bytes(-len(frame) % 4) + comment, order)


def tshark(path: Path) -> list[tuple[int, int, int]]:
    """Return (t_ns, captured length, wire length) of each packet by tshark."""
    fields = [f for name in ("time_epoch", "cap_len", "len") for f in ("-e", f"frame.{name}")]
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", *fields]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [(nanoseconds(t), int(captured), int(wire)) for t, captured, wire in map(str.split, lines)]


def nanoseconds(text: str) -> int:
    """Return a decimal number of seconds as nanoseconds, without a float between."""
    seconds, _, fraction = text.partition(".")
    return int(seconds) * 1_000_000_000 + int(fraction.ljust(9, "0")[:9])
