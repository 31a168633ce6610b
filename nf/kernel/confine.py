"""System calls that the function never makes are refused to it, and to what it starts (seccomp(2)), once it runs.

It is a list of what is denied. The calls that are made come from the C library, Python, numpy, ZeroMQ, the SSH library
and `ip`, each of which takes others with its next version, so a list of what is allowed would end a running function
after an update of the system. Denied is what changes the host, looks into other processes, leaves the namespaces, or is
known for holes in the kernel: the groups @clock, @cpu-emulation, @debug, @keyring, @module, @mount, @obsolete, @raw-io,
@reboot and @swap of systemd.exec(5), without perf_event_open, by which lost frames are counted, and with
namespaces, userfaultfd and io_uring.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import logging
from typing import Any

from nf.errors import SnfError

__all__ = ["DENIED", "available", "confine"]

log = logging.getLogger(__name__)

_PR_SET_NO_NEW_PRIVS = 38  # include/uapi/linux/prctl.h

DENIED = (
    *("adjtimex", "clock_adjtime", "clock_settime", "settimeofday"),
    *("modify_ldt", "vm86", "vm86old", "subpage_prot"),
    *("kcmp", "lookup_dcookie", "pidfd_getfd", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise"),
    *("add_key", "keyctl", "request_key"),
    *("delete_module", "finit_module", "init_module"),
    *("chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount", "open_tree"),
    *("pivot_root", "umount", "umount2"),
    *("_sysctl", "create_module", "get_kernel_syms", "nfsservctl", "query_module", "sysfs", "uselib", "ustat"),
    *("ioperm", "iopl", "pciconfig_read", "pciconfig_write"),
    *("kexec_file_load", "kexec_load", "reboot", "swapoff", "swapon"),
    *("setns", "unshare", "userfaultfd", "io_uring_enter", "io_uring_register", "io_uring_setup"),
    *("acct", "name_to_handle_at", "open_by_handle_at", "personality", "quotactl", "quotactl_fd", "sethostname"),
    *("setdomainname", "syslog", "vhangup"),
)
"""Names of libseccomp; one that an architecture does not have is left out."""


def available() -> str:
    """Return "" where there is a filter to load, else what is missing."""
    try:
        importlib.import_module("seccomp")
    except ImportError:
        return "the package python3-seccomp is not installed"
    return ""


def confine() -> None:
    """Refuse `DENIED` to all threads with EPERM, and new privileges to programs that are started, for good.

    Without libseccomp's module a warning is logged. Raises SnfError when the kernel takes no filter.
    """
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if lacks := available():
        log.warning("system calls are not filtered: %s", lacks)
        return
    seccomp: Any = importlib.import_module("seccomp")
    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    for name in DENIED:
        if seccomp.resolve_syscall(seccomp.Arch(), name) >= 0:
            rules.add_rule(seccomp.ERRNO(errno.EPERM), name)
    try:
        rules.set_attr(seccomp.Attr.CTL_TSYNC, 1)  # of all threads
        rules.load()
    except (OSError, RuntimeError) as error:
        raise SnfError(f"The kernel takes no filter of system calls: {error}.") from None
