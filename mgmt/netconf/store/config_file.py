"""The configuration on disk: one file, replaced as a whole, whose checksum tells whether it is whole.

    running.xml            the configuration in force; its first line has revision and checksum
    running.previous.xml   the configuration before it

A process that is killed at any point leaves `running.xml` old or new, never a mixture: the new
text is written beside it, flushed, and takes its name by rename(2), which is atomic.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nf.errors import SnfError

__all__ = ["Damaged", "Store", "Stored"]

log = logging.getLogger(__name__)

_HEAD = re.compile(rb"\A<!-- supernetflow revision=(\d+) sha256=([0-9a-f]{64}) -->\n")


@dataclass(frozen=True, slots=True, repr=False)
class Stored:
    """A configuration as it was stored."""

    revision: int
    body: bytes


class Damaged(SnfError):
    """A file of the datastore is not what was written."""


class Store:
    """The files of one state directory, which is made if it is not there (0700; files 0600)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running = folder / "running.xml"
        self.previous = folder / "running.previous.xml"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SnfError(f"The state directory {folder} cannot be made: {error.strerror}.") from None

    def load(self) -> Stored | None:
        """Return the configuration that was stored last, None at a first start.

        A damaged file is logged, and the revision before it is used. Raises `Damaged`
        when that one is not whole either.
        """
        for path in (self.running, self.previous):
            if not path.exists():
                continue
            try:
                stored = _read(path)
            except Damaged as error:
                log.error("%s", error.what)
                continue
            if path == self.previous and self.running.exists():
                # Out of the way, so that the next save does not put it over the good one.
                self.running.replace(self.folder / "running.damaged.xml")
            return stored
        if self.running.exists() or self.previous.exists():
            raise Damaged(
                f"Neither {self.running} nor {self.previous.name} is whole.",
                "Put a backup there, or move both away to start from the startup configuration.",
            )
        return None

    def save(self, revision: int, body: bytes) -> None:
        """Store a configuration. Raises OSError; then the old one is still what `load` returns."""
        head = f"<!-- supernetflow revision={revision} sha256={hashlib.sha256(body).hexdigest()} -->\n"
        fresh, link = self.folder / "running.new", self.folder / "running.link"
        for path in (fresh, link):
            path.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(head.encode() + body)
                file.flush()
                os.fsync(file.fileno())
            if self.running.exists():
                os.link(self.running, link)
                link.replace(self.previous)
            fresh.replace(self.running)
        except OSError:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise
        directory = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _read(path: Path) -> Stored:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror}.") from None
    head = _HEAD.match(data)
    if head is None:
        raise Damaged(f"{path} is not a datastore of this function: its first line is not one.")
    body = data[head.end() :]
    if hashlib.sha256(body).hexdigest().encode() != head[2]:
        raise Damaged(f"{path} is damaged: its checksum is not that of its content.")
    return Stored(int(head[1]), body)
