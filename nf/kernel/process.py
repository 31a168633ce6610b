"""What the kernel may do with the memory of this process."""

from __future__ import annotations

import ctypes
import resource

__all__ = ["no_core_dumps"]

_PR_SET_DUMPABLE = 4  # include/uapi/linux/prctl.h


def no_core_dumps() -> None:
    """Let no core dump be written, and no other user's debugger in: the memory holds IMSIs and the key."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
