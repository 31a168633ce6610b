"""``snf bridge``: the feed in the words of others, IPFIX (RFC 7011)."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from mgmt.cli import beside, inputs
from mgmt.cli.options import Seconds, feed_options

if TYPE_CHECKING:
    from feed.consumer import CurveKeys
    from history.bridges.ipfix import Exporter, Sender

__all__ = ["COMMANDS"]

_DOCUMENTATION = 32473  # RFC 5612: for examples and tests
_DATAGRAM_BYTES = 1280 - 40 - 8  # history.bridges.ipfix.SMALLEST_BYTES, which may not be installed
_TURN_S = 0.5
_BURST = 64  # messages of a saved feed, which comes as fast as it is read
_BREATH_S = 0.005  # after a burst: 16 MB/s, less than the buffer of a socket for each of them


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


COMMANDS: Sequence[click.Command] = (bridge,)
