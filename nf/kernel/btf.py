"""Offsets of members in structs of the running kernel, as its BTF says (Documentation/bpf/btf.rst).

The type section is searched as columns of 32 bits: a struct is (name, kind and count, size), then (name, type, offset)
for each member.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nf.errors import Unsupported

__all__ = ["offsets"]

VMLINUX = Path("/sys/kernel/btf/vmlinux")
_HEADER = struct.Struct("=HBBIIIII")  # magic, version, flags, header length; types: offset, length; names: the same
_MAGIC = 0xEB9F
_STRUCT = 4  # BTF_KIND_STRUCT
_KIND, _COUNT, _OFFSET = 0x1F00_0000, 0xFFFF, 0xFF_FFFF


def offsets(*members: tuple[str, str]) -> tuple[int, ...]:
    """Return the offset in bytes of each (struct, member).

    Raises Unsupported when the kernel has no BTF, or no such member.
    """
    try:
        raw = VMLINUX.read_bytes()
    except OSError as error:
        raise Unsupported(f"{VMLINUX}: {error.strerror}.", "Boot a kernel with CONFIG_DEBUG_INFO_BTF.") from None
    magic, _, _, header, types_at, types, names_at, names = _HEADER.unpack_from(raw)
    if magic != _MAGIC:
        raise Unsupported(f"{VMLINUX} is no BTF of this machine.", "Boot a kernel with CONFIG_DEBUG_INFO_BTF.")
    words = np.frombuffer(raw, np.uint32, types // 4, header + types_at)
    text = raw[header + names_at : header + names_at + names]
    return tuple(_offset(words, text, *member) for member in members)


def _offset(words: NDArray[np.uint32], text: bytes, name: str, member: str) -> int:
    wanted, inside = (text.find(b"\0" + word.encode() + b"\0") + 1 for word in (name, member))
    for at in np.flatnonzero((words[:-1] == wanted) & ((words[1:] & _KIND) == _STRUCT << 24)) if wanted else ():
        count = int(words[at + 1]) & _COUNT
        members = words[at + 3 : at + 3 + 3 * count].reshape(-1, 3)
        found = np.flatnonzero(members[:, 0] == inside)
        if inside and len(found):
            return (int(members[found[0], 2]) & _OFFSET) // 8
    raise Unsupported(f"The kernel's struct {name} has no member {member}.", "Tell the project which kernel it is.")
