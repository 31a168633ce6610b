"""Programs and maps of the kernel by their numbers: loading, looking up, finding out what they are.

Layouts follow include/uapi/linux/bpf.h: ``union bpf_attr``, ``struct bpf_prog_info``, ``struct bpf_map_info``.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.kernel.syscall import bpf

__all__ = [
    "HAS_FRAGS",
    "INSTRUCTION",
    "RAW_TRACEPOINT",
    "RINGBUF",
    "SCHED_CLS",
    "XDP",
    "MapInfo",
    "ProgramInfo",
    "Refused",
    "Verified",
    "attach_tracepoint",
    "delete_element",
    "inner_map",
    "load_program",
    "make_map",
    "map_info",
    "open_map",
    "open_pin",
    "open_program",
    "pin",
    "program_info",
    "programs_in",
    "put_inner",
    "read_element",
    "verified",
    "write_element",
]

HAS_FRAGS = 1 << 5  # BPF_F_XDP_HAS_FRAGS, Linux 5.18
INSTRUCTION = np.dtype([("code", "u1"), ("registers", "u1"), ("offset", "<i2"), ("immediate", "<i4")])

RINGBUF = 27  # BPF_MAP_TYPE_RINGBUF

_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _PROG_LOAD, _OBJ_PIN, _OBJ_GET = 0, 1, 2, 3, 5, 6, 7
_PROG_GET_FD_BY_ID, _MAP_GET_FD_BY_ID, _GET_INFO_BY_FD = 13, 14, 15
_RAW_TRACEPOINT_OPEN = 17
SCHED_CLS, XDP, RAW_TRACEPOINT = 3, 6, 17  # BPF_PROG_TYPE_*
_LOG_STATS, _LOG_BYTES = 4, 1 << 16  # BPF_LOG_STATS: the reason and the statistics, without the trace
_STATISTICS = ("processed ", "verification time ", "stack depth ")
_PROCESSED = re.compile(r"processed (\d+) insns")
_TIME = re.compile(r"verification time (\d+) usec")


_LICENSE = ctypes.create_string_buffer(b"GPL")


class Refused(Exception):
    """The kernel did not take a program; the text is the last line of the verifier."""


class _LoadAttr(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_uint32),
        ("instructions", ctypes.c_uint32),
        ("code", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log", ctypes.c_uint64),
        ("kernel_version", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("name", ctypes.c_char * 16),
    )


class _TracepointAttr(ctypes.Structure):
    _fields_ = (("name", ctypes.c_uint64), ("program", ctypes.c_uint32), ("pad", ctypes.c_uint32))


class _IdAttr(ctypes.Structure):
    _fields_ = (("id", ctypes.c_uint32), ("next", ctypes.c_uint32), ("open_flags", ctypes.c_uint32))


class _PinAttr(ctypes.Structure):
    _fields_ = (("path", ctypes.c_uint64), ("fd", ctypes.c_uint32), ("flags", ctypes.c_uint32))


class _InfoAttr(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_uint32), ("length", ctypes.c_uint32), ("info", ctypes.c_uint64))


class _CreateAttr(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("inner_map_fd", ctypes.c_uint32),
        ("numa_node", ctypes.c_uint32),
        ("name", ctypes.c_char * 16),
    )


class _ElementAttr(ctypes.Structure):
    _fields_ = (
        ("fd", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
        ("key", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    )


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """A loaded program: its number, its name, the numbers of the maps that it uses."""

    id: int
    name: str
    maps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MapInfo:
    """A map: its number, its name (15 characters at most), and its shape."""

    id: int
    name: str
    kind: int  # enum bpf_map_type
    key_bytes: int
    value_bytes: int
    entries: int
    flags: int  # BPF_F_*

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The values that two maps must share so that one can stand for the other."""
        return self.kind, self.key_bytes, self.value_bytes, self.entries


@dataclass(frozen=True, slots=True)
class Verified:
    """The verifier's figures for a program that it took."""

    instructions: int  # processed, of 1,000,000 at most
    seconds: float


def load_program(name: str, code: NDArray[np.void], flags: int = 0, kind: int = XDP) -> int:
    """Load a program (rows of INSTRUCTION) and return its file descriptor; raises Refused with the reason."""
    code = np.ascontiguousarray(code)
    attr = _load_attr(name, code, flags, kind)
    fd = bpf(_PROG_LOAD, attr)
    if fd >= 0:
        return fd
    why = os.strerror(ctypes.get_errno())
    fd, said = _load_aloud(attr)  # once more, to be told why
    if fd >= 0:
        return fd
    words = [line for line in said.splitlines() if line.strip() and not line.startswith(_STATISTICS)]
    raise Refused(words[-1].strip() if words else why)


def verified(name: str, code: NDArray[np.void], flags: int = 0, kind: int = XDP) -> Verified:
    """Load a program, free it, and return the verifier's figures; raises Refused with the reason."""
    code = np.ascontiguousarray(code)
    fd, said = _load_aloud(_load_attr(name, code, flags, kind))
    os.close(fd if fd >= 0 else load_program(name, code, flags, kind))
    processed, time = _PROCESSED.search(said), _TIME.search(said)
    return Verified(int(processed[1]) if processed else 0, int(time[1]) / 1e6 if time else 0.0)


def _load_attr(name: str, code: NDArray[np.void], flags: int, kind: int) -> _LoadAttr:
    return _LoadAttr(
        kind=kind,
        instructions=len(code),
        code=code.ctypes.data,
        license=ctypes.addressof(_LICENSE),
        flags=flags,
        name=name.encode()[:15],
    )


def _load_aloud(attr: _LoadAttr) -> tuple[int, str]:
    """Load a program and return its descriptor, or -1, and the verifier's words."""
    log = ctypes.create_string_buffer(_LOG_BYTES)
    attr.log, attr.log_size, attr.log_level = ctypes.addressof(log), len(log), _LOG_STATS
    fd = bpf(_PROG_LOAD, attr)
    return fd, log.value.decode(errors="replace")


def attach_tracepoint(tracepoint: str, program: int) -> int:
    """Run a program of kind RAW_TRACEPOINT at a tracepoint until the descriptor that this returns is closed.

    Raises OSError when the kernel has no such tracepoint.
    """
    name = ctypes.create_string_buffer(tracepoint.encode())
    fd = bpf(_RAW_TRACEPOINT_OPEN, _TracepointAttr(name=ctypes.addressof(name), program=program))
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd


def _info(fd: int, info: ctypes.Array[ctypes.c_char]) -> bytes:
    attr = _InfoAttr(fd=fd, length=len(info), info=ctypes.addressof(info))
    return info.raw if bpf(_GET_INFO_BY_FD, attr) >= 0 else bytes(len(info))


def _word(info: bytes, offset: int) -> int:
    return int.from_bytes(info[offset : offset + 4], sys.byteorder)


def _name(info: bytes, offset: int) -> str:
    return info[offset : offset + 16].split(b"\0")[0].decode(errors="replace")


def program_info(fd: int) -> ProgramInfo:
    """Return what the kernel knows of a program; number 0 when it does not say."""
    count = _word(_info(fd, ctypes.create_string_buffer(256)), 52)
    ids = (ctypes.c_uint32 * max(count, 1))()
    info = ctypes.create_string_buffer(256)
    ctypes.memmove(ctypes.addressof(info) + 52, count.to_bytes(4, sys.byteorder), 4)
    ctypes.memmove(ctypes.addressof(info) + 56, ctypes.addressof(ids).to_bytes(8, sys.byteorder), 8)
    raw = _info(fd, info)
    return ProgramInfo(_word(raw, 4), _name(raw, 64), tuple(ids[: min(count, _word(raw, 52))]))


def map_info(fd: int) -> MapInfo:
    """Return what the kernel knows of a map."""
    raw = _info(fd, ctypes.create_string_buffer(256))
    kind, number, key, value, entries, flags = (_word(raw, offset) for offset in range(0, 24, 4))
    return MapInfo(number, _name(raw, 24), kind, key, value, entries, flags)


def open_program(number: int) -> int:
    """Return a file descriptor of the program with this number, -1 when it is gone."""
    return bpf(_PROG_GET_FD_BY_ID, _IdAttr(id=number))


def open_map(number: int) -> int:
    """Return a file descriptor of the map with this number, -1 when it is gone."""
    return bpf(_MAP_GET_FD_BY_ID, _IdAttr(id=number))


def programs_in(fd: int) -> Iterator[int]:
    """Yield the numbers of the programs in a program array."""
    for slot in range(map_info(fd).entries):
        number = int(read_element(fd, np.array([slot], np.uint32), np.dtype(np.uint32))[0])
        if number:
            yield number


def read_element(fd: int, key: NDArray[Any], value: np.dtype[Any]) -> NDArray[Any]:
    """Return the value of *key*, as an array of one; zeros when there is none."""
    found = np.zeros(1, value)
    bpf(_MAP_LOOKUP, _ElementAttr(fd=fd, key=key.ctypes.data, value=found.ctypes.data))
    return found


def write_element(fd: int, key: NDArray[Any], value: NDArray[Any]) -> None:
    """Write the value of *key*, arrays of one; raises OSError."""
    _check(bpf(_MAP_UPDATE, _ElementAttr(fd=fd, key=key.ctypes.data, value=value.ctypes.data)))


def delete_element(fd: int, key: NDArray[Any]) -> None:
    """Delete the entry of *key*, if it is there."""
    bpf(_MAP_DELETE, _ElementAttr(fd=fd, key=key.ctypes.data))


def make_map(name: str, kind: int, key: int, value: int, entries: int, flags: int = 0, inner: int = 0) -> int:
    """Make a map of these sizes in bytes and return its descriptor; *inner*: one like the maps of an array of maps.

    Raises OSError.
    """
    attr = _CreateAttr(kind=kind, key_size=key, value_size=value, max_entries=entries, flags=flags, inner_map_fd=inner)
    attr.name = name.encode()[:15]
    return _check(bpf(_MAP_CREATE, attr))


def pin(fd: int, path: Path) -> None:
    """Give a map or a program a name in the BPF file system; raises OSError."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    _check(bpf(_OBJ_PIN, _PinAttr(path=ctypes.addressof(name), fd=fd)))


def open_pin(path: Path) -> int:
    """Return a descriptor of what has this name in the BPF file system, -1 when there is nothing."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    return bpf(_OBJ_GET, _PinAttr(path=ctypes.addressof(name)))


def _check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def put_inner(outer: int, slot: int, inner: int) -> None:
    """Put a map into a slot of an array of maps; raises OSError."""
    write_element(outer, np.array([slot], np.uint32), np.array([inner], np.uint32))


def inner_map(outer: int, slot: int) -> int:
    """Return the number of the map in a slot of an array of maps, 0 where there is none."""
    return int(read_element(outer, np.array([slot], np.uint32), np.dtype(np.uint32))[0])
