"""A folder of the history, looked at before it is asked: whether it is one, and may be read."""

from __future__ import annotations

import os
from pathlib import Path

from feed.errors import SnfError
from history.tables import TABLES

__all__ = ["check", "unreadable"]


def unreadable(error: OSError) -> SnfError:
    """Return the sentence for a folder that this user may not read."""
    return SnfError(f"{error.filename} cannot be read: {error.strerror}.", "Ask its owner, or run as root.")


def check(folder: Path) -> None:
    """Raise SnfError in one sentence when a folder has no history."""
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "is not there"
        raise SnfError(f"{folder} {what}.", "Give the folder that snf collect writes to: --folder FOLDER.")
    try:
        names = {entry.name for entry in os.scandir(folder)}
    except PermissionError as error:
        raise unreadable(error) from None
    if not names & TABLES.keys():
        raise SnfError(f"{folder} has no history yet.", "Give the folder that snf collect writes to: --folder FOLDER.")
