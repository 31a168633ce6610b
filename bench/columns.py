"""Packets as columns, and their way into a pcap file: headers are built for all packets at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["PACKET", "PCAP", "Packets", "frames_of", "read_pcap", "write_pcap"]

PACKET = np.dtype(
    [
        ("at_us", "u8"),
        ("at", "u8"),  # place of the payload in the bytes that all packets share
        ("length", "u2"),  # of the payload
        ("up", "?"),
        ("tcp", "?"),
        ("flags", "u1"),
        ("ue", "u2"),
        ("server", "u4"),
        ("sport", "u2"),  # of the UE
        ("dport", "u2"),
        ("seq", "u4"),
        ("ack", "u4"),
        ("tsval", "u4"),
        ("tsecr", "u4"),
    ]
)
GNB, UPF, UE_NET = 0x0A0A_0001, 0x0A0A_0101, 0x0A2D_0002  # 10.10.0.1, 10.10.1.1, 10.45.0.2
_RECORD = [("sec", "<u4"), ("usec", "<u4"), ("incl", "<u4"), ("orig", "<u4")]
_IP = [("version", "u1"), ("tos", "u1"), ("total", ">u2"), ("id", ">u2"), ("frag", ">u2"), ("ttl", "u1"),
       ("proto", "u1"), ("sum", ">u2"), ("src", ">u4"), ("dst", ">u4")]  # fmt: skip
_UDP = [("sport", ">u2"), ("dport", ">u2"), ("length", ">u2"), ("check", ">u2")]
_TCP = [("sport", ">u2"), ("dport", ">u2"), ("seq", ">u4"), ("ack", ">u4"), ("offset", "u1"), ("flags", "u1"),
        ("window", ">u2"), ("check", ">u2"), ("urgent", ">u2"), ("nop", ">u4"),
        ("tsval", ">u4"), ("tsecr", ">u4")]  # fmt: skip
# TS 29.281, 5.1 and 5.2.2.7: E set, sequence and N-PDU 0, then the PDU Session Container of TS 38.415, 5.5.2
_GTP = [("flags", "u1"), ("kind", "u1"), ("length", ">u2"), ("teid", ">u4"), ("seq", ">u2"), ("npdu", "u1"),
        ("next", "u1"), ("psc", "u1"), ("pdu_type", "u1"), ("qfi", "u1"), ("last", "u1")]  # fmt: skip
_HEAD = [("record", _RECORD), ("ethernet", "V14"), ("outer", _IP), ("udp", _UDP), ("gtp", _GTP), ("ip", _IP)]
PCAP = np.array([0xA1B2C3D4, 0x0004_0002, 0, 0, 262_144, 1], "<u4").tobytes()


@dataclass(frozen=True, slots=True)
class Packets:
    """Rows of PACKET by time, and the bytes that they carry."""

    rows: NDArray[np.void]
    payload: bytes


def uplink_teid(ue: NDArray[np.integer]) -> NDArray[np.uint32]:
    """Return the TEID of a UE's tunnel at the UPF; at the gNB it is one million more."""
    return (ue.astype(np.uint32) + 0x1000).astype(np.uint32)


def _ip_sum(ip: NDArray[np.void]) -> NDArray[np.uint16]:
    total = np.ascontiguousarray(ip).view(">u2").reshape(len(ip), 10).astype(np.uint32).sum(axis=1)
    total = (total & 0xFFFF) + (total >> 16)
    folded: NDArray[np.uint32] = (total & 0xFFFF) + (total >> 16)
    return np.asarray(~folded & 0xFFFF, np.uint16)


def _fill_ip(ip: NDArray[np.void], total: NDArray[np.integer], proto: int) -> None:
    ip["version"], ip["ttl"], ip["frag"], ip["proto"], ip["total"] = 0x45, 64, 0x4000, proto, total
    ip["sum"] = _ip_sum(ip)


def _heads(rows: NDArray[np.void], tcp: bool) -> NDArray[np.void]:
    """Return the record and all headers of packets of one transport."""
    head = np.zeros(len(rows), np.dtype([*_HEAD, ("l4", _TCP if tcp else _UDP)]))
    l4, up = head["l4"], rows["up"]
    inner = 20 + l4.dtype.itemsize + rows["length"].astype(np.int64)
    ue, server = UE_NET + rows["ue"].astype(np.uint32), rows["server"]
    l4["sport"], l4["dport"] = np.where(up, rows["sport"], rows["dport"]), np.where(up, rows["dport"], rows["sport"])
    if tcp:
        l4["offset"], l4["window"], l4["nop"] = 0x80, 65_535, 0x0101_080A  # RFC 7323, appendix A
        for name in ("seq", "ack", "flags", "tsval", "tsecr"):
            l4[name] = rows[name]
    else:
        l4["length"] = 8 + rows["length"]
    head["ip"]["src"], head["ip"]["dst"] = np.where(up, ue, server), np.where(up, server, ue)
    _fill_ip(head["ip"], inner, 6 if tcp else 17)
    gtp, gnb = head["gtp"], GNB + (rows["ue"] % 4).astype(np.uint32)
    gtp["flags"], gtp["kind"], gtp["length"], gtp["next"], gtp["psc"] = 0x34, 255, inner + 8, 0x85, 1
    gtp["teid"] = uplink_teid(rows["ue"]) + np.where(up, 0, 1_000_000).astype(np.uint32)
    gtp["pdu_type"], gtp["qfi"] = np.where(up, 0x10, 0x00), 9
    udp = head["udp"]
    udp["sport"] = udp["dport"] = 2152
    udp["length"] = inner + 24
    head["outer"]["src"], head["outer"]["dst"] = np.where(up, gnb, UPF), np.where(up, UPF, gnb)
    _fill_ip(head["outer"], inner + 44, 17)
    head["ethernet"] = np.frombuffer(b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\x00", "V14")[0]
    record = head["record"]
    record["sec"], record["usec"] = rows["at_us"] // 1_000_000 + 1_700_000_000, rows["at_us"] % 1_000_000
    record["incl"] = record["orig"] = inner + 58
    return head


def _records(packets: Packets) -> list[bytes]:
    """Return record and headers of each packet, without its payload."""
    rows = packets.rows
    heads: list[bytes] = [b""] * len(rows)
    for tcp in (True, False):
        where = np.flatnonzero(rows["tcp"] == tcp)
        made = _heads(rows[where], tcp)
        raw, size = made.tobytes(), made.dtype.itemsize
        for i, at in enumerate(where.tolist()):
            heads[at] = raw[i * size : (i + 1) * size]
    return heads


def _payloads(packets: Packets) -> Iterator[memoryview]:
    payload = memoryview(packets.payload)
    for at, length in zip(packets.rows["at"].tolist(), packets.rows["length"].tolist(), strict=True):
        yield payload[at : at + length]


def frames_of(rows: NDArray[np.void], payload: bytes) -> list[bytes]:
    """Return the frames of rows of PACKET that carry places of *payload*."""
    packets = Packets(rows, payload)
    return [head[16:] + bytes(data) for head, data in zip(_records(packets), _payloads(packets), strict=True)]


def write_pcap(path: Path, packets: Packets) -> None:
    """Write the packets as Ethernet frames with GTP-U inside; whole microseconds from 1,700,000,000 s on."""
    partial = path.with_suffix(".part")
    with partial.open("wb") as out:
        out.write(PCAP)
        for head, data in zip(_records(packets), _payloads(packets), strict=True):
            out.write(head)
            out.write(data)
    partial.rename(path)


def read_pcap(path: Path) -> tuple[NDArray[np.int64], list[bytes]]:
    """Return (times in nanoseconds, frames) of a file that `write_pcap` wrote."""
    raw = path.read_bytes()
    times, frames, at = [], [], len(PCAP)
    while at < len(raw):
        sec, usec, incl, _ = np.frombuffer(raw, "<u4", 4, at).tolist()
        times.append(sec * 1_000_000_000 + usec * 1000)
        frames.append(raw[at + 16 : at + 16 + incl])
        at += 16 + incl
    return np.array(times, np.int64), frames
