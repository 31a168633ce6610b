"""A virtual machine that runs a kernel with files of this host, and whose words are waited for.

QEMU emulates it (``-accel tcg``, some 27 times slower than this host), because a nested KVM is not to be had
everywhere. Two network cards end in sockets of this process: a datagram there is a frame on the wire.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.net import LabError
from tests.kernels.debian import Kernel

__all__ = ["Machine"]

MACS = ("52:54:00:00:00:03", "52:54:00:00:00:06")
# Native XDP on virtio takes no frame that the host joined, and one queue is enough (drivers/net/virtio_net.c).
_CARD = (
    "virtio-net-pci,netdev={net},mac={mac},romfile=,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,mq=off"
)
_MEMORY_MB = 1536
_SILENCE_S = 600  # a machine without a word for so long hangs; the longest phase takes some 40 s on two cores
_LAST_LINES = 25


class Machine:
    """A machine from its start to its end; leaving the context ends it."""

    def __init__(self, kernel: Kernel, archives: Sequence[Path], words: str = "") -> None:
        self._kernel, self._archives, self._words = kernel, archives, words
        self._folder = tempfile.TemporaryDirectory(prefix="snf-kernel-")
        self.ports: list[socket.socket] = []
        self._console = Path(self._folder.name) / "console"

    def __enter__(self) -> Machine:
        below = Path(self._folder.name)
        with (below / "initrd").open("wb") as file:
            for archive in (*self._archives, self._kernel.drivers):
                file.write(archive.read_bytes())
        self._told, theirs = socket.socketpair()
        cards: list[str] = []
        fds = [theirs]
        for number, mac in enumerate(MACS):
            port, wire = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.ports.append(port)
            fds.append(wire)
            cards += ["-netdev", f"dgram,id=p{number},local.type=fd,local.str={wire.fileno()}"]
            cards += ["-device", _CARD.format(net=f"p{number}", mac=mac)]
        words = [
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", str(_MEMORY_MB)),
            *("-nodefaults", "-no-reboot", "-display", "none"),
            *("-chardev", f"file,id=console,path={self._console}", "-serial", "chardev:console"),
            *("-chardev", f"socket,id=told,fd={theirs.fileno()}", "-serial", "chardev:told"),
            *("-kernel", str(self._kernel.image), "-initrd", str(below / "initrd")),
            *("-append", f"console=ttyS0 quiet panic=-1 rdinit=/init -- {self._words}"),
            *cards,
        ]
        self._log = (below / "qemu").open("w+")
        try:
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, pass_fds=[f.fileno() for f in fds]
            )
        except FileNotFoundError:
            raise LabError("qemu-system-x86_64 is not installed. Run: apt-get install qemu-system-x86") from None
        for fd in fds:
            fd.close()
        return self

    def told(self) -> Iterator[dict[str, Any]]:
        """Yield what the machine says until it ends; raises LabError with its last words when it says no more."""
        rest = b""
        while True:
            ready, _, _ = select.select([self._told], [], [], _SILENCE_S)
            if not ready:
                raise LabError(f"The machine was silent for {_SILENCE_S} s. Its last words:\n{self.last_words()}")
            got = self._told.recv(65_536)
            if not got:
                return
            *lines, rest = (rest + got).replace(b"\r", b"").split(b"\n")
            yield from (json.loads(line) for line in lines if line.strip())

    def last_words(self) -> str:
        """Return the end of what the kernel and the first process printed, and QEMU."""
        console = self._console.read_text(errors="replace") if self._console.exists() else ""
        self._log.seek(0)
        return "\n".join([*console.splitlines()[-_LAST_LINES:], self._log.read().strip()]).strip()

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for port in (*self.ports, self._told):
            port.close()
        self._log.close()
        self._folder.cleanup()
