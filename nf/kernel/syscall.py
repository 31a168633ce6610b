"""bpf(2) where bcc is too slow or has no name for it: batches of map entries, test runs.

Layouts follow ``union bpf_attr`` in include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.errors import Unsupported

__all__ = ["MapReader", "TestRun", "delete_batch", "prog_info_id", "prog_name", "read_map", "update_batch"]

_NUMBER = {"x86_64": 321, "aarch64": 280}  # of bpf(2): arch/x86/entry/syscalls, include/uapi/asm-generic/unistd.h
_PROG_TEST_RUN, _PROG_GET_FD_BY_ID, _OBJ_GET_INFO_BY_FD = 10, 13, 15
_MAP_LOOKUP_BATCH, _MAP_UPDATE_BATCH, _MAP_DELETE_BATCH = 24, 26, 27
_TEST_XDP_LIVE_FRAMES, _LIVE_BATCH = 2, 64  # BPF_F_TEST_XDP_LIVE_FRAMES; NAPI_POLL_WEIGHT, what a driver takes
_libc = ctypes.CDLL(None, use_errno=True)


class _TestAttr(ctypes.Structure):
    _fields_ = (
        ("prog_fd", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("data_in", ctypes.c_uint64),
        ("data_out", ctypes.c_uint64),
        ("repeat", ctypes.c_uint32),
        ("duration", ctypes.c_uint32),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_uint64),
        ("ctx_out", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
    )


class _BatchAttr(ctypes.Structure):
    _fields_ = (
        ("in_batch", ctypes.c_uint64),
        ("out_batch", ctypes.c_uint64),
        ("keys", ctypes.c_uint64),
        ("values", ctypes.c_uint64),
        ("count", ctypes.c_uint32),
        ("map_fd", ctypes.c_uint32),
        ("elem_flags", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    )


class _InfoAttr(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_uint32), ("length", ctypes.c_uint32), ("info", ctypes.c_uint64))


def _number() -> int:
    try:
        return _NUMBER[platform.machine()]
    except KeyError:
        raise Unsupported(f"The processor {platform.machine()} is not supported.", "Use x86_64 or arm64.") from None


def _bpf(command: int, attr: ctypes.Structure) -> int:
    return int(_libc.syscall(_number(), command, ctypes.byref(attr), ctypes.sizeof(attr)))


class TestRun:
    """BPF_PROG_TEST_RUN of one program on one frame after another."""

    __test__ = False  # not a test class for pytest

    def __init__(self, prog_fd: int, max_frame: int) -> None:
        self._buffer = ctypes.create_string_buffer(max_frame)
        self._attr = _TestAttr(prog_fd=prog_fd, data_in=ctypes.addressof(self._buffer), repeat=1)
        self._number = _number()
        self._ref, self._size = ctypes.byref(self._attr), ctypes.sizeof(self._attr)
        self._address = ctypes.addressof(self._buffer)

    def __call__(self, frame: bytes) -> int:
        """Run the program on *frame* (14 bytes to ``max_frame``); return its XDP action.

        Raises OSError when the kernel refuses the frame.
        """
        ctypes.memmove(self._address, frame, len(frame))
        self._attr.data_size_in, self._attr.data_size_out = len(frame), 0  # the kernel writes its size back
        if _libc.syscall(self._number, _PROG_TEST_RUN, self._ref, self._size) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return int(self._attr.retval)

    def repeat(self, frame: bytes, times: int, *, live: bool = False) -> int:
        """Run the program *times* times on *frame*; return the mean in whole nanoseconds, the kernel's loop included.

        *live*: as on an interface, with a frame of its own each time and batches of 64 (Linux 5.18).
        Raises OSError when the kernel refuses.
        """
        self._attr.repeat = times
        self._attr.flags, self._attr.batch_size = (_TEST_XDP_LIVE_FRAMES, _LIVE_BATCH) if live else (0, 0)
        try:
            self(frame)
        finally:
            self._attr.repeat, self._attr.flags, self._attr.batch_size = 1, 0, 0
        return int(self._attr.duration)


class MapReader:
    """Reads a hash map as a whole, again and again, into two pairs of arrays that take turns.

    What one call returned is overwritten by the call after the next one.
    """

    def __init__(self, fd: int, key: np.dtype[Any], value: np.dtype[Any], step: int = 65_536) -> None:
        self._fd, self._step = fd, step
        self._types = key, value
        self._buffers = [self._room(0), self._room(0)]

    def _room(self, entries: int) -> tuple[NDArray[Any], NDArray[Any]]:
        return np.empty(entries, self._types[0]), np.empty(entries, self._types[1])

    def _grow(self, entries: int) -> None:
        old = self._buffers[0]
        new = self._room(max(entries, 2 * len(old[0])))
        for to, was in zip(new, old, strict=True):
            to[: len(was)] = was
        self._buffers[0] = new

    def read(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return all (keys, values); entries that move meanwhile may be missed."""
        self._buffers.reverse()
        cursor = np.zeros(2, np.uint64)
        attr = _BatchAttr(map_fd=self._fd, out_batch=cursor.ctypes.data)
        done, step = 0, self._step
        while True:
            if len(self._buffers[0][0]) < done + step:
                self._grow(done + step)
            keys, values = self._buffers[0]
            attr.keys, attr.values, attr.count = keys[done:].ctypes.data, values[done:].ctypes.data, step
            failed = _bpf(_MAP_LOOKUP_BATCH, attr) < 0
            code = ctypes.get_errno() if failed else 0
            if code == errno.ENOSPC:  # one bucket holds more than a step
                step *= 2
                continue
            if code not in (0, errno.ENOENT):
                raise OSError(code, os.strerror(code))
            done += int(attr.count)
            if code == errno.ENOENT:
                return keys[:done], values[:done]
            attr.in_batch = cursor.ctypes.data


def read_map(
    fd: int, key: np.dtype[Any], value: np.dtype[Any], step: int = 65_536
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return all (keys, values) of a hash map once, *step* a call."""
    return MapReader(fd, key, value, step).read()


def update_batch(fd: int, keys: NDArray[Any], values: NDArray[Any]) -> int:
    """Write all entries; return how many were written (fewer when the map is full)."""
    keys, values = np.ascontiguousarray(keys), np.ascontiguousarray(values)
    if not len(keys):
        return 0
    attr = _BatchAttr(map_fd=fd, keys=keys.ctypes.data, values=values.ctypes.data, count=len(keys))
    if _bpf(_MAP_UPDATE_BATCH, attr) < 0 and ctypes.get_errno() not in (errno.E2BIG, errno.ENOMEM):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(attr.count)


def delete_batch(fd: int, keys: NDArray[np.void]) -> int:
    """Delete the entries that exist; return how many there were."""
    keys = np.ascontiguousarray(keys)
    done = 0
    while done < len(keys):
        rest = keys[done:]
        attr = _BatchAttr(map_fd=fd, keys=rest.ctypes.data, count=len(rest))
        if _bpf(_MAP_DELETE_BATCH, attr) >= 0:
            return done + int(attr.count)
        if ctypes.get_errno() != errno.ENOENT:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        done += int(attr.count) + 1  # the kernel stops at the first that is gone
    return done


class _IdAttr(ctypes.Structure):
    _fields_ = (("id", ctypes.c_uint32), ("next", ctypes.c_uint32), ("open_flags", ctypes.c_uint32))


def _prog_info(fd: int) -> bytes:
    info = ctypes.create_string_buffer(256)
    attr = _InfoAttr(fd=fd, length=len(info), info=ctypes.addressof(info))
    return info.raw if _bpf(_OBJ_GET_INFO_BY_FD, attr) >= 0 else bytes(len(info))


def prog_info_id(fd: int) -> int:
    """Return the number by which the kernel lists a program (``struct bpf_prog_info``, offset 4)."""
    return int.from_bytes(_prog_info(fd)[4:8], sys.byteorder)


def prog_name(program_id: int) -> str:
    """Return the name of a loaded program by its number (``struct bpf_prog_info``, offset 64); empty when gone."""
    fd = _bpf(_PROG_GET_FD_BY_ID, _IdAttr(id=program_id))
    if fd < 0:
        return ""
    try:
        return _prog_info(fd)[64:80].rstrip(b"\0").decode(errors="replace")
    finally:
        os.close(fd)
