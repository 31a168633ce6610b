"""Settings of a collector: options of its command, or a file in TOML with the same names."""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feed.consumer import CurveKeys
from feed.errors import SnfError
from history.collect.upkeep import Keep
from history.store.layout import FOLDER

__all__ = ["Settings", "check_private", "duration_s", "read", "size_bytes"]

_UNITS_S = {"h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_UNITS_BYTES = {"M": 10**6, "G": 10**9, "T": 10**12}
_NAMES = frozenset({"folder", "write-every", "keep-records", "keep-minutes", "keep-hours", "disk", "from"})


@dataclass(frozen=True, slots=True)
class Settings:
    """Sources (endpoint and keys), the folder, and how long what is kept."""

    sources: tuple[tuple[str, CurveKeys | None], ...]
    folder: Path = FOLDER
    keep: Keep = field(default_factory=Keep)
    write_every_s: float = 10.0


def duration_s(text: str, name: str) -> float:
    """Return the seconds of a length of time as in 12h, 3d, 2w or 1y."""
    if not (found := re.fullmatch(r"(\d{1,6})([hdwy])", text)):
        raise SnfError(f"{name} {text[:40]} is no length of time.", "Write it as 12h, 3d, 2w or 1y.")
    return float(int(found[1]) * _UNITS_S[found[2]])


def size_bytes(text: str, name: str) -> int:
    """Return the bytes of a size as in 500M, 50G or 2T."""
    if not (found := re.fullmatch(r"(\d{1,6})([MGT])", text)):
        raise SnfError(f"{name} {text[:40]} is no size.", "Write it as 500M, 50G or 2T.")
    return int(found[1]) * _UNITS_BYTES[found[2]]


def read(path: Path) -> tuple[dict[str, str], list[tuple[str, Path | None]]]:
    """Return settings and sources (endpoint, file of keys) of a file in TOML, checked by their names alone."""
    try:
        found: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SnfError(f"{path} is no TOML: {error}.", "docs/history.md has an example.") from None
    except OSError as error:
        raise SnfError(f"{path} cannot be read: {error.strerror}.", "Give a file in TOML.") from None
    if unknown := sorted(found.keys() - _NAMES):
        raise SnfError(f"{path} has {unknown[0]}, which is no setting.", f"There are: {', '.join(sorted(_NAMES))}.")
    sources: list[tuple[str, Path | None]] = []
    listed = found.get("from", [])
    for each in listed if isinstance(listed, list) else [listed]:
        if (
            not isinstance(each, dict)
            or not isinstance(each.get("endpoint"), str)
            or each.keys() - {"endpoint", "curve"}
        ):
            raise SnfError(
                f"{path} has a [[from]] that is none.", 'Write endpoint = "tcp://HOST:PORT", and curve = "FILE".'
            )
        curve = each.get("curve")
        sources.append((each["endpoint"], Path(str(curve)) if curve is not None else None))
    return {name: str(value) for name, value in found.items() if name != "from"}, sources


def check_private(path: Path) -> None:
    """Raise SnfError when others than its owner may read a file of keys."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise SnfError(f"{path} cannot be read: {error.strerror}.", "Give the file that snf keys made.") from None
    if stat.S_IMODE(mode) & (stat.S_IRWXG | stat.S_IRWXO):
        raise SnfError(f"The keys in {path} can be read by others than its owner.", f"Mend that: chmod 600 {path}")
