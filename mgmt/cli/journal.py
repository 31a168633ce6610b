"""The log where systemd's journal reads it: messages with fields (systemd.journal-fields(7)) and a priority.

Standard error is the journal's when ``JOURNAL_STREAM`` names it (systemd.exec(5)); anywhere else the log is lines of
text.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys

__all__ = ["handler", "marked"]

_SOCKET = "/run/systemd/journal/socket"
_MOST_BYTES = 32_768  # of a value: what a datagram takes on every system
# syslog(3)
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_FIELDS = ("session", "user")  # of a record, by its `extra`; in the journal SNF_SESSION and SNF_USER


def _is_read_by_the_journal() -> bool:
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def handler(address: str = _SOCKET) -> logging.Handler:
    """Return the handler of the log: of the journal at *address*, if that reads standard error, else of text there."""
    if _is_read_by_the_journal():
        try:
            return _Journal(address)
        except OSError:  # lines with a priority are read from standard error all the same
            lines: logging.Handler = logging.StreamHandler(sys.stderr)
            lines.setFormatter(_Marked("%(name)s: %(message)s"))
            return lines
    text = logging.StreamHandler(sys.stderr)
    text.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    return text


def marked(text: str) -> str:
    """Return the last words of a command that was refused, for the journal as an error (sd-daemon(3))."""
    return f"<3>{text}" if _is_read_by_the_journal() else text


class _Marked(logging.Formatter):
    """Lines with a priority, as sd-daemon(3) has them."""

    def format(self, record: logging.LogRecord) -> str:
        return f"<{_PRIORITIES.get(record.levelno, 6)}>{super().format(record)}"


class _Journal(logging.Handler):
    """Sends records to the journal in its own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s"))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.connect(address)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; one that the journal does not take is lost, as a line on a closed stream is."""
        try:
            self._socket.send(b"".join(_field(*pair) for pair in self._fields(record)))
        except (OSError, ValueError):
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (of logging)
        """Do nothing: there is no other place to tell it."""

    def _fields(self, record: logging.LogRecord) -> list[tuple[str, object]]:
        more = [(f"SNF_{name.upper()}", getattr(record, name)) for name in _FIELDS if hasattr(record, name)]
        return [
            ("MESSAGE", self.format(record)),
            ("PRIORITY", _PRIORITIES.get(record.levelno, 6)),
            ("SYSLOG_IDENTIFIER", "snf"),
            ("LOGGER", record.name),
            ("CODE_FILE", record.pathname),
            ("CODE_LINE", record.lineno),
            ("CODE_FUNC", record.funcName),
            *more,
        ]


def _field(name: str, value: object) -> bytes:
    """Return a field with its length, so that a value may have line breaks and make no field of its own."""
    data = str(value).encode(errors="replace")[:_MOST_BYTES]
    return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
