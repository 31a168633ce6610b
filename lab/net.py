"""Network namespaces of one lab run: making them, entering them, and leaving nothing behind.

Every name carries the process id of the run (``snf1234.0-upf``), so that two runs never meet and
`sweep` can tell a dead run's leftovers. Commands are put into a namespace by ``nsenter --net=``
and this process by setns(2): ``ip -n`` and ``ip netns exec`` also change the mounts, which hides
the BPF file system and fails inside a chroot.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TypeVar

__all__ = ["LabError", "Net", "child_of_the_lab", "enter", "inside", "interruptible", "leftovers", "sweep"]

NAMESPACES = Path("/run/netns")
_NAME = re.compile(r"snf(\d+)\.\d+-.+")
_CLONE_NEWNET = 0x4000_0000  # include/uapi/linux/sched.h
_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
PARENT = "SNF_LAB_PID"  # environment: process id of the lab that starts a part
_RUNS = itertools.count()  # one process may have several labs
_LIBC = ctypes.CDLL(None, use_errno=True)
_T = TypeVar("_T")


class LabError(Exception):
    """The lab cannot be built or a part of it ended; the text says what to do."""


def enter(path: str | Path) -> None:
    """Move the calling thread, and all threads it starts from now on, into the network namespace at *path*."""
    fd = os.open(path, os.O_RDONLY)
    try:
        if _LIBC.setns(fd, _CLONE_NEWNET):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(path))
    finally:
        os.close(fd)


@contextlib.contextmanager
def inside(path: str | Path) -> Iterator[None]:
    """Be in another network namespace for a while; sockets made there stay there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        enter(path)
        try:
            yield
        finally:
            enter(f"/proc/self/fd/{home}")
    finally:
        os.close(home)


def child_of_the_lab(namespace: str = "") -> None:
    """Prepare a process of the lab: die with the parent, ignore SIGINT, which is the parent's, enter *namespace*."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(os.environ.get(PARENT, os.getppid())):  # it died before it could be asked to tell
        sys.exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent stops its children
    if namespace:
        enter(namespace)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into KeyboardInterrupt, so that every ``finally`` runs."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {s: signal.signal(s, interrupt) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Hold interrupts back while cleaning up; they are delivered afterwards."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def command(*words: str, stdin: str | None = None) -> str:
    """Run a command; raises LabError with its last words when it fails."""
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise LabError(f"{words[0]} is not installed. Run: apt-get install iproute2 util-linux ethtool") from None
    if done.returncode:
        raise LabError(f"`{' '.join(words)}` failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Net:
    """The namespaces of one run; leaving the context deletes them all."""

    def __init__(self) -> None:
        self._prefix = f"snf{os.getpid()}.{next(_RUNS)}-"
        self._names: list[str] = []

    def __enter__(self) -> Net:
        if os.geteuid() != 0:
            raise LabError("The lab makes network namespaces and needs root. Run it with sudo.")
        sweep()
        return self

    def __exit__(self, *_: object) -> None:
        with undisturbed():
            for name in reversed(self._names):
                _delete(name)
            self._names.clear()

    def path(self, namespace: str) -> str:
        """Return the file that names a namespace of this run."""
        return str(NAMESPACES / f"{self._prefix}{namespace}")

    def add(self, *namespaces: str) -> None:
        """Make namespaces with nothing but a loopback; without IPv6, whose own chatter would be counted."""
        for namespace in namespaces:
            name = f"{self._prefix}{namespace}"
            with undisturbed():
                command("ip", "netns", "add", name)
                self._names.append(name)
            with inside(self.path(namespace)):  # /proc/sys/net shows the namespace of the thread that opens it
                for scope in ("all", "default"):
                    Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6").write_text("1", encoding="ascii")
            self.ip(namespace, "link set lo up")

    def veth(self, one: tuple[str, str], two: tuple[str, str], *, mtu: int = 1500) -> None:
        """Join two (namespace, device) ends, up, with every offload off: what is seen is what a wire carries."""
        (ns1, dev1), (ns2, dev2) = one, two
        peer = f"{self._prefix}{ns2}"
        self.ip(ns1, f"link add {dev1} mtu {mtu} type veth peer name {dev2} mtu {mtu} netns {peer}")
        for namespace, device in (one, two):
            self.run(
                namespace, "ethtool", "-K", device, *(w for o in ("tx", "rx", "tso", "gso", "gro") for w in (o, "off"))
            )
            self.ip(namespace, f"link set {device} up")

    def ip(self, namespace: str, *lines: str) -> None:
        """Run ``ip`` commands, each as one line, inside a namespace."""
        self.run(namespace, "ip", "-batch", "-", stdin="\n".join(lines) + "\n")

    def run(self, namespace: str, *words: str, stdin: str | None = None) -> str:
        """Run any command inside a namespace and return what it printed."""
        return command(*self.prefix(namespace), *words, stdin=stdin)

    def prefix(self, namespace: str) -> Sequence[str]:
        """Return the words that put a command into a namespace."""
        return ("nsenter", f"--net={self.path(namespace)}")

    def mirror(self, namespace: str, device: str, to: str) -> None:
        """Copy all that *device* receives and sends to the device *to*, as a TAP does."""
        every = f"protocol all u32 match u32 0 0 action mirred egress mirror dev {to}"
        lines = f"qdisc add dev {device} clsact\n" + "".join(
            f"filter add dev {device} {hook} {every}\n" for hook in ("ingress", "egress")
        )
        self.run(namespace, "tc", "-batch", "-", stdin=lines)

    def call(self, namespace: str, what: Callable[[], _T]) -> _T:
        """Call a function with this thread inside a namespace: a socket it opens stays there."""
        with inside(self.path(namespace)):
            return what()


def _delete(name: str) -> None:
    try:
        command("ip", "netns", "delete", name)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)


def leftovers(pid: int | None = None) -> list[str]:
    """Return names of lab namespaces that exist: those of one run, or of runs whose process is gone."""
    if not NAMESPACES.is_dir():
        return []
    found = []
    for entry in sorted(os.listdir(NAMESPACES)):
        match = _NAME.fullmatch(entry)
        if match and (int(match[1]) == pid if pid else not Path(f"/proc/{match[1]}").exists()):
            found.append(entry)
    return found


def sweep() -> list[str]:
    """Delete the leftovers of killed runs and return the names."""
    gone = leftovers()
    for name in gone:
        _delete(name)
    return gone
