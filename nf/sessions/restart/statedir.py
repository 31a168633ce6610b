"""The state directory: one process has it at a time, and leaves there what the next one cannot know.

The file ``lock`` is locked (flock) as long as its process lives, however that ends. Its one line has the number of that
process, the boot of the kernel, the offset and the shift of its clock, and the time of its last reading.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from nf.errors import SnfError

__all__ = ["Before", "StateDir", "check", "check_room", "hold"]

_NOTE_S = 0.5  # between two notes: the end of a process is known to so much
_TRIAL_BYTES = 4096  # a block: a full file system has none
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Before:
    """The notes of the process that held the directory before."""

    pid: int
    boot: str  # of the kernel (random(4))
    offset_s: float  # of its `nf.kernel.clock.Clock`,
    shift_s: float  # and what the clock on the wall had more at the end
    read_s: float  # time of the last reading of the data plane, by it or one before; monotonic clock of its boot

    @property
    def here(self) -> bool:
        """Say whether its monotonic clock goes on: the kernel is the same."""
        return self.boot == _boot()


class StateDir:
    """A directory that this process holds until `close`. ``before`` is None at a first start."""

    def __init__(self, folder: Path, lock: IO[bytes], before: Before | None) -> None:
        self.folder, self.before = folder, before
        self._lock = lock
        self._boot = _boot()
        self._noted_s = -1.0

    def clock_offset_s(self, difference_s: float) -> float | None:
        """Return the offset with which the previous process's clock goes on; None at a first start.

        *difference_s* is the clock on the wall less the monotonic one.
        """
        if self.before is None:
            return None
        return self.before.offset_s if self.before.here else difference_s - self.before.shift_s

    @property
    def unread_s(self) -> float | None:
        """The time for which nobody has read the data plane; None when that is not known."""
        if self.before is None or not self.before.here:
            return None
        return time.monotonic() - self.before.read_s

    def note(self, offset_s: float, shift_s: float) -> None:
        """Note that this process reads the data plane; writes twice a second at most, however often it is called."""
        now_s = time.monotonic()
        if now_s - self._noted_s >= _NOTE_S:
            self._noted_s = now_s
            self._write(offset_s, shift_s, now_s)

    def begin(self) -> None:
        """Write the new holder down; the time of the last reading stays that of the previous process, in one boot."""
        difference_s, read_s = time.time() - time.monotonic(), time.monotonic()
        if self.before is not None and self.before.here:
            read_s = self.before.read_s
        offset_s = self.clock_offset_s(difference_s)
        offset_s = difference_s if offset_s is None else offset_s
        self._write(offset_s, difference_s - offset_s, read_s)

    def _write(self, *numbers: float) -> None:
        line = " ".join([str(os.getpid()), self._boot, *map(repr, numbers)]).encode() + b"\n"
        with suppress(OSError):  # a full disk is not the end
            os.pwrite(self._lock.fileno(), line, 0)
            os.ftruncate(self._lock.fileno(), len(line))

    def unwritable(self) -> str:
        """Return why the directory takes no file, by making one; "" when it does."""
        try:
            _try(self.folder)
        except OSError as error:
            return error.strerror or type(error).__name__
        return ""

    def close(self) -> None:
        """Give the directory up to other processes."""
        self._lock.close()

    def __enter__(self) -> StateDir:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def hold(folder: Path) -> StateDir:
    """Make a directory if it is not there, and take it; raises SnfError with its holder when another process has it."""
    held = StateDir(folder, *_lock(folder))
    held.begin()
    return held


def check(folder: Path) -> None:
    """Raise the SnfError that `hold` would raise; the directory is made."""
    _lock(folder)[0].close()


def check_room(folder: Path) -> None:
    """Raise SnfError when a directory takes no file."""
    try:
        _try(folder)
    except OSError as error:
        remedy = "Make room on its disk, or choose another --state-dir."
        raise SnfError(f"The state directory {folder} takes no file: {error.strerror}.", remedy) from None


def _try(folder: Path) -> None:
    """Make a file of a block in a directory, and remove it. Raises OSError."""
    trial = folder / "trial"
    try:
        with trial.open("wb") as file:
            file.write(b"\0" * _TRIAL_BYTES)
            file.flush()
            os.fsync(file.fileno())
    finally:
        with suppress(OSError):
            trial.unlink()


def _lock(folder: Path) -> tuple[IO[bytes], Before | None]:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.fdopen(os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
    except OSError as error:
        what = f"The state directory {folder} cannot be made: {error.strerror}."
        raise SnfError(what, "Choose another --state-dir, or make it for the user of the function.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _read(lock)
        lock.close()
        who = f"process {holder.pid}" if holder else "another process"
        raise SnfError(
            f"The state directory {folder} is in use by another snf ({who}).",
            "Stop it, or choose another --state-dir.",
            passing=True,
        ) from None
    return lock, _read(lock)


def _read(lock: IO[bytes]) -> Before | None:
    try:
        pid, boot, *numbers = os.pread(lock.fileno(), 256, 0).decode("ascii").split()
        return Before(int(pid), boot, *(float(n) for n in numbers))
    except (ValueError, TypeError, OSError):
        return None


def _boot() -> str:
    with suppress(OSError):
        return _BOOT.read_text(encoding="ascii").strip()
    return "unknown"
