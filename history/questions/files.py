"""A folder of the history, looked at before it is asked: whether it is one, and may be read."""

from __future__ import annotations

import os
from pathlib import Path

from feed.errors import SnfError
from history.tables import TABLES

__all__ = ["check"]


def check(folder: Path) -> None:
    """Raise SnfError in one sentence when a folder has no history."""
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "is not there"
        raise SnfError(f"{folder} {what}.", "Give the folder that snf collect writes to: --folder FOLDER.")
    try:
        names = {entry.name for entry in os.scandir(folder)}
    except PermissionError:
        raise SnfError(f"{folder} cannot be read by this user.", "Ask its owner, or run as root.") from None
    if not names & TABLES.keys():
        raise SnfError(f"{folder} has no history yet.", "Give the folder that snf collect writes to: --folder FOLDER.")
