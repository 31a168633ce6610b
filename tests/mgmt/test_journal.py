"""The log in systemd's journal: one datagram a message, with its fields; text where the journal does not listen."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Logs, with standard error as the journal has it when JOURNAL_STREAM names it, and one message of a session.
PROGRAM = """
import logging, os, sys
from mgmt.cli import journal
from mgmt.netconf.caller import Caller
if sys.argv[2] == "journal":
    found = os.fstat(2)
    os.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
logging.basicConfig(level=logging.INFO, handlers=[journal.handler(sys.argv[1])])
log = logging.getLogger("mgmt.test")
log.info("session %d is open", 7, extra=Caller(7, "alice").logged)
log.error("two\\nlines, and PRIORITY=0")
log.warning("x" * 100_000)
print(journal.marked("snf: refused"))
"""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    """Return a socket that hears what the journal would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "socket"))
        made.settimeout(0)
        yield made


def log(address: Path, where: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", PROGRAM, str(address), where]
    environment = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
    return subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)


def fields(data: bytes) -> dict[str, str]:
    """Read a datagram as systemd.io/JOURNAL_NATIVE_PROTOCOL has it: NAME=VALUE, or a name, a length, and the value."""
    found = {}
    while data:
        name, _, data = data.partition(b"\n")
        assert b"=" not in name, "each value has its length"
        (length,) = struct.unpack_from("<Q", data)
        found[name.decode()], data = data[8 : 8 + length].decode(), data[9 + length :]
    return found


class TestJournal:
    """Each record is a message with priority, place and, where there is one, session and user."""

    def test_fields_of_a_message(self, journal, tmp_path):
        done = log(tmp_path / "socket", "journal")

        first = fields(journal.recv(1 << 20))
        assert first["MESSAGE"] == "session 7 is open"
        assert (first["SNF_SESSION"], first["SNF_USER"]) == ("7", "alice")
        assert (first["PRIORITY"], first["SYSLOG_IDENTIFIER"], first["LOGGER"]) == ("6", "snf", "mgmt.test")
        assert (first["CODE_FILE"], first["CODE_FUNC"]) == ("<string>", "<module>")
        assert done.stderr == ""

    def test_a_value_makes_no_field_of_its_own(self, journal, tmp_path):
        log(tmp_path / "socket", "journal")
        journal.recv(1 << 20)

        second = fields(journal.recv(1 << 20))

        assert second["MESSAGE"] == "two\nlines, and PRIORITY=0"
        assert second["PRIORITY"] == "3"
        assert "SNF_SESSION" not in second

    def test_a_long_message_is_cut_and_not_lost(self, journal, tmp_path):
        log(tmp_path / "socket", "journal")
        journal.recv(1 << 20)
        journal.recv(1 << 20)

        assert fields(journal.recv(1 << 20))["MESSAGE"] == "x" * 32_768

    def test_a_refusal_is_an_error(self, journal, tmp_path):
        """Its line is read from standard error, where sd-daemon(3) has a priority before it."""
        assert log(tmp_path / "socket", "journal").stdout == "<3>snf: refused\n"


class TestElsewhere:
    """Without the journal, or without its socket, the log is lines on standard error."""

    def test_text_with_time_and_level(self, journal, tmp_path):
        said = log(tmp_path / "socket", "nowhere")

        assert said.stderr.splitlines()[0].endswith(" INFO mgmt.test: session 7 is open")
        assert said.stdout == "snf: refused\n"
        with pytest.raises(BlockingIOError):
            journal.recv(1)

    def test_lines_with_a_priority_where_only_the_socket_is_missing(self, tmp_path):
        said = log(tmp_path / "nothing", "journal")

        assert said.stderr.splitlines()[0] == "<6>mgmt.test: session 7 is open"
