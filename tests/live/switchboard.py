"""Devices of a namespace that go and come back, and a function that reads them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

from scapy.contrib.gtp import GTP_U_Header
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from lab.net import Net, inside
from mgmt.cli.run import state_of
from mgmt.netconf.state import InterfaceState
from nf.service import Service
from nf.settings import Export, Interface, Settings
from tests.live.conftest import wait_until

__all__ = ["FRAME", "MAC", "Switchboard", "switchboard"]

MAC = "02:00:00:00:03:03"
FAR = {"n3": "gnb", "n6": "dn", "n4": "smf"}
FRAME = bytes(
    Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    / IP(src="192.0.2.1", dst="192.0.2.2")
    / UDP(sport=2152, dport=2152)
    / GTP_U_Header(teid=1)
    / IP(src="10.45.0.1", dst="198.51.100.7")
    / UDP(sport=40000, dport=9999)
    / Raw(bytes(64))
)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Switchboard:
    """Pairs of devices, one end for the function and one for the traffic. Call its methods inside the namespace."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def plug(self, device: str, *, mac: str = "", as_: str = "", queues: int = 1) -> None:
        """Make a pair; with two *queues* at the far end the kernel takes no native program at the near one."""
        name, far = as_ or device, FAR[device]
        first = "unnamed" if queues > 1 else name  # a name that nobody waits for until the pair is ready
        address = ("address", mac) if mac else ()
        ip(
            *("link", "add", first, *address, "numrxqueues", "1", "type", "veth"),
            *("peer", "name", far, "numtxqueues", str(queues)),
        )
        subprocess.run(["ethtool", "-K", far, "gro", "on"], check=True, capture_output=True)  # takes redirects then
        if queues > 1:
            subprocess.run(["ethtool", "-L", far, "tx", str(queues)], check=True, capture_output=True)
            ip("link", "set", first, "name", name)
        for end in (name, far):
            ip("link", "set", end, "up")

    def unplug(self, device: str) -> None:
        """Delete a pair, if it is there."""
        subprocess.run(["ip", "link", "del", device], check=False, capture_output=True)

    def use(self, *interfaces: Interface) -> None:
        """Configure the function to read these interfaces and no others."""
        settings = Settings(interfaces=interfaces, export=Export(endpoint="ipc:///tmp/snf-switchboard.sock"))
        self.service.apply(self.service.settings, settings)

    def change(self, interface: Interface, **fields: object) -> None:
        self.use(*(replace(i, **fields) if i == interface else i for i in self.service.settings.interfaces))

    def state(self, name: str) -> InterfaceState:
        """Return what the function says of an interface now."""
        return state_of(self.service)["interfaces"][name]

    def until(self, name: str, oper_status: str, mode: str | None, seconds: float = 30) -> float:
        """Wait until an interface is in a state and attached in a mode; return how long it took."""
        begun = time.monotonic()

        def holds() -> bool:
            state = self.state(name)
            return (state["oper_status"], state.get("attached_mode")) == (oper_status, mode)

        wait_until(holds, f"{name} is {oper_status}, attached: {mode}", seconds)
        return time.monotonic() - begun

    def count_on(self, name: str, seconds: float = 30) -> int:
        """Wait until an interface counts frames; return how many there are."""
        before = self.state(name)["packets"]
        wait_until(lambda: self.state(name)["packets"] > before, f"{name} counts on", seconds)
        return self.state(name)["packets"]

    def arrives(self, device: str, frame: bytes, seconds: float = 30) -> None:
        """Wait until a frame comes out of a device."""
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as s:  # ETH_P_ALL
            s.bind((device, 3))
            s.settimeout(0.2)

            def come() -> bool:
                with contextlib.suppress(TimeoutError):
                    return s.recv(2048) == frame
                return False

            wait_until(come, f"a frame comes out of {device}", seconds)


@contextlib.contextmanager
def switchboard() -> Iterator[Switchboard]:
    """Make the namespace, be inside it, and have a function there."""
    with Net() as net:
        net.add("host")
        with inside(net.path("host")), Service() as service:
            yield Switchboard(service)
