"""Protection of this process's memory by the kernel."""

from __future__ import annotations

import ctypes
import resource

__all__ = ["no_core_dumps"]

_PR_SET_DUMPABLE = 4  # include/uapi/linux/prctl.h


def no_core_dumps() -> None:
    """Forbid core dumps and debuggers of other users: the memory holds IMSIs and the key."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
