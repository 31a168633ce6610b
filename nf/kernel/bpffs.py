"""The BPF file system: its place, locks of its folders, and what processes left there in namespaces that are gone.

A folder of it is its user's: CAP_BPF lets nobody name maps in a place that he may not write.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from nf.errors import AttachRefused
from nf.kernel import links

__all__ = ["clear", "folders", "home", "lock", "release", "sweep"]

_NAME = "supernetflow"
_MOUNT = Path("/sys/fs/bpf")
_FOLDER = re.compile(r"(\d+)-\d+")


def home() -> Path | None:
    """Return the folder of this user in a BPF file system, which is mounted if there is none; None: he can have none.

    It is ``supernetflow``, or where that is another user's, ``supernetflow-UID``.
    """
    for attempt in range(2):
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
        roots = sorted((Path(fields[1]) for fields in mounts if fields[2] == "bpf"), key=lambda at: at != _MOUNT)
        for folder in (root / name for root in roots for name in (_NAME, f"{_NAME}-{os.geteuid()}")):
            if os.access(folder if folder.is_dir() else folder.parent, os.W_OK | os.X_OK):
                return folder
        if roots:
            return None
        if not attempt:
            with contextlib.suppress(OSError):
                subprocess.run(["mount", "-t", "bpf", "bpf", _MOUNT], capture_output=True, check=False)
    return None


def folders(namespace: int) -> list[Path]:
    """Return the folders of names of a network namespace, of all users whose folders can be seen."""
    root = home()
    if root is None:
        return []
    parents = (path for path in root.parent.glob(f"{_NAME}*") if os.access(path, os.R_OK | os.X_OK))
    return sorted(path for parent in parents for path in parent.glob(f"{namespace}-*") if path.is_dir())


def clear(folder: Path) -> None:
    """Take all names of a folder away; what nothing else holds is freed."""
    with contextlib.suppress(OSError):
        for name in list(folder.iterdir()):
            with contextlib.suppress(OSError):
                name.unlink()
        folder.rmdir()


def lock(path: Path) -> IO[str] | None:
    """Take the lock of a folder, None when a living process has it."""
    place = links.locks()
    while True:
        file = (place / f"{path.name}.pins").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(file.name)):
                return file
        file.close()  # its holder removed it meanwhile


def release(folder: Path, held: IO[str]) -> None:
    """Give a folder back; names that are left are for the next process."""
    if not folder.exists():
        with contextlib.suppress(OSError):
            Path(held.name).unlink()
    held.close()


def _namespaces() -> set[int] | None:
    """Return the numbers of the network namespaces that a process or a mount holds; None when some cannot be seen."""
    found = set()
    for path in (*Path("/proc").glob("[0-9]*/ns/net"), *_mounted()):
        try:
            found.add(os.stat(path).st_ino)
        except PermissionError:
            return None
        except OSError:
            continue  # it ended meanwhile
    return found


def _mounted() -> Iterator[Path]:
    run = Path("/run/netns")
    if run.is_dir():
        yield from run.iterdir()


def sweep() -> None:
    """Free what processes left in namespaces that do not exist any more: names, and locks without any."""
    root = home()
    if root is None or not root.is_dir():
        return
    alive = _namespaces()
    names = {path.name for path in root.iterdir()} | {path.stem for path in _locks()}
    for path in (root / name for name in sorted(names)) if alive is not None else ():
        found = _FOLDER.fullmatch(path.name)
        if not found or int(found[1]) in (alive or ()):
            continue
        try:
            held = lock(path)
        except OSError:
            continue  # the place for locks cannot be written
        if held is not None:
            clear(path)
            release(path, held)


def _locks() -> list[Path]:
    try:
        return list(links.locks().glob("*.pins"))
    except AttachRefused:
        return []  # there is no place for them
