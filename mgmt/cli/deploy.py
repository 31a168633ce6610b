"""Commands of a first port: ``snf config check`` and ``fill``, ``snf init``, ``snf detach``.

Each looks at all that it was given before it changes anything, and says in one sentence what it does not take.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from mgmt.cli.options import EXISTING, PATH
from nf.errors import SnfError

__all__ = ["COMMANDS"]


@click.group()
def config() -> None:
    """Look at configuration files."""


@config.command()
@click.argument("file", type=EXISTING)
@click.option("--users", type=EXISTING, help="Users file; the one beside FILE, when there is one.")
@click.option("--here", is_flag=True, help="What this host lacks is wrong: without, it is a warning.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def check(file: Path, users: Path | None, here: bool, output: str) -> None:
    """Say all that is wrong with a startup configuration, and change nothing.

    With the users file and the keys beside it. Ends with 1 when it cannot be used.
    """
    from mgmt.cli import check as checks
    from nf.apply import memory

    beside = file.parent / "users"
    report = checks.look(file)
    if report.settings is not None:
        report.faults += checks.look_at_ports(report, warning=not here)
        checks.look_at_memory(report, memory.service_bytes(), warning=not here)
    known = checks.look_beside(report, users or (beside if beside.is_file() else None), file.parent / "keys")
    if output == "json":
        told = [checks.as_json(fault) for fault in report.faults]
        click.echo(json.dumps({"file": str(file), "ok": not report.errors, "faults": told}))
    else:
        for line in checks.lines(report, str(file), known):
            click.echo(line)
    sys.exit(1 if report.errors else 0)


@config.command()
@click.argument("file", type=EXISTING)
@click.option("--keys", "folder", required=True, type=PATH, help="Where its keys are, by the names of snf keys.")
@click.option("--out", required=True, type=PATH, help="What is written, readable by its owner alone.")
@click.option("--name", help="Name of the function, in the place of the one in FILE.")
def fill(file: Path, folder: Path, out: Path, name: str | None) -> None:
    """Write a configuration with keys that are there in its places @...@; a file of before is replaced."""
    from mgmt.cli import keys
    from mgmt.cli.inputs import example, named

    whole = keys.fill_from(folder, example(file))
    if name:
        whole = named(whole, name, file)
    try:
        out.unlink(missing_ok=True)
        with open(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as made:
            made.write(whole)
    except OSError as error:
        raise SnfError(f"{out} cannot be written: {error.strerror}.", "Give another place.") from None


@click.command()
@click.option("--dir", "folder", type=PATH, default=Path("/etc/supernetflow"), show_default=True, help="Where it goes.")
@click.option("--n3", multiple=True, metavar="PORT", help="A port with copies of N3; PORT is a name or a MAC address.")
@click.option("--n6", multiple=True, metavar="PORT", help="A port with copies of N6.")
@click.option("--n4", multiple=True, metavar="PORT", help="A port with copies of signalling: N4, S11, S5/S8, Gn, N2.")
@click.option("--mixed", multiple=True, metavar="PORT", help="A port with copies of all of these.")
@click.option("--inline-n3", metavar="A,B", help="Two ports that forward N3 to each other.")
@click.option("--inline-n6", metavar="A,B", help="Two ports that forward N6 to each other.")
@click.option("--local", is_flag=True, help="N3 and N6 are those of this host's UPF, not copies.")
@click.option("--both", is_flag=True, help="With --local: what they send is read as well.")
@click.option("--user", "users", multiple=True, metavar="NAME=FILE", help="Who may log in, and a public SSH key; the"
              " first may do everything.")  # fmt: skip
@click.option("--client", "clients", multiple=True, metavar="NAME", help="Who reads the bus.  [default: watch]")
@click.option("--endpoint", default="tcp://127.0.0.1:5556", show_default=True, help="Where the bus is read.")
@click.option("--name", default="", help="Name of the function in topics and records.  [default: snf]")
@click.option("--elsewhere", is_flag=True, help="The ports are those of another host.")
@click.option("--state-dir", type=PATH, default=Path("/var/lib/supernetflow"), help="As of snf run.", hidden=True)
def init(
    folder: Path,
    n3: tuple[str, ...],
    n6: tuple[str, ...],
    n4: tuple[str, ...],
    mixed: tuple[str, ...],
    inline_n3: str | None,
    inline_n6: str | None,
    local: bool,
    both: bool,
    users: tuple[str, ...],
    clients: tuple[str, ...],
    endpoint: str,
    name: str,
    elsewhere: bool,
    state_dir: Path,
) -> None:
    """Make a first configuration: ports, users, keys.

    On a terminal it asks for what is not given. The same command again changes nothing.
    """
    from mgmt.cli import init as first
    from nf.settings import Mode, Role

    if both and not local:
        raise click.UsageError("--both is for the ports of this host's UPF: give --local too.")
    if not any((n3, n6, n4, mixed, inline_n3, inline_n6)) and sys.stdin.isatty():
        n3, n6, n4, mixed = _ask_for_ports(first.found_ports())
    if not users and sys.stdin.isatty():
        users = (_ask_for_user(),)
    mode = Mode.LOCAL if local else Mode.MIRROR
    ports = [port for role, given in ((Role.N3, n3), (Role.N6, n6), (Role.MIXED, mixed))
             for port in first.ports_of(role, given, mode, both=both)]  # fmt: skip
    ports += first.ports_of(Role.N4, n4, Mode.MIRROR)
    for role, given in ((Role.N3, inline_n3), (Role.N6, inline_n6)):
        ports += first.pair(role, given) if given else []
    clients = tuple(dict.fromkeys(clients))
    wanted = first.Wanted(folder, tuple(ports), users, clients or ("watch",), endpoint, elsewhere, name)
    made = first.make(wanted)
    for line in first.next_steps(wanted, made, state_dir):
        click.echo(line)


def _ask_for_ports(found: Iterable[tuple[str, str, str]]) -> list[tuple[str, ...]]:
    """Ask for the ports of each role in turn; names are separated by commas, and none is an answer."""
    click.echo("Ports of this host:")
    for name, mac, said in found:
        click.echo(f"  {name:<15} {mac:<17} {said}")
    answers = []
    for what in ("N3, between gNB and UPF", "N6, behind the UPF", "N4 or other signalling", "all of these together"):
        said = click.prompt(f"Ports with copies of {what}; names with commas", default="", show_default=False)
        answers.append(tuple(word.strip() for word in said.split(",") if word.strip()))
    return answers


def _ask_for_user() -> str:
    caller = os.environ.get("SUDO_USER") or getpass.getuser()
    name = click.prompt("User who may configure it", default=caller)
    home = Path(f"~{caller}").expanduser()
    key = click.prompt("Public SSH key of the user", default=str(home / ".ssh" / "id_ed25519.pub"))
    return f"{name}={key}"


@click.command()
@click.argument("ports", nargs=-1, metavar="[PORT]...")
def detach(ports: tuple[str, ...]) -> None:
    """Take back what a function that was killed left on PORTs, on all without one.

    That is its programs, promiscuous mode, offloads, and names in the BPF file system. A living function is left alone.
    """
    from nf.kernel.detach import detach as take_back

    taken = take_back(ports)
    for each in taken:
        click.echo(f"{each.place}: {', '.join(each.what)}")
    if not taken:
        click.echo("Nothing is left of a function that died.")


COMMANDS: Sequence[Any] = (config, init, detach)
