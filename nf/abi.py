"""Numbers and counters that user space shares with the kernel programs, read out of the headers that define them.

``bpf/abi.h`` and its parts are the contract. Each ``#define`` of a number and each member of an enum in them is an
attribute of this module under its name in C: ``from nf.abi import FLOW_FIRST_B``. A name that the headers do not have
fails where it is imported. Layouts of structs are not here: numpy's types are made of the compiled ones
(`nf.kernel.maps`). This reads a few files once and needs no kernel, so every room may import it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BPF_DIR = Path(__file__).resolve().parent.parent / "bpf"

_PARTS = re.compile(r'^#include "(\w+\.h)"', re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_COUNTER = re.compile(r'X\((\w+),\s*"([^"]*)"\)')
_DEFINE = re.compile(r"^#define (\w+)[ \t]+(.+)$", re.MULTILINE)
_ENUM = re.compile(r"^enum \w+ \{([^{}]*)\}", re.MULTILINE)
_MEMBER = re.compile(r"\s*(\w+)\s*(?:=([^()]+))?")
_TURNS = re.compile(r"TURNS\((\w+)\)")  # more only in a build that is never run


@dataclass(frozen=True, slots=True)
class Counter:
    """One line of SNF_COUNTERS."""

    name: str
    text: str


def headers() -> list[Path]:
    """Return the files of the contract: ``abi.h`` and what it includes."""
    whole = BPF_DIR / "abi.h"
    return [whole, *(BPF_DIR / name for name in _PARTS.findall(whole.read_text("ascii")))]


def numbers(text: str) -> dict[str, int]:
    """Return the numbers that a C text defines, by name; raises ValueError for one that is no number and no name."""
    found: dict[str, int] = {}
    for name, value in _DEFINE.findall(text):
        found[name] = _number(value, found)
    for members in _ENUM.findall(text):
        found.update(_members(members, found))
    return found


def _members(text: str, known: dict[str, int]) -> Iterator[tuple[str, int]]:
    """Yield what an enum defines: without a value a member is one more than that before it (C11, 6.7.2.2)."""
    value = -1
    for part in text.split(","):
        if member := _MEMBER.fullmatch(part):  # the others are made by a macro: the counters
            value = _number(member[2], known) if member[2] else value + 1
            yield member[1], value


def _number(text: str, known: dict[str, int]) -> int:
    plain = _TURNS.sub(r"\1", text).strip()
    return known[plain] if plain in known else int(plain, 0)


_text = _COMMENT.sub("", "".join(path.read_text("ascii") for path in headers())).replace("\\\n", "")

COUNTERS = tuple(Counter(*found) for found in _COUNTER.findall(_text))
"""In the order of ``enum snf_counter``."""

NUMBERS = numbers(_text)
"""All numbers, by their names in C."""

globals().update(NUMBERS)


def __getattr__(name: str) -> int:
    raise AttributeError(f"The headers {BPF_DIR}/abi*.h define no number {name}.")
