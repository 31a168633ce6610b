"""An HTTP/3 client: several requests on one QUIC connection."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent

__all__ = ["fetch"]


class _Client(QuicConnectionProtocol):
    """Collects the bodies of its requests."""

    def start(self, name: str, paths: Sequence[str]) -> asyncio.Future[None]:
        """Send all requests; the future ends with the last body."""
        self._http = H3Connection(self._quic)
        self._open: set[int] = set()
        self._all: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for path in paths:
            stream = self._quic.get_next_available_stream_id()
            self._open.add(stream)
            head = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", name.encode())]
            self._http.send_headers(stream, [*head, (b":path", path.encode())], end_stream=True)
        self.transmit()
        return self._all

    def quic_event_received(self, event: QuicEvent) -> None:
        """Follow the answers."""
        if isinstance(event, ConnectionTerminated) and hasattr(self, "_all") and not self._all.done():
            self._all.set_exception(ConnectionError(event.reason_phrase))
        if not hasattr(self, "_http"):
            return
        for got in self._http.handle_event(event):
            if isinstance(got, HeadersReceived | DataReceived) and got.stream_ended:
                self._open.discard(got.stream_id)
                if not self._open and not self._all.done():
                    self._all.set_result(None)


async def fetch(address: str, name: str, paths: Sequence[str], ca: str) -> None:
    """Get *paths* of the host *name* at *address*; raises ConnectionError or TimeoutError."""
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, server_name=name, max_datagram_size=1280)
    configuration.load_verify_locations(ca)
    async with (
        asyncio.timeout(20),
        connect(address, 443, configuration=configuration, create_protocol=_Client) as client,
    ):
        assert isinstance(client, _Client)
        await client.start(name, paths)
