"""IPFIX as tshark reads it: messages become a capture, and its dissector's fields come back."""

from __future__ import annotations

import re
import struct
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PORT = 4739  # RFC 7011, 10.3.4
_RAW_IP = 101  # link type of a capture


def capture(messages: Sequence[bytes], path: Path) -> Path:
    """Write a capture of UDP datagrams."""
    ends = b"\x7f\0\0\1" * 2
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0xFFFF, _RAW_IP))
        for message in messages:
            udp = struct.pack("!HHHH", PORT, PORT, 8 + len(message), 0) + message
            packet = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + ends + udp
            file.write(struct.pack("<IIII", 0, 0, len(packet), len(packet)) + packet)
    return path


def dissected(messages: Sequence[bytes], path: Path) -> list[list[tuple[str, str, str]]]:
    """Return (name, text, value) of each field of each message, as tshark says."""
    command = ["tshark", "-r", str(capture(messages, path)), "-T", "pdml"]
    said = subprocess.run(command, capture_output=True, check=True, timeout=120).stdout
    found = []
    for packet in ET.fromstring(said).iter("packet"):
        fields = [(f.get("name", ""), f.get("showname", ""), f.get("show", "")) for f in packet.iter("field")]
        found.append([f for f in fields if f[0].startswith(("cflow.", "_ws."))])
    return found


def elements(fields: Sequence[tuple[str, str, str]]) -> dict[int, str]:
    """Return the values of the elements of an enterprise in a record, as hexadecimal digits by number."""
    own = [(text, show) for name, text, show in fields if name == "cflow.enterprise_private_entry"]
    return {int(re.search(r"Type (\d+)", text)[1]): show.replace(":", "") for text, show in own}  # type: ignore[index]


def one(fields: Sequence[tuple[str, str, str]], name: str) -> list[str]:
    """Return what a field of IANA's says, each time."""
    return [show for field, _, show in fields if field == f"cflow.{name}"]


def header(message: bytes) -> dict[str, Any]:
    """Return the header of a message (RFC 7011, 3.1)."""
    names = ("version", "length", "export_s", "sequence", "domain")
    return dict(zip(names, struct.unpack("!HHIII", message[:16]), strict=True))
