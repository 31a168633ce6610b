"""Capabilities of this process: which the function needs, and the others taken away (capabilities(7)).

Capabilities are of a thread, so those that are not needed are taken away before there is a second one.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Mapping
from pathlib import Path

from nf.errors import SnfError
from nf.kernel import bpffs

__all__ = ["NEEDED", "begin", "effective", "forget_low_ports", "is_low", "missing", "require"]

# Numbers of include/uapi/linux/capability.h.
_NET_BIND_SERVICE, _SYS_ADMIN = 10, 21
NEEDED: Mapping[str, tuple[int, str]] = {
    "CAP_NET_ADMIN": (12, "to attach programs to interfaces"),
    "CAP_NET_RAW": (13, "to read mirrored signalling"),
    "CAP_PERFMON": (38, "to have programs that compare pointers verified"),
    "CAP_BPF": (39, "to load programs and make tables"),
}
_BIND = {"CAP_NET_BIND_SERVICE": (_NET_BIND_SERVICE, "to listen on a port below 1024")}
_OF_SYS_ADMIN = frozenset((38, 39))  # CAP_SYS_ADMIN includes CAP_PERFMON and CAP_BPF
_CAPABILITIES = 41  # CAP_LAST_CAP is 40

# include/uapi/linux/prctl.h
_PR_CAPBSET_DROP, _PR_CAP_AMBIENT = 24, 47
_AMBIENT_RAISE, _AMBIENT_CLEAR_ALL = 2, 4
_VERSION_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Words(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def effective() -> int:
    """Return the capabilities in force, a bit each."""
    return _of_thread("CapEff")


def _of_thread(which: str) -> int:
    found = re.search(rf"^{which}:\s*(\w+)", Path("/proc/thread-self/status").read_text(), re.MULTILINE)
    return int(found[1], 16) if found else 0


def _raise(bits: set[int]) -> None:
    """Put in force what the process may have of these: those of a file are permitted, and no more (capabilities(7))."""
    permitted, inheritable = _of_thread("CapPrm"), _of_thread("CapInh")
    wanted = effective() | (permitted & _mask(bits))
    if wanted != effective():
        _set(wanted, permitted, inheritable)


def is_low(port: int) -> bool:
    """Say whether the kernel lets only some listen on *port*."""
    try:
        return 0 < port < int(_UNPRIVILEGED.read_text())
    except (OSError, ValueError):
        return 0 < port < 1024


def missing(port: int = 0) -> list[str]:
    """Return the capabilities that the function needs, with NETCONF on *port*, and this process has not."""
    have = effective()
    wanted = {**NEEDED, **(_BIND if is_low(port) else {})}
    if have >> _SYS_ADMIN & 1:
        wanted = {name: (bit, why) for name, (bit, why) in wanted.items() if bit not in _OF_SYS_ADMIN}
    return [name for name, (bit, _) in wanted.items() if not have >> bit & 1]


def require(port: int) -> None:
    """Raise SnfError that names what the function needs, with NETCONF on *port*, and this process has not."""
    _raise({bit for bit, _ in (*NEEDED.values(), *_BIND.values())})
    if lacks := missing(port):
        reasons = " and ".join(f"{name} ({({**NEEDED, **_BIND})[name][1]})" for name in lacks)
        raise SnfError(
            f"The function may not start without {reasons}.",
            f"Run it as root, or grant {'it' if len(lacks) == 1 else 'them'}: "
            f"AmbientCapabilities= of its unit, or setpriv --inh-caps --ambient-caps.",
        )


def begin(port: int) -> None:
    """Keep what the function needs, with NETCONF on *port*, for this process and those that it starts, and no more.

    Raises SnfError that names what is missing. Call it before there are threads.
    """
    require(port)
    bpffs.sweep()  # which takes a look at all processes
    have, wanted = effective(), {bit for bit, _ in NEEDED.values()} | {_NET_BIND_SERVICE}
    kept = {bit for bit in wanted if have >> bit & 1}
    if have >> _SYS_ADMIN & 1 and (not kept >= _OF_SYS_ADMIN or bpffs.home() is None):
        kept.add(_SYS_ADMIN)  # in their place, or to find by number what no name leads to
    _keep(kept)


def forget_low_ports() -> None:
    """Take CAP_NET_BIND_SERVICE away, once the port of NETCONF is bound."""
    have = effective()
    _keep({bit for bit in range(_CAPABILITIES) if have >> bit & 1 and bit != _NET_BIND_SERVICE})


def _keep(bits: set[int]) -> None:
    """Have these capabilities and no other; processes that are started from here have them too, but for low ports."""
    heirs = bits - {_NET_BIND_SERVICE}
    for bit in set(range(_CAPABILITIES)) - heirs:
        _libc.prctl(_PR_CAPBSET_DROP, bit, 0, 0, 0)  # that takes CAP_SETPCAP; without it nothing could be gained either
    _libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)
    held, inherited = _mask(bits), _mask(heirs)
    if why := _set(held, held, inherited):
        raise SnfError(f"Capabilities that are not needed cannot be taken away: {why}.")
    for bit in heirs:  # `ip` is started now and then
        _libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, bit, 0, 0)


def _set(*sets: int) -> str:
    """Set the effective, permitted and inheritable capabilities of this thread; return why not, "" when it is done."""
    words = (_Words * 2)(*(_Words(*(mask >> at & 0xFFFF_FFFF for mask in sets)) for at in (0, 32)))
    if _libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), words) != 0:
        return os.strerror(ctypes.get_errno())
    return ""


def _mask(bits: set[int]) -> int:
    return sum(1 << bit for bit in bits)
