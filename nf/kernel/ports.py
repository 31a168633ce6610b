"""The interfaces that carry a program: attaching, changing and leaving them, and the programs' entry of each.

A change of an interface's attributes, and a swap of the programs, never takes the program off: the kernel
replaces one program by another between two packets.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import IO, Any

from nf.abi import (
    COUNTERS,
    NEXT_ROLE,
    SNF_ANY,
    SNF_INLINE,
    SNF_LOCAL,
    SNF_MIRROR,
    SNF_MIXED,
    SNF_MONITOR_INNER,
    SNF_MONITOR_PORT,
    SNF_MONITOR_SEND,
    SNF_N3,
    SNF_N6,
)
from nf.errors import AttachRefused, SnfError
from nf.kernel import devices, links, objects, sent, tags, xdp
from nf.kernel.opens import bits
from nf.kernel.pairs import Pairs, restore_far_end
from nf.kernel.programs import Program, Programs
from nf.kernel.redirects import Redirects
from nf.kernel.rtnetlink import LinkState, is_meant
from nf.kernel.sent import load as on_sent
from nf.settings import Encapsulation, Interface, Mode, Monitor, Role, XdpMode

__all__ = ["PROGRAM", "Attached", "Ports", "load_role"]

log = logging.getLogger(__name__)

PROGRAM = {Role.N3: "snf_n3", Role.N6: "snf_n6", Role.MIXED: "snf_mixed", None: "snf_any"}
_ROLES = {Role.N3: SNF_N3, Role.N6: SNF_N6, Role.MIXED: SNF_MIXED, None: SNF_ANY}
_BARE = "snf_bare"  # the program of packets without Ethernet header
_MODES = {Mode.MIRROR: SNF_MIRROR, Mode.LOCAL: SNF_LOCAL, Mode.INLINE: SNF_INLINE}
_NO_PEER = 255  # no index of the device map: a redirect there passes the packet
_TRIES = {
    XdpMode.AUTO: (("native", xdp.DRIVER), ("generic", xdp.GENERIC)),
    XdpMode.NATIVE: (("native", xdp.DRIVER),),
    XdpMode.GENERIC: (("generic", xdp.GENERIC),),
}


@dataclass(slots=True)
class Attached:
    """An interface with a program on it."""

    interface: Interface
    link: links.Link
    xdp_mode: str  # native or generic
    program_id: int
    slot: int
    lock: IO[str]
    rx_vlan: bool = False  # the card takes VLAN tags off, and its driver does not let it be switched off
    heir_of: int = _NO_PEER  # partner's slot of the previous process, used until the partner is attached as well
    mtu_limit: int = 0  # above it frames do not fit what the program reads; 0: frames of several buffers are read
    proven: Attached | None = None  # the partner that was tried, if what is redirected to it arrives (pairs.py)
    moved: bool = False  # in generic mode because of its partner, for the reason in `why`
    why: str = ""
    moves: int = 0  # times that this happened
    partner_able: bool | None = None  # while moved: what the partner's driver says of native redirects
    refused: int = 0  # frames that the partner's driver had not taken when that was looked at
    redirects: bool = False  # to a partner or a monitor port
    taken_over: bool = False  # with its XDP mode
    sent_id: int = 0  # number of the program on what it sends, 0: that is not read

    @property
    def bare(self) -> bool:
        """Say whether its packets have no Ethernet header."""
        return _is_bare(self.interface, self.link)


class Ports:
    """The attached interfaces of one function, by configured name."""

    def __init__(self, programs: Programs, instance_number: Callable[[str], int]) -> None:
        self._programs, self._instance_number = programs, instance_number
        self.attached: dict[str, Attached] = {}
        self.kept: dict[str, tuple[int, int]] = {}  # slot and program of interfaces that were lost, by their names
        self._monitor: Monitor | None = None
        self.redirects = Redirects(programs)
        self._pairs = Pairs(self.attached, self.redirects, self._move, self._redirected)

    # -- attaching ---------------------------------------------------------

    def attach(self, interface: Interface) -> Attached:
        """Put the program of its role on an interface; raises AttachRefused and leaves it as it was.

        A program of a process that died is replaced without a gap; when its maps were taken over, the counters go on.
        So they do on an interface that was lost.
        """
        link = links.find(interface)
        links.refuse_unread(interface, link)
        links.refuse_twice(interface, link)
        links.refuse_unsafe(interface, link)
        lock = links.claim(link)
        kept = self.kept.get(interface.name)
        known = self._known(link) if kept is None else None
        try:
            slot = int(known["slot"]) if known else self._free_slot(link, kept[0] if kept else None)
            left = self.has_left(link, kept[1] if kept else 0)
            if left and known is None and kept is None:
                log.warning(
                    "%s: its program has tables of other sizes or of another version: counts begin anew", link.name
                )
            program = self._program(interface, link)
            if known is None:
                self._tell(interface, link, slot)
            sent_id = self._read_sent(interface, link, lock)
            rx_vlan = tags.leave(lock, link)
            xdp_mode = _put_on(interface, link, program.fd, left)
            if interface.mode is Mode.MIRROR:
                links.set_promiscuous(link, True)
        except Exception:
            if known is None:
                self._clear_port(link.ifindex)
                sent.end(lock, link)
            tags.restore(lock, link)
            links.release(lock)
            raise
        number = objects.program_info(program.fd).id
        limit = 0 if self._programs.frags else devices.mtu_limit()
        attached = Attached(interface, link, xdp_mode, number, slot, lock, rx_vlan, mtu_limit=limit, taken_over=left)
        attached.sent_id = sent_id
        if known and known["mode"] == _MODES[Mode.INLINE]:
            attached.heir_of = int(known["peer"])
        self.attached[interface.name] = attached
        self._pair()
        try:
            self._pairs.settle()
        except SnfError:
            self.detach(interface.name)
            raise
        self._programs.hold()
        self.kept.pop(interface.name, None)
        return attached

    def change(self, interface: Interface) -> bool:
        """Change role, mode, peer or instance of an attached interface in place, between two packets.

        Returns False when that takes another attach: another device, or another XDP mode.
        """
        attached = self.attached.get(interface.name)
        if attached is None or (attached.interface.mac, attached.interface.xdp) != (interface.mac, interface.xdp):
            return False
        old = attached.interface
        if old.mode is not Mode.MIRROR:
            links.refuse_unsafe(interface, attached.link)
        links.refuse_unread(interface, attached.link)
        links.refuse_twice(interface, attached.link)
        self._alter(attached, interface)
        try:
            self._pairs.settle()
        except SnfError:
            self._alter(attached, old)
            raise
        return True

    def _alter(self, attached: Attached, interface: Interface) -> None:
        old, program = attached.interface, self._program(interface, attached.link)
        attached.sent_id = self._read_sent(interface, attached.link, attached.lock)
        if self._program(old, attached.link) != program:
            self._replace(attached, program.fd)
        if old.mode is not interface.mode and Mode.MIRROR in (old.mode, interface.mode):
            links.set_promiscuous(attached.link, interface.mode is Mode.MIRROR)
        attached.interface = interface
        self._pair()

    def look(self) -> None:
        """Look after the inline pairs; to be called about once a second."""
        self._pairs.look()

    def _move(self, attached: Attached, mode: str) -> None:
        """Put the program of a port into another XDP mode; for a moment there is none, and packets go to the host."""
        ifindex, fd = attached.link.ifindex, self._program(attached.interface, attached.link).fd
        flags = {"native": xdp.DRIVER, "generic": xdp.GENERIC}
        xdp.set_program(ifindex, -1, flags[attached.xdp_mode])
        why = xdp.set_program(ifindex, fd, flags[mode])
        if why:
            if xdp.set_program(ifindex, fd, flags[attached.xdp_mode]):
                log.error("%s: its program could not be put back", attached.link.name)
            raise AttachRefused(
                f"Interface {attached.link.name} takes no XDP program ({mode}): {why}.", "Set xdp-mode."
            )
        attached.xdp_mode = mode

    def _redirected(self, slot: int) -> tuple[int, int]:
        """Return (frames redirected, frames lost of them) of a port."""
        names = [counter.name for counter in COUNTERS]
        n = self._programs.maps["stats"].get(slot)["n"].sum(axis=0)
        return int(n[names.index("redirected")]), int(n[names.index("redirect_lost")])

    def renew(self) -> None:
        """Replace the program on each interface by the loaded one of its role."""
        for attached in self.attached.values():
            self._replace(attached, self._program(attached.interface, attached.link).fd)
            attached.sent_id = self._read_sent(attached.interface, attached.link, attached.lock)
        self.redirects.renew()

    def _program(self, interface: Interface, link: links.Link) -> Program:
        program = load_role(self._programs, interface.role)
        return self._programs.load(_BARE) if _is_bare(interface, link) else program

    def _read_sent(self, interface: Interface, link: links.Link, lock: IO[str]) -> int:
        """Read what a port sends, or leave it; return the number of the program on it."""
        if interface.sent:
            program = load_role(self._programs, interface.role, sent=True)
            return sent.begin(lock, link, on_sent(self._programs, _BARE) if _is_bare(interface, link) else program)
        if sent.on_it(link):  # until now, or by a process that was killed
            sent.end(lock, link)
        return 0

    def _replace(self, attached: Attached, fd: int) -> None:
        why = xdp.set_program(attached.link.ifindex, fd, xdp.DRIVER if attached.xdp_mode == "native" else xdp.GENERIC)
        if why:
            raise AttachRefused(
                f"Interface {attached.link.name} kept its old program: {why}.", "Detach it and attach it again."
            )
        attached.program_id = objects.program_info(fd).id

    def detach(self, name: str) -> None:
        """Take the program off an interface."""
        self._take_off(self.attached.pop(name))

    def lose(self, name: str, here: str, *, ours: bool) -> None:
        """Give up an interface whose device is no longer the configured one; its counts are kept.

        *here* is the device's present name, "" when it is gone; *ours*: the program is still on it.
        """
        attached = self.attached.pop(name)
        self.kept[name] = attached.slot, attached.program_id
        attached.link = replace(attached.link, name=here)
        self._take_off(attached, ours=ours)

    def forget(self, name: str) -> None:
        """Forget the counts of an interface that was lost."""
        self.kept.pop(name, None)

    def _take_off(self, attached: Attached, *, ours: bool = True) -> None:
        link = attached.link
        self._pair()  # before its slot is free: nothing is sent to a port that is gone
        if ours:  # the device may be gone
            xdp.set_program(link.ifindex, -1, xdp.DRIVER if attached.xdp_mode == "native" else xdp.GENERIC)
        if attached.interface.mode is Mode.MIRROR and link.name:
            with contextlib.suppress(SnfError):
                links.set_promiscuous(link, False)
        self._clear_port(link.ifindex)
        if link.name:
            sent.end(attached.lock, link)
            restore_far_end(attached.lock, link)
            tags.restore(attached.lock, link)
        links.release(attached.lock)

    def check(self, seen: Mapping[int, LinkState]) -> dict[str, str]:
        """Lose the interfaces that are not as they were attached; return why, by name."""
        lost: dict[str, str] = {}
        for name, attached in list(self.attached.items()):
            link, now = attached.link, seen.get(attached.link.ifindex)
            if now is None:
                why, here, ours = f"the device {link.name} is gone", "", False
            elif not is_meant(attached.interface, now):
                why, here = f"the device {link.name} is called {now.name} now, with the address {now.mac}", now.name
                ours = attached.program_id in now.programs
            elif attached.program_id not in now.programs:
                why, here, ours = f"somebody took the program off {now.name}", now.name, False
            elif attached.sent_id and sent.on_it(link) != attached.sent_id:
                why, here, ours = f"somebody took the program off what {now.name} sends", now.name, True
            else:
                if now.name != link.name:
                    log.warning("%s: the device %s is called %s now", name, link.name, now.name)
                    attached.link = replace(link, name=now.name)
                continue
            self.lose(name, here, ours=ours)
            lost[name] = why
        return lost

    def check_monitor(self) -> None:
        """Send to the monitor port again when its device is back: the kernel forgets a device that goes."""
        if self._monitor is not None and not self._programs.maps["tx_ports"].get(SNF_MONITOR_PORT):
            with contextlib.suppress(SnfError):
                self.set_monitor(self._monitor)
                log.warning("the monitor port %s is back", self._monitor.interface)

    def slot(self, name: str) -> int:
        """Return the place of an interface among the counters."""
        return self.attached[name].slot if name in self.attached else self.kept[name][0]

    def left_behind(self) -> list[str]:
        """Return the devices of which the previous process told the programs."""
        known = set(self._programs.maps["ports"].read()[1]["ifindex"].tolist())
        return sorted(link.name for link in links.links() if link.ifindex in known)

    def release_left_behind(self) -> None:
        """Take the programs of the previous process off the interfaces that are not configured any more."""
        for attached in self.attached.values():
            attached.heir_of = _NO_PEER
        self._pair()
        mine = {a.link.ifindex for a in self.attached.values()}
        for link in links.links():
            left = link.xdp_program and link.ifindex not in mine and not links.claimed(link)
            if left and self._programs.shares_maps(link.xdp_program):
                self._leave(link)

    def set_monitor(self, monitor: Monitor | None) -> None:
        """Name the port that mirror ports copy to; it carries no program."""
        targets = self._programs.maps["tx_ports"]
        if monitor is None:
            self._monitor = None
            self._pair()
            self.redirects.set_monitor(0)
            targets.delete(SNF_MONITOR_PORT)
            return
        link = links.find(Interface(monitor.interface, Role.N6))
        if any(a.link.ifindex == link.ifindex for a in self.attached.values()):
            raise AttachRefused(f"Interface {link.name} is read already.", "Choose another one for the monitor port.")
        targets.put(SNF_MONITOR_PORT, link.ifindex)
        self._monitor = monitor
        self._pair()
        self.redirects.begin()
        self.redirects.set_monitor(link.ifindex)
        if error := self.redirects.native(SNF_MONITOR_PORT, link):
            log.warning(
                "%s: the monitor port takes no frames that a driver redirects (%s); they are counted in monitor_lost. "
                "On a veth, switch GRO on at its far end",
                *(link.name, os.strerror(error)),
            )

    def _leave(self, link: links.Link) -> None:
        """Restore an interface to its state before a process that died took it."""
        lock = links.claim(link)
        ports = self._programs.maps["ports"]
        entry = ports.get(link.ifindex % len(ports))
        xdp.set_program(link.ifindex, -1, xdp.GENERIC if link.xdp_generic else xdp.DRIVER)
        if entry["ifindex"] == link.ifindex and entry["mode"] == _MODES[Mode.MIRROR]:
            links.set_promiscuous(link, False)
        self._clear_port(link.ifindex)
        sent.end(lock, link)
        restore_far_end(lock, link)
        tags.restore(lock, link)
        links.release(lock)

    def has_left(self, link: links.Link, kept: int = 0) -> bool:
        """Say whether a program of ours is on the interface; raises AttachRefused when it is somebody else's."""
        if not link.xdp_program or link.xdp_program == kept:
            return bool(link.xdp_program)
        if not self._programs.is_left(link.xdp_program):
            kind = "xdpgeneric" if link.xdp_generic else "xdp"  # ip-link(8): "xdp off" leaves a generic one
            raise AttachRefused(
                f"Interface {link.name} already has the XDP program {link.xdp_program}.",
                f"Remove it with: ip link set dev {link.name} {kind} off"
                " (one that a killed snf run left, and whose names are gone, is taken over with CAP_SYS_ADMIN).",
            )
        return True

    # -- entries of ports for the programs ---------------------------------

    def _known(self, link: links.Link) -> Any:
        """Return the entry that the previous process made for this interface, if its maps were taken over."""
        table = self._programs.maps["ports"]
        entry = table.get(link.ifindex % len(table))
        return entry if self._programs.taken_over and entry["ifindex"] == link.ifindex else None

    def _free_slot(self, link: links.Link, kept: int | None) -> int:
        table, stats = self._programs.maps["ports"], self._programs.maps["stats"]
        entries = table.read()[1]
        taken = entries[entries["ifindex"] != 0]
        if (taken["ifindex"] % len(table) == link.ifindex % len(table)).any():
            raise AttachRefused(
                f"Interface {link.name} shares a slot of the port table with another one.",
                "Attach one of them in another network namespace.",
            )
        if kept is not None:
            return kept
        used = set(taken["slot"].tolist()) | {slot for slot, _ in self.kept.values()}
        for slot in range(len(stats)):
            if slot not in used:
                stats.put(slot, stats.zeros())
                return slot
        raise AttachRefused(f"No more than {len(stats)} interfaces can be attached.", "Detach one first.")

    def take_test_runs(self, ifindex: int, mode: Mode, opens: Encapsulation) -> None:
        """Count packets of test runs, which come from *ifindex*, as those of a port."""
        monitor = self._monitored(mode)
        self._put_port(ifindex, slot=0, mode=_MODES[mode], peer=_NO_PEER, monitor=monitor, opens=bits(opens))

    def _monitored(self, mode: Mode) -> int:
        if self._monitor is None or mode is not Mode.MIRROR:
            return 0
        return SNF_MONITOR_SEND | (SNF_MONITOR_INNER if self._monitor.decapsulate else 0)

    def _tell(self, interface: Interface, link: links.Link, slot: int, peer: int = _NO_PEER) -> None:
        """Tell the programs of a port."""
        self._put_port(
            link.ifindex,
            slot=slot,
            mode=_MODES[interface.mode],
            peer=peer,
            monitor=0 if _is_bare(interface, link) else self._monitored(interface.mode),
            instance=self._instance_number(interface.instance),
            role=_ROLES[interface.role],
            opens=bits(interface.opens),
        )

    def is_told(self, attached: Attached) -> bool:
        """Say whether the programs' table has a port with its place, mode and role."""
        ports, port = self._programs.maps["ports"], attached.interface
        entry = ports.get(attached.link.ifindex % len(ports))
        has = [int(entry[name]) for name in ("ifindex", "slot", "mode", "role")]
        return has == [attached.link.ifindex, attached.slot, _MODES[port.mode], _ROLES[port.role]]

    def _put_port(self, ifindex: int, **fields: int) -> None:
        ports = self._programs.maps["ports"]
        port = ports.zeros()
        port["ifindex"] = ifindex
        for name, value in fields.items():
            port[name] = value
        ports.put(ifindex % len(ports), port)

    def _clear_port(self, ifindex: int) -> None:
        ports, targets = self._programs.maps["ports"], self._programs.maps["tx_ports"]
        entry = ports.get(ifindex % len(ports))
        if entry["ifindex"] != ifindex:
            return
        targets.delete(int(entry["slot"]))
        ports.put(ifindex % len(ports), ports.zeros())

    def _pair(self) -> None:
        """Tell the programs of all ports, of inline ones with the way to their partner; without one packets pass."""
        targets = self._programs.maps["tx_ports"]
        for a in self.attached.values():
            partner = self.attached.get(a.interface.peer) if a.interface.mode is Mode.INLINE else None
            if partner is not None:
                targets.put(partner.slot, partner.link.ifindex)
            a.redirects = partner is not None or (self._monitor is not None and a.interface.mode is Mode.MIRROR)
            self._tell(a.interface, a.link, a.slot, partner.slot if partner else a.heir_of)


def load_role(programs: Programs, role: Role | None, *, sent: bool = False) -> Program:
    """Return the program of *role* (None: any), also as the tail of others, after they read through something.

    *sent*: the one on what a port sends.
    """
    tail = NEXT_ROLE + (_ROLES[role] & 3)  # read_on() of outer.h
    return on_sent(programs, PROGRAM[role], tail) if sent else programs.load(PROGRAM[role], tail=tail)


def _is_bare(interface: Interface, link: links.Link) -> bool:
    """Say whether packets have no Ethernet header, by the device or, for a copy of such a device, by the operator."""
    named = interface.encapsulation is not None and Encapsulation.RAW_IP in interface.encapsulation
    return link.bare or named


def _put_on(interface: Interface, link: links.Link, fd: int, left: bool) -> str:
    """Attach and return the mode; a program that a dead process *left* is replaced in its mode, if that is allowed."""
    tries = _TRIES[interface.xdp]
    if left:
        here = ("generic", xdp.GENERIC) if link.xdp_generic else ("native", xdp.DRIVER)
        if here in tries and not xdp.set_program(link.ifindex, fd, here[1]):
            return here[0]
        xdp.set_program(link.ifindex, -1, here[1])
    why = ""
    for mode, flag in tries:
        why = xdp.set_program(link.ifindex, fd, flag | xdp.NO_REPLACE)
        if not why:
            return mode
    raise AttachRefused(
        f"Interface {link.name} takes no XDP program ({interface.xdp.value}): {why}.",
        f"Lower its MTU to {devices.mtu_limit()} or less, or try xdp mode generic.",
    )
