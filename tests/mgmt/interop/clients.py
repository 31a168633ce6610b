"""Four clients that others wrote, with one face: what an orchestrator asks of a server.

`Library` is a Python library (ncclient, netconf-client), `Console` netconf-console2, `Yangcli` the client of yuma123.
The last two are programs: a sequence of requests is one run of them.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lxml import etree
from ncclient import manager as ncclient
from netconf_client.connect import connect_ssh
from netconf_client.ncclient import Manager

from lab.wait import slowness

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
MONITORING = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
POLICIES = "urn:supernetflow:yang:snf-policies"


def policy(name: str, application: str = "youtube") -> str:
    return (
        f'<policies xmlns="{POLICIES}"><policy><name>{name}</name><application>{application}</application>'
        "<action>count</action></policy></policies>"
    )


@contextmanager
def ncclient_session(port: int, key: Path, host_key: str) -> Iterator[Any]:
    """Open a session of ncclient as its documentation says."""
    with ncclient.connect(
        host="127.0.0.1", port=port, username="alice", key_filename=str(key), hostkey_b64=host_key,
        allow_agent=False, look_for_keys=False, timeout=20 * slowness(),
    ) as session:  # fmt: skip
        yield session


@contextmanager
def netconf_client_session(port: int, key: Path, _host_key: str) -> Iterator[Any]:
    """Open a session of netconf-client as its documentation says."""
    session = connect_ssh(host="127.0.0.1", port=port, username="alice", key_filename=str(key))
    with Manager(session=session, timeout=20 * slowness()) as manager:
        yield manager


LIBRARIES = {"ncclient": ncclient_session, "netconf-client": netconf_client_session}


RUNNING = f'<get-config xmlns="{BASE}"><source><running/></source></get-config>'


def schema_request(name: str) -> str:
    return f'<get-schema xmlns="{MONITORING}"><identifier>{name}</identifier></get-schema>'


def dispatch(session: Any, request: str) -> str:
    """Send an operation; one library wants it as text and answers in bytes, the other as an element and in text."""
    if isinstance(session, Manager):
        return bytes(session.dispatch(request).xml).decode()
    return str(session.dispatch(etree.fromstring(request)).xml)


class Console:
    """netconf-console2: words of its command line; the answer is what it prints."""

    def __init__(self, port: int, key: Path, folder: Path) -> None:
        program = Path(sys.executable).parent / "netconf-console2"
        self._words = [
            str(program), "--host", "127.0.0.1", "--port", str(port), "-u", "alice", "-p", "",
            "--privKeyFile", str(key), "--db", "candidate",
        ]  # fmt: skip
        self.folder = folder

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def run(self, *words: object) -> str:
        run = subprocess.run([*self._words, *map(str, words)], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
        assert "Operation failed" not in run.stdout, run.stdout
        return run.stdout


class Yangcli:
    """The client of yuma123: a script of commands; its answers are what it prints after it has read the modules."""

    def __init__(self, port: int, key: Path, folder: Path) -> None:
        self._words = [
            "yangcli", "server=127.0.0.1", f"ncport={port}", "user=alice", "password=none", f"private-key={key}",
            f"public-key={key}.pub", "batch-mode", "run-script=commands",
        ]  # fmt: skip
        self.folder = folder

    def run(self, *commands: str) -> str:
        (self.folder / "commands").write_text("\n".join([*commands, "quit", ""]))
        said = in_a_terminal(self._words, self.folder)
        greeting, answered, rest = said.partition("\nRPC ")  # before it, it tells what it thinks of the modules
        assert answered, greeting
        return answered + rest


def in_a_terminal(words: Sequence[str], folder: Path) -> str:
    """Run a program that wants a terminal, and return what it wrote."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "HOME": str(folder), "TERM": "dumb"}
    run = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment)
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 65_536):
            said += piece
    except OSError:  # EIO: the other end is closed
        pass
    finally:
        os.close(ours)
    run.wait(timeout=30 * slowness())
    return said.decode(errors="replace")
