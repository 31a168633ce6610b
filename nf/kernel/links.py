"""Interfaces of this network namespace: finding and claiming them.

`ip -json` is asked instead of /sys, because /sys shows the namespace it was mounted in.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from nf.errors import AttachRefused
from nf.settings import Interface, Mode

__all__ = [
    "Link",
    "NotThere",
    "claim",
    "claimed",
    "far_end",
    "find",
    "lock_beside",
    "locks",
    "noted",
    "refuse_claimed",
    "refuse_twice",
    "refuse_unread",
    "refuse_unsafe",
    "release",
    "remember",
    "remembers",
    "sent_packets",
    "set_promiscuous",
]

_RUN = Path("/run/supernetflow")
_beside: list[Path] = []  # where locks are when the user of this process may not write there
_PROMISC = "promisc"  # noted in the lock: the interface took its own frames only before it was ours
_BARE = frozenset(("none", "rawip", "[519]", "ppp"))  # ARPHRD_NONE, _RAWIP, _PPP of include/uapi/linux/if_arp.h
_ETHERNET = frozenset(("ether", "loopback"))
_ATTACHED_SKB = 2  # XDP_ATTACHED_SKB of include/uapi/linux/if_link.h


class NotThere(AttachRefused):
    """No device has the name or the address of a configured interface; one may come."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy, passing=True)


@dataclass(frozen=True, slots=True)
class Link:
    """One network device."""

    name: str
    ifindex: int
    mac: str
    up: bool
    addresses: tuple[str, ...]  # global ones; link-local IPv6 comes by itself
    xdp_program: int  # 0: none attached
    xdp_generic: bool = False  # it runs in the stack
    kind: str = "ether"  # of its link layer, in the words of iproute2
    promiscuous: bool = False  # because somebody said so; a packet socket's wish does not count

    @property
    def bare(self) -> bool:
        """Say whether its packets have no Ethernet header: TUN (ogstun of Open5GS), raw IP, PPP."""
        return self.kind in _BARE

    @property
    def loopback(self) -> bool:
        """Say whether it receives all that it sends."""
        return self.kind == "loopback"

    @property
    def ethernet(self) -> bool:
        """Say whether its frames begin with an Ethernet header."""
        return self.kind in _ETHERNET


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AttachRefused(
            f"`ip {' '.join(words)}` failed: {done.stderr.strip()}.", "Install iproute2 and run as root."
        )
    return done.stdout


def links() -> list[Link]:
    """Return all devices of this network namespace."""
    found = []
    for d in json.loads(_ip("-json", "-details", "address", "show")):
        addresses = tuple(a["local"] for a in d.get("addr_info", ()) if a.get("scope") != "link")
        xdp, flags = d.get("xdp", {}), d.get("flags", ())
        program, generic = xdp.get("prog", {}).get("id", 0), xdp.get("mode") == _ATTACHED_SKB
        said = d["ifname"], d["ifindex"], d.get("address", ""), "UP" in flags, addresses, program, generic
        found.append(Link(*said, d.get("link_type", "ether"), "PROMISC" in flags))
    return found


def find(interface: Interface) -> Link:
    """Return the device that a configured interface means, by name or MAC address."""
    for link in links():
        if link.mac.lower() == interface.mac.lower() if interface.mac else link.name == interface.name:
            return link
    what = f"MAC address {interface.mac}" if interface.mac else f"name {interface.name}"
    raise NotThere(f"No interface has the {what}.", "List them with: ip -brief link")


def refuse_unread(interface: Interface, link: Link) -> None:
    """Refuse a device whose frames are not read, or not in the mode that is asked for."""
    if not link.bare and not link.ethernet:
        raise AttachRefused(
            f"Interface {link.name} is of the link type {link.kind}, whose frames are not read.",
            "Take the Ethernet device below it, or set encapsulation for what comes there.",
        )
    if link.bare and interface.mode is Mode.INLINE:
        raise AttachRefused(
            f"Interface {link.name} has no Ethernet header, so nothing can be sent on from it in mode inline.",
            "Use mode local, or take the Ethernet device behind it.",
        )


def refuse_twice(interface: Interface, link: Link) -> None:
    """Refuse to read what a device sends where it receives the same."""
    if interface.sent and link.loopback:
        raise AttachRefused(
            f"Interface {link.name} receives all that it sends, which would count twice.",
            "Set directions received: both are read there.",
        )


def far_end(link: Link) -> str:
    """Return the name of the other end of a veth, "" when it is none or its other end is in another namespace."""
    (device,) = json.loads(_ip("-json", "-details", "link", "show", "dev", link.name))
    here = device.get("linkinfo", {}).get("info_kind") == "veth" and "link_netnsid" not in device
    return str(device.get("link", "")) if here else ""


def sent_packets(link: Link) -> int:
    """Return how many packets a device sent, by the kernel's statistics."""
    (device,) = json.loads(_ip("-json", "-statistics", "link", "show", "dev", link.name))
    return int(device.get("stats64", {}).get("tx", {}).get("packets", 0))


def refuse_unsafe(interface: Interface, link: Link) -> None:
    """Refuse to mirror-drop on a port through which this host is reached (design, section 2)."""
    if interface.mode is not Mode.MIRROR or interface.force:
        return
    routed = _ip("-json", "route", "show", "dev", link.name)
    if link.addresses or json.loads(routed or "[]"):
        raise AttachRefused(
            f"Interface {link.name} carries this host's own traffic, and mirror mode drops what it reads.",
            "Choose a port without address and route, or set force.",
        )


def _lock_name(link: Link) -> str:
    namespace = os.stat("/proc/self/ns/net").st_ino
    return f"{namespace}-{link.ifindex}.lock"


def lock_beside(folder: Path) -> None:
    """Have locks in *folder* where neither systemd gave this process one nor /run/supernetflow can be written."""
    _beside[:] = [folder]


def locks() -> Path:
    """Return the folder of locks: RUNTIME_DIRECTORY of systemd.exec(5), /run/supernetflow, or that of `lock_beside`.

    Raises AttachRefused when none can be written.
    """
    for folder in _places():
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o755, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
    raise AttachRefused(
        f"The locks of interfaces cannot be written to {_RUN}.",
        "Make the folder for the user of the function, by RuntimeDirectory= of its unit or: install -d -o USER",
    )


def _places() -> list[Path]:
    given = [Path(path) for path in os.environ.get("RUNTIME_DIRECTORY", "").split(":") if path]
    return [*given, _RUN, *_beside]


def claimed(link: Link) -> bool:
    """Say whether a living process holds the interface."""
    return _held(link) is not None


def _held(link: Link) -> Path | None:
    """Return the lock that a living process has, where this user would have it or where others do."""
    return next(filter(_is_held, (folder / _lock_name(link) for folder in _places())), None)


def _is_held(path: Path) -> bool:
    try:
        with path.open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none, or it is not to be seen
        return False
    return False


def refuse_claimed(link: Link) -> None:
    """Refuse an interface that a living process holds."""
    if (held := _held(link)) is not None:
        raise _in_use(link, held.read_text(encoding="utf-8", errors="replace").partition("\n")[0])


def _in_use(link: Link, holder: str) -> AttachRefused:
    process = holder.strip() if holder.strip().isdecimal() else "unknown"
    return AttachRefused(
        f"Interface {link.name} is in use by another snf (process {process}).",
        "Stop it first, or choose another interface.",
        passing=True,
    )


def _stale(link: Link) -> Iterator[Path]:
    """Yield the locks of an interface that processes left, of whichever user."""
    for folder in dict.fromkeys(_places()):
        path = folder / _lock_name(link)
        with contextlib.suppress(OSError):
            if path.exists() and not _is_held(path):
                yield path


def noted(link: Link) -> bool:
    """Say whether a process that died noted something about the interface."""
    with contextlib.suppress(OSError):
        return any(
            set(_notes(path.read_text(encoding="utf-8", errors="replace"), link)) - {_address(link)}
            for path in _stale(link)
        )
    return False


def _address(link: Link) -> str:
    return f"address {link.mac}"


def _notes(lock: str, link: Link) -> list[str]:
    """Return what the text of a lock notes of an interface; numbers of namespace and device are given again."""
    words = lock.splitlines()[1:]
    others = any(word.startswith("address ") for word in words) and _address(link) not in words
    return [] if others else words


def claim(link: Link) -> IO[str]:
    """Take the interface for this process; the kernel gives it back when the process ends, however it ends."""
    refuse_claimed(link)
    path = locks() / _lock_name(link)
    elsewhere = [other for other in _stale(link) if other != path]  # of a function that was started in another way
    if path.exists() and not os.access(path, os.W_OK):
        path.unlink()  # of another user, whose function is gone
    lock: IO[str] = path.open("a+", encoding="utf-8", errors="replace")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.readline()
        lock.close()
        raise _in_use(link, holder) from None
    lock.seek(0)
    kept = _notes(lock.read(), link)
    for other in elsewhere:
        with contextlib.suppress(OSError):
            kept += _notes(other.read_text(encoding="utf-8", errors="replace"), link)
            other.unlink()
    lock.truncate(0)
    try:
        lock.write("\n".join([str(os.getpid()), *dict.fromkeys([_address(link), *kept])]))
        lock.flush()
    except OSError as error:
        with contextlib.suppress(OSError):
            lock.close()
        what = f"The lock of {link.name} cannot be written to {path.parent}: {error.strerror}."
        raise AttachRefused(what, "Make room there.", passing=True) from None
    return lock


def remember(lock: IO[str], word: str) -> None:
    """Note something about the interface that the next process must know when this one is killed."""
    if not remembers(lock, word):
        lock.write(f"\n{word}")
        lock.flush()


def remembers(lock: IO[str], word: str) -> bool:
    """Say whether this process, or one before that was killed, noted *word*."""
    lock.seek(0)
    return word in lock.read().splitlines()[1:]


def release(lock: IO[str]) -> None:
    """Give the interface back."""
    with contextlib.suppress(OSError):
        Path(lock.name).unlink()
    lock.close()


def set_promiscuous(link: Link, on: bool) -> bool:
    """Make a mirror port that is claimed take frames that are not addressed to it, and bring it up; or undo that.

    Returns whether the mode changed: one that somebody else set before stays.
    """
    with (locks() / _lock_name(link)).open("a+", encoding="utf-8", errors="replace") as lock:
        now = next((each.promiscuous for each in links() if each.ifindex == link.ifindex), False)
        if on:
            if not now:
                remember(lock, _PROMISC)
            _ip("link", "set", "dev", link.name, "up", "promisc", "on")
            return not now
        if not now or not remembers(lock, _PROMISC):
            return False
    _ip("link", "set", "dev", link.name, "promisc", "off")
    return True
