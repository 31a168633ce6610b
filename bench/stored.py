"""Figures of accuracy as they are kept in bench/accuracy.json: one row a figure, and the last value of each."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.figure import Figure

__all__ = ["keep", "kept", "line"]

FILE = Path(__file__).with_name("accuracy.json")


def kept(file: Path = FILE) -> list[dict[str, Any]]:
    """Return the rows that have a value."""
    rows: list[dict[str, Any]] = json.loads(file.read_text()) if file.is_file() else []
    return [row for row in rows if row["value"] is not None]


def keep(figures: Sequence[Figure], empty: Iterable[dict[str, Any]] = (), file: Path = FILE) -> None:
    """Write figures over their former values; rows of others stay, and *empty* ones, without a value, come last."""
    names = {figure.name for figure in figures}
    rows = [row for row in kept(file) if row["name"] not in names]
    rows += [dataclasses.asdict(figure) | {"met": figure.met} for figure in figures]
    file.write_text(json.dumps([*rows, *empty], indent=1) + "\n")


def line(row: dict[str, Any], word: str = "") -> str:
    """Return a row as the table shows it, with what else there is to say of it."""
    value = "-" if row["value"] is None else f"{row['value']:.3f}"
    sign = ">=" if row["more"] else "<="
    return f"{row['name']:58} {value:>9} {row['unit']:7} {sign} {row['goal']:<8g} {word}".rstrip()
