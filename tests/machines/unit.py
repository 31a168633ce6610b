"""The service as the package installs it, in a machine that runs this tree: files, user, a port, a key to log in."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.net import inside
from lab.operator import USER, exporter, interfaces, key_pair
from lab.wait import wait_until
from mgmt.cli.netconf_client import Client, connect
from tests.machines.machine import Machine

__all__ = ["PACKAGES", "ROOT", "UNIT", "Unit"]

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy" / "systemd"
UNIT = "supernetflow.service"
# What the service needs of Debian beside its Python environment, and a manager to run it.
PACKAGES = ("dbus", "ethtool", "iproute2", "libyang2", "procps", "python3", "python3-bpfcc", "python3-seccomp")
PACKAGES += ("systemd", "systemd-sysv", "util-linux")
CACHE = Path("/var/cache/supernetflow")
BUS = "ipc:///var/lib/supernetflow/feed"
"""The bus, in a folder of the service's user."""


class Unit:
    """The unit in a machine, with two veth ports: `n3` of the service and its far end `gnb`."""

    def __init__(self, machine: Machine, keys: Path, startup: str | None = None) -> None:
        self.machine, self.keys = machine, keys
        self.startup = startup or interfaces({"n3": "n3"}) + exporter(BUS)
        self._install()

    def _install(self) -> None:
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
            systemctl daemon-reload
            install -d -o supernetflow -g supernetflow /var/cache/supernetflow
            ip link add n3 type veth peer name gnb
            ip link set n3 up
            ip link set gnb up
        """)
        # Compiled here, as the package has them; a folder of another user than root and the service counts for nobody.
        for file in CACHE.glob("*"):
            if file.is_file():
                shutil.copyfile(file, root / "var/cache/supernetflow" / file.name)
        self.machine.run("chown", "-R", "supernetflow:supernetflow", "/var/cache/supernetflow")
        self.write("users", f'{USER} group="admin" {key_pair(self.keys / "key")} {USER}\n')

    def use(self, tree: Path) -> None:
        """Have the command be that of a tree."""
        command = self.machine.root / "usr/bin/snf"
        start = f"PYTHONPATH={tree} PYTHONDONTWRITEBYTECODE=1 {ROOT}/.venv/bin/python -m mgmt.cli.main"
        command.write_text(f'#!/bin/sh\nexec env {start} "$@"\n')
        command.chmod(0o755)

    def write(self, name: str, text: str) -> None:
        """Write a file of /etc/supernetflow."""
        (self.machine.root / "etc/supernetflow" / name).write_text(text)

    def configure(self) -> None:
        """Write the configuration of a first start."""
        self.write("startup.xml", f"<config>{self.startup}</config>")

    def start(self) -> None:
        """Start the unit and wait, as systemctl does, until it is ready."""
        done = subprocess.run(
            self.machine.words("systemctl", "start", UNIT), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr + self.said()

    def said(self) -> str:
        """Return its messages."""
        return self.machine.journal(UNIT)

    @property
    def state(self) -> str:
        """The state of the unit: active, inactive, failed."""
        return self.machine.shows(UNIT, "ActiveState")

    @property
    def main(self) -> int:
        """The main process, as the machine counts."""
        return int(self.machine.shows(UNIT, "MainPID"))

    def kill(self, name: str = "KILL") -> int:
        """Send the main process a signal, and return which it was."""
        main = self.main
        self.machine.run("kill", f"-{name}", str(main))
        return main

    def restarted(self, old: int, seconds: float = 60) -> int:
        """Wait until another process than *old* is ready, and return it."""
        wait_until(lambda: self.main not in (0, old) and self.state == "active", "it is started anew", seconds)
        return self.main

    def frames(self) -> int:
        """Return how many frames the port has counted, as a NETCONF client reads it."""
        with self.client() as client:
            data = client.state('<interfaces xmlns="urn:ietf:params:xml:ns:yang:ietf-interfaces"/>')
        return int(data.findtext(".//{*}capture//{*}packets") or -1)

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Open a NETCONF session of the operator, inside of the machine's network."""
        host_key = (self.machine.root / "var/lib/supernetflow/ssh_host_key.pub").read_text()
        with (
            inside(f"/proc/{self.machine.pid}/ns/net"),
            connect("127.0.0.1", 830, USER, self.keys / "key", host_key) as client,
        ):
            yield client
