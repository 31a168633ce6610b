"""The archive that a machine boots from: files of this host in the format that Linux unpacks into memory.

The format is "newc" of cpio (Documentation/driver-api/early-userspace/buffer-format.rst); archives one behind the
other are one, so what never changes is made once. There is no disk, no boot loader and no systemd: the first process
is a Python file.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["Archive", "libraries", "python", "tree"]

_SKIPPED = {"test", "tests", "idlelib", "lib2to3", "ensurepip", "turtledemo", "tkinter", "pydoc_data", "_pyinstaller"}
_LIBRARY = re.compile(r"\.so(\.|$)")
_MERGED = ("bin", "sbin", "lib", "lib64")  # Debian 12: links into /usr


class Archive:
    """Files by the path that they have in the machine."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, bytes, int]] = {}

    def directory(self, path: str) -> None:
        """Add a directory and those that it is in."""
        for parent in [*reversed(Path(path).parents), Path(path)]:
            if (name := str(parent).strip("/")) and name != "." and name not in self._entries:
                self._entries[name] = (stat.S_IFDIR | 0o755, b"", 0)

    def data(self, path: str, data: bytes, mode: int = 0o644, modified: float = 0.0) -> None:
        """Add a file."""
        self.directory(str(Path(path).parent))
        self._entries[path.strip("/")] = (stat.S_IFREG | mode, data, int(modified))

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._entries[path.strip("/")] = (stat.S_IFLNK | 0o777, target.encode(), 0)

    def file(self, source: Path, path: str = "") -> None:
        """Add a file of this host, where it is here or at *path*."""
        status = source.stat()  # its time is what Python compares byte code with
        self.data(path or str(source), source.read_bytes(), stat.S_IMODE(status.st_mode), status.st_mtime)

    def pack(self) -> bytes:
        """Return the archive."""
        parts = []
        for number, (name, (mode, data, modified)) in enumerate(self._entries.items(), 1):
            parts.append(_entry(name, number, mode, data, modified))
        return b"".join([*parts, _entry("TRAILER!!!", 0, 0, b"", 0)])


def _entry(name: str, number: int, mode: int, data: bytes, modified: int) -> bytes:
    path = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, modified, len(data), 0, 0, 0, 0, len(path), 0)
    head = b"070701" + "".join(f"{field:08x}" for field in fields).encode() + path
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def tree(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder that a program needs to run: no tests."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _SKIPPED and not name.startswith("config-")]
        yield from (Path(place) / name for name in files)


def libraries(binaries: Iterable[Path]) -> set[Path]:
    """Return the shared libraries that these programs and libraries need, and the loader."""
    found: set[Path] = set()
    names = [str(binary) for binary in binaries]
    said = subprocess.run(["ldd", *names], capture_output=True, text=True, check=False).stdout
    for path in re.findall(r"(/\S+) \(0x", said):
        found.add(Path(path))
    return found


def python(packages: Iterable[str], programs: Iterable[str]) -> Archive:
    """Return this Python with some of the packages of its environment, and some programs, with all that they need."""
    archive = Archive()
    for name in _MERGED:
        archive.link(name, f"usr/{name}")
    interpreter = Path(sys.executable).resolve()
    needed = [Path(program) for program in programs]
    archive.file(interpreter)
    archive.link("usr/bin/python3", interpreter.name)
    for program in needed:
        archive.file(program.resolve(), str(program))
    standard = Path(sysconfig.get_path("stdlib"))
    for file in tree(standard):
        if file.suffix != ".so" or "lib-dynload" in file.parts:
            archive.file(file)
    site = Path(sysconfig.get_path("purelib"))
    to = f"/usr/local/lib/python{sysconfig.get_python_version()}/dist-packages"
    for package in packages:
        for place in site.glob(package):
            files = tree(place) if place.is_dir() else [place]
            for file in files:
                archive.file(file, f"{to}/{file.relative_to(site)}")
    binaries = [path for path in (*tree(standard / "lib-dynload"), *tree(site)) if _LIBRARY.search(path.name)]
    binaries = [b for b in binaries if b.is_relative_to(standard) or any(b.is_relative_to(site / p) for p in packages)]
    for library in libraries([interpreter, *needed, *binaries]):
        if not library.is_relative_to(site):
            path = str(library)
            archive.file(library.resolve(), path if path.startswith("/usr") else f"/usr{path}")
    return archive
