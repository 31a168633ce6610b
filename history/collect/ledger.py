"""The state of what is written for good: a file that is replaced as a whole, after the files that it speaks of.

It has the number of the last writing and the sequences as they were then. A file with a larger number was named by a
writing that did not come to its end: at the next start it is removed, and what was in it is told as a gap. So each
message is in a file, or in a gap, and in one of them alone, whenever the collector is killed.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from feed.errors import SnfError
from history.store.files import sync_folder
from history.store.layout import closed, hours
from history.tables import TABLES

__all__ = ["Ledger", "last_number", "lock", "recover"]

_STATE = "state.json"
_LOCK = ".lock"


@dataclass(slots=True)
class Ledger:
    """Contents of the state file."""

    number: int = 0  # of the last writing that came to its end
    sequences: dict[str, Any] = field(default_factory=dict)
    erasing: dict[str, int] = field(default_factory=dict)  # names that are still to be erased, and until when

    def save(self, folder: Path) -> None:
        """Replace the state file. Raises OSError, and then the one before is there as it was."""
        aside = folder / f".{_STATE}.tmp"
        with aside.open("w", encoding="utf-8") as file:
            json.dump({"number": self.number, "sequences": self.sequences, "erasing": self.erasing}, file)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(folder / _STATE)
        sync_folder(folder)


def recover(folder: Path) -> tuple[Ledger, bool]:
    """Return the state, and whether it was there; remove what a writing left that did not come to its end."""
    ledger, known = _load(folder)
    if not known:
        ledger.number = max((file.last for table in TABLES for file in closed(folder, table)), default=0)
    for table in TABLES:
        for _, where in hours(folder, table):
            for draft in where.glob(".*.tmp"):
                draft.unlink()
        for file in closed(folder, table):
            if file.first > ledger.number:
                file.path.unlink()
    return ledger, known


def last_number(folder: Path) -> int | None:
    """Return the number of the last writing that came to its end; None where no collector wrote it down."""
    ledger, known = _load(folder)
    return ledger.number if known else None


def _load(folder: Path) -> tuple[Ledger, bool]:
    try:
        found = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        return Ledger(int(found["number"]), dict(found["sequences"]), _numbers(found["erasing"])), True
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return Ledger(), False


def _numbers(found: Any) -> dict[str, int]:
    return {str(name): int(number) for name, number in found.items()}


def lock(folder: Path) -> IO[str]:
    """Return an open file that keeps others from writing into *folder* while it is open. Raises SnfError."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        file = (folder / _LOCK).open("a+", encoding="utf-8")
    except (FileExistsError, NotADirectoryError):
        raise SnfError(f"{folder} is no folder.", "Give one with --folder.") from None
    except OSError as error:
        raise SnfError(
            f"The folder {folder} cannot be written: {error.strerror}.", "Give another, or run as its owner."
        ) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        said = f"Another collector, process {owner}, writes into {folder}."
        raise SnfError(said, "End it, or give another folder with --folder.", passing=True) from None
    with suppress(OSError):  # of a full disk: it is a word for who comes second
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
    return file
