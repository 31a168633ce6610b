"""Commands that read and change the configuration of a running function: get, set, diff, commit, discard, rollback.

And ``snf watch-config``, which tells who changed it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from mgmt.cli.options import Access, Seconds, netconf_options
from nf.errors import SnfError

__all__ = ["COMMANDS"]


def _complete(_ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Return the paths that go one step on, for the shell."""
    from mgmt.cli.paths import completions
    from mgmt.netconf.model.yang_model import default_model

    return list(completions(default_model(), begun or "/"))


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...", shell_complete=_complete)
@click.option(
    "--source",
    type=click.Choice(["state", "running", "candidate"]),
    default="state",
    show_default=True,
    help="Configuration and state, or a datastore alone.",
)
@click.option("--output", type=click.Choice(["table", "json", "xml"]), default="table", show_default=True)
@netconf_options
def get(paths: tuple[str, ...], source: str, output: str, access: Access) -> None:
    """Show configuration and state.

    PATH is as in errors: /snf-policies:policies/policy[name='a'].
    """
    from mgmt.cli import configuration as view
    from mgmt.cli.paths import parse_path
    from mgmt.netconf.model.yang_model import default_model

    model = default_model()
    for path in paths:
        parse_path(model, path)
    with access.open() as client:
        found = view.read(client, model, paths, source)
    view.show(model, found, output)


@click.command("set")
@click.argument("words", nargs=-1, metavar="[PATH VALUE]...", shell_complete=_complete)
@click.option(
    "--delete", "gone", multiple=True, metavar="PATH", shell_complete=_complete, help="Delete what is at a path."
)
@click.option("--replace", is_flag=True, help="What the nodes had and were not given goes; without, it stays.")
@netconf_options
def set_values(words: tuple[str, ...], gone: tuple[str, ...], replace: bool, access: Access) -> None:
    """Change candidate, in one edit.

    Each PATH gets its VALUE. One that begins with @ names a file with the node as XML, @- is standard input; for the
    path / it has top-level nodes, as snf get --output xml writes them. A commit puts it in force.
    """
    if len(words) % 2 or not (words or gone):
        raise click.UsageError(f"{words[-1]} has no value." if words else "There is nothing to set or delete.")
    from mgmt.cli import configuration as view
    from mgmt.netconf.model.yang_model import default_model

    values = list(zip(words[::2], map(_value, words[1::2]), strict=True))
    edit = view.edit_of(default_model(), values, gone, replace)
    with access.open() as client:
        client.edit(edit.config, edit.default_operation)


def _value(word: str) -> str:
    if not word.startswith("@"):
        return word
    try:
        return "@" + (sys.stdin.read() if word == "@-" else Path(word[1:]).read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise SnfError(f"{word[1:]} is not text.", "Give a file with XML.") from None
    except OSError as error:
        raise SnfError(f"{word[1:]} cannot be read: {error.strerror}.", "Give a file with XML.") from None


@click.command()
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@netconf_options
def diff(output: str, access: Access) -> None:
    """Show what a commit would change: candidate against running."""
    from mgmt.cli import configuration as view
    from mgmt.netconf.model.yang_model import default_model

    with access.open() as client:
        running, candidate = client.config(), client.config(source="candidate")
    view.show_differences(view.difference(default_model(), running, candidate), output)


@click.command()
@click.option(
    "--confirmed", "seconds", type=click.IntRange(1, 86_400), metavar="SECONDS", help="Undo it unless it is confirmed."
)
@click.option("--confirm", "then", flag_value="confirm", help="Confirm such a commit: it stays.")
@click.option("--cancel", "then", flag_value="cancel", help="Undo such a commit now.")
@netconf_options
def commit(seconds: int | None, then: str | None, access: Access) -> None:
    """Put candidate in force."""
    if seconds is not None and then is not None:
        raise click.UsageError(f"--confirmed begins what --{then} ends: give one of them.")
    persist = f"snf-{access.user}"  # the session that confirms is another one
    with access.open() as client:
        if then == "confirm":
            client.confirm(persist)
        elif then == "cancel":
            client.cancel(persist)
        else:
            client.commit(seconds, persist if seconds is not None else None)
    if seconds is not None:
        click.echo(f"snf: In {seconds} seconds it is undone, unless: snf commit --confirm", err=True)


@click.command()
@click.argument("revision", required=False, type=click.IntRange(0))
@netconf_options
def rollback(revision: int | None, access: Access) -> None:
    """Put an earlier REVISION in force again.

    Without one it is the one before. See them: snf get /revisions
    """
    from mgmt.cli import configuration as view

    with access.open() as client:
        number = view.before(client.state(view.REVISIONS)) if revision is None else revision
        client.roll_back(number)
    if revision is None:
        click.echo(f"snf: Revision {number} is in force again.", err=True)


@click.command("watch-config")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--seconds", type=Seconds(min=0, min_open=True), help="Stop after so many seconds.")
@netconf_options
def watch_config(output: str, seconds: float | None, access: Access) -> None:
    """Show changes of the configuration and other events, as they come."""
    from mgmt.cli import events as view

    with access.open() as client:
        client.subscribe()
        try:
            view.watch(client.event, output, seconds)
        except KeyboardInterrupt:
            return


@click.command()
@netconf_options
def discard(access: Access) -> None:
    """Drop the changes of candidate."""
    with access.open() as client:
        client.discard()


COMMANDS: Sequence[Any] = (get, set_values, diff, commit, discard, rollback, watch_config)
