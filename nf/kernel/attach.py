"""The face of a data plane that puts programs on interfaces, and knows which they are on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping

from nf.abi import SNF_DOWNLINK, SNF_MIXED, SNF_N3, SNF_N6, SNF_UPLINK
from nf.errors import AttachRefused
from nf.kernel import links, sent
from nf.kernel.addresses import address_bytes
from nf.kernel.ports import Attached
from nf.kernel.rtnetlink import LinkState
from nf.kernel.shared import Shared
from nf.settings import Interface, Limits, Mode, Monitor, Role

__all__ = ["EVERY_WAY", "Attach"]

EVERY_WAY = 0xFFFF_FFFF


def _ways(port: Attached | None, role: int) -> int:
    """Return the ways that a port of *role* sees, as bits of ``control.sees``; None: one that a dead process left.

    The ways are of subscribers whose addresses are not translated there.
    """
    up, down = 1 << SNF_UPLINK, 1 << SNF_DOWNLINK
    n3 = n6 = up | down
    if port is not None and not _sees_both(port):
        n3, n6 = up, up if port.link.bare else down
    of_n3, of_n6 = role in (SNF_N3, SNF_MIXED), role in (SNF_N6, SNF_MIXED)
    return of_n3 * n3 << 2 * (SNF_N3 - 1) | of_n6 * n6 << 2 * (SNF_N6 - 1)


def _sees_both(port: Attached) -> bool:
    """Say whether a port is sure to see uplink and downlink; in mode local it sees what it receives."""
    interface, link = port.interface, port.link
    return interface.sent or link.loopback or (interface.mode is not Mode.LOCAL and not link.bare)


class Attach(Shared):
    """The programs on interfaces that come and go; one change at a time."""

    def __init__(self, limits: Limits, *, replay: bool) -> None:
        super().__init__(limits, replay=replay)
        self._changing = threading.RLock()  # of the interfaces

    def prepare(self, interface: Interface, leaving: Collection[str]) -> links.Link:
        """Check that an interface could be attached once the *leaving* ones are not; raises AttachRefused."""
        link = links.find(interface)
        links.refuse_unread(interface, link)
        links.refuse_twice(interface, link)
        links.refuse_unsafe(interface, link)
        with self._changing:
            holder = next((name for name, port in self.attached.items() if port.link.ifindex == link.ifindex), None)
            if holder is None:
                links.refuse_claimed(link)
                if interface.name not in self.lost:
                    self._ports.has_left(link)
            elif holder not in leaving:
                raise AttachRefused(f"Interface {link.name} is read already, as {holder}.", "Choose another one.")
        return link

    def differs(self, name: str, programs: Collection[int]) -> str:
        """Compare an attached interface with what the kernel has; return what is not so, "" when all is.

        *programs* are the numbers of the programs on its device.
        """
        with self._changing:
            attached = self.attached[name]
            if attached.program_id not in programs:
                return f"the program of {name} is not on {attached.link.name}"
            if attached.sent_id != sent.on_it(attached.link):
                return f"what {attached.link.name} sends is not read as {name} is configured"
            return "" if self._ports.is_told(attached) else f"the programs have another entry for {name}"

    def attach(self, interface: Interface) -> Attached:
        """Put the program of its role on an interface; raises AttachRefused and leaves it as it was."""
        with self._changing:
            attached = self._ports.attach(interface)
            self._follow()
        return attached

    def change(self, interface: Interface) -> bool:
        """Change an attached interface in place; False when that takes another attach."""
        with self._changing:
            changed = self._ports.change(interface)
            self._follow()
        return changed

    def detach(self, name: str) -> None:
        """Take the program off an interface."""
        with self._changing:
            self._ports.detach(name)
            self._follow()

    def look(self) -> None:
        """Check that frames that inline pairs redirect arrive; to be called about once a second."""
        with self._changing:
            self._ports.look()

    @property
    def losses_seen(self) -> bool:
        """Say whether lost redirected frames are counted; once there is an inline pair or a monitor port."""
        return self._ports.redirects.watching

    def check(self, read: Callable[[], Mapping[int, LinkState]]) -> dict[str, str]:
        """Compare the attached interfaces with the links that *read* returns; return why some were lost, by name.

        The counts of a lost interface are kept until it is attached again, or `forget` is called.
        """
        with self._changing:
            lost = self._ports.check(read())
            if lost:
                self._follow()
            self._ports.check_monitor()
        return lost

    def forget(self, name: str) -> None:
        """Forget the counts of an interface that was lost."""
        with self._changing:
            self._ports.forget(name)

    def _follow(self) -> None:
        self.follow = Role.both_sides([attached.interface.role for attached in self.attached.values()])
        mine = {port.link.ifindex: port for port in self.attached.values()}
        told = self._maps["ports"].read()[1]
        seen = 0
        for entry in told[told["ifindex"] != 0]:
            seen |= _ways(mine.get(int(entry["ifindex"])), int(entry["role"]))
        self._control["sees"] = seen

    @property
    def follow(self) -> bool:
        """Say whether packets are timed on their way from N3 to N6 and back; so while both are attached."""
        return bool(self._control["follow"][0])

    @follow.setter
    def follow(self, on: bool) -> None:
        self._control["follow"] = on

    def set_monitor(self, monitor: Monitor | None) -> None:
        """Send packets of mirror ports to another port, as far as the policies let it; None: to no port.

        Raises AttachRefused when there is no such interface, or when it is one that is attached.
        """
        with self._changing:
            self._ports.set_monitor(monitor)

    def left_behind(self) -> list[str]:
        """Return the devices on which the previous process left programs, while none of them is attached anew."""
        return self._ports.left_behind() if self.taken_over else []

    def release_left_behind(self) -> None:
        """Take programs that the previous process left off the interfaces that are not attached by now."""
        if self.taken_over:
            with self._changing:
                self._ports.release_left_behind()
                self._follow()

    @property
    def lost(self) -> Collection[str]:
        """Configured names of the interfaces that were lost, and whose counts are kept."""
        return self._ports.kept.keys()

    @property
    def attached(self) -> Mapping[str, Attached]:
        """Interfaces with a program, by their configured name."""
        return self._ports.attached

    @property
    def host_addresses(self) -> frozenset[bytes]:
        """The addresses of the attached interfaces, 16 bytes each: of this host, and of no subscriber."""
        return frozenset(address_bytes(text) for port in self.attached.values() for text in port.link.addresses)

    def sees(self, *, translated: bool) -> tuple[bool, bool]:
        """Say whether the ports are sure to see uplink and downlink of a subscriber; *translated*: not on N6.

        A port in mode local sees what it receives, on a UPF's host: uplink on N3; on N6 downlink, where that is not
        translated. A TUN receives uplink, in any mode, and is before all translation. Where what is sent is read as
        well, a port sees both.
        """
        if self._replay or not self.attached:
            return True, True
        ports = list(self.attached.values())
        before = [p.link.bare or p.interface.role in (Role.N3, Role.MIXED) for p in ports]  # all translation
        whole = any(_sees_both(p) and (n or not translated) for p, n in zip(ports, before, strict=True))
        return whole or any(before), whole
