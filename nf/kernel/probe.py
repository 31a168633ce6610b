"""Abilities of this kernel, found by trial: it verifies our programs, and takes one on a device made for that."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping

import numpy as np

from nf.errors import SnfError
from nf.kernel import clsact, objects, xdp
from nf.kernel.programs import SENT, Programs
from nf.settings import Limits

__all__ = ["bcc_origin", "native_xdp", "programs", "sent", "xdp_features"]

_SMALL = Limits(flows=1024, sessions=256)
_PASS, _UNSPECIFIED = 2, -1  # XDP_PASS, TC_ACT_UNSPEC


def bcc_origin() -> str:
    """Return where bcc comes from, "other" when the module of that name is another project's, "" when there is none."""
    try:
        import bcc
    except ImportError:
        return ""
    return os.path.dirname(bcc.__file__) if hasattr(bcc, "BPF") else "other"


def programs() -> str:
    """Load the programs of the function with small tables, attach none; return "" or what failed."""
    try:
        tried = Programs(_SMALL, replay=False, alone=True)
    except SnfError as error:
        return error.what
    try:
        tried.verify()
    except SnfError as error:
        return error.what
    finally:
        tried.close()
    return ""


def _ip(*words: str) -> bool:
    try:
        return subprocess.run(["ip", *words], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def native_xdp() -> str:
    """Attach a program natively to a veth device made for it; return "" or what failed."""
    name, peer = f"snfp{os.getpid() % 100_000}a", f"snfp{os.getpid() % 100_000}b"
    if not _ip("link", "add", name, "type", "veth", "peer", "name", peer):
        return "no veth device can be made"
    code = np.zeros(2, objects.INSTRUCTION)
    code["code"], code["immediate"] = (0xB7, 0x95), (_PASS, 0)  # r0 = immediate, exit
    try:
        fd = objects.load_program("probe", code)
        try:
            return xdp.set_program(socket.if_nametoindex(name), fd, xdp.DRIVER)
        finally:
            os.close(fd)
    except objects.Refused as why:
        return str(why)
    finally:
        _ip("link", "del", name)


def sent() -> str:
    """Put a program on what a veth device made for it sends; return "" or what failed."""
    name, peer = f"snfp{os.getpid() % 100_000}c", f"snfp{os.getpid() % 100_000}d"
    if not _ip("link", "add", name, "type", "veth", "peer", "name", peer):
        return "no veth device can be made"
    code = np.zeros(2, objects.INSTRUCTION)
    code["code"], code["immediate"] = (0xB7, 0x95), (_UNSPECIFIED, 0)  # r0 = immediate, exit
    try:
        fd = objects.load_program("probe", code, kind=objects.SCHED_CLS)
        try:
            clsact.put_on(socket.if_nametoindex(name), name, fd, f"{SENT}probe")
        finally:
            os.close(fd)
    except objects.Refused as why:
        return str(why)
    except SnfError as why:
        return why.what.rstrip(".")
    finally:
        _ip("link", "del", name)
    return ""


# Generic netlink (linux/genetlink.h) and its family "netdev" (Documentation/netlink/specs/netdev.yaml, Linux 6.3).
_CONTROLLER, _GETFAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2
_DEV_GET, _DEV_IFINDEX, _DEV_XDP_FEATURES = 1, 1, 3
_REQUEST, _ERROR = 1, 2
_HEADER = struct.Struct("=IHHIIBBH")  # length, type, flags, sequence, port; command, version, reserved


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _ask(netlink: socket.socket, family: int, command: int, attribute: bytes) -> Mapping[int, bytes]:
    """Send a request and return the attributes of its answer; none when the kernel refuses."""
    netlink.send(_HEADER.pack(_HEADER.size + len(attribute), family, _REQUEST, 1, 0, command, 1, 0) + attribute)
    answer = netlink.recv(65_536)
    found: dict[int, bytes] = {}
    length, kind = _HEADER.unpack_from(answer)[:2] if len(answer) >= _HEADER.size else (0, _ERROR)
    at = _HEADER.size
    while kind != _ERROR and at + 4 <= length:
        size, attribute_kind = struct.unpack_from("=HH", answer, at)
        found[attribute_kind & 0x3FFF] = answer[at + 4 : at + size]
        at += max(4, (size + 3) & ~3)
    return found


def xdp_features() -> Mapping[str, int]:
    """Return NETDEV_XDP_ACT_* of each interface, what its driver does natively; empty before Linux 6.3."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _CONTROLLER) as netlink:
        netlink.settimeout(1)
        try:
            family = _ask(netlink, _CONTROLLER, _GETFAMILY, _attribute(_FAMILY_NAME, b"netdev\0")).get(_FAMILY_ID)
            if family is None:
                return {}
            answers = {
                name: _ask(
                    netlink,
                    int.from_bytes(family, sys.byteorder),
                    _DEV_GET,
                    _attribute(_DEV_IFINDEX, struct.pack("=I", i)),
                )
                for i, name in socket.if_nameindex()
            }
        except OSError:
            return {}
    return {
        name: int.from_bytes(answer[_DEV_XDP_FEATURES], sys.byteorder)
        for name, answer in answers.items()
        if _DEV_XDP_FEATURES in answer
    }
