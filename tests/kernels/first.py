#!/usr/bin/python3 -B
"""The first process of a machine: file systems, drivers, and then `tests.kernels.inside`; the machine ends with it."""

import ctypes
import os
import sys
import time
import traceback

LIBC = ctypes.CDLL(None, use_errno=True)
INIT_MODULE = 175  # of arch/x86/entry/syscalls/syscall_64.tbl
POWER_OFF = 0x4321FEDC  # LINUX_REBOOT_CMD_POWER_OFF of include/uapi/linux/reboot.h
MOUNTS = (
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
    ("bpf", "/sys/fs/bpf"),
)


def begin() -> None:
    """Make the machine one in which programs run."""
    for kind, place in MOUNTS:
        os.makedirs(place, exist_ok=True)
        if LIBC.mount(kind.encode(), place.encode(), kind.encode(), 0, None):
            raise OSError(ctypes.get_errno(), f"{kind} cannot be mounted")
    for name in sorted(os.listdir("/drivers")):
        with open(f"/drivers/{name}", "rb") as file:
            code = file.read()
        if LIBC.syscall(INIT_MODULE, code, ctypes.c_ulong(len(code)), b""):
            raise OSError(ctypes.get_errno(), f"the driver {name} does not load")


try:
    begin()
    os.environ.update(PATH="/usr/sbin:/usr/bin", SNF_CACHE="/srv/cache", HOME="/root", LANG="C.UTF-8")
    sys.path.insert(0, "/srv/snf")
    os.chdir("/srv/snf")
    from tests.kernels import inside

    with open("/dev/ttyS1", "w", encoding="utf-8", buffering=1) as told:
        inside.run(told, dict(word.split("=") for word in sys.argv[1:] if "=" in word))
except BaseException:  # the console gets the last words
    traceback.print_exc()
    sys.stderr.flush()
    time.sleep(0.2)  # until the serial port has them; nothing waits for this
LIBC.sync()
LIBC.reboot(ctypes.c_int(POWER_OFF))
