"""What this kernel can do, found by doing it: small programs, a map, an attach on a device of our own."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping

from nf.kernel import source

__all__ = ["bcc_origin", "native_xdp", "program", "xdp_features"]

_PROGRAM = """
BPF_RINGBUF_OUTPUT(ring, 1);
BPF_TABLE("lru_hash", u64, u64, table, 16);
int probe(struct xdp_md *ctx) {
    u64 key = 0, *value = table.lookup(&key);
    u64 *record = ring.ringbuf_reserve(8);
    if (record) { *record = value ? *value : 0; ring.ringbuf_submit(record, 0); }
    return XDP_PASS;
}
"""


def bcc_origin() -> str:
    """Return where bcc comes from, "other" when the module of that name is another project's, "" when there is none."""
    try:
        import bcc
    except ImportError:
        return ""
    return os.path.dirname(bcc.__file__) if hasattr(bcc, "BPF") else "other"


def program() -> str:
    """Compile and load a program with a ring buffer through the header shim; return "" or what failed."""
    source.use_shim()
    from bcc import BPF

    with source.captured_stderr() as log:
        try:
            b = BPF(text=_PROGRAM)
        except Exception as error:
            return f"cannot be made: {source.last_line(log) or error}"
        try:
            b.load_func("probe", BPF.XDP)
        except Exception as error:
            return f"is refused: {source.last_line(log) or error}"
        finally:
            b.cleanup()
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
    try:
        source.use_shim()
        from bcc import BPF

        with source.captured_stderr() as log:
            b = BPF(text=_PROGRAM)
            try:
                BPF.attach_xdp(name, b.load_func("probe", BPF.XDP), 4)
                BPF.remove_xdp(name, 4)
            except Exception as error:
                return source.last_line(log) or str(error)
            finally:
                b.cleanup()
        return ""
    finally:
        _ip("link", "del", name)


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
