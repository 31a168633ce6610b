"""``snf``: the command line. Exit 0: done; 1: a check failed; 2: wrong use or refused, in one sentence.

``snf run`` ends with 75 instead where that may be over in a while by itself. Modules are imported by the command that
needs them, so that ``snf watch`` starts without bcc and ``snf --help`` without anything.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TextIO

import click

from mgmt.cli import beside, bridge, collect, configure, deploy, health, inputs, journal, query, screens, web
from mgmt.cli.options import EXISTING, PATH, Access, Seconds, netconf_options
from nf.errors import SnfError, passes

__all__ = ["main"]

_SOURCES = ("pfcp", "gtp-c", "radius", "ngap", "netconf")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="supernetflow", prog_name="snf")
def snf() -> None:
    """SuperNetflow: per-subscriber QoE from N3 and N6."""


_MODULES = (bridge, collect, configure, deploy, health, query, screens, web)
for _command in chain.from_iterable(module.COMMANDS for module in _MODULES):
    snf.add_command(_command)


@snf.command()
@click.option(
    "--state-dir", type=PATH, default=Path("/var/lib/supernetflow"), show_default=True, help="Datastore and host key."
)
@click.option("--users", type=EXISTING, required=True, help="Who may log in: lines of NAME and an OpenSSH public key.")
@click.option("--host-key", type=EXISTING, help="SSH host key; made in the state directory when not given.")
@click.option("--startup", type=EXISTING, help="Configuration (XML) of a first start.")
@click.option("--netconf", default="127.0.0.1:830", show_default=True, help="ADDRESS:PORT of NETCONF over SSH.")
@click.option("-v", "--verbose", is_flag=True, help="Log at level info.")
def run(state_dir: Path, users: Path, host_key: Path | None, startup: Path | None, netconf: str, verbose: bool) -> None:
    """Run the function in the foreground until SIGTERM or Ctrl-C.

    SIGUSR1 ends it, too, and leaves the programs to the next start; SIGHUP has it read users, host key and signatures.
    """
    from nf.kernel import manager

    beside.probe_needed()
    manager.begin()
    manager.tell(STATUS="checking options and files", EXTEND_TIMEOUT_USEC=60_000_000)  # imports take a while as well
    address, port = inputs.endpoint(netconf)
    if "%" in address:
        raise SnfError(f"The address {address} has a zone.", "Give an address that means the same on every host.")
    # Threads of numpy would keep the capabilities that `serve` gives away.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[journal.handler()])
    document = inputs.service(state_dir, users, host_key, startup, address, port)
    from mgmt.cli.run import Options, Wishes, serve

    logging.getLogger("mgmt.netconf.audit").setLevel(logging.INFO)  # who did what is always told
    options = Options(state_dir=state_dir, users=users, host_key=host_key, startup=document, address=address, port=port)
    stop, wishes = threading.Event(), Wishes()
    wanted = {signal.SIGTERM: (stop,), signal.SIGINT: (stop,), signal.SIGUSR1: (wishes.leave, stop)}
    for number, events in (wanted | {signal.SIGHUP: (wishes.reload,)}).items():
        signal.signal(number, lambda *_, told=events: [event.set() for event in told])
    with _told(verbose):
        serve(options, stop, ready=click.echo, wishes=wishes)


@contextmanager
def _told(verbose: bool) -> Iterator[None]:
    """Tell of a fault of the program itself in a sentence with its place: its text may name a subscriber."""
    try:
        yield
    except (SnfError, OSError, MemoryError):
        raise
    except Exception as error:
        if (refused := _refusal(error)) is not None:
            raise refused from None
        if "start new thread" in str(error):
            remedy = "Give it more memory and tasks (MemoryMax=, TasksMax= of its unit)."
            raise SnfError("The kernel starts no thread.", remedy, passing=True) from None
        if verbose:
            raise
        *_, last = traceback.extract_tb(error.__traceback__)
        where = f"{type(error).__name__} at {Path(last.filename).name} line {last.lineno}"
        click.echo(f"snf: A fault of the program ended it: {where}. Tell the project, with what -v shows.", err=True)
        sys.exit(1)


def _refusal(error: BaseException) -> SnfError | None:
    """Return the refusal at whose end an error came up: who could not begin may fail to end."""
    here = error.__context__
    while here is not None and not isinstance(here, SnfError):
        here = here.__context__
    return here


@snf.command()
@click.argument("config", required=False, type=EXISTING)
@click.option("--unit", is_flag=True, help="Print the lines of a drop-in for supernetflow.service, and nothing else.")
def memory(config: Path | None, unit: bool) -> None:
    """Say how much memory the function takes with the limits of CONFIG (XML), or without one by default."""
    settings = inputs.configuration(config)
    from mgmt.cli import memory as view

    view.show(settings.limits if settings is not None else None, unit=unit)


@snf.command()
@click.argument("captures", nargs=-1, required=True, type=EXISTING)
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(["auto", "n3", "n6", "n4", "mixed"]),
    help="What a capture holds; once for all, or once for each.",
)
@click.option("--flows", type=PATH, help="Write flows (.csv or .jsonl).")
@click.option("--sessions", type=PATH, help="Write sessions (.csv or .jsonl).")
@click.option("--qoe", type=PATH, help="Write published records (.csv or .jsonl).")
@click.option("--events", type=PATH, help="Write session events (.csv or .jsonl).")
@click.option(
    "--interval",
    default=1.0,
    show_default=True,
    type=Seconds(min=0.01),
    help="Seconds of capture a record covers.",
)
@click.option(
    "--config",
    type=EXISTING,
    help="What is known: applications, policies, sessions, privacy of a configuration (XML, as of snf run --startup).",
)
@click.option("--key", type=EXISTING, help="File with the key of the pseudonyms; a random one when not given.")
@click.option("--quiet", is_flag=True, help="No progress, no summary.")
@click.option("--counters", is_flag=True, help="End with all counters, by their names in operational state.")
def replay(
    captures: tuple[Path, ...],
    roles: tuple[str, ...],
    flows: Path | None,
    sessions: Path | None,
    qoe: Path | None,
    events: Path | None,
    interval: float,
    config: Path | None,
    key: Path | None,
    quiet: bool,
    counters: bool,
) -> None:
    """Run captures through the kernel program, by the capture's clock."""
    beside.probe_needed()
    if len(roles) not in (0, 1, len(captures)):
        raise click.BadParameter(
            f"{len(roles)} roles for {len(captures)} captures; give one, or one for each", param_hint="--role"
        )
    inputs.outputs([path for path in (flows, sessions, qoe, events) if path is not None])
    inputs.captures(captures)
    secret, settings = inputs.pseudonym_key(key), inputs.configuration(config)
    from mgmt.cli.replay import Outputs, ignored, replay_files

    if settings is not None and (unused := ignored(settings)):
        click.echo(f"snf: a replay ignores of {config}: {', '.join(unused)}.", err=True)
    every = list(roles) * (len(captures) if len(roles) == 1 else 1) or ["auto"] * len(captures)
    replay_files(
        captures,
        every,
        Outputs(flows=flows, sessions=sessions, qoe=qoe, events=events),
        interval_s=interval,
        settings=settings,
        key=secret,
        quiet=quiet,
        counters=counters,
    )


@snf.command()
@click.argument("flow", nargs=-1, required=True)
@click.option("--replay", "files", type=PATH, help="Of a replay: its file of --flows, or the folder that holds it.")
@netconf_options
def explain(flow: tuple[str, ...], files: Path | None, access: Access) -> None:
    """Say why a flow has its application.

    FLOW is a protocol and two ends, as in: tcp 10.45.0.2:40000 192.0.2.1:443, or of a replay its number.
    """
    from rich.console import Console

    from mgmt.cli import explain as view

    console, title = Console(soft_wrap=True), " ".join(flow)
    if files is not None:
        for row in view.rows_of(files, flow):
            view.show(console, f"{title} ({row['file']}, flow {row['number']})", view.grounds_of(row))
        return
    wanted = view.flow_of(flow)
    with access.open() as client:
        found = client.explain(wanted)
    if not found:
        raise SnfError(f"The function knows no flow {title}.", "It may have ended: flows are kept for 5 minutes.")
    for grounds in found:
        view.show(console, title, grounds)


@snf.command()
@netconf_options
@click.option("--imsi", help="Sessions of a subscriber; - reads the IMSI from standard input.")
@click.option("--subscriber", help="Published name, or the first digits of one.")
@click.option("--address", help="Address of the UE.")
@click.option("--instance", help="Network instance of the address.")
@click.option("--tunnel", help="Outer address of who receives on a tunnel.")
@click.option("--teid", help="TEID of a tunnel, decimal or 0x...")
@click.option("--dnn", help="Data network name.")
@click.option("--source", type=click.Choice(_SOURCES), help="What told of the session.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Most sessions to show.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def sessions(access: Access, limit: int, output: str, **filters: str | None) -> None:
    """Show the sessions that a running function knows."""
    if filters["imsi"] == "-":
        filters["imsi"] = sys.stdin.readline().strip()
    wanted = _find_parameters(filters)
    from mgmt.cli import sessions as listing

    with access.open() as client:
        found = listing.fetch(client.call, wanted, limit)
        if not any(filters.values()):
            found.sources, found.counters = listing.counts(client.state(listing.STATE))
    listing.show(found, output)


def _find_parameters(filters: Mapping[str, str | None]) -> dict[str, str]:
    """Return the parameters of find-sessions that the options give."""
    names = {"address": "ue-address", "instance": "network-instance", "tunnel": "tunnel-address"}
    given = {names.get(name, name): value for name, value in filters.items() if value}
    if "teid" in given:
        try:
            given["teid"] = str(int(given["teid"], 0))
        except ValueError:
            raise click.BadParameter(f"{given['teid']} is no TEID", param_hint="--teid") from None
    for option, name in (("--address", "ue-address"), ("--tunnel", "tunnel-address")):
        if name in given:
            inputs.ip_address(given[name], option)
    return given


@snf.command()
@click.argument("text")
@click.option("--at", "time", help="When it was changed, as in 2026-11-29T12:30:00; now, when it is not given.")
@click.option("--application", help="Application that it was made for.")
@click.option("--gnb", help="Address of the gNB that it was made at.")
@click.option("--dnn", help="Data network name that it was made for.")
@click.option("--slice", help="Slice that it was made for: SST or SST-SD.")
@netconf_options
def mark(text: str, time: str | None, access: Access, **scope: str | None) -> None:
    """Mark a change of the network: TEXT says what was changed."""
    parameters = {"text": text} | {name: value for name, value in scope.items() if value}
    if time is not None:
        parameters["time"] = datetime.fromtimestamp(inputs.moment(time, "--at"), UTC).isoformat()
    with access.open() as client:
        client.mark(parameters)


@snf.command()
@click.argument("files", nargs=-1, type=click.File(encoding="utf-8"))
@click.option("--at", "time", help="Time of a change, as in 2026-11-29T12:30:00; beside the marks in the files.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def change(files: tuple[TextIO, ...], time: str | None, output: str) -> None:
    """Compare scores before and after changes.

    FILES (standard input when there are none) are JSON lines that snf watch --output json or snf replay --qoe wrote.
    """
    at_s = inputs.moment(time, "--at") if time is not None else None
    from feed.change import Mark
    from mgmt.cli import change as view

    records, marks = view.read(chain.from_iterable(files or (sys.stdin,)))
    view.show(records, [*marks, *([] if at_s is None else [Mark(at_s)])], output)


@snf.command()
@click.argument("folder", type=PATH)
@click.argument("clients", nargs=-1)
@click.option("-f", "--fill", type=EXISTING, help="Configuration with @NAME-public@ and the like where keys are to be.")
def keys(folder: Path, clients: tuple[str, ...], fill: Path | None) -> None:
    """Make keys in FOLDER, for the publisher, for CLIENTS of the bus, and for pseudonyms.

    Each file is readable by its owner alone; NAME.curve is what snf watch --curve takes. Public keys are printed.
    With --fill a configuration with the keys in it is written there, too.
    """
    example = (fill.name, inputs.example(fill)) if fill else None
    from mgmt.cli.keys import make

    for name, path, public in make(folder, clients, example):
        click.echo("\t".join(filter(None, (name, path, public))))


@snf.command()
@click.option("--quiet", is_flag=True, help="Print only what is missing.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def doctor(quiet: bool, output: str) -> None:
    """Say what this host can do, and how to mend what it cannot."""
    beside.probe_needed()
    from mgmt.cli import memory
    from nf import doctor as checks

    sys.exit(checks.main(quiet=quiet, output=output, more=[*memory.checks()]))


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``snf``; an expected error is one sentence on standard error."""
    words = list(sys.argv[1:] if argv is None else argv)
    services = (["run"], ["collect"])
    refused = os.EX_TEMPFAIL if words[:1] in services else 2  # when it may be over in a while by itself
    try:
        snf.main(args=words, prog_name="snf", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(error.exit_code)
    except click.UsageError as error:
        usage = f" See: {error.ctx.command_path} --help" if error.ctx else ""
        click.echo(f"snf: {error.format_message().rstrip('.')}.{usage}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except SnfError as error:
        click.echo(journal.marked(f"snf: {error}"), err=True)
        sys.exit(refused if passes(error) else 2)
    except MemoryError as error:
        click.echo(journal.marked("snf: There is not enough memory."), err=True)
        sys.exit(refused if passes(error) else 2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except (PermissionError, OSError) as error:
        remedy = (
            "run as root, or see: snf doctor" if isinstance(error, PermissionError) else "it was to be written or read"
        )
        said = f"snf: {error.strerror or error}: {getattr(error, 'filename', '') or remedy}"
        click.echo(journal.marked(said), err=True)
        sys.exit(refused if passes(error) else 2)


if __name__ == "__main__":
    main()
