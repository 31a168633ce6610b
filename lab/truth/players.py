"""The scripts of a page: our own in `web/`, and the players that npm put into the cache."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab.net import LabError, command

__all__ = ["WEB", "install", "scripts"]

WEB = Path(__file__).resolve().parent / "web"


def install(cache: Path) -> None:
    """Have the players of ``web/package.json`` in *cache*; nothing is done when they are there."""
    folder, wanted = cache / "web", WEB / "package.json"
    have = folder / "package.json"
    if (folder / "node_modules").is_dir() and have.exists() and have.read_bytes() == wanted.read_bytes():
        return
    if not shutil.which("npm"):
        raise LabError("npm is not installed. Run: make truth, or apt-get install npm")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(wanted, have)
    quiet = ("--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", "--omit=dev")
    command("npm", "install", "--prefix", str(folder), *quiet)


def scripts(cache: Path, player: str, *ours: str) -> list[Path]:
    """Return the files of a page: a player's below the packages of *cache* (none if empty), then some of ours."""
    return [*([cache / "web" / "node_modules" / player] if player else []), *(WEB / name for name in ours)]
