"""Each command of ours that a page shows is one that is there, with options that it has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mgmt.cli.main import snf
from tests.test_house import ROOT

PAGES = sorted(
    path
    for folder in (".", "docs", "deploy", "vagrant", "yang")
    for path in (ROOT / folder).glob("*.md" if folder == "." else "**/*.md")
    if path.name != "CHANGELOG.md"
)
_FENCED = re.compile(r"^```(\w*).*?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?: {4}.*\n)+")
_SPAN = re.compile(r"`([^`]+)`")
_FIRST = re.compile(r"(?:.* -- |ssh \S+ |(?:[A-Z_]+=\S+ )+|\.venv/bin/)*snf ([a-z].*)")


def shown(text: str) -> Iterator[str]:
    """Yield what stands behind ``snf`` in code of a page, a command to its end."""
    code = [block for language, block in _FENCED.findall(text) if language in {"", "sh", "yangcli"}]
    text = _FENCED.sub("\n", text)
    code += _INDENTED.findall(text)
    code += [" ".join(span.split()) for span in _SPAN.findall(_INDENTED.sub("\n", text))]
    for block in code:
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            for piece in re.split(r"\s#\s|[|;]|&&|\s{3,}", line.strip().removeprefix("$ ")):
                if found := _FIRST.fullmatch(piece.strip()):
                    yield found[1]


def faults(words: list[str]) -> Iterator[str]:
    """Yield what of a command's words the command line does not have."""
    command: click.Command = snf
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        if name.isupper():  # any of them
            return
        if name not in command.commands:
            yield f"no command {name}"
            return
        command = command.commands[name]
    options = {text for parameter in command.params for text in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        option = word.split("=")[0]
        if re.fullmatch(r"--[a-z0-9-]+|-[a-z]", option) and option not in options | {"--help", "-h"}:
            yield f"no option {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_shows_what_is_there(page: Path) -> None:
    wrong = []
    for command in shown(page.read_text(encoding="utf-8")):
        try:
            words = shlex.split(command)
        except ValueError:  # prose with an apostrophe, or a place for a value
            words = command.split()
        wrong += [f"snf {command}: {fault}" for fault in faults(words)]

    assert wrong == []


def test_it_could_fail() -> None:
    text = "    snf get /interfaces --host ADDRESS\n\n`snf gte`\n\n```sh\nsnf init --n3 a --inline-n6 b,c\n```\n"

    assert [list(faults(shlex.split(command))) for command in shown(text)] == [
        [],
        ["no option --host"],
        ["no command gte"],
    ]
