"""A service manager for tests: hears what a process tells it, keeps its descriptors, and gives them to the next one.

It follows sd_notify(3) and sd_listen_fds(3), and listens to the main process only, as systemd does where
``NotifyAccess=main`` says so.
"""

from __future__ import annotations

import array
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["Manager"]

_MOST = 64  # descriptors of a message
# Puts descriptors at 3 and on, and becomes the command.
LAUNCH = """
import fcntl, os, sys
count = int(sys.argv[1])
aside = [fcntl.fcntl(int(word), fcntl.F_DUPFD_CLOEXEC, 512) for word in sys.argv[2 : 2 + count]]
for at, fd in enumerate(aside):
    os.dup2(fd, 3 + at, inheritable=True)
if count:
    os.environ["LISTEN_PID"] = str(os.getpid())
os.execvp(sys.argv[2 + count], sys.argv[2 + count :])
"""


class Manager:
    """Hears at a socket in *folder*, which the process must be able to reach."""

    def __init__(self, folder: Path, watchdog_s: float = 0.0) -> None:
        self._watchdog_s = watchdog_s
        self.told: list[dict[str, str]] = []
        self._at_s: list[float] = []  # when each of them was
        self._begun_s = 0.0
        self.store: dict[str, int] = {}
        self.main = 0
        self.strangers = 0  # messages of other processes
        self._address = folder / "notify"
        self._address.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(str(self._address))
        self._address.chmod(0o777)
        self._thread = threading.Thread(target=self._hear, daemon=True)
        self._thread.start()

    def start(self, words: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a command with the descriptors that are kept."""
        fds = list(self.store.values())
        launch = [sys.executable, "-c", LAUNCH, str(len(fds)), *map(str, fds), *words]
        ours = {"NOTIFY_SOCKET": str(self._address)}
        if fds:
            ours |= {"LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": ":".join(self.store)}
        if self._watchdog_s:
            ours["WATCHDOG_USEC"] = str(round(self._watchdog_s * 1e6))
        self.told.clear()
        self._at_s.clear()
        self._begun_s = time.monotonic()
        with log.open("w") as file:
            child = subprocess.Popen(launch, stdout=file, stderr=file, pass_fds=fds, env={**environment, **ours})
        self.main = child.pid
        return child

    def heard(self, name: str) -> list[str]:
        """Return all values of a word that were told since the start, the latest last."""
        return [message[name] for message in list(self.told) if name in message]

    def silence_s(self, limit_s: float) -> float:
        """Return for how long a start was beyond its time, at the worst, until it was ready; 0.0: never.

        *limit_s* is that of the unit (TimeoutStartSec=), and each EXTEND_TIMEOUT_USEC is one from then on.
        """
        until_s, late_s = self._begun_s + limit_s, 0.0
        for at_s, message in zip(list(self._at_s), list(self.told), strict=False):
            late_s = max(late_s, at_s - until_s)
            until_s = max(until_s, at_s + int(message.get("EXTEND_TIMEOUT_USEC", "0")) / 1e6)
            if "READY" in message:
                break
        return late_s

    def close(self) -> None:
        """Forget everything."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        for fd in self.store.values():
            os.close(fd)
        self.store.clear()

    def _hear(self) -> None:
        while True:
            room = socket.CMSG_SPACE(12) + socket.CMSG_SPACE(4 * _MOST)
            data, ancillary, _, _ = self._socket.recvmsg(4096, room)
            if not data:
                return
            fds, sender = array.array("i"), 0
            for _, kind, content in ancillary:
                if kind == socket.SCM_RIGHTS:
                    fds.frombytes(content)
                elif kind == socket.SCM_CREDENTIALS:
                    sender = struct.unpack("iII", content)[0]
            message = dict(line.split("=", 1) for line in data.decode().splitlines())
            if sender != self.main:
                self.strangers += 1
                for fd in fds:
                    os.close(fd)
                continue
            self._keep(message, list(fds))
            self._at_s.append(time.monotonic())
            self.told.append(message)

    def _keep(self, message: Mapping[str, str], fds: list[int]) -> None:
        name = message.get("FDNAME", "stored")
        if message.get("FDSTOREREMOVE") == "1" and name in self.store:
            os.close(self.store.pop(name))
        if message.get("FDSTORE") == "1":
            assert message["FDPOLL"] == "0"  # else systemd takes a map for one that was hung up
            assert name not in self.store, f"{name} is kept twice"
            (self.store[name],) = fds
