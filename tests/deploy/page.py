"""The commands of a page of documentation, as a person would type them: its fenced blocks of the language ``sh``.

Words behind the language say who types a block: ``package`` with the Debian package installed, ``clone`` from a clone,
everybody without one. ``background`` is a block whose command goes on in a shell of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Block", "blocks"]

_HEADING = re.compile(r"#+ (.*)")
_FENCE = re.compile(r"```sh(?P<marks>( [a-z]+)*)$")
WHO = ("package", "clone")
_MARKS = {*WHO, "background"}


@dataclass(frozen=True, slots=True)
class Block:
    """One block: its text, the words behind its language, the heading it stands under, and its line."""

    text: str
    marks: frozenset[str]
    heading: str
    line: int


def blocks(page: Path, who: str) -> Iterator[Block]:
    """Yield what *who* types of a page, in order. Raises ValueError at a mark that means nothing."""
    heading, marks, begun, text = "", frozenset[str](), 0, list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if begun:
            if line != "```":
                text.append(line)
                continue
            if who in marks or not marks & {*WHO}:
                yield Block("\n".join(text) + "\n", marks, heading, begun)
            begun, text = 0, []
        elif found := _FENCE.match(line):
            marks, begun = frozenset(found["marks"].split()), number
            if marks - _MARKS:
                raise ValueError(f"{page}:{number}: {', '.join(marks - _MARKS)} is no mark of a block.")
        elif found := _HEADING.match(line):
            heading = found[1]
