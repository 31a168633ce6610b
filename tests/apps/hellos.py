"""ClientHellos by other implementations: OpenSSL through the ssl module, and QUIC first flights by aioquic."""

from __future__ import annotations

import contextlib
import ssl

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

ADDRESS = ("192.0.2.1", 443)


def openssl_hello(name: str | None, *, alpn_bytes: int = 0) -> bytes:
    """Return the TLS records of a ClientHello for *name*, made larger by ALPN entries."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn_bytes:
        context.set_alpn_protocols([f"{i:03d}".ljust(250, "x") for i in range(alpn_bytes // 251 + 1)])
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def quic_client(name: str, version: int = 1, *, alpn_bytes: int = 0, size: int = 1200) -> QuicConnection:
    """Return a client that has begun to connect; its datagrams have *size* bytes at most."""
    alpn = ["h3"] + [f"{i:03d}".ljust(250, "x") for i in range(alpn_bytes // 251)]
    client = QuicConnection(
        configuration=QuicConfiguration(
            is_client=True,
            server_name=name,
            alpn_protocols=alpn,
            original_version=version,
            supported_versions=[version],
            max_datagram_size=size,
        )
    )
    client.connect(ADDRESS, now=0.0)
    return client


def quic_flight(name: str, version: int = 1, *, alpn_bytes: int = 0, size: int = 1200) -> list[bytes]:
    """Return the datagrams of a client's first flight; a large ClientHello takes several."""
    return flight(quic_client(name, version, alpn_bytes=alpn_bytes, size=size))


def flight(client: QuicConnection) -> list[bytes]:
    """Return what a client sends now."""
    return [data for data, _ in client.datagrams_to_send(now=0.0)]


def records(handshake: bytes, size: int) -> bytes:
    """Return a handshake message cut into TLS records of *size* bytes (RFC 8446, 5.1)."""
    return b"".join(
        b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part
        for part in (handshake[i : i + size] for i in range(0, len(handshake), size))
    )
