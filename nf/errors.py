"""The family of errors a user can meet; the command line prints ``str(error)`` and nothing else.

    SnfError               anything below; carries what to do next
    ├── Unsupported        this host cannot do what was asked (no root, old kernel, no bcc)
    ├── AttachRefused      an interface cannot take the program
    ├── BadSettings        a setting has no meaning here; carries its path
    ├── BadCapture         a file is not a capture that can be read
    └── BadSignatures      a signature file is wrong; carries file and place

Expected events (a short packet, an unknown tunnel) are counters, not errors.
"""

from __future__ import annotations

import errno

from feed.errors import SnfError

__all__ = ["AttachRefused", "BadCapture", "BadSettings", "BadSignatures", "SnfError", "Unsupported", "passes"]

# Of the kernel: no memory, no room, or somebody else has it.
_PASSING = frozenset(
    {errno.ENOMEM, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE}
    | {errno.EADDRINUSE, errno.EADDRNOTAVAIL}
)


def passes(error: BaseException) -> bool:
    """Say whether what an error tells of, or one that it was made from, may be over in a while by itself."""
    here: BaseException | None = error
    while here is not None:
        if isinstance(here, SnfError) and here.passing:
            return True
        if isinstance(here, MemoryError) or getattr(here, "errno", None) in _PASSING:  # of OSError, and of ZeroMQ's
            return True
        here = here.__context__
    return False


class Unsupported(SnfError):
    """This host lacks something; the remedy is a command."""


class AttachRefused(SnfError):
    """An interface cannot take the program: not there, busy, or carrying the host's own traffic."""


class BadSettings(SnfError):
    """A setting is syntactically valid but cannot be applied; ``path`` is its data path in the YANG tree."""

    def __init__(self, what: str, path: str, remedy: str = "") -> None:
        super().__init__(what, remedy)
        self.path = path


class BadCapture(SnfError):
    """A file is no capture, or of a link type that is not read."""


class BadSignatures(SnfError):
    """A signature file is wrong."""
