"""Arrival of redirected frames: frames are sent to try a port, and tracepoints tell of those that are lost.

A verdict of XDP is given before the other port takes the frame. A veth whose far end has no queue for such frames, or
a card whose driver has no way to send them, loses them all; the programs of ``bpf/loss.h`` see that. If the kernel
does not let them (no BTF, no CAP_PERFMON), only its word about the driver is known, and `Redirects.blind` tells why.
"""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import numpy as np

from nf.errors import SnfError, Unsupported
from nf.kernel import btf, links, objects, probe, syscall
from nf.kernel.devices import TARGET
from nf.kernel.programs import Programs

__all__ = ["UNABLE", "Redirects", "watchable"]

log = logging.getLogger(__name__)

UNABLE = frozenset((errno.ENXIO, errno.EOPNOTSUPP))  # a driver that takes no redirected frames, or not now
_TRACEPOINTS = {
    "snf_sent": "xdp_devmap_xmit",
    "snf_refused": "xdp_redirect_err",
    "snf_stuck": "xdp_exception",
}
_MEMBERS = ("net_device", "ifindex"), ("net_device", "nd_net"), ("net", "ns"), ("ns_common", "inum")
_NOWHERE = 255  # no index of the device map: the frame goes on to the stack
# Bridges keep frames to this address to themselves (IEEE 802.1Q, table 8-1), and nobody listens to this EtherType
# (IEEE 802, 9.2.4: local experimental). 60 bytes are the least of a frame.
_TO_THE_NEXT_BRIDGE, _EXPERIMENTAL, _LEAST = bytes.fromhex("0180c200000e"), bytes.fromhex("88b5"), 60


def _frame(link: links.Link) -> bytes:
    source = bytes.fromhex(link.mac.replace(":", ""))[:6].ljust(6, b"\0")
    return (_TO_THE_NEXT_BRIDGE + source + _EXPERIMENTAL + b"snf: does this arrive?").ljust(_LEAST, b"\0")


def watchable() -> str:
    """Try a program at a tracepoint of XDP; return "" or the reason why losses cannot be seen here."""
    code = np.zeros(2, objects.INSTRUCTION)
    code["code"] = 0xB7, 0x95  # r0 = 0, exit
    try:
        btf.offsets(*_MEMBERS)
        fd = objects.load_program("watchable", code, kind=objects.RAW_TRACEPOINT)
        try:
            os.close(objects.attach_tracepoint("xdp_devmap_xmit", fd))
        finally:
            os.close(fd)
    except (SnfError, objects.Refused, OSError) as error:
        return str(error)
    return ""


class Redirects:
    """Losses of the redirected frames of one function. Costs nothing until `begin`."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._attached: dict[str, int] = {}  # descriptors that keep a program at its tracepoint
        self._begun = False
        self.blind = ""  # reason why losses are not seen

    # -- watching ----------------------------------------------------------

    def begin(self) -> None:
        """Watch from now on; if that cannot be, the log says so once."""
        if self._begun:
            return
        self._begun = True
        try:
            ifindex, net, ns, inum = btf.offsets(*_MEMBERS)
            number = Path("/proc/thread-self/ns/net").stat().st_ino
            self._write(ifindex_at=ifindex, net_at=net, netns_at=ns + inum, netns=number)
            self.renew()
        except (SnfError, OSError) as error:
            self.close()
            self.blind = str(error)
            log.warning("frames that are redirected and lost cannot be counted: %s", error)

    @property
    def watching(self) -> bool:
        """Say whether losses are counted."""
        return bool(self._attached)

    def renew(self) -> None:
        """Put the loaded programs at their tracepoints, in the place of those before."""
        if not self._begun or self.blind:
            return
        for name, tracepoint in _TRACEPOINTS.items():
            program = self._programs.load(name)
            if name in self._attached:
                os.close(self._attached.pop(name))
            self._attached[name] = objects.attach_tracepoint(tracepoint, program.fd)

    def _write(self, **fields: int) -> None:
        table = self._programs.maps["watch"]
        value = table.get(0)
        for name, number in fields.items():
            value[name] = number
        table.put(0, value)

    def set_monitor(self, ifindex: int) -> None:
        """Set the device of the monitor port; 0: none."""
        self._write(monitor=ifindex)

    def refused(self, slot: int) -> tuple[int, int]:
        """Return (frames, errno of the last one) of the port in *slot* that the driver of its partner did not take."""
        found = self._programs.maps["refusals"].get(slot)
        return int(found["frames"]), -int(found["error"])

    # -- trying ------------------------------------------------------------

    def native(self, index: int, link: links.Link) -> int:
        """Redirect one frame to *link*, which is at *index* of the device map.

        Returns 0 when its driver took the frame, or when there is no way to know; else the errno.
        """
        if not self.watching:
            return self._told(link)
        self._write(target=index, tried=link.ifindex, taken=0, dropped=0, error=0)
        try:
            syscall.LiveFrames(self._programs.load("snf_try").fd, _frame(link)).send(1)
        except (Unsupported, OSError):  # before Linux 5.18
            return self._told(link)
        finally:
            found = self._programs.maps["watch"].get(0)
            self._write(tried=0)
        if found["taken"] or (found["dropped"] and not found["error"]):  # a queue that is full is a queue
            return 0
        return -int(found["error"]) or errno.ENODEV

    def _told(self, link: links.Link) -> int:
        return errno.EOPNOTSUPP if self.able(link) is False else 0

    def able(self, link: links.Link) -> bool | None:
        """Say whether the driver of a device takes redirected frames by its own word; None before Linux 6.3."""
        features = probe.xdp_features().get(link.name)
        return None if features is None else bool(features & TARGET)

    def receive(self, link: links.Link) -> None:
        """Make a device receive one frame in the stack, where a program in generic mode reads it; raises OSError."""
        self._write(target=_NOWHERE)
        syscall.LiveFrames(self._programs.load("snf_try").fd, _frame(link), link.ifindex).send(1)

    def close(self) -> None:
        """Watch no longer."""
        for fd in self._attached.values():
            os.close(fd)
        self._attached = {}
