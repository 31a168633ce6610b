"""The configuration on disk: the last revisions, and a journal of the change that is under way.

    running.xml      the configuration in force; its first line has revision, checksum, time and user
    running.N.xml    the last revisions, the one in force among them
    journal          a line when a revision is written, one when it is in force or was given up
    confirm          there while a confirmed commit waits: the revision to go back to

A change is written beside the others and flushed, and then `running.xml` takes its content by rename(2), which is
atomic: whenever a process is killed, `running.xml` is the old or the new revision, and what was only written is removed
by the next start. Of the versions before there may be a `running.previous.xml`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nf.errors import SnfError

__all__ = ["KEPT", "Damaged", "Revision", "Store", "Stored"]

log = logging.getLogger(__name__)

KEPT = 10  # revisions: a mistake shows within a few changes, and with 10,000 static sessions they take 40 MB
_JOURNAL_BYTES = 1 << 16  # at which the lines of what is long over are left out
_JOURNAL_LINES = 4 * KEPT
_HEAD = re.compile(rb"\A<!-- supernetflow revision=(\d+) sha256=([0-9a-f]{64})(?: (\{.*\}))? -->\n")
_NAME = re.compile(r"running\.(\d+)\.xml")


@dataclass(frozen=True, slots=True)
class Revision:
    """A revision: since when, who made it (no user: the function), the schema paths that it changed."""

    number: int
    time: str = ""  # RFC 3339
    user: str = ""
    changed: tuple[str, ...] = ()

    def head(self, body: bytes) -> bytes:
        """Return the first line of its file."""
        about = json.dumps({"time": self.time, "user": self.user, "changed": self.changed}, separators=(",", ":"))
        about = about.replace("-", r"\u002d")  # no comment of XML has two of them
        return f"<!-- supernetflow revision={self.number} sha256={_sha256(body)} {about} -->\n".encode()


@dataclass(frozen=True, slots=True, repr=False)
class Stored:
    """A configuration as it was stored."""

    about: Revision
    body: bytes

    @property
    def revision(self) -> int:
        """Its number."""
        return self.about.number


class Damaged(SnfError):
    """A file of the datastore is not what was written."""


class Store:
    """The files of one state directory, which is made if it is not there (0700; files 0600). One process writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written = self._in_force = Revision(0)
        self.running = folder / "running.xml"
        self._previous = folder / "running.previous.xml"
        self._journal = folder / "journal"
        self._confirm = folder / "confirm"
        self._kept: dict[int, Revision] = {}  # never changed in place: others read it
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            what = f"The state directory {folder} cannot be made: {error.strerror}."
            raise SnfError(what, "Choose another --state-dir, or make it for the user of the function.") from None

    # -- reading -----------------------------------------------------------

    def load(self) -> Stored | None:
        """Return the configuration that was in force last, None at a first start; changes nothing.

        A damaged file is logged, and the newest whole revision that was in force is used. Raises `Damaged` when there
        is none.
        """
        try:
            return _read(self.running)
        except FileNotFoundError:
            found = False
        except Damaged as error:
            log.error("%s", error.what)
            found = True
        unfinished = self._unfinished()
        others = [self.path(number) for number in self._numbers() if number not in unfinished]
        for path in [*others, self._previous]:
            try:
                return _read(path)
            except FileNotFoundError:
                continue
            except Damaged as error:
                log.error("%s", error.what)
                found = True
        if found:
            raise Damaged(
                f"Neither {self.running} nor a revision beside it is whole.",
                "Put a backup there, or move running.*xml away to start from the startup configuration.",
            )
        return None

    def path(self, number: int) -> Path:
        """Return the file of a revision."""
        return self.folder / f"running.{number}.xml"

    def revision(self, number: int) -> Stored | None:
        """Return one of the last revisions, None when it is not kept or not whole."""
        try:
            found = _read(self.path(number))
        except (FileNotFoundError, Damaged):
            return None
        return found if found.revision == number else None  # a backup may have been written over its other name

    def revisions(self) -> list[Revision]:
        """Return the kept revisions, the newest first."""
        return sorted(self._kept.values(), key=lambda revision: -revision.number)

    @property
    def next_number(self) -> int:
        """The number of the next revision: a backup that was put in the place of `running.xml` may have an old one."""
        return max([*self._kept, self._in_force.number]) + 1

    def _numbers(self) -> list[int]:
        """Return the numbers of the files of revisions, the newest first."""
        found = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def _unfinished(self) -> set[int]:
        """Return the revisions that were written and, by the journal, neither came in force nor were given up."""
        open_ones: set[int] = set()
        with suppress(OSError):
            for line in self._journal.read_bytes().splitlines():
                with suppress(ValueError, KeyError, TypeError):  # the last line of a process that was killed
                    entry = json.loads(line)
                    (open_ones.add if entry["step"] == "written" else open_ones.discard)(int(entry["revision"]))
        return open_ones

    # -- recovery ----------------------------------------------------------

    def recover(self) -> Stored | None:
        """Bring the files in order after whatever ended the process before, and return what `load` does."""
        stored = self.load()
        number = stored.revision if stored else 0
        for path in (self.folder / "running.new", self.folder / "running.link", self.folder / "confirm.new"):
            path.unlink(missing_ok=True)
        self._take_previous()
        unfinished_ones = self._unfinished()
        if number in unfinished_ones:
            self._note("in force", number)
        for unfinished in unfinished_ones - {number}:
            log.warning("the change to revision %d was not completed; revision %d is in force", unfinished, number)
            self.abandon(unfinished)
        if stored is None:
            return None
        if self.revision(number) is None:
            self.path(number).unlink(missing_ok=True)
            self._write(self.path(number), stored.about.head(stored.body) + stored.body)
        if self.running.exists() and not _is_whole(self.running):
            self.running.replace(self.folder / "running.damaged.xml")
        if not self.running.exists():
            self._take_name(number)
        self._in_force = stored.about
        for kept in self._numbers():
            if (found := self.revision(kept)) is not None:
                self._kept[kept] = found.about
        return stored

    def _take_previous(self) -> None:
        """Make a revision of the one file that versions before kept."""
        with suppress(FileNotFoundError, Damaged):
            before = _read(self._previous)
            self._previous.replace(self.path(before.revision))

    # -- writing -----------------------------------------------------------

    def write(self, revision: Revision, body: bytes) -> None:
        """Write a revision that is not in force yet. Raises OSError."""
        path = self.path(revision.number)
        path.unlink(missing_ok=True)
        try:
            self._write(path, revision.head(body) + body)
            self._note("written", revision.number, sync=True)
            self._sync()
        except OSError:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise
        self._written = revision

    def put_in_force(self) -> None:
        """Make the revision written last the one that `load` returns. Raises OSError; then it is the one before."""
        self._take_name(self._written.number)

    def done(self) -> None:
        """Note that the revision written last is in force, and forget the oldest ones."""
        self._in_force = revision = self._written
        self._kept = {**self._kept, revision.number: revision}
        # Not flushed: `running.xml` says it as well.
        with suppress(OSError):
            self._note("in force", revision.number)
        back = self.awaits()
        for old in sorted(self._kept)[:-KEPT]:
            if old != back:
                self._forget(old)

    def abandon(self, number: int) -> None:
        """Give a written revision up."""
        self._forget(number)
        with suppress(OSError):
            self._note("given up", number)

    def _forget(self, number: int) -> None:
        self._kept = {n: revision for n, revision in self._kept.items() if n != number}
        with suppress(OSError):
            self.path(number).unlink(missing_ok=True)

    def _take_name(self, number: int) -> None:
        link = self.folder / "running.link"
        link.unlink(missing_ok=True)
        os.link(self.path(number), link)
        link.replace(self.running)
        self._sync()

    def _write(self, path: Path, data: bytes) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _note(self, step: str, revision: int, *, sync: bool = False) -> None:
        handle = os.open(self._journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, json.dumps({"step": step, "revision": revision}).encode() + b"\n")
            if sync:
                os.fsync(handle)
            long = os.fstat(handle).st_size > _JOURNAL_BYTES
        finally:
            os.close(handle)
        if long:
            lines = self._journal.read_bytes().splitlines(keepends=True)[-_JOURNAL_LINES:]
            self._replace(self._journal, b"".join(lines))

    def _replace(self, path: Path, data: bytes) -> None:
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        self._write(fresh, data)
        fresh.replace(path)
        self._sync()

    def _sync(self) -> None:
        directory = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    # -- confirmed commits -------------------------------------------------

    def await_confirmation(self, back_to: int) -> None:
        """Note the revision to go back to, 0 for none, unless a confirmation comes. Raises OSError."""
        self._replace(self._confirm, json.dumps({"back_to": back_to}).encode())

    def awaits(self) -> int | None:
        """Return the revision to go back to, None when no confirmation is awaited."""
        try:
            return int(json.loads(self._confirm.read_bytes())["back_to"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def confirmed(self) -> None:
        """Forget the revision to go back to. Raises OSError."""
        self._confirm.unlink(missing_ok=True)
        self._sync()


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _is_whole(path: Path) -> bool:
    try:
        _read(path)
    except Damaged:
        return False
    return True


def _read(path: Path) -> Stored:
    """Return what a file has. Raises FileNotFoundError, or `Damaged`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror}.") from None
    head = _HEAD.match(data)
    if head is None:
        raise Damaged(f"{path} is not a datastore of this function: its first line is not one.")
    body = data[head.end() :]
    if _sha256(body).encode() != head[2]:
        raise Damaged(f"{path} is damaged: its checksum is not that of its content.")
    try:
        about = json.loads(head[3] or b"{}")
        changed = tuple(map(str, about.get("changed", ())))
        return Stored(Revision(int(head[1]), str(about.get("time", "")), str(about.get("user", "")), changed), body)
    except (ValueError, TypeError, AttributeError):
        raise Damaged(f"{path} is damaged: its first line cannot be read.") from None
