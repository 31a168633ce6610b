"""``snf collect``: a collector of feeds, until SIGTERM or Ctrl-C; ``snf collect erase``: subscribers out of its files.

Exit 0: done; 2: refused, in one sentence; 75: refused for what may be over in a while, as another collector there.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mgmt.cli import beside, inputs
from mgmt.cli.options import EXISTING, PATH
from nf.errors import SnfError

if TYPE_CHECKING:
    from feed.consumer import CurveKeys
    from history.collect.collector import Collector
    from history.collect.settings import Settings
    from history.metrics.series import Series

__all__ = ["COMMANDS"]

_LOOK_S = 0.2  # between two looks at what a running collector does for us


@click.group(invoke_without_command=True)
@click.option("--from", "endpoints", multiple=True, metavar="ENDPOINT", help="A function's feed: tcp://HOST:PORT.")
@click.option(
    "--curve", "files", multiple=True, type=EXISTING, help="Keys for that: one file for all functions, or one for each."
)
@click.option("--config", type=EXISTING, help="File in TOML with these options, and [[from]] for each function.")
@click.option("--folder", type=PATH, help="Where the files go.  [default: /var/lib/supernetflow-collector]")
@click.option("--keep-records", help="How long records are kept: 12h, 3d, 2w, 1y.  [default: 3d]")
@click.option("--keep-minutes", help="How long sums of a subscriber by minute are.  [default: 2w]")
@click.option("--keep-hours", help="How long sums by hour, and all else.  [default: 400d]")
@click.option("--disk", help="How much there may be: 500M, 50G, 2T; beyond it the oldest goes.  [default: 50G]")
@click.option("--metrics", metavar="ADDRESS:PORT", help="Serve sums there for Prometheus, at /metrics.")
@click.option("--write-every", help="Seconds between two writings.  [default: 10]")
@click.option("--sink", type=click.Choice(["clickhouse"]), help="Another place for records, beside the files.")
@click.option("--server", "servers", multiple=True, metavar="URL", help="Of the sink: http://HOST:8123, once for each.")
@click.option("--cluster", default="snf", show_default=True, help="Of the sink: name of the cluster in its servers.")
@click.pass_context
def collect(
    context: click.Context,
    /,
    endpoints: tuple[str, ...],
    files: tuple[Path, ...],
    config: Path | None,
    metrics: str | None,
    sink: str | None,
    servers: tuple[str, ...],
    cluster: str,
    **options: str | Path | None,
) -> None:
    """Collect the feeds of functions into files."""
    beside.needed()
    if context.invoked_subcommand is not None:
        return
    settings = _settings(endpoints, files, config, {name: v for name, v in options.items() if v is not None})
    from history.collect.collector import Collector
    from history.metrics.series import Series
    from nf.kernel import manager

    if (sink is None) != (not servers):
        raise SnfError("A sink has servers, and servers a sink.", "Give --sink clickhouse --server http://HOST:8123.")
    _as_owner(settings.folder)
    manager.begin()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    series = Series()
    with (
        Collector(settings, _say, [series.take] if metrics is not None else []) as collector,
        _sending(settings.folder, servers, cluster, stop),
        _served(metrics, series, collector),
    ):
        functions = "1 function" if len(settings.sources) == 1 else f"{len(settings.sources)} functions"
        said = f"Collecting from {functions} into {settings.folder}."
        click.echo(said)
        manager.tell(READY=1, STATUS=said)
        collector.run(stop)
        manager.tell(STOPPING=1)
    click.echo(_summary(collector))


def _summary(collector: Collector) -> str:
    """Return what was done, and what was not, as far as there is any."""
    said = f"{collector.writing.written_rows} rows were written; {collector.sequences.lost} messages were lost"
    for count, what in (
        (collector.counters["damaged"], "could not be read"),
        (collector.counters["foreign"], "did not fit"),
        (collector.writing.unwritten, "came while the disk was full"),
    ):
        said += f", {count} {what}" * bool(count)
    return f"{said}."


def _as_owner(folder: Path) -> None:
    """Go on as who owns the folder where root asks: files of root's the service of the folder could not read."""
    if os.geteuid() == 0 and folder.is_dir() and (owner := folder.stat()).st_uid != 0:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)


@contextmanager
def _sending(folder: Path, servers: Sequence[str], cluster: str, stop: threading.Event) -> Iterator[None]:
    """Send closed files to a sink meanwhile, when there is one. Raises SnfError when an address or a name is none."""
    if not servers:
        yield
        return
    from history.sinks.clickhouse import ClickHouse

    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", cluster):
        raise SnfError(f"{cluster[:40]} is no name of a cluster.", "Give the one in remote_servers of the servers.")
    sink = ClickHouse(folder, servers, _say)
    thread = threading.Thread(target=sink.run, args=(stop, cluster), name="sink", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def _served(place: str | None, series: Series, collector: Collector) -> Iterator[None]:
    """Serve metrics meanwhile, when there is a place for them, and say where. Raises SnfError."""
    if place is None:
        yield
        return
    from history.metrics.exporter import Exporter, serve

    def own() -> dict[str, float]:
        rows, lost = collector.writing.written_rows, collector.sequences.lost
        return {**collector.counters, "written_rows": rows, "lost_messages": lost, "unreadable": series.damaged}

    address, port = inputs.endpoint(place)
    server, thread, port = serve(Exporter(series, own), address, port)
    click.echo(f"Metrics are at http://{f'[{address}]' if ':' in address else address}:{port}/metrics.")
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _say(text: str) -> None:
    click.echo(f"snf: {text}", err=True)


def _settings(
    endpoints: Sequence[str], files: Sequence[Path], config: Path | None, options: Mapping[str, str | Path]
) -> Settings:
    """Return the settings of options, and of a file below them. Raises SnfError."""
    from history.collect import settings as kinds
    from history.collect.upkeep import Keep

    if files and len(files) not in (1, len(endpoints)):
        raise SnfError(f"{len(files)} files of keys for {len(endpoints)} functions.", "Give one, or one for each.")
    given = {name.replace("_", "-"): str(value) for name, value in options.items()}
    found, sources = kinds.read(config) if config is not None else ({}, [])
    given = {**found, **given}
    keys: Sequence[Path | None] = [*files] * (len(endpoints) if len(files) == 1 else 1) or [None] * len(endpoints)
    sources += zip(endpoints, keys, strict=True)
    if not sources:
        raise SnfError("There is no function to collect from.", "Give --from tcp://HOST:PORT --curve FILE.")
    if len({endpoint for endpoint, _ in sources}) < len(sources):
        raise SnfError("An endpoint is given twice.", "Give each once.")
    usual = Keep()
    ages = {
        f"{name}_s": kinds.duration_s(given[f"keep-{name}"], f"keep-{name}")
        for name in ("records", "minutes", "hours")
        if f"keep-{name}" in given
    }
    disk = kinds.size_bytes(given["disk"], "disk") if "disk" in given else usual.disk_bytes
    more = {"folder": Path(given["folder"])} if "folder" in given else {}
    return kinds.Settings(
        sources=tuple((_endpoint(endpoint), _keys(path)) for endpoint, path in sources),
        keep=Keep(**ages, disk_bytes=disk),
        write_every_s=_seconds(given.get("write-every", "10")),
        **more,
    )


def _endpoint(text: str) -> str:
    if not text.startswith(("tcp://", "ipc://")):
        raise SnfError(f"{text} is no endpoint.", "Write it as tcp://HOST:PORT.")
    return text


def _keys(path: Path | None) -> CurveKeys | None:
    from history.collect.settings import check_private

    if path is not None:
        check_private(path)
    return inputs.curve_keys(path)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise SnfError(f"write-every {text[:40]} is no number of seconds.", "Give 0.1 to 3600.")
    return seconds


@collect.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--folder", type=PATH, default=Path("/var/lib/supernetflow-collector"), show_default=True)
def erase(names: tuple[str, ...], folder: Path) -> None:
    """Erase subscribers, by their published NAMES, from all files.

    A collector that writes there is asked to do it, and waited for.
    """
    from history.collect.caretaker import request
    from history.collect.erasing import erase as erase_from
    from history.collect.erasing import names_of
    from history.collect.ledger import lock

    if not folder.is_dir():
        raise SnfError(f"{folder} is no folder.", "Give the collector's with --folder.")
    _as_owner(folder)
    path = request(folder, names, round(time.time() * 1e3))
    while path.exists():
        try:
            held = lock(folder)
        except SnfError:  # a collector does it
            time.sleep(_LOOK_S)
            continue
        with held:
            if path.exists():
                rows, files = erase_from(folder, names_of(path))
                path.unlink()
                click.echo(f"{rows} rows in {files} files were erased.")
                return
    click.echo("They were erased by the collector that writes there.")


COMMANDS = (collect,)
