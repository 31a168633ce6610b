"""The servers of the lab of truth that are not the web server of `web/server.js`: DNS and HTTP/3.

    python -m lab.truth.servers --netns PATH --certificate PEM --key PEM --root DIR --wait FILE --ready FILE

HTTP/3 answers what `web/server.js` does: files of the root, and ``/bytes/N``.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated, QuicEvent

from lab.net import child_of_the_lab
from lab.plan import DNS, SERVICES
from lab.servers import Dns, udp

__all__ = ["main"]

_TYPES = {".html": "text/html", ".js": "text/javascript", ".mpd": "application/dash+xml", ".m4s": "video/iso.segment"}
# A page sees sizes and times of all its objects, whichever host they are of.
_OPEN = ((b"cache-control", b"no-store"), (b"timing-allow-origin", b"*"), (b"access-control-allow-origin", b"*"))
_MOST_BYTES = 64 << 20


def _wait_s(file: Path, query: str) -> float:
    thinks = file.read_text("ascii") if file.exists() else ""
    return (float(thinks or 0) + float(parse_qs(query).get("wait", ["0"])[0])) / 1000


def _answer(root: Path, path: str) -> tuple[int, str, bytes]:
    """Return status, type and body for a path."""
    if path in ("/", "/blank"):
        return 200, "text/html", b"<!doctype html><body></body>"
    if path.startswith("/bytes/"):
        return 200, "image/png", bytes(min(int(path[7:] or 0), _MOST_BYTES))
    file = (root / path.lstrip("/")).resolve()
    if root.resolve() not in file.parents or not file.is_file():
        return 404, "text/plain", b"no such file"
    return 200, _TYPES.get(file.suffix, "application/octet-stream"), file.read_bytes()


class Http3(QuicConnectionProtocol):
    """One connection of a browser; root and wait are set by `main`."""

    root: Path
    wait: Path
    _http: H3Connection | None = None

    def quic_event_received(self, event: QuicEvent) -> None:
        """Answer each request, when the server has thought."""
        if isinstance(event, ProtocolNegotiated):
            self._http = H3Connection(self._quic)
        if self._http is None:
            return
        for got in self._http.handle_event(event):
            if isinstance(got, HeadersReceived):
                url = urlsplit(dict(got.headers).get(b":path", b"/").decode())
                wait_s = _wait_s(self.wait, url.query)
                asyncio.get_running_loop().call_later(wait_s, self._send, got.stream_id, url.path)

    def _send(self, stream: int, path: str) -> None:
        assert self._http is not None
        status, kind, body = _answer(self.root, path)
        head = [
            (b":status", str(status).encode()),
            (b"content-type", kind.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        self._http.send_headers(stream, [*head, *_OPEN])
        self._http.send_data(stream, body, end_stream=True)
        self.transmit()


async def _serve(args: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    Http3.root, Http3.wait = Path(args.root), Path(args.wait)
    quic = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN, max_datagram_size=1280)
    quic.load_cert_chain(args.certificate, args.key)
    for address in sorted(s.address for s in SERVICES.values()):  # an answer comes from the address that was asked
        await serve(address, 443, configuration=quic, create_protocol=Http3)
    await loop.create_datagram_endpoint(Dns, sock=udp(DNS, 53))
    Path(args.ready).touch()
    await stop.wait()


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for option in ("--netns", "--certificate", "--key", "--root", "--wait", "--ready"):
        parser.add_argument(option, required=True)
    args = parser.parse_args()
    child_of_the_lab(args.netns)
    asyncio.run(_serve(args))


if __name__ == "__main__":
    main()
