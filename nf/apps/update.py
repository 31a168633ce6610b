"""Signatures from plain lists: one domain, prefix or port a line, ``#`` begins a remark.

python -m nf.apps.update CLASS NAME [--domains FILE] [--prefixes FILE] [--ports FILE] [--into FOLDER]

What is new joins what the application has. Nothing is written when a line makes no sense, or belongs to another
application.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from nf.apps.signatures import KNOWN, Signatures, check_value
from nf.errors import BadSignatures, SnfError
from nf.records import APP_CLASSES

__all__ = ["main", "update"]

_LISTS = ("domains", "prefixes", "ports")


def _plain(path: Path, key: str) -> list[str]:
    """Return the values of a plain list; raises BadSignatures with the line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSignatures(f"{path.name} cannot be read: {error}.", "Give a text file.") from None
    values = []
    for number, line in enumerate(lines, 1):
        value = line.partition("#")[0].strip().lower()
        if value:
            check_value(key, value, f"{path.name}:{number}")
            values.append(value)
    return values


def _block(name: str, entry: Mapping[str, object]) -> str:
    key = name if re.fullmatch(r"[\w-]+", name, re.ASCII) else f'"{name}"'
    lines = [f"[{key}]", f'class = "{entry["class"]}"']
    for what in (*_LISTS, "behaviour"):
        if values := entry.get(what):
            lines.append(f"{what} = [" + ", ".join(f'"{value}"' for value in values) + "]")  # type: ignore[attr-defined]
    return "\n".join(lines) + "\n"


def update(app_class: str, name: str, lists: Mapping[str, Sequence[str]], folder: Path = KNOWN) -> int:
    """Join values (``domains``, ``prefixes``, ``ports``) to an application; return how many were new.

    Raises BadSignatures, and leaves the files as they are, when the result contradicts itself.
    """
    path = folder / f"{app_class}.toml"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    old = tomllib.loads(text).get(name, {"class": app_class})
    new = {**old, **{key: [*old.get(key, []), *values] for key, values in lists.items()}}
    new = {key: list(dict.fromkeys(v)) if isinstance(v, list) else v for key, v in new.items()}
    # A table ends where the next one begins; a remark in one that changes is lost.
    found = re.search(rf'(?m)^\["?{re.escape(name)}"?\]\n(?:(?!\[).*\n?)*', text)
    block = _block(name, new)
    text = text[: found.start()] + block + "\n" + text[found.end() :] if found else text + "\n" + block
    with tempfile.TemporaryDirectory() as trial:
        for file in folder.glob("*.toml"):
            shutil.copy(file, trial)
        (Path(trial) / path.name).write_text(text.rstrip() + "\n", encoding="utf-8")
        Signatures.load((), Path(trial))  # raises with what contradicts
    part = path.with_suffix(".part")
    part.write_text(text.rstrip() + "\n", encoding="utf-8")
    os.replace(part, path)
    return sum(len(new.get(key, [])) - len(old.get(key, [])) for key in _LISTS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 when the files were written, 1 with a sentence when not."""
    parser = argparse.ArgumentParser(prog="python -m nf.apps.update", description=__doc__)
    parser.add_argument("app_class", metavar="CLASS", choices=APP_CLASSES[:-1])
    parser.add_argument("name", metavar="NAME")
    for key in _LISTS:
        parser.add_argument(f"--{key}", type=Path, metavar="FILE")
    parser.add_argument("--into", type=Path, default=KNOWN, metavar="FOLDER")
    given = parser.parse_args(arguments)
    try:
        lists = {key: _plain(path, key) for key in _LISTS if (path := getattr(given, key)) is not None}
        added = update(given.app_class, given.name, lists, given.into)
    except SnfError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{given.name}: {added} added")
    return 0


if __name__ == "__main__":
    sys.exit(main())
