"""Words and bars of one cell of a screen: values in, texts out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich.text import Text

__all__ = ["MISSING", "bar", "labels", "loss", "number", "printable", "rate", "score", "value"]

SATISFIED, DISSATISFIED = 4.03, 3.10  # MOS at R = 80 and R = 60 (ITU-T G.107, table B.1)
MISSING = "-"
_BARS = "▁▂▃▄▅▆▇█"
_LOSSY = 0.02  # from which on a loss is red: calls are disturbed (G.107 with G.711 and its concealment)
_LEAST_DIGITS = 8  # of a pseudonym
_HEX = frozenset("0123456789abcdef")
_PSEUDONYM_DIGITS = 16  # so many hexadecimal digits at the end, or more, are no name that somebody gave
_ROOM = 24  # characters of a name that an operator gave, before its middle is left out


def value(record: Mapping[str, Any], name: str) -> float | None:
    """Return a number of a row, or None when it is missing or, from another version, no number."""
    found = record.get(name)
    return found if isinstance(found, int | float) else None


def printable(text: object) -> str:
    """Return a text without control characters: names come from the network, and may hold escape sequences."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def rate(bps: float | None) -> str:
    """Return a bit rate in at most six characters."""
    if bps is None:
        return MISSING
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if bps >= size * 0.9995:
            scaled = bps / size
            return f"{scaled:.1f} {unit}" if scaled < 99.95 else f"{scaled:.0f} {unit}"
    return f"{bps:.0f}"


def number(found: float | None, digits: int = 0) -> str:
    """Return a number with so many digits behind the point."""
    return MISSING if found is None else f"{found:.{digits}f}"


def bar(scores: Sequence[float | None]) -> Text:
    """Return one bar a score, 1 the lowest and 5 the full block, each in its colour; a dot where none is known."""
    text = Text()
    for each in scores:
        if each is None:
            text.append("·", "dim")
        else:
            step = round((min(max(each, 1.0), 5.0) - 1) / 4 * (len(_BARS) - 1))
            text.append(_BARS[step], _colour(each))
    return text


def _colour(mos: float) -> str:
    return "green" if mos >= SATISFIED else "yellow" if mos >= DISSATISFIED else "bold red"


def loss(record: Mapping[str, Any]) -> Text:
    """Return the loss of the worse direction."""
    known = [v for v in (value(record, "loss_ul"), value(record, "loss_dl")) if v is not None]
    if not known:
        return Text(MISSING, "dim")
    return Text(f"{max(known) * 100:.1f}%", "red" if max(known) >= _LOSSY else "")


def score(mos: float | None) -> Text:
    """Return a score in its colour."""
    return Text(MISSING, "dim") if mos is None else Text(f"{mos:.2f}", _colour(mos))


# -- keys of subscribers -----------------------------------------------------------


def labels(keys: Iterable[str]) -> dict[str, str]:
    """Return a short form of each key, by key; no two keys share one.

    A pseudonym has its first eight digits, or as many more as tell it from the others; it can be given so to
    ``--subscriber``. A name that somebody gave is whole, or, when it is long, its beginning and its end.
    """
    ordered = sorted({*keys})
    shared = [0, *(_common(a, b) for a, b in pairwise(ordered)), 0]  # characters in common with the key before
    found: dict[str, str] = {}
    for n, key in enumerate(ordered):
        kind, dash, digits = key.rpartition("-")
        if len(digits) >= _PSEUDONYM_DIGITS and _HEX.issuperset(digits):
            least = max(len(kind) + len(dash) + _LEAST_DIGITS, shared[n] + 1, shared[n + 1] + 1)
            found[key] = printable(key[:least])
    found |= _middles([key for key in ordered if key not in found])
    return found


def _common(a: str, b: str) -> int:
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _middles(keys: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    left, room = list(keys), _ROOM
    while left:
        cut = {key: _without_middle(printable(key), room) for key in left}
        often = [*cut.values()]
        whole = room >= max(map(len, left))
        found |= {key: text for key, text in cut.items() if whole or often.count(text) == 1}
        left, room = [key for key in left if key not in found], 2 * room
    return found


def _without_middle(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    head = (room - 1) // 2
    return f"{text[:head]}…{text[head + 1 - room :]}"
