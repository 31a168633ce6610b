"""The data network: DNS, HTTPS, HTTP/3, a WebRTC peer, a voice peer and a game server in one process.

    python -m lab.servers --netns PATH --certificate PEM --key PEM --ready FILE

``GET /bytes/N`` returns N bytes over HTTP/1.1 and HTTP/3; ``POST /offer`` answers a WebRTC offer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import ssl
import time
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated, QuicEvent

from lab.net import child_of_the_lab
from lab.plan import DNS, SERVICES
from lab.rtp import GAME_PORT, RTP_PORT, TICK_S, Talker

__all__ = ["Dns", "main", "udp"]

TTL_S = 20
_CHUNK = bytes(range(256)) * 256
_Address = tuple[str, int]


_ZONE = {name: s.address for s in SERVICES.values() for name in s.names}


class Dns(asyncio.DatagramProtocol):
    """An authoritative answer for every name of the plan, NXDOMAIN for all others."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for the answers."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: _Address) -> None:
        """Answer a query."""
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        name = query.question[0].name
        address = _ZONE.get(name.to_text(omit_final_dot=True).lower())
        if address is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        else:
            answer.answer.append(dns.rrset.from_text(name, TTL_S, "IN", "A", address))
        self._transport.sendto(answer.to_wire(), addr)


class Voice(asyncio.DatagramProtocol):
    """Talks back to everybody who talks, as RTP over the same port (RFC 3550, 4961)."""

    def __init__(self) -> None:
        self._peers: dict[_Address, tuple[Talker, asyncio.Task[None]]] = {}
        self._heard: dict[_Address, float] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for the answers."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: _Address) -> None:
        """Start a talker for a new peer."""
        self._heard[addr] = time.monotonic()
        if addr not in self._peers:
            talker = Talker(ssrc=hash(addr) & 0xFFFFFFFF)
            self._peers[addr] = talker, asyncio.get_running_loop().create_task(self._talk(talker, addr))
        self._peers[addr][0].hears(data)

    async def _talk(self, talker: Talker, addr: _Address) -> None:
        async for packet in talker.packets():
            if time.monotonic() - self._heard[addr] > 3:
                break
            self._transport.sendto(packet, addr)
        self._peers.pop(addr, None)


class Game(asyncio.DatagramProtocol):
    """Sends the state of the world to each player TICK by TICK, with the last input it saw."""

    def __init__(self) -> None:
        self._players: dict[_Address, tuple[float, bytes]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the world."""
        self._transport = cast(asyncio.DatagramTransport, transport)
        self._world = asyncio.get_running_loop().create_task(self._tick())

    def datagram_received(self, data: bytes, addr: _Address) -> None:
        """Take a player's input."""
        if data[12:16] == b"TICK":
            self._players[addr] = time.monotonic(), data[:12]

    async def _tick(self) -> None:
        state = bytes(140)
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            for addr, (heard, echo) in list(self._players.items()):
                if now - heard > 3:
                    del self._players[addr]
                else:
                    self._transport.sendto(echo + b"WRLD" + state, addr)


class Http3(QuicConnectionProtocol):
    """``GET /bytes/N`` over HTTP/3."""

    _http: H3Connection | None = None

    def quic_event_received(self, event: QuicEvent) -> None:
        """Answer each request as soon as its headers are there."""
        if isinstance(event, ProtocolNegotiated):
            self._http = H3Connection(self._quic)
        if self._http is None:
            return
        for got in self._http.handle_event(event):
            if isinstance(got, HeadersReceived):
                path = dict(got.headers).get(b":path", b"/").decode()
                body = _body(path)
                head = [(b":status", b"200"), (b"content-length", str(len(body)).encode())]
                self._http.send_headers(got.stream_id, head)
                self._http.send_data(got.stream_id, body, end_stream=True)
        self.transmit()


def _body(path: str) -> bytes:
    size = min(int(path.rpartition("/")[2] or 0), 64 << 20)
    return (_CHUNK * (size // len(_CHUNK) + 1))[:size]


async def _http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one HTTPS connection until the client leaves."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = head[0].split(" ")
            fields = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
            posted = await reader.readexactly(int(fields.get("content-length", 0)))
            if method == "POST" and path == "/offer":
                from lab.call import answer

                here = writer.get_extra_info("sockname")[0]
                body = json.dumps(await answer(json.loads(posted), here)).encode()
            else:
                body = _body(path)
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode())
            for at in range(0, len(body), len(_CHUNK)):
                writer.write(body[at : at + len(_CHUNK)])
                await writer.drain()
    except (asyncio.IncompleteReadError, ValueError, OSError):
        pass
    finally:
        writer.close()


def udp(address: str, port: int) -> socket.socket:
    """Open a UDP port of an address."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((address, port))
    return s


async def _serve(certificate: Path, key: Path, ready: Path) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    tls.set_alpn_protocols(["http/1.1"])
    await asyncio.start_server(_http, "0.0.0.0", 443, ssl=tls, limit=1 << 20)
    quic = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN, max_datagram_size=1280)
    quic.load_cert_chain(certificate, key)
    await serve(SERVICES["web3"].address, 443, configuration=quic, create_protocol=Http3)
    await loop.create_datagram_endpoint(Dns, sock=udp(DNS, 53))
    await loop.create_datagram_endpoint(Voice, sock=udp(SERVICES["voice"].address, RTP_PORT))
    await loop.create_datagram_endpoint(Game, sock=udp(SERVICES["game"].address, GAME_PORT))
    ready.touch()
    await stop.wait()


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for option in ("--netns", "--certificate", "--key", "--ready"):
        parser.add_argument(option, required=True)
    args = parser.parse_args()
    child_of_the_lab(args.netns)
    asyncio.run(_serve(Path(args.certificate), Path(args.key), Path(args.ready)))


if __name__ == "__main__":
    main()
