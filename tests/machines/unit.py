"""The service as the package installs it, in a machine that runs this tree, and traffic through its inline pair."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.net import inside
from lab.operator import USER, exporter, interfaces, key_pair
from lab.wait import wait_until
from mgmt.cli.netconf_client import Client, connect
from tests.live.test_crash import payload
from tests.machines.machine import Machine

__all__ = ["PACKAGES", "ROOT", "UNIT", "Traffic", "Unit", "another_tree"]

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy" / "systemd"
UNIT = "supernetflow.service"
# The service needs these of Debian beside its Python environment, and a manager to run it.
PACKAGES = ("dbus", "ethtool", "iproute2", "libyang2", "procps", "python3", "python3-bpfcc", "python3-seccomp")
PACKAGES += ("systemd", "systemd-sysv", "util-linux")
CACHE = Path("/var/cache/supernetflow")
BUS = "ipc:///var/lib/supernetflow/feed"  # in a folder of the service's user
SO_RCVBUFFORCE = 33  # include/uapi/asm-generic/socket.h
UE_AT = 70  # Ethernet 14, IPv4 20, UDP 8, GTP-U 16 with its container, and 12 of the inner IPv4
PACE_S = 0.002  # between two frames: 500 a second
STATE = '<interfaces xmlns="urn:ietf:params:xml:ns:yang:ietf-interfaces"/>'


def pair() -> str:
    """Return the configuration of an inline pair, with the bus."""
    text = interfaces({"n3": "n3", "n6": "n6"}, mode="inline") + exporter(BUS)
    for name, peer in (("n3", "n6"), ("n6", "n3")):
        text = text.replace(
            f"<role>{name}</role><mode>inline</mode>", f"<role>{name}</role><mode>inline</mode><peer>{peer}</peer>"
        )
    return text


class Unit:
    """The unit in a machine, between two veth: its ports `n3` and `n6`, and their far ends `gnb` and `dn`."""

    def __init__(self, machine: Machine, keys: Path) -> None:
        self.machine, self.keys = machine, keys
        root = self.machine.root
        for name, place in {
            "supernetflow.service": "lib/systemd/system/supernetflow.service",
            "supernetflow.sysusers": "usr/lib/sysusers.d/supernetflow.conf",
            "supernetflow.tmpfiles": "usr/lib/tmpfiles.d/supernetflow.conf",
            "supernetflow.default": "etc/default/supernetflow",
        }.items():
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(DEPLOY / name, root / place)
        self.use(ROOT)
        self.machine.shell("""
            systemd-sysusers supernetflow.conf
            systemd-tmpfiles --create supernetflow.conf
            systemctl enable supernetflow.service
            install -d /var/cache/supernetflow
            for pair in n3:gnb n6:dn; do
                ip link add ${pair%:*} type veth peer name ${pair#*:}
                ethtool -K ${pair#*:} gro on
                ip link set ${pair%:*} up
                ip link set ${pair#*:} up
            done
        """)
        # Compiled before, as in the package.
        for file in CACHE.glob("*.snf"):
            shutil.copyfile(file, root / "var/cache/supernetflow" / file.name)
        self.machine.run("chown", "-R", "supernetflow:supernetflow", "/var/cache/supernetflow")
        self.write("users", f'{USER} group="admin" {key_pair(self.keys / "key")} {USER}\n')

    def use(self, tree: Path) -> None:
        """Have the command be that of a tree, as an update does."""
        command = self.machine.root / "usr/bin/snf"
        start = f"PYTHONPATH={tree} PYTHONDONTWRITEBYTECODE=1 {ROOT}/.venv/bin/python -m mgmt.cli.main"
        command.write_text(f'#!/bin/sh\nexec env {start} "$@"\n')
        command.chmod(0o755)

    def write(self, name: str, text: str) -> None:
        """Write a file of /etc/supernetflow."""
        (self.machine.root / "etc/supernetflow" / name).write_text(text)

    def configure(self, more: str = "") -> None:
        """Write the configuration of a first start."""
        self.write("startup.xml", f"<config>{pair()}{more}</config>")

    def change(self, *lines: str) -> None:
        """Put lines into the section Service of a drop-in."""
        folder = self.machine.root / "etc/systemd/system/supernetflow.service.d"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "test.conf").write_text("\n".join(["[Service]", *lines, ""]))
        self.machine.run("systemctl", "daemon-reload")

    def start(self) -> None:
        """Start the unit and wait, as systemctl does, until it is ready or has failed."""
        words = self.machine.words("systemctl", "start", UNIT)
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + self.said()

    def said(self) -> str:
        """Return its messages."""
        return self.machine.journal(UNIT)

    def shows(self, name: str) -> str:
        """Return a property of the unit."""
        return self.machine.shows(UNIT, name)

    def used_s(self) -> float:
        """Return the seconds of a processor that the main process has used (proc_pid_stat(5))."""
        fields = (self.machine.root / f"proc/{self.main}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def main(self) -> int:
        """The main process, as the machine counts."""
        return int(self.shows("MainPID"))

    def kill(self, name: str = "KILL") -> int:
        """Send the main process a signal, and return which it was."""
        main = self.main
        self.machine.run("kill", f"-{name}", str(main))
        return main

    def restarted(self, old: int, seconds: float = 60) -> int:
        """Wait until another process than *old* is ready, and return it."""
        wait_until(
            lambda: self.main not in (0, old) and self.shows("SubState") == "running", "it is started anew", seconds
        )
        return self.main

    def frames(self) -> int:
        """Return how many frames `n3` has counted, as a NETCONF client reads it."""
        with self.client() as client:
            data = client.state(STATE)
        port = next(each for each in data.iterfind(".//{*}interface") if each.findtext("{*}name") == "n3")
        counters = {c.findtext("{*}name"): int(c.findtext("{*}value") or 0) for c in port.iterfind(".//{*}counter")}
        return counters["frames"]

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Open a NETCONF session of the operator, inside of the machine's network."""
        host_key = (self.machine.root / "var/lib/supernetflow/ssh_host_key.pub").read_text()
        with (
            inside(f"/proc/{self.machine.pid}/ns/net"),
            connect("127.0.0.1", 830, USER, self.keys / "key", host_key) as client,
        ):
            yield client

    @contextmanager
    def traffic(self) -> Iterator[Traffic]:
        """Send frames from `gnb`, count those that come out at `dn`, and end both."""
        with inside(f"/proc/{self.machine.pid}/ns/net"):
            made = Traffic()
        try:
            yield made
        finally:
            made.stop()

    def traces(self) -> str:
        """Return what of the function is on the ports and in the BPF file system; "" when nothing is."""
        return self.machine.shell("""
            find /sys/fs/bpf/supernetflow -mindepth 1
            for port in n3 n6; do ip -details link show $port | grep -oE 'prog/xdp.*|promiscuity [1-9].*' || true; done
        """)


def another_tree(folder: Path, file: str, old: str, new: str) -> Path:
    """Return a copy of the product with a change in one of its files, as another version has."""
    for name in ("bpf", "feed", "gtp", "mgmt", "nf", "yang"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    return folder


class Traffic:
    """Frames of one flow at an even pace, from `gnb` to `dn` of this network namespace."""

    def __init__(self) -> None:
        self.sent = self.came = 0
        self._frame = payload(40_000)
        self._out, self._in = (socket.socket(socket.AF_PACKET, socket.SOCK_RAW) for _ in range(2))
        self._out.bind(("gnb", 0))
        self._in.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        self._in.bind(("dn", 3))  # ETH_P_ALL
        self._in.settimeout(0.05)
        self._stop, self._quiet = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._send, self._count)]
        for each in self._threads:
            each.start()

    def end(self) -> None:
        """Send no more, and wait for what is under way; the frames that did not come are lost."""
        self._quiet.set()
        self._threads[0].join()
        came = -1
        while came != self.came:
            came = self.came
            time.sleep(0.2)

    def fill(self, flows: int) -> None:
        """Send one frame of each of so many flows, of UEs and servers of their own."""
        frame = bytearray(self._frame)
        for n in range(flows):
            frame[UE_AT : UE_AT + 8] = struct.pack("!II", 0x0A00_0000 + n, 0xC633_6400 + n % 251)
            with contextlib.suppress(OSError):  # the queue of the device is full: the next round has it
                self._out.send(frame)

    def stop(self) -> None:
        """Free everything."""
        self._quiet.set()
        self._stop.set()
        for each in self._threads:
            each.join()
        self._out.close()
        self._in.close()

    def _send(self) -> None:
        while not self._quiet.wait(PACE_S):
            with contextlib.suppress(OSError):  # the queue of the device is full
                self._out.send(self._frame)
                self.sent += 1

    def _count(self) -> None:
        while not self._stop.is_set():
            try:
                self.came += self._in.recv(2048) == self._frame
            except TimeoutError:
                continue
