"""Abilities of a network device: its XDP features, its queues, its offloads.

The kernel tells them: ``SIOCETHTOOL`` (include/uapi/linux/ethtool.h) and the netlink family ``netdev`` (Linux 6.3).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nf.kernel import probe

__all__ = [
    "BASIC",
    "MULTI_BUFFER",
    "REDIRECT",
    "TARGET",
    "Device",
    "devices",
    "gro",
    "mtu_limit",
    "running",
    "rx_vlan",
    "set_gro",
    "set_rx_vlan",
]

BASIC, REDIRECT, TARGET, MULTI_BUFFER = 1, 2, 4, 32  # NETDEV_XDP_ACT_* of include/uapi/linux/netdev.h
_SIOCETHTOOL = 0x8946
_GET_FLAGS, _SET_FLAGS, _RX_VLAN = 0x25, 0x26, 1 << 8  # ETHTOOL_GFLAGS, ETHTOOL_SFLAGS, ETH_FLAG_RXVLAN
_GET_GRO, _SET_GRO = 0x2B, 0x2C  # ETHTOOL_GGRO, ETHTOOL_SGRO
_GET_LINK = 0x0A  # ETHTOOL_GLINK: up, and with a carrier
_HEAD_ROOM, _TAIL_ROOM = 256, 320  # XDP_PACKET_HEADROOM; skb_shared_info in cache lines of 64 bytes
_L2_BYTES = 14 + 2 * 4  # Ethernet and two VLAN tags


class _Request(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char * 16), ("data", ctypes.c_void_p), ("pad", ctypes.c_char * 16))  # struct ifreq


class _Value(ctypes.Structure):
    _fields_ = (("command", ctypes.c_uint32), ("data", ctypes.c_uint32))  # struct ethtool_value


@dataclass(frozen=True, slots=True)
class Device:
    """A device with a driver. ``features`` are NETDEV_XDP_ACT_* bits, None where the kernel does not say."""

    name: str
    driver: str
    features: int | None
    rx_queues: int
    mtu: int
    rx_vlan: bool  # the card takes VLAN tags off, where no program sees them


def mtu_limit() -> int:
    """Return the largest MTU whose frames fit one buffer, so that a program without multi-buffer reads them."""
    return mmap.PAGESIZE - _HEAD_ROOM - _TAIL_ROOM - _L2_BYTES


def _flags(device: str, command: int, flags: int = 0) -> int:
    value = _Value(command, flags)
    request = _Request(device.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, _SIOCETHTOOL, request)
    return int(value.data)


def rx_vlan(device: str) -> bool:
    """Say whether the card takes VLAN tags off before a program sees the frame."""
    try:
        return bool(_flags(device, _GET_FLAGS) & _RX_VLAN)
    except OSError:  # a device without ethtool does nothing of the kind
        return False


def set_rx_vlan(device: str, on: bool) -> bool:
    """Make the card take VLAN tags off, or leave them; return the state in force, which the driver may have fixed."""
    try:
        flags = _flags(device, _GET_FLAGS)
        if bool(flags & _RX_VLAN) is not on:
            _flags(device, _SET_FLAGS, flags | _RX_VLAN if on else flags & ~_RX_VLAN)
    except OSError:
        pass
    return rx_vlan(device)


def gro(device: str) -> bool:
    """Say whether the device joins received segments, for which a veth gets the queue that takes redirected frames."""
    try:
        return bool(_flags(device, _GET_GRO))
    except OSError:
        return False


def set_gro(device: str, on: bool) -> bool:
    """Make the device join received segments, or not; return the state in force."""
    with contextlib.suppress(OSError):
        _flags(device, _SET_GRO, int(on))
    return gro(device)


def running(device: str) -> bool:
    """Say whether the device is there, up, and has a carrier; a driver that does not tell is believed to have one."""
    try:
        return bool(_flags(device, _GET_LINK))
    except OSError as error:
        return error.errno != errno.ENODEV


def devices() -> Iterator[Device]:
    """Yield the devices of this host that a driver serves."""
    features = probe.xdp_features()
    for _, name in socket.if_nameindex():
        folder = Path(f"/sys/class/net/{name}")
        driver = folder / "device/driver"
        if driver.exists():
            yield Device(
                name,
                driver.resolve().name,
                features.get(name),
                len(list((folder / "queues").glob("rx-*"))),
                int((folder / "mtu").read_text()),
                rx_vlan(name),
            )
