"""A virtual machine that boots a disk, as a hypervisor would: firmware, boot loader, kernel, all from the disk.

QEMU emulates it (``-accel tcg``): a nested KVM is not to be had everywhere. Its serial console is read; a second serial
port has a shell when the user data start one there. Two network cards end in sockets of this process, a datagram there
is a frame on the wire; the third is QEMU's own network, with forwarded ports of this host.
"""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from lab.net import LabError

__all__ = ["MACS", "Machine", "Said"]

MACS = {"n3": "52:54:00:00:00:03", "n6": "52:54:00:00:00:06", "management": "52:54:00:00:00:30"}
# Native XDP on virtio takes no frame that the host joined, and one queue is enough (drivers/net/virtio_net.c).
_CARD = "romfile=,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,mq=off"
_MEMORY_MB = 2048
_SILENCE_S = 900  # a machine that neither says nor does anything for so long hangs
_LAST_LINES = 30
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Said:
    """A line of the console, with the emulator's processor time when it was read and the time since power-on."""

    text: str
    processor_s: float
    clock_s: float


@dataclass(slots=True)
class _Result:
    status: int
    text: str = field(default="")


class Machine:
    """A machine from power-on to power-off; leaving the context takes its power."""

    def __init__(
        self, disk: Path, more: Sequence[Path] = (), *, efi: Path | None = None, bus: str = "virtio", service: int = 830
    ) -> None:
        """*disk* is changed by what runs; *more* are raw disks, read only; *service* is the port that is forwarded."""
        self._disk, self._more, self._efi, self._bus, self._service = disk, more, efi, bus, service
        self._folder = tempfile.TemporaryDirectory(prefix="snf-image-")
        self._console = Path(self._folder.name) / "console"
        self._read, self._rest = 0, ""
        self.ports: dict[str, socket.socket] = {}
        self.lines: list[Said] = []
        self.netconf_port, self.bus_port = _free(), _free()

    def __enter__(self) -> Machine:
        self._console.touch()
        self._shell, theirs = socket.socketpair()
        fds, cards = [theirs], []
        for number, name in enumerate(("n3", "n6")):
            port, wire = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.ports[name] = port
            fds.append(wire)
            cards += ["-netdev", f"dgram,id=p{number},local.type=fd,local.str={wire.fileno()}"]
            cards += ["-device", f"virtio-net-pci,netdev=p{number},mac={MACS[name]},{_CARD}"]
        forwards = (
            f"hostfwd=tcp:127.0.0.1:{self.netconf_port}-:{self._service},hostfwd=tcp:127.0.0.1:{self.bus_port}-:5556"
        )
        words = [
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", str(_MEMORY_MB)),
            *("-nodefaults", "-display", "none", "-device", "virtio-rng-pci", "-boot", "c"),
            *("-chardev", f"file,id=console,path={self._console}", "-serial", "chardev:console"),
            *("-chardev", f"socket,id=shell,fd={theirs.fileno()}", "-serial", "chardev:shell"),
            *("-drive", f"file={self._disk},if={self._bus},format=qcow2,cache=unsafe"),
            *("-netdev", f"user,id=m,{forwards}"),
            *("-device", f"virtio-net-pci,netdev=m,mac={MACS['management']},romfile="),
            *cards,
        ]
        for disk in self._more:
            words += ["-drive", f"file={disk},if=virtio,format=raw,readonly=on"]
        if self._efi:
            words += ["-bios", str(self._efi)]
        self._log = (Path(self._folder.name) / "qemu").open("w+")
        self._begun = time.monotonic()
        try:
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, pass_fds=[f.fileno() for f in fds]
            )
        except FileNotFoundError:
            raise LabError("qemu-system-x86_64 is not installed. Run: apt-get install qemu-system-x86") from None
        for fd in fds:
            fd.close()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for port in (*self.ports.values(), self._shell):
            port.close()
        self._log.close()
        self._folder.cleanup()

    # -- time ----------------------------------------------------------------------

    @property
    def processor_s(self) -> float:
        """Processor time that the emulator has taken since power-on."""
        with suppress(OSError):
            words = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(words[11]) + int(words[12])) / _TICKS_A_SECOND
        return 0.0

    @property
    def clock_s(self) -> float:
        """Seconds since power-on."""
        return time.monotonic() - self._begun

    # -- the console ----------------------------------------------------------------

    def listen(self) -> list[Said]:
        """Return what the console said since it was read last."""
        with self._console.open("rb") as file:
            file.seek(self._read)
            got = file.read()
        self._read += len(got)
        *lines, self._rest = (self._rest + got.decode(errors="replace")).split("\n")
        told = [Said(_COLOURS.sub("", line), self.processor_s, self.clock_s) for line in lines]
        self.lines += told
        if failed := next((said for said in told if "failed stage" in said.text), None):
            raise LabError(f"cloud-init says: {failed.text.strip()}. Its last words:\n{self.last_words()}")
        return told

    def hear(self, *words: str, since: int = 0) -> Said:
        """Return the first line from *since* on with one of *words*, once it was said.

        Raises LabError with the last words of a machine that ends before, or does nothing any more.
        """
        at, heard_s = since, time.monotonic()
        while True:
            if self.listen():
                heard_s = time.monotonic()
            for said in self.lines[at:]:
                if any(word in said.text for word in words):
                    return said
            at = len(self.lines)
            self.check()
            if time.monotonic() - heard_s > _SILENCE_S:
                raise LabError(f"The machine does not say {' or '.join(words)}. Its last words:\n{self.last_words()}")
            time.sleep(0.05)  # between looks

    def check(self) -> None:
        """Raise LabError when the machine has ended."""
        if self._process.poll() is not None:
            raise LabError(f"The machine ended. Its last words:\n{self.last_words()}")

    def last_words(self) -> str:
        """Return the end of what the console said, and QEMU."""
        self.listen()
        self._log.seek(0)
        lines = [said.text for said in self.lines[-_LAST_LINES:]]
        return "\n".join([*lines, self._rest, self._log.read().strip()]).strip()

    def greeting(self) -> str:
        """Return the first line of the service, once it is there."""
        begun = time.monotonic()
        while time.monotonic() - begun < _SILENCE_S:
            self.check()
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.netconf_port), 30) as client:
                if line := client.makefile("rb").readline():
                    return line.decode(errors="replace").strip()
            time.sleep(0.5)  # between two tries
        raise LabError(f"Port {self._service} of the machine says nothing. Its last words:\n{self.last_words()}")

    # -- the shell ------------------------------------------------------------------

    def shell(self, command: str) -> tuple[int, str]:
        """Run a command inside, and return its exit status and what it printed, to both."""
        mark = f"END-{time.monotonic_ns()}"
        self._shell.sendall(f"({command}) 2>&1 </dev/null; echo {mark[:4]}''{mark[4:]} $?\n".encode())
        got = b""
        while not (found := re.search(rf"{mark} (\d+)\r?\n".encode(), got)):
            ready, _, _ = select.select([self._shell], [], [], _SILENCE_S)
            if not ready:
                raise LabError(f"`{command}` inside the machine does not end. It said:\n{got.decode(errors='replace')}")
            more = self._shell.recv(65_536)
            if not more:
                raise LabError(f"The machine ended during `{command}`. Its last words:\n{self.last_words()}")
            got += more
        text = got[: found.start()].decode(errors="replace").replace("\r", "")
        return int(found[1]), text.strip()

    def tell(self, command: str) -> None:
        """Run a command inside that may end the shell before it could answer."""
        self._shell.sendall(f"{command}\n".encode())

    def must(self, command: str) -> str:
        """Run a command inside that does not fail, and return what it printed."""
        status, text = self.shell(command)
        if status:
            raise LabError(f"`{command}` inside the machine ended with {status}:\n{text}")
        return text


def _free() -> int:
    """Return a port of the loopback that nobody has now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
