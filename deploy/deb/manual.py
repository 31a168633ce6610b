"""``manual.py FOLDER PACKAGE``: man pages of ``snf`` and of each command, completion for bash, zsh and fish.

Both are made from the commands themselves, so they say what ``--help`` says. SOURCE_DATE_EPOCH dates the pages.
Those of the collector are in a section of their own, 1snf, so that both packages can be installed; man finds either.
"""

import importlib.metadata
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from mgmt.cli.main import snf

SHELLS = {"bash": "bash/snf", "zsh": "_snf", "fish": "snf.fish"}
_STATUS = (
    ("0", "It did what was asked."),
    ("1", "A check failed, or nothing was heard."),
    ("2", "Wrong use, or refused: one sentence says what to do."),
)
_CLIENT = (
    "~/.config/supernetflow/client.toml",
    "Where the function is, and as whom to ask; SNF_CLIENT names another file.",
)
# Of each package: the section of its pages, and files.
_PACKAGES = {
    "supernetflow": (
        "1",
        (
            ("/etc/supernetflow/startup.xml", "Configuration of a first start."),
            ("/etc/supernetflow/users", "Who may log in over NETCONF."),
            ("/etc/default/supernetflow", "Options of the service."),
            ("/var/lib/supernetflow", "State: stored configuration, host key, sessions."),
            _CLIENT,
        ),
    ),
    "supernetflow-collector": (
        "1snf",
        (
            ("/etc/supernetflow-collector/collector.toml", "What the service collects."),
            ("/etc/default/supernetflow-collector", "Further options of the service."),
            ("/etc/default/supernetflow-web", "Options of the service of the page."),
            ("/var/lib/supernetflow-collector", "The history."),
            _CLIENT,
        ),
    ),
}


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Context]]:
    """Yield the name of each page, as in ``snf-run``, with the command; *command* first."""
    context = click.Context(command, info_name=name.replace("-", " "))
    yield name, context
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            if (found := command.get_command(context, each)) is not None and not found.hidden:
                yield from commands(found, f"{name}-{each}")


def page(name: str, context: click.Context, others: list[str], package: str) -> str:
    """Return a man page as man(7) has it."""
    day = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    version = importlib.metadata.version("supernetflow")
    command, (section, files) = context.command, _PACKAGES[package]
    said = [" ".join(each.split()) for each in (command.help or "").replace("\b", "").split("\n\n")]
    first = said[0].split(". ")[0].rstrip(".")
    pieces = [each for part in command.collect_usage_pieces(context) for each in part.split()]
    lines = [
        f'.TH "{name.upper()}" {section} {day} "SuperNetflow {version}" "SuperNetflow"',
        ".SH NAME",
        f"{_plain(name)} \\- {_plain(first)}",
        ".SH SYNOPSIS",
        f".B {_plain(context.info_name or name)}",
        *map(_plain, pieces),
        ".SH DESCRIPTION",
        "\n.PP\n".join(map(_plain, said)),
    ]
    options = [record for each in command.get_params(context) if (record := each.get_help_record(context))]
    lines += _listed("OPTIONS", options)
    if isinstance(command, click.Group):
        found = ((each, command.get_command(context, each)) for each in command.list_commands(context))
        lines += _listed("COMMANDS", [(each, sub.get_short_help_str(100)) for each, sub in found if sub])
    lines += [*_listed("EXIT STATUS", _STATUS), *_listed("FILES", files)]
    lines += [".SH SEE ALSO", *(f".BR {_plain(each)} ({section})," for each in others if each != name)]
    return "\n".join(lines).rstrip(",") + "\n"


def _listed(title: str, records: "list[tuple[str, str]] | tuple[tuple[str, str], ...]") -> list[str]:
    head = [f".SH {title}"] if records else []
    return head + [f".TP\n.B {_plain(what)}\n{_plain(said)}" for what, said in records]


def _plain(text: str) -> str:
    """Return text with what roff would read as a request, an escape or a typographic hyphen made plain."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("'", "\\(aq")
    return f"\\&{text}" if text.startswith(".") else text


def main(folder: Path, package: str) -> None:
    """Write all of it."""
    pages = dict(commands(snf, "snf"))
    for name, context in pages.items():
        (folder / f"{name}.{_PACKAGES[package][0]}").write_text(page(name, context, list(pages), package))
    for shell, file in SHELLS.items():
        kind = get_completion_class(shell)
        assert kind is not None
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(kind(snf, {}, "snf", "_SNF_COMPLETE").source())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
