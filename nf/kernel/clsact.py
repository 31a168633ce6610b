"""A program on what a device sends: the clsact qdisc of tc(8) and a filter of kind bpf in it, by rtnetlink.

The filter is the first one, so that none before it decides where packets go unseen; it lets the next ones decide. The
qdisc is made where there is none, and taken off by who made it once it is empty.
Layouts follow include/uapi/linux/{rtnetlink,pkt_sched,pkt_cls}.h.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from nf.errors import AttachRefused
from nf.kernel.programs import SENT
from nf.kernel.rtnetlink import attribute, attributes, dump, request

__all__ = ["Filter", "ours", "put_on", "take_off"]

_TC = struct.Struct("=BxxxiIII")  # struct tcmsg: family, ifindex, handle, parent, info
_NEW_QDISC, _DEL_QDISC, _GET_QDISC, _NEW_FILTER, _DEL_FILTER, _GET_FILTER = 36, 37, 38, 44, 45, 46  # RTM_*
_CREATE, _EXCLUSIVE, _REPLACE = 0x400, 0x200, 0x100  # NLM_F_*
_CLSACT, _CLSACT_HANDLE = 0xFFFFFFF1, 0xFFFF0000  # TC_H_CLSACT
_INGRESS, _EGRESS = 0xFFFFFFF2, 0xFFFFFFF3  # TC_H_MIN_INGRESS, _EGRESS under it
_KIND, _OPTIONS, _EGRESS_BLOCK = 1, 2, 14  # TCA_*
_BPF_FD, _BPF_NAME, _BPF_FLAGS, _BPF_ID = 6, 7, 8, 11  # TCA_BPF_*
_DIRECT = 1  # TCA_BPF_FLAG_ACT_DIRECT: what the program returns is the action
_FIRST, _HANDLE = 1, 1  # priority, and handle within it
_INFO = _FIRST << 16 | socket.htons(0x0003)  # of all protocols: ETH_P_ALL


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter on what a device sends."""

    priority: int
    handle: int
    kind: str
    name: str  # of kind bpf
    program: int  # number of its program


def _message(ifindex: int, handle: int, parent: int, info: int = 0) -> bytes:
    return _TC.pack(socket.AF_UNSPEC, ifindex, handle, parent, info)


def _text(value: bytes) -> str:
    return value.split(b"\0")[0].decode(errors="replace")


def _filters(ifindex: int, parent: int) -> list[Filter]:
    found = []
    for body in dump(_GET_FILTER, _message(ifindex, 0, parent)):
        _, _, handle, _, info = _TC.unpack_from(body)
        told = dict(attributes(body[_TC.size :]))
        options = dict(attributes(told.get(_OPTIONS, b"")))
        kind, name = (
            each.split(b"\0")[0].decode(errors="replace") for each in (told[_KIND], options.get(_BPF_NAME, b""))
        )
        number = int.from_bytes(options.get(_BPF_ID, b""), "little")
        if handle or kind != "bpf":  # a chain of kind bpf is told once as such, and its filters each
            found.append(Filter(info >> 16, handle, kind, name, number))
    return found


def _qdisc(ifindex: int) -> tuple[str, int]:
    """Return kind and shared block of what the device has at the place of clsact; "" and 0: nothing, none."""
    for body in dump(_GET_QDISC, _message(ifindex, 0, 0)):
        _, index, _, parent, _ = _TC.unpack_from(body)
        if index == ifindex and parent == _CLSACT:
            told = dict(attributes(body[_TC.size :]))
            return _text(told.get(_KIND, b"")), int.from_bytes(told.get(_EGRESS_BLOCK, b""), "little")
    return "", 0


def ours(ifindex: int) -> Filter | None:
    """Return the filter of this function, or of one that died, on what a device sends."""
    return next((each for each in _filters(ifindex, _EGRESS) if each.name.startswith(SENT)), None)


def put_on(ifindex: int, device: str, fd: int, name: str) -> bool:
    """Run the program *fd* on what a device sends, in the place of one of ours between two packets.

    Returns whether the qdisc was made for it. Raises AttachRefused when another one is in the way.
    """
    there = _filters(ifindex, _EGRESS)
    mine = next((each for each in there if each.name.startswith(SENT)), None)
    before = [each for each in there if each is not mine and each.priority <= _FIRST]
    if before:
        raise AttachRefused(
            f"Interface {device} has a filter of kind {before[0].kind} of its own before all others on what it sends.",
            f"Give it a priority above {_FIRST} (tc filter show dev {device} egress), or set directions received.",
        )
    there_is, block = _qdisc(ifindex)
    if there_is not in ("", "clsact"):  # the filter would be one on what is received
        raise AttachRefused(
            f"Interface {device} has the qdisc {there_is} in the place of clsact, which has no hook for what is sent.",
            f"Have its owner use clsact instead (tc qdisc show dev {device}), or set directions received.",
        )
    if block:
        raise AttachRefused(
            f"Interface {device} shares its filters on what it sends with other devices (block {block}).",
            f"Have their owner give it filters of its own (tc qdisc show dev {device}), or set directions received.",
        )
    made = not there_is
    if made and (why := request(_NEW_QDISC, _CREATE | _EXCLUSIVE, _clsact(ifindex))):
        raise AttachRefused(
            f"Interface {device} takes no clsact qdisc: {why}.",
            "Load the module sch_ingress, or set directions received.",
        )
    options = attribute(_BPF_FD, struct.pack("=I", fd)) + attribute(_BPF_NAME, name.encode() + b"\0")
    options += attribute(_BPF_FLAGS, struct.pack("=I", _DIRECT))
    body = _message(ifindex, _HANDLE, _EGRESS, _INFO) + attribute(_KIND, b"bpf\0") + attribute(_OPTIONS, options)
    why = request(_NEW_FILTER, _CREATE | (_REPLACE if mine else _EXCLUSIVE), body)
    if why:
        if made:
            request(_DEL_QDISC, 0, _clsact(ifindex))
        raise AttachRefused(
            f"Interface {device} takes no program on what it sends: {why}.",
            "Load the module cls_bpf, or set directions received.",
        )
    return made


def _clsact(ifindex: int) -> bytes:
    return _message(ifindex, _CLSACT_HANDLE, _CLSACT) + attribute(_KIND, b"clsact\0")


def take_off(ifindex: int, *, qdisc: bool) -> None:
    """Take our filter off; *qdisc*: the qdisc too, which was made for it, if others use it by now it stays."""
    mine = ours(ifindex)
    if mine is not None:
        info = mine.priority << 16 | socket.htons(0x0003)
        request(_DEL_FILTER, 0, _message(ifindex, mine.handle, _EGRESS, info) + attribute(_KIND, b"bpf\0"))
    if qdisc and not any(_filters(ifindex, parent) for parent in (_INGRESS, _EGRESS)):
        request(_DEL_QDISC, 0, _clsact(ifindex))
