"""Frames built by scapy: the layers around a T-PDU, and the extension headers that scapy has no class for."""

from __future__ import annotations

from typing import Any

from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

GNB, UPF = "10.10.0.1", "10.10.0.2"
GNB6, UPF6 = "2001:db8:10::1", "2001:db8:10::2"
UE, SERVER = "10.45.0.2", "192.0.2.80"
UE6, SERVER6 = "2001:db8:45::2", "2001:db8:80::80"
UL_TEID, DL_TEID = 0x100, 0x200

QFI = 9


def raw(layers: Any) -> bytes:
    """Return the bytes of scapy layers, with every length and check sum filled in."""
    return bytes(layers)


def ether(payload: Any) -> bytes:
    """Return an untagged Ethernet frame."""
    return raw(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / payload)


def udp(size: int = 32, src: str = UE, dst: str = SERVER, sport: int = 40000, dport: int = 443) -> Any:
    """Return an IPv4 UDP packet with *size* bytes of payload."""
    return IP(src=src, dst=dst) / UDP(sport=sport, dport=dport) / Raw(b"\x55" * size)


def tcp(flags: str = "PA", size: int = 32, **fields: Any) -> Any:
    """Return an IPv4 TCP segment from the UE."""
    return IP(src=UE, dst=SERVER) / TCP(sport=40000, dport=443, flags=flags, **fields) / Raw(b"\x55" * size)


def outer(src: str = GNB, dst: str = UPF, sport: int = 2152, dport: int = 2152) -> Any:
    """Return the IPv4 and UDP layers below GTP-U."""
    return IP(src=src, dst=dst) / UDP(sport=sport, dport=dport)


def gtpu(teid: int = UL_TEID, message: int = 255, **fields: Any) -> Any:
    """Return a GTP-U header; scapy fills the length in."""
    return GTP_U_Header(teid=teid, gtp_type=message, **fields)


def psc(kind: int = 1, qfi: int = QFI, **fields: Any) -> Any:
    """Return a PDU Session Container (TS 38.415, 5.5.2): kind 0 downlink, 1 uplink."""
    return GTPPDUSessionContainer(type=kind, QFI=qfi, **fields)


def uplink(payload: Any, qfi: int = QFI, **fields: Any) -> Any:
    """Return *payload* as a gNB sends it to the UPF of a 5G core."""
    return outer() / gtpu(E=1, next_ex=0x85) / psc(1, qfi, **fields) / payload


def downlink(payload: Any, qfi: int = QFI, **fields: Any) -> Any:
    """Return *payload* as the UPF of a 5G core sends it to a gNB."""
    return outer(UPF, GNB) / gtpu(DL_TEID, E=1, next_ex=0x85) / psc(0, qfi, **fields) / payload


def extension(content: bytes = b"\0\0", following: int = 0, length: int | None = None) -> Raw:
    """Return a GTP-U extension header (TS 29.281, 5.2.1): length in units of four octets, content, next type."""
    units = (len(content) + 2) // 4 if length is None else length
    return Raw(bytes([units]) + content + bytes([following]))


def optional(sequence: int = 0, npdu: int = 0, following: int = 0) -> Raw:
    """Return the four optional octets of a GTP-U header."""
    return Raw(sequence.to_bytes(2, "big") + bytes([npdu, following]))


def chain(count: int, kind: int = 0x40) -> Any:
    """Return *count* extension headers of one type behind each other; the header names the first."""
    layers = extension(following=kind if count > 1 else 0)
    for i in range(2, count + 1):
        layers = layers / extension(following=kind if i < count else 0)
    return layers


def udp6(size: int = 32, extensions: Any = None, src: str = UE6) -> Any:
    """Return an IPv6 UDP packet from the UE, with extension headers between."""
    head = IPv6(src=src, dst=SERVER6)
    return (head if extensions is None else head / extensions) / UDP(sport=40000, dport=443) / Raw(b"\x55" * size)
