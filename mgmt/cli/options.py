"""Options that several commands share, and what they become: a session with a running function.

An option that is not given is taken from its variable, then from the client profile (`mgmt.cli.profile`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mgmt.cli import inputs
from mgmt.cli.profile import KnownHosts, default_of, fingerprint, folder

if TYPE_CHECKING:
    from mgmt.cli.netconf_client import Client

__all__ = ["EXISTING", "PATH", "Access", "Seconds", "bus_options", "feed_options", "netconf_options"]

PATH = click.Path(path_type=Path)
EXISTING = click.Path(path_type=Path, exists=True, dir_okay=False)


class Seconds(click.FloatRange):
    """Seconds that are finite: comparisons with a limit let "nan" pass."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number of an option's text."""
        seconds = float(super().convert(value, param, ctx))
        if not math.isfinite(seconds):
            self.fail(f"{value} is no number of seconds.", param, ctx)
        return seconds


@dataclass(frozen=True, slots=True)
class Access:
    """Ways into a running function, as they were given; they are looked at when a session is opened."""

    netconf: str
    user: str
    key: Path
    host_key: Path | None

    @contextmanager
    def open(self) -> Iterator[Client]:
        """Open a session; the host key of a function that was never met is remembered and told. Raises SnfError."""
        (address, port), private = inputs.endpoint(self.netconf), inputs.private_key(self.key)
        trusted, known = inputs.public_key(self.host_key), KnownHosts(folder() / "known_hosts")
        met = trusted or known.find(address, port)
        from mgmt.cli.netconf_client import connect

        with connect(address, port, self.user, private, trusted, known=known) as client:
            if met is None:
                shown = fingerprint(known.find(address, port) or "")
                click.echo(f"snf: {address} port {port} has the host key {shown}; it is remembered.", err=True)
            yield client


def netconf_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a session; the command gets them as ``access``."""

    @functools.wraps(command)
    def run(*words: Any, netconf: str, user: str, key: Path, host_key: Path | None, **more: Any) -> None:
        command(*words, access=Access(netconf, user, key, host_key), **more)

    return _with(
        run,
        _profiled("netconf", "ADDRESS:PORT of the function's NETCONF.", "127.0.0.1:830"),
        _profiled("user", "Name in the users file.", "who calls"),
        _profiled("key", "Private key.", "~/.ssh/id_ed25519", PATH),
        _profiled("host-key", "Public host key of the function.", "as it was at the first session", PATH),
    )


def bus_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a subscriber to the feed."""
    return _with(
        command,
        _profiled("endpoint", "ZeroMQ endpoint of the function.", "tcp://127.0.0.1:5556"),
        click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True),
        click.option("--seconds", type=Seconds(min=0, min_open=True), help="Stop after so many seconds."),
        _profiled(
            "curve",
            "File with server_key, public_key, secret_key (Z85), one NAME=VALUE a line.",
            "no encryption",
            EXISTING,
            name="curve_file",
        ),
    )


def feed_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a program that reads the feed on behalf of others."""
    return _with(
        command,
        _profiled("endpoint", "ZeroMQ endpoint of the function.", "tcp://127.0.0.1:5556"),
        _profiled("curve", "File with the keys, as of snf keys.", "no encryption", EXISTING, name="curve_file"),
    )


def _profiled(setting: str, said: str, default: str, kind: click.ParamType[Any] | None = None, name: str = "") -> Any:
    names = [f"--{setting}", *([name] if name else [])]
    variable = f"SNF_{setting.upper().replace('-', '_')}"
    return click.option(
        *names,
        type=kind,
        default=default_of(setting),
        show_default=default,
        envvar=variable,
        show_envvar=True,
        help=said,
    )


def _with(command: Callable[..., None], *options: Any) -> Callable[..., None]:
    for option in reversed(options):
        command = option(command)
    return command
