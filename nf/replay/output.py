"""Result files: rows as CSV or JSON lines, chosen by the suffix of the file's name.

    check_suffix(path)             before a long run: can this file be written at all?
    write_rows(path, rows, kind)   all rows, or no file: it is written aside and renamed when complete

The first columns are a contract (`COLUMNS`), in this order; further columns of a row follow them. An
unknown value is an empty field in CSV, and in JSON null for a number and "" for a text.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from feed.records import RECORD_COLUMNS
from nf.errors import SnfError

__all__ = ["COLUMNS", "Kind", "check_suffix", "write_rows"]

Kind = Literal["flows", "sessions", "qoe", "events"]
Rows = Iterable[Mapping[str, Any]] | Mapping[str, Any]

_FLOWS = """
file proto src sport dst dport pkts_fwd pkts_rev ipbytes_fwd ipbytes_rev first_s last_s teid_fwd teid_rev
qfi_fwd qfi_rev outer_fwd outer_rev gtpu subscriber identity_source app app_basis name
retrans_fwd retrans_rev rtt_handshake_ms rtt_min_ms rtt_n frags
"""
_FLOW_NUMBERS = """
proto sport dport pkts_fwd pkts_rev ipbytes_fwd ipbytes_rev first_s last_s gtpu
retrans_fwd retrans_rev rtt_handshake_ms rtt_min_ms rtt_n frags app_confidence
"""
_SESSIONS = "file imsi ue_ipv4 ue_ipv6 dnn snssai teids source first_s last_s ended_by"
_EVENTS = "t_s event reason source ue_ipv4 ue_ipv6 dnn tunnels gone"

COLUMNS: Mapping[Kind, tuple[str, ...]] = {
    "flows": tuple(_FLOWS.split()),
    "sessions": tuple(_SESSIONS.split()),
    "qoe": ("class", *RECORD_COLUMNS),
    "events": tuple(_EVENTS.split()),
}

_NUMBERS = {*_FLOW_NUMBERS.split(), "t_s", *(n for n, column in RECORD_COLUMNS.items() if column.dtype != "str")}

_SINGLE = {name for name, column in RECORD_COLUMNS.items() if column.dtype == "f4"}

_CSV, _JSON = (".csv",), (".jsonl", ".ndjson", ".json")


def check_suffix(path: Path) -> None:
    """Raise `SnfError` when *path* says neither CSV nor JSON lines, or its folder cannot be written."""
    if path.suffix.lower() not in _CSV + _JSON:
        known = ", ".join(_CSV + _JSON)
        raise SnfError(f"The format of {path} is not known by its suffix.", f"End the name with one of: {known}.")
    folder = path.resolve().parent
    if not folder.is_dir():
        raise SnfError(f"There is no folder {folder} for {path.name}.", f"Make it with: mkdir -p {folder}")
    if path.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise SnfError(f"The file {path} cannot be written.", "Give another name or folder.")


def write_rows(path: Path, rows: Rows, kind: Kind) -> int:
    """Write *rows*, mappings or one mapping of columns of equal length; return how many there were.

    A file of the same name is replaced when the new one is complete, and stays as it is when not.
    Raises `SnfError` when it cannot be written.
    """
    check_suffix(path)
    write = _write_csv if path.suffix.lower() in _CSV else _write_json
    target = path.resolve()  # the file behind a link, not the link
    aside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with aside.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            count = write(file, _mappings(rows), COLUMNS[kind])
        aside.replace(target)
    except OSError as error:
        raise SnfError(
            f"The file {path} cannot be written: {error.strerror}.", "Give another name or folder."
        ) from None
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
    return count


def _mappings(rows: Rows) -> Iterator[Mapping[str, Any]]:
    if not isinstance(rows, Mapping):
        yield from rows
        return
    for values in zip(*rows.values(), strict=True):
        yield dict(zip(rows, values, strict=True))


def _write_csv(file: IO[str], rows: Iterator[Mapping[str, Any]], columns: Sequence[str]) -> int:
    """Write a header and the rows; columns beyond the contract are those of the first row."""
    first = next(rows, None)
    names = (*columns, *(n for n in first or () if n not in columns))
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    count = 0
    for row in itertools.chain([first] if first is not None else [], rows):
        writer.writerow([_plain(n, row.get(n)) for n in names])
        count += 1
    return count


def _write_json(file: IO[str], rows: Iterator[Mapping[str, Any]], columns: Sequence[str]) -> int:
    """Write one object a line, the columns of the contract first and always there."""
    encode: Callable[[Any], str] = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=str).encode
    count = 0
    for row in rows:
        names = (*columns, *(n for n in row if n not in columns))
        file.write(encode({n: _json_value(n, row.get(n)) for n in names}) + "\n")
        count += 1
    return count


def _json_value(name: str, value: Any) -> Any:
    number = name in _NUMBERS
    if number and isinstance(value, str):
        return None if not value else float(value) if "." in value else int(value)
    value = _plain(name, value)
    return "" if value is None and not number else value


def _plain(name: str, value: Any) -> Any:
    """Return a numpy scalar as Python's own, and None for NaN or infinity."""
    if hasattr(value, "item"):
        value = value.item()
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    # A column of single precision has seven digits; the others are noise of the conversion.
    return float(str(np.float32(value))) if name in _SINGLE else value
