"""The package in a machine: apt, the service, and what an operator reads of it."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.net import inside
from lab.operator import USER, key_pair
from lab.wait import wait_until
from mgmt.cli.netconf_client import Client, connect
from tests.machines.machine import Machine

__all__ = ["HOME", "PAIR", "UNIT", "Installed"]

UNIT = "supernetflow.service"
HOME = Path("usr/lib/supernetflow")
PAIR = ("n3a", "n3b")  # the ports of the function; their far ends are gnb and upf
_APT = ("env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", "-y")
_STATE = '<interfaces xmlns="urn:ietf:params:xml:ns:yang:ietf-interfaces"/>'


class Installed:
    """A machine with two ports of the function, and what is done with the package there."""

    def __init__(self, machine: Machine, keys: Path) -> None:
        self.machine, self._key = machine, keys / "key"
        public = key_pair(self._key)
        (machine.root / "srv/operator.pub").write_text(f"{public} {USER}\n")
        self.pairs(zip(PAIR, ("gnb", "upf"), strict=True))

    def pairs(self, names: Iterable[tuple[str, str]]) -> None:
        """Make ports and their far ends, which have no address; frames of 9,000 bytes pass, and native XDP delivers."""
        for name, far in names:
            self.machine.shell(f"""
                ip link add {name} mtu 9000 type veth peer name {far} mtu 9000
                for port in {name} {far}; do
                    sysctl -q -w net.ipv6.conf.$port.disable_ipv6=1
                    ip link set $port up
                done
                ethtool --features {far} gro on
            """)

    @property
    def network(self) -> Path:
        """The network namespace of the machine."""
        return Path(f"/proc/{self.machine.pid}/ns/net")

    def apt(self, *words: str) -> str:
        """Run apt-get, without a network; an AssertionError has the end of what it said."""
        done = subprocess.run(self.machine.words(*_APT, *words), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"apt-get {' '.join(words)}: {(done.stdout + done.stderr)[-1000:]}"
        return done.stdout + done.stderr

    def init(self) -> str:
        """Make the first configuration: an inline pair of N3."""
        return self.machine.run("snf", "init", "--inline-n3", ",".join(PAIR), "--user", f"{USER}=/srv/operator.pub")

    def kept(self) -> list[str]:
        """Return the hash of each file that belongs to the operator."""
        return self.machine.shell("cd /etc/supernetflow && find . -type f | sort | xargs sha256sum").splitlines()

    @property
    def state(self) -> str:
        """The state of the unit: active, inactive, failed."""
        return self.machine.shows(UNIT, "ActiveState")

    @property
    def main(self) -> int:
        """The main process of the service, as the machine counts; 0 without one."""
        return int(self.machine.shows(UNIT, "MainPID"))

    def ready(self) -> None:
        """Wait until the service is active."""
        wait_until(lambda: self.state == "active", "the service is active", last_words=self.said)

    def said(self) -> str:
        """Return the last messages of the service."""
        return self.machine.journal(UNIT, "--lines=30")

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Open a NETCONF session of the operator, inside of the machine's network."""
        host_key = (self.machine.root / "var/lib/supernetflow/ssh_host_key.pub").read_text()
        with inside(self.network), connect("127.0.0.1", 830, USER, self._key, host_key) as client:
            yield client

    def counters(self) -> Counter[str]:
        """Return the counters of the port of the gNB."""
        with self.client() as client:
            data = client.state(_STATE)
        port = next(each for each in data.iter("{*}interface") if each.findtext("{*}name") == PAIR[0])
        counters = port.iter("{*}counter")
        return Counter({each.findtext("{*}name"): int(each.findtext("{*}value")) for each in counters})

    def programs(self) -> dict[str, str]:
        """Return the tag of the program on each port: a hash of its instructions."""
        found = {}
        for name in PAIR:
            text = self.machine.run("ip", "-details", "link", "show", name)
            if shown := re.search(r"prog/xdp id (\d+) .*?tag ([0-9a-f]+)", text):
                found[name] = shown[2]
        return found
