"""HTTP/2 over asyncio streams by the library h2, as the service-based interfaces want it (TS 29.500, clause 5.2).

    serve(handler, ...)    a server: each request becomes a response; one after the other on a connection
    post(uri, ...)         a request on a connection of its own

Without TLS both ends begin with HTTP/2 at once (RFC 9113, 3.3: prior knowledge); with TLS it is chosen by ALPN. A peer
that breaks the protocol, or says nothing for too long, loses its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

__all__ = ["MAX_BODY_BYTES", "Lost", "Request", "Response", "client_context", "post", "serve", "server_context"]

MAX_BODY_BYTES = 64 << 10  # of a request; a subscription has a few hundred
_MAX_CONNECTIONS = 64
_MAX_STREAMS = 8  # under way on one connection: bodies of all connections take at most 32 MB
_MAX_HEADER_BYTES = 16 << 10
_IDLE_S = 300.0  # consumers keep a connection between requests
_READ_BYTES = 64 << 10


class Lost(Exception):
    """The other end cannot be reached, went away, or speaks something else."""


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """A request; names of headers are in lower case, pseudo-headers among them."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    cut: bool = False  # the body was longer than MAX_BODY_BYTES, and is not whole


@dataclass(frozen=True, slots=True, repr=False)
class Response:
    """A response."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


Handler = Callable[[Request], Awaitable[Response]]


@dataclass(slots=True)
class _Stream:
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    cut: bool = False


class _Wire:
    """One connection, of either end: what was received, by stream, and sending within the peer's windows."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, client: bool) -> None:
        self._reader, self._writer = reader, writer
        self.streams: dict[int, _Stream] = {}
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client, header_encoding="utf-8"))
        settings = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: _MAX_STREAMS}
        settings[h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE] = _MAX_HEADER_BYTES
        if client:
            settings[h2.settings.SettingCodes.ENABLE_PUSH] = 0
        self._h2.local_settings = h2.settings.Settings(client=client, initial_values=settings)
        self._h2.initiate_connection()

    async def read(self, timeout_s: float) -> None:
        """Wait for bytes and take them in; raises Lost."""
        await self._flush()
        try:
            async with asyncio.timeout(timeout_s):
                data = await self._reader.read(_READ_BYTES)
        except (OSError, TimeoutError):
            data = b""
        if not data:
            raise Lost
        try:
            for event in self._h2.receive_data(data):
                self._note(event)
        except (h2.exceptions.ProtocolError, UnicodeDecodeError):
            await self._flush()
            raise Lost from None
        await self._flush()

    def _note(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived() | h2.events.ResponseReceived():
                self.streams[event.stream_id] = _Stream(dict(event.headers))
            case h2.events.DataReceived():
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                stream = self.streams[event.stream_id]
                stream.cut |= len(stream.body) + len(event.data) > MAX_BODY_BYTES
                if not stream.cut:
                    stream.body += event.data
            case h2.events.StreamEnded():
                self.streams[event.stream_id].ended = True
            case h2.events.StreamReset():
                self.streams.pop(event.stream_id, None)
            case h2.events.ConnectionTerminated():
                raise Lost

    async def send(self, stream_id: int, headers: Mapping[str, str], body: bytes, timeout_s: float) -> None:
        """Send headers and a body; raises Lost, also when the peer gives no room for the body in time."""
        try:
            self._h2.send_headers(stream_id, list(headers.items()), end_stream=not body)
            while body:
                room = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
                if room <= 0:
                    await self.read(timeout_s)
                    continue
                piece, body = body[:room], body[room:]
                self._h2.send_data(stream_id, piece, end_stream=not body)
        except h2.exceptions.StreamClosedError:
            return  # the peer does not want it any more
        except h2.exceptions.ProtocolError:
            raise Lost from None
        await self._flush()

    async def _flush(self) -> None:
        try:
            self._writer.write(self._h2.data_to_send())
            async with asyncio.timeout(_IDLE_S):
                await self._writer.drain()
        except (OSError, TimeoutError):
            raise Lost from None

    async def end(self) -> None:
        """Say goodbye and close."""
        with contextlib.suppress(h2.exceptions.ProtocolError, OSError, Lost):
            self._h2.close_connection()
            self._writer.write(self._h2.data_to_send())
        self._writer.close()


def server_context(certificate: str, key: str, client_ca: str | None) -> ssl.SSLContext:
    """Return a context of TLS 1.2 and later (TS 33.210, 6.2); with *client_ca* clients need a certificate of it.

    Raises OSError when files are not there or are no such things.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    return context


def client_context(authority: str | None) -> ssl.SSLContext:
    """Return a context for requests; *authority* is a file, the host's are trusted without one. Raises OSError."""
    context = ssl.create_default_context(cafile=authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    return context


async def serve(handler: Handler, address: str, port: int, tls: ssl.SSLContext | None = None) -> asyncio.Server:
    """Listen; the caller closes the server. A connection beyond the limit is closed at once. Raises OSError."""
    open_now: set[asyncio.StreamWriter] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(open_now) >= _MAX_CONNECTIONS:
            writer.close()
            return
        open_now.add(writer)
        wire = _Wire(reader, writer, client=False)
        with contextlib.suppress(Lost, asyncio.CancelledError):
            await _answer_all(wire, handler)
        await wire.end()
        open_now.discard(writer)

    return await asyncio.start_server(accept, address, port, ssl=tls)


async def _answer_all(wire: _Wire, handler: Handler) -> None:
    while True:
        number = next((n for n, stream in wire.streams.items() if stream.ended), None)
        if number is None:
            await wire.read(_IDLE_S)
            continue
        stream = wire.streams.pop(number)
        method, path = stream.headers.get(":method", ""), stream.headers.get(":path", "")
        response = await handler(Request(method, path, stream.headers, bytes(stream.body), stream.cut))
        headers = {":status": str(response.status), **response.headers, "content-length": str(len(response.body))}
        await wire.send(number, headers, response.body, _IDLE_S)


async def post(uri: str, headers: Mapping[str, str], body: bytes, tls: ssl.SSLContext, timeout_s: float) -> Response:
    """Return the response to a POST; raises Lost when there is none in time."""
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        secure = tls if parts.scheme == "https" else None
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port, ssl=secure)
            wire = _Wire(reader, writer, client=True)
            try:
                head = {":method": "POST", ":scheme": parts.scheme, ":authority": parts.netloc.rpartition("@")[2]}
                head[":path"] = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                await wire.send(1, head | dict(headers) | {"content-length": str(len(body))}, body, timeout_s)
                wire.streams.setdefault(1, _Stream())
                while not (answer := wire.streams[1]).ended:
                    await wire.read(timeout_s)
                    if 1 not in wire.streams:
                        raise Lost  # it was reset
            finally:
                await wire.end()
    except (OSError, ValueError, TimeoutError):
        raise Lost from None
    return Response(int(answer.headers.get(":status", "0")), answer.headers, bytes(answer.body))
