"""Names in the BPF file system, which keep maps and programs when their process is killed.

Each network namespace has a folder, and one more for each data plane that runs beside another. While a name holds
the array of tail calls, names are read and payloads handed over without the process, and the next process opens all
by name, for which CAP_BPF is enough (a look by number takes CAP_SYS_ADMIN). Names are a cache: if the file system
is not there, or another mount hides it, a data plane runs without them.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from nf.kernel import objects
from nf.kernel.links import LOCKS

__all__ = ["Folder", "claim", "file_system", "sweep"]

log = logging.getLogger(__name__)

_MOUNT = Path("/sys/fs/bpf")
_NAME = "supernetflow"
_BESIDE = 16  # data planes of one namespace
_FOLDER = re.compile(r"(\d+)-\d+")


def file_system() -> Path | None:
    """Return the place of the BPF file system, after an attempt to mount it if it has none; None: nowhere."""
    for attempt in range(2):
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
        places = [Path(fields[1]) for fields in mounts if fields[2] == "bpf"]
        if places:
            return _MOUNT if _MOUNT in places else places[0]
        if not attempt:
            with contextlib.suppress(OSError):
                subprocess.run(["mount", "-t", "bpf", "bpf", _MOUNT], capture_output=True, check=False)
    return None


class Folder:
    """The names of one data plane. The lock is held while its process lives."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path, self._lock = path, lock

    def names(self) -> list[str]:
        """Return the names that are there."""
        try:
            return sorted(entry.name for entry in self.path.iterdir())
        except OSError:
            return []

    def open(self) -> dict[str, int]:
        """Return descriptors of all that is named here, by name; the caller closes them."""
        found = {}
        for name in self.names():
            if (fd := objects.open_pin(self.path / name)) >= 0:
                found[name] = fd
        return found

    def pin(self, fds: Mapping[str, int]) -> None:
        """Name maps and programs; a name that is there means the new one from then on."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name, fd in fds.items():
                aside = self.path / f"{name}-new"  # the file system allows no dot in a name
                aside.unlink(missing_ok=True)
                objects.pin(fd, aside)
                aside.rename(self.path / name)
        except OSError as why:
            log.warning("nothing holds the kernel programs over a crash: %s: %s", self.path, why.strerror)

    def clear(self) -> None:
        """Take all names away; what nothing else holds is freed."""
        for name in self.names():
            with contextlib.suppress(OSError):
                (self.path / name).unlink()
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def release(self) -> None:
        """Give the folder back; names that are left are for the next process."""
        if not self.path.exists():
            with contextlib.suppress(OSError):
                Path(self._lock.name).unlink()
        self._lock.close()


def _lock(path: Path) -> IO[str] | None:
    """Take the lock of a folder, None when a living process has it."""
    LOCKS.mkdir(mode=0o755, exist_ok=True)
    while True:
        file = (LOCKS / f"{path.name}.pins").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(file.name)):
                return file
        file.close()  # its holder removed it meanwhile


def claim(is_ours: Callable[[Folder], bool]) -> Folder | None:
    """Take the folder of a process of this namespace that died, if *is_ours* says so of one, else an empty one.

    None where there is no BPF file system, or when the place for locks cannot be written.
    """
    root = file_system()
    if root is None:
        return None
    namespace = os.stat("/proc/self/ns/net").st_ino
    taken: list[Folder] = []
    try:
        for beside in range(_BESIDE):
            path = root / _NAME / f"{namespace}-{beside}"
            spare = any(not folder.path.exists() for folder in taken)
            if (path.exists() or not spare) and (lock := _lock(path)) is not None:
                taken.append(Folder(path, lock))
    except OSError as why:
        log.warning("nothing will hold the kernel programs over a crash: %s: %s", LOCKS, why.strerror)
    chosen = next((folder for folder in taken if folder.names() and is_ours(folder)), None)
    for folder in taken:
        if folder is chosen:
            continue
        folder.clear()  # its programs are on no interface: the number of their namespace was given again
        if chosen is None:
            chosen = folder
        else:
            folder.release()
    return chosen


def _namespaces() -> set[int]:
    """Return the numbers of the network namespaces that a process or a mount holds."""
    found = set()
    for path in (*Path("/proc").glob("[0-9]*/ns/net"), *_mounted()):
        with contextlib.suppress(OSError):
            found.add(os.stat(path).st_ino)
    return found


def _mounted() -> Iterator[Path]:
    run = Path("/run/netns")
    if run.is_dir():
        yield from run.iterdir()


def sweep() -> None:
    """Free what processes left in namespaces that do not exist any more."""
    root = file_system()
    if root is None or not (root / _NAME).is_dir():
        return
    alive = _namespaces()
    for path in (root / _NAME).iterdir():
        found = _FOLDER.fullmatch(path.name)
        if not found or int(found[1]) in alive:
            continue
        lock = _lock(path)
        if lock is not None:
            folder = Folder(path, lock)
            folder.clear()
            folder.release()
