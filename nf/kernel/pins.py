"""Names in the BPF file system, which keep maps and programs when their process is killed.

Each network namespace has a folder, and one more for each data plane that runs beside another. While a name holds
the array of tail calls, names are read and payloads handed over without the process, and the next process opens all
by name, for which CAP_BPF is enough (a look by number takes CAP_SYS_ADMIN). Names are a cache: if the file system
is not there, or another mount hides it, a data plane runs without them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from nf.kernel import bpffs, objects

__all__ = ["Folder", "claim"]

log = logging.getLogger(__name__)

_BESIDE = 16  # data planes of one namespace


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
        bpffs.clear(self.path)

    def release(self) -> None:
        """Give the folder back; names that are left are for the next process."""
        bpffs.release(self.path, self._lock)


def claim(is_ours: Callable[[Folder], bool]) -> Folder | None:
    """Take the folder of a process of this namespace that died, if *is_ours* says so of one, else an empty one.

    None where there is no BPF file system, or when the place for locks cannot be written.
    """
    root = bpffs.home()
    if root is None:
        log.warning(
            "nothing will hold the kernel programs over a crash: this user has no folder in a BPF file system; "
            "run: install -d -o USER /sys/fs/bpf/supernetflow"
        )
        return None
    namespace = os.stat("/proc/self/ns/net").st_ino
    taken: list[Folder] = []
    try:
        for beside in range(_BESIDE):
            path = root / f"{namespace}-{beside}"
            spare = any(not folder.path.exists() for folder in taken)
            if (path.exists() or not spare) and (lock := bpffs.lock(path)) is not None:
                taken.append(Folder(path, lock))
    except OSError as why:
        log.warning("nothing will hold the kernel programs over a crash: %s: %s", why.filename, why.strerror)
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
