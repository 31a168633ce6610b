"""The service manager that started this process: it is told how things go, and keeps descriptors over a restart.

The protocol is that of sd_notify(3) and sd_listen_fds(3): datagrams to the socket in ``NOTIFY_SOCKET``, descriptors
from number 3 on. Without a manager, or before `begin`, nothing is told and nothing kept.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Mapping

__all__ = ["begin", "forget", "given", "keep", "tell", "watchdog_s"]

log = logging.getLogger(__name__)

_TO_US = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_FDS = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
_FIRST = 3  # SD_LISTEN_FDS_START
_STATUS_LENGTH = 512  # characters; it is a line for people


class _Manager:
    """The manager of this process. ``kept``: names of descriptors that it holds."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.watchdog_s: float | None = None
        self.given: dict[str, int] = {}
        self.kept: dict[str, int] = {}


_manager = _Manager()


def begin() -> None:
    """Find the manager by the environment, from which its words are taken: processes that are started have none."""
    said = {name: os.environ.pop(name, "") for name in (*_TO_US, *_FDS)}
    address = said["NOTIFY_SOCKET"]
    if said["LISTEN_PID"] == str(os.getpid()):
        _manager.given = _received(said["LISTEN_FDS"], said["LISTEN_FDNAMES"])
        _manager.kept = dict.fromkeys(_manager.given, -1)
    if not address.startswith(("/", "@")):
        return
    _manager.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        _manager.socket.connect("\0" + address[1:] if address[0] == "@" else address)
    except OSError as error:
        log.warning("the service manager is not told how things go: %s: %s", address, error.strerror)
        _manager.socket = None
        return
    if said["WATCHDOG_USEC"].isdigit() and said["WATCHDOG_PID"] in ("", str(os.getpid())):
        _manager.watchdog_s = int(said["WATCHDOG_USEC"]) / 1e6


def _received(count: str, names: str) -> dict[str, int]:
    """Return the descriptors that came with the start, by name; of several of one name, the last."""
    found: dict[str, int] = {}
    for at, name in enumerate(names.split(":")[: int(count) if count.isdigit() else 0]):
        fd = _FIRST + at
        with contextlib.suppress(OSError):
            os.set_inheritable(fd, False)
            if name in found:
                os.close(found[name])
            found[name] = fd
    return found


def watchdog_s() -> float | None:
    """Return the time within which the manager wants to hear that the function goes on; None: never."""
    return _manager.watchdog_s


def tell(**words: str | int) -> None:
    """Tell the manager, as in ``tell(READY=1, STATUS="ready")``; one that does not listen is no error."""
    if "STATUS" in words:
        words["STATUS"] = " ".join(str(words["STATUS"]).split())[:_STATUS_LENGTH]
    _send("\n".join(f"{name}={value}" for name, value in words.items()), [])


def given() -> Mapping[str, int]:
    """Return the descriptors of the process before, by name, until `keep` or `forget`; who uses one duplicates it."""
    return _manager.given


def keep(fds: Mapping[str, int]) -> None:
    """Have the manager keep these descriptors, by names without a colon, and no others."""
    _release_given()
    if _manager.socket is None:
        return
    for name in [name for name, fd in _manager.kept.items() if fds.get(name) != fd]:
        _send(f"FDSTOREREMOVE=1\nFDNAME={name}", [])
        del _manager.kept[name]
    for name, fd in fds.items():
        # A map is never readable, so the manager must not take the descriptor for one that was hung up.
        if name not in _manager.kept and _send(f"FDSTORE=1\nFDNAME={name}\nFDPOLL=0", [fd]):
            _manager.kept[name] = fd


def forget() -> None:
    """Have the manager keep none."""
    keep({})


def _release_given() -> None:
    given, _manager.given = _manager.given, {}
    for fd in given.values():
        os.close(fd)


def _send(text: str, fds: list[int]) -> bool:
    if _manager.socket is None:
        return False
    try:
        socket.send_fds(_manager.socket, [text.encode()], fds)
    except OSError as error:
        log.info("the service manager did not hear: %s", error.strerror)
        return False
    return True
