"""An HTTP/3 client: several requests on one QUIC connection, with the round trips that it measures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent
from aioquic.quic.logger import QuicLogger, QuicLoggerTrace

__all__ = ["Measured", "fetch"]

Measured = Callable[[float, float], None]
"""Told the smoothed round trip and its deviation in ms after each sample."""


class _Trace(QuicLoggerTrace):
    """Takes the round trips out of qlog, and keeps nothing."""

    measured: Measured

    def log_event(self, *, category: str, event: str, data: dict[str, Any]) -> None:
        """Hand over the estimate after a sample (qlog, recovery:metrics_updated)."""
        if "smoothed_rtt" in data:
            self.measured(data["smoothed_rtt"], data["rtt_variance"])


class _Logger(QuicLogger):
    """One connection's trace."""

    def __init__(self, measured: Measured) -> None:
        super().__init__()
        self._measured = measured

    def start_trace(self, is_client: bool, odcid: bytes) -> QuicLoggerTrace:
        """Begin a connection."""
        trace = _Trace(is_client=is_client, odcid=odcid)
        trace.measured = self._measured
        return trace

    def end_trace(self, trace: QuicLoggerTrace) -> None:
        """Do nothing: a trace keeps nothing."""


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


async def fetch(address: str, name: str, paths: Sequence[str], ca: str, measured: Measured) -> None:
    """Get *paths* of the host *name* at *address*; raises ConnectionError or TimeoutError."""
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, server_name=name, max_datagram_size=1280)
    configuration.quic_logger = _Logger(measured)
    configuration.load_verify_locations(ca)
    async with (
        asyncio.timeout(20),
        connect(address, 443, configuration=configuration, create_protocol=_Client) as client,
    ):
        assert isinstance(client, _Client)
        await client.start(name, paths)
