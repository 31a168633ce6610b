"""Payloads that name a flow to the kernel: ClientHellos, and DNS answers to a UE; and what came of them."""

from __future__ import annotations

import ssl
import struct
from typing import Any

import dns.flags
import dns.message
import dns.rrset
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Raw

from nf.abi import FLOW_FINAL
from tests.kernel.packets import SERVER, UE, ether
from tests.kernel.rig import Rig

VIDEO, MAIL, CLOUD = 11, 12, 13
SUFFIXES = {"example.org": VIDEO, "mail.example.org": MAIL, "cloud.test": CLOUD, "deep.in.a.cloud.test": VIDEO}
A_SECOND_NS = 1_000_000_000


def extension(kind: int, body: bytes) -> bytes:
    """Return a TLS extension (RFC 8446, 4.2)."""
    return struct.pack("!HH", kind, len(body)) + body


def server_name(name: bytes) -> bytes:
    """Return the extension server_name (RFC 6066, 3)."""
    entry = b"\0" + struct.pack("!H", len(name)) + name
    return extension(0, struct.pack("!H", len(entry)) + entry)


def hello(*extensions: bytes, session: bytes = bytes(32), version: int = 0x0303) -> bytes:
    """Return a TLS record with a ClientHello (RFC 8446, 4.1.2)."""
    inside = b"".join(extensions)
    body = struct.pack("!H", version) + bytes(32) + bytes([len(session)]) + session
    body += struct.pack("!H", 4) + bytes.fromhex("13011302") + b"\1\0" + struct.pack("!H", len(inside)) + inside
    handshake = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\1" + struct.pack("!H", len(handshake)) + handshake


def named_hello(name: bytes, before: int = 0) -> bytes:
    """Return a ClientHello with *name* in the extension behind *before* others."""
    others = [extension(0x0A0A + 0x1010 * (n % 15), bytes(n % 7)) for n in range(before)]
    return hello(*others, server_name(name), extension(43, b"\2\3\4"))


def over_tcp(payload: bytes, sport: int = 40000) -> bytes:
    return ether(IP(src=UE, dst=SERVER) / TCP(sport=sport, dport=443, flags="PA") / Raw(payload))


def real_hello(name: str) -> bytes:
    """Return the ClientHello that OpenSSL sends."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(into, out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


def records(rig: Rig) -> list[tuple[str, int, int]]:
    """Return (name, application, ground) that the kernel told since it was last asked."""
    return [(bytes(r["name"][: r["length"]]).decode(), int(r["app"]), int(r["basis"])) for r in rig.plane.read_names()]


def app_of(rig: Rig) -> tuple[int, bool]:
    """Return the application of the one flow there is, and whether that is the last word."""
    (flow,) = rig.plane.read_flows()[1]
    return int(flow["app"]), bool(flow["flags"] & FLOW_FINAL)


def response(*answers: tuple[str, str, str], name: str = "www.example.org.", ttl: int = 300, **more: Any) -> bytes:
    """Return a DNS response on the wire: *answers* are (owner, type, value)."""
    query = dns.message.make_query(name, "A")
    message = dns.message.make_response(query)
    for owner, kind, value in answers:
        message.answer.append(dns.rrset.from_text(owner, ttl, "IN", kind, value))
    if more.get("truncated"):
        message.flags |= dns.flags.TC
    return message.to_wire(max_size=4000)


PLAIN = response(("www.example.org.", "A", SERVER))


def to_ue(payload: bytes, ue: str = UE) -> bytes:
    return ether(IP(src="192.0.2.53", dst=ue) / UDP(sport=53, dport=5353 + 1) / Raw(payload))


def quic(server: str = SERVER, ue: str = UE) -> bytes:
    return ether(IP(src=ue, dst=server) / UDP(sport=50000, dport=443) / Raw(bytes(1200)))
