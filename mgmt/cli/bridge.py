"""``snf bridge``: the feed in the words of others, IPFIX (RFC 7011) and Nupf_EventExposure (TS 29.564)."""

from __future__ import annotations

import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from mgmt.cli import beside, inputs
from mgmt.cli.options import EXISTING, Access, Seconds, feed_options, netconf_options
from nf.errors import SnfError

if TYPE_CHECKING:
    import ssl

    from feed.consumer import CurveKeys
    from history.bridges.ipfix import Exporter, Sender

__all__ = ["COMMANDS"]

_DOCUMENTATION = 32473  # RFC 5612: for examples and tests
_DATAGRAM_BYTES = 1280 - 40 - 8  # history.bridges.ipfix.SMALLEST_BYTES, which may not be installed
_TURN_S = 0.5
_BURST = 64  # messages of a saved feed, which comes as fast as it is read
_BREATH_S = 0.005  # after a burst: 16 MB/s, less than the buffer of a socket for each of them
_MIN_TOKEN = 16


@click.group()
def bridge() -> None:
    """Tell what the feed says to others, by their protocols (docs/bridges.md)."""


@bridge.command()
@click.option("--to", "target", required=True, help="HOST:PORT of the collecting process.")
@click.option("--tcp", is_flag=True, help="By TCP, and not by UDP.")
@click.option("--enterprise", type=click.IntRange(1, (1 << 32) - 1), help="Your enterprise number, by IANA.")
@click.option("--read", "saved", type=click.File(encoding="utf-8"), help="JSON lines of snf watch; - for stdin.")
@click.option("--message-bytes", default=_DATAGRAM_BYTES, show_default=True, help="Longest message.")
@click.option("--again", default=60.0, show_default=True, type=Seconds(min=1), help="Seconds between templates.")
@click.option("--seconds", type=Seconds(min=0, min_open=True), help="Stop after so many seconds.")
@feed_options
def ipfix(
    target: str,
    tcp: bool,
    enterprise: int | None,
    saved: TextIO | None,
    message_bytes: int,
    again: float,
    seconds: float | None,
    endpoint: str,
    curve_file: Path | None,
) -> None:
    """Send the records as IPFIX."""
    beside.needed()
    host, port = inputs.endpoint(target)
    curve = inputs.curve_keys(curve_file)
    from history.bridges.ipfix import Exporter, Sender

    if enterprise is None:
        click.echo(
            f"snf: Own elements go out under {_DOCUMENTATION}, which is for examples (RFC 5612): give --enterprise.",
            err=True,
        )
    sender = Sender(host, port, tcp=tcp)
    try:
        exporter = Exporter(enterprise or _DOCUMENTATION, message_bytes, sender.send, float("inf") if tcp else again)
        sender.renewed = exporter.begin
        if saved is not None:
            _export_saved(saved, exporter)
        else:
            _export_feed(endpoint, curve, seconds, sender, exporter)
    finally:
        sender.close()
    click.echo(
        f"snf: {exporter.records:,} records in {exporter.messages:,} messages;"
        f" {exporter.lost:,} did not go out, {exporter.refused:,} were refused.",
        err=True,
    )
    sys.exit(0 if exporter.records else 1)


def _export_saved(lines: TextIO, exporter: Exporter) -> None:
    from history.bridges.ipfix import saved_rows

    before = exporter.messages
    for nf, app_class, row in saved_rows(lines):
        exporter.add(nf, app_class, [row])
        if exporter.messages - before >= _BURST:
            before = exporter.messages
            time.sleep(_BREATH_S)


def _export_feed(
    endpoint: str, curve: CurveKeys | None, seconds: float | None, sender: Sender, exporter: Exporter
) -> None:
    from feed.consumer import Subscriber
    from feed.wire import QOE_SCHEMA, rows_of

    stop = _until_told()
    with Subscriber(endpoint, ["qoe.v1/"], curve) as bus:
        for message in bus.messages(seconds, _TURN_S):
            sender.mend()
            if message is not None and message.header.schema == QOE_SCHEMA:
                exporter.add(message.header.nf, message.app_class, rows_of(message))
            if stop.is_set():
                break
        if bus.gaps or bus.malformed:
            click.echo(f"snf: {bus.gaps:,} messages of the feed were missed, {bus.malformed:,} unread.", err=True)


def _until_told() -> threading.Event:
    """Return an event that SIGTERM and Ctrl-C set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


@bridge.command()
@click.option("--listen", default="127.0.0.1:8564", show_default=True, help="ADDRESS:PORT for consumers.")
@click.option("--token", "token_file", type=EXISTING, help="File with the token that consumers have to show (Bearer).")
@click.option("--certificate", type=EXISTING, help="Chain of certificates (PEM): HTTP/2 over TLS.")
@click.option("--certificate-key", type=EXISTING, help="Its private key (PEM).")
@click.option("--client-ca", type=EXISTING, help="Authority (PEM) of the certificates that consumers have to show.")
@click.option("--notify-ca", type=EXISTING, help="Authority (PEM) of consumers that are notified over TLS.")
@click.option("--find", is_flag=True, help="Ask the function over NETCONF whose an address is.")
@click.option("--subscriptions", default=100, show_default=True, type=click.IntRange(1, 1000), help="Most at a time.")
@click.option("--longest", default=86_400.0, show_default=True, type=Seconds(min=1), help="Seconds that one may last.")
@feed_options
@netconf_options
def nupf(
    listen: str,
    token_file: Path | None,
    certificate: Path | None,
    certificate_key: Path | None,
    client_ca: Path | None,
    notify_ca: Path | None,
    find: bool,
    subscriptions: int,
    longest: float,
    endpoint: str,
    curve_file: Path | None,
    access: Access,
) -> None:
    """Serve Nupf_EventExposure: user data usage and QoS monitoring of single UEs."""
    beside.needed()
    address, port = inputs.endpoint(listen)
    curve, token = inputs.curve_keys(curve_file), _token(token_file)
    if not _loopback(address) and not (token or client_ca):
        remedy = "Give --token, or --certificate, --certificate-key and --client-ca."
        raise SnfError(f"Everybody who reaches {address} could subscribe.", remedy)
    tls, trusted = _contexts(certificate, certificate_key, client_ca, notify_ca)
    from history.bridges.nupf import Exposure, Limits, Place, run

    exposure = Exposure(Limits(subscriptions, longest), token, _finder(access) if find else None)
    scheme, host = "http" if tls is None else "https", f"[{address}]" if ":" in address else address
    run(
        exposure,
        Place(address, port, tls, trusted),
        endpoint,
        curve,
        _until_told(),
        lambda bound: click.echo(f"Serving {scheme}://{host}:{bound}/nupf-ee/v1"),
    )
    counted = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in sorted(exposure.counters.items()) if n)
    click.echo(f"snf: {counted or 'nobody asked'}.", err=True)


def _loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _token(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        if path.stat().st_mode & stat.S_IRWXO:
            raise SnfError(f"Everybody on this host can read the token {path}.", f"chmod o= {path}")
        token = path.read_text(encoding="ascii").strip()
    except (UnicodeDecodeError, OSError):
        raise SnfError(f"The token {path} cannot be read.", "Make one: openssl rand -hex 16 > FILE") from None
    if len(token) < _MIN_TOKEN:
        raise SnfError(f"The token {path} is too short.", "Make one: openssl rand -hex 16 > FILE")
    return token


def _contexts(
    certificate: Path | None, key: Path | None, client_ca: Path | None, notify_ca: Path | None
) -> tuple[ssl.SSLContext | None, ssl.SSLContext]:
    """Return the contexts of TLS of the server, if it has any, and of notifications."""
    from history.bridges.http2 import client_context, server_context

    if (certificate is None) != (key is None) or (client_ca is not None and certificate is None):
        raise SnfError("TLS needs a certificate and its key.", "Give --certificate and --certificate-key.")
    try:
        server = None
        if certificate is not None and key is not None:
            server = server_context(str(certificate), str(key), str(client_ca) if client_ca else None)
        return server, client_context(str(notify_ca) if notify_ca else None)
    except OSError as error:
        raise SnfError(f"The certificates cannot be used: {error.strerror or error}.", "Give files of PEM.") from None


def _finder(access: Access) -> Callable[[str], str]:
    """Return what asks the function for the published name behind the address of a UE."""

    def find(address: str) -> str:
        from mgmt.cli.sessions import fetch

        with access.open() as client:
            found = fetch(client.call, {"ue-address": address}, 2)
        names = {str(row.get("subscriber", "")) for row in found.rows}
        return names.pop() if len(names) == 1 else ""

    return find


COMMANDS: Sequence[click.Command] = (bridge,)
