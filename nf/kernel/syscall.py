"""bpf(2) where bcc is too slow or has no name for it: batches of map entries, test runs.

Layouts follow ``union bpf_attr`` in include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.errors import Unsupported
from nf.kernel.rows import opaque

__all__ = ["LiveFrames", "TestRun", "bpf", "delete_batch", "read_map", "update_batch"]

_NUMBER = {"x86_64": 321, "aarch64": 280}  # of bpf(2): arch/x86/entry/syscalls, include/uapi/asm-generic/unistd.h
_PROG_TEST_RUN = 10
_LIVE_FRAMES = 1 << 1  # BPF_F_TEST_XDP_LIVE_FRAMES
_MAP_LOOKUP_BATCH, _MAP_UPDATE_BATCH, _MAP_DELETE_BATCH = 24, 26, 27
_RUN_CONTEXT = struct.Struct("=6I")  # struct xdp_md; the fourth is the interface that the frame came from
_LIVE_BATCH = 64  # NAPI_POLL_WEIGHT, what a driver takes
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


def _number() -> int:
    try:
        return _NUMBER[platform.machine()]
    except KeyError:
        raise Unsupported(f"The processor {platform.machine()} is not supported.", "Use x86_64 or arm64.") from None


def bpf(command: int, attr: ctypes.Structure) -> int:
    """Call bpf(2); return a descriptor or 0, and -1 with errno set."""
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
        self._attr.flags, self._attr.batch_size = (_LIVE_FRAMES, _LIVE_BATCH) if live else (0, 0)
        try:
            self(frame)
        finally:
            self._attr.repeat, self._attr.flags, self._attr.batch_size = 1, 0, 0
        return int(self._attr.duration)

    def output(self, frame: bytes) -> tuple[int, bytes]:
        """Run the program on *frame*; return its XDP action and the frame as the program left it."""
        out = ctypes.create_string_buffer(len(self._buffer))
        self._attr.data_out = ctypes.addressof(out)
        ctypes.memmove(self._address, frame, len(frame))
        self._attr.data_size_in, self._attr.data_size_out = len(frame), len(out)
        failed = bpf(_PROG_TEST_RUN, self._attr) < 0
        self._attr.data_out = 0
        if failed:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return int(self._attr.retval), out.raw[: self._attr.data_size_out]


class LiveFrames:
    """A source of frames: a program that redirects what it is given is run on real frames, 64 a time (Linux 5.18).

    What is redirected goes through drivers and receiving programs as if it had come by a wire.
    """

    def __init__(self, prog_fd: int, frame: bytes, ifindex: int = 0) -> None:
        """Prepare *frame*. *ifindex*: the interface that the frames are said to come from; 0: loopback."""
        self._frame = ctypes.create_string_buffer(frame, len(frame))
        context = _RUN_CONTEXT.pack(0, len(frame), 0, ifindex, 0, 0)
        self._context = ctypes.create_string_buffer(context, len(context))
        self._attr = _TestAttr(
            prog_fd=prog_fd,
            data_in=ctypes.addressof(self._frame),
            data_size_in=len(frame),
            ctx_in=ctypes.addressof(self._context),
            ctx_size_in=len(context),
            flags=_LIVE_FRAMES,
            batch_size=_LIVE_BATCH,
        )

    def send(self, count: int) -> int:
        """Run the program on *count* frames in this thread's network namespace; returns nanoseconds a frame."""
        self._attr.repeat = count
        if bpf(_PROG_TEST_RUN, self._attr) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return int(self._attr.duration)


def read_map(
    fd: int, key: np.dtype[Any], value: np.dtype[Any], step: int = 65_536
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return all (keys, values) of a hash map, *step* a call; entries that move meanwhile may be missed."""
    keys, values = np.empty(step, key), np.empty(step, value)
    cursor = np.zeros(16 + key.itemsize, np.uint8)  # a bucket's number, or of some maps the last key
    attr = _BatchAttr(map_fd=fd, out_batch=cursor.ctypes.data)
    done = 0
    while True:
        if len(keys) < done + step:
            keys, values = (_with_room(part, max(2 * len(keys), done + step)) for part in (keys, values))
        attr.keys, attr.values, attr.count = keys[done:].ctypes.data, values[done:].ctypes.data, step
        failed = bpf(_MAP_LOOKUP_BATCH, attr) < 0
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


def _with_room(rows: NDArray[Any], entries: int) -> NDArray[Any]:
    """Return a copy of rows with room for so many."""
    grown = np.empty(entries, rows.dtype)
    opaque(grown)[: len(rows)] = opaque(rows)
    return grown


def update_batch(fd: int, keys: NDArray[Any], values: NDArray[Any]) -> int:
    """Write all entries; return how many were written (fewer when the map is full)."""
    keys, values = np.ascontiguousarray(keys), np.ascontiguousarray(values)
    if not len(keys):
        return 0
    attr = _BatchAttr(map_fd=fd, keys=keys.ctypes.data, values=values.ctypes.data, count=len(keys))
    if bpf(_MAP_UPDATE_BATCH, attr) < 0 and ctypes.get_errno() not in (errno.E2BIG, errno.ENOMEM):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(attr.count)


def clear(fd: int, key: np.dtype[Any], value: np.dtype[Any]) -> None:
    """Delete all entries of a hash map."""
    delete_batch(fd, read_map(fd, key, value, 16_384)[0])


def delete_batch(fd: int, keys: NDArray[Any]) -> int:
    """Delete the entries that exist; return how many there were."""
    keys = np.ascontiguousarray(keys)
    done = 0
    while done < len(keys):
        rest = keys[done:]
        attr = _BatchAttr(map_fd=fd, keys=rest.ctypes.data, count=len(rest))
        if bpf(_MAP_DELETE_BATCH, attr) >= 0:
            return done + int(attr.count)
        if ctypes.get_errno() != errno.ENOENT:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        done += int(attr.count) + 1  # the kernel stops at the first that is gone
    return done
