"""Merge plain lists into the signature files: `python -m nf.apps.update LIST...`.

A list has one line or more for each application: its class, its name, and its claims:

    video  Netflix  netflix.com  nflxvideo.net  45.57.0.0/17  tcp/5000-5010

With ``--class`` and ``--app`` a list holds the domains, prefixes or ports of that one application alone, as services
publish them, one per line. Claims that an application has already are left out, comments and order of the files stay,
and nothing is written when a line contradicts another, or a file.
"""

from __future__ import annotations

import argparse
import ipaddress
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from feed.records import APP_CLASSES
from nf.apps.entries import KNOWN, Entry, claim_text, entry_of, files, line_of, owners, read
from nf.errors import BadSignatures, SnfError

__all__ = ["Line", "lines", "merge"]

_CLASSES = APP_CLASSES[:-1]  # all but unknown
_APP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,63}")


@dataclass(frozen=True, slots=True)
class Line:
    """One claim of a list: its place, its application and its text."""

    where: str  # file:line
    app_class: str
    app: str
    claim: str


def lines(path: Path, app_class: str = "", app: str = "") -> Iterator[Line]:
    """Yield the claims of a list, all of them for *app* when it is given; raise BadSignatures with the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadSignatures(f"{path.name} cannot be read: {error}.", "Name a text file.") from None
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"{path.name}:{number}"
        of, name, claims = (app_class, app, words) if app else (words[0], " ".join(words[1:2]), words[2:])
        if of not in _CLASSES or not _APP.fullmatch(name) or not claims:
            remedy = f"Write: class application claims; the class is one of {', '.join(_CLASSES)}."
            raise BadSignatures(f"{where}: {line.strip()!r} names no application of a class.", remedy)
        for claim in claims:
            yield Line(where, of, name, claim)


def merge(found: Sequence[Line], folder: Path = KNOWN) -> dict[Path, str]:
    """Return the files that change, and their new text; raise BadSignatures with the line that contradicts."""
    tables = {path: read(path) for path in files(folder)}
    owner = {claim: (app, _place(path, app, claim)) for claim, (app, path) in owners(tables).items()}
    homes = {name: (path, entry) for path, table in tables.items() for name, entry in table.items()}
    texts: dict[Path, str] = {}
    for line in found:
        path, old = homes.get(line.app, (folder / f"{line.app_class}.toml", None))
        if old and old.app_class != line.app_class:
            raise BadSignatures(
                f"{line.where}: {line.app} is of the class {old.app_class} in {path.name}.", "Keep one."
            )
        what = _kind(line.claim)
        entry = entry_of(line.app, {"class": line.app_class, what: [line.claim]}, line.where)
        fresh = False
        for claim in entry.claims():
            mine, place = owner.setdefault(claim, (line.app, line.where))
            if mine != line.app:
                raise BadSignatures(
                    f"{line.where}: {claim_text(claim)} belongs to {mine} ({place}) and {line.app}.", "Keep one."
                )
            fresh |= place == line.where
        homes.setdefault(line.app, (path, entry))
        if fresh:
            text = texts.get(path, path.read_text(encoding="utf-8") if path.exists() else "")
            texts[path] = _added(text, line, what, _canonical(entry, line.claim, what))
    return texts


def _place(path: Path, app: str, claim: tuple[str, object]) -> str:
    return f"{path.name}:{line_of(path.read_text(encoding='utf-8'), app, str(claim[1]))}"


def _kind(claim: str) -> str:
    if claim.startswith(("udp/", "tcp/")):
        return "ports"
    try:
        ipaddress.ip_network(claim, strict=False)
    except ValueError:
        return "domains"
    return "prefixes"


def _canonical(entry: Entry, claim: str, what: str) -> str:
    return claim if what == "ports" else claim_text(next(iter(entry.claims())))


def _added(text: str, line: Line, what: str, claim: str) -> str:
    """Return a file with a claim at the end of a list of an application; a missing list or table is made."""
    rows = text.splitlines()
    if f"[{line.app}]" not in rows:
        rows += ([""] if rows else []) + [f"[{line.app}]", f'class = "{line.app_class}"']
    at = rows.index(f"[{line.app}]") + 1
    while at < len(rows) and not rows[at].startswith("["):
        if found := re.match(rf"({what} = \[.*)(\].*)", rows[at]):
            rows[at] = f'{found[1]}, "{claim}"{found[2]}'
            break
        at += 1
    else:
        while not rows[at - 1]:
            at -= 1
        rows.insert(at, f'{what} = ["{claim}"]')
    return "\n".join(rows) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Merge lists; return 0, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(prog="python -m nf.apps.update", description="Merge lists into signature files.")
    parser.add_argument("lists", nargs="+", type=Path, metavar="LIST")
    parser.add_argument("--class", dest="app_class", default="", choices=_CLASSES)
    parser.add_argument("--app", default="", help="the lists are of this application alone")
    parser.add_argument("--folder", type=Path, default=KNOWN, help="of the signature files")
    given = parser.parse_args(arguments)
    if bool(given.app) != bool(given.app_class):
        parser.error("--class and --app go together")
    try:
        found = [line for path in given.lists for line in lines(path, given.app_class, given.app)]
        changed = merge(found, given.folder)
    except SnfError as error:
        print(error, file=sys.stderr)
        return 1
    for path, text in changed.items():
        path.write_text(text, encoding="utf-8")
    print(f"{len(found)} claims read, {len(changed)} files changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
