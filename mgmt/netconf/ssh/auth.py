"""The users who may log in, and the host key that identifies the server.

The users file has one user and key a line, in the format of OpenSSH with the name before it:

    # operators
    alice  group="admin" ssh-ed25519 AAAAC3Nz... alice@noc
    bob    group="noc,audit" ssh-rsa AAAAB3Nz...

A user may have several lines, and is in the groups of all of them. The file is read again when it
has changed, so taking a line out ends that key's access at once for new sessions. The configuration
may have more users (snf-management). Nothing else is looked at: no account of the host, no home
folder, no password.
"""

from __future__ import annotations

import hmac
import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mgmt.netconf.ssh.access import UsersFile, check_host_key, no_host_key, read_users
from nf.errors import SnfError
from nf.settings import User

__all__ = ["Login", "Users", "Visit", "host_key"]

log = logging.getLogger(__name__)


class Users:
    """The users file, and beside it those that *configured* returns. Raises SnfError when the file is bad at start."""

    def __init__(self, path: Path, configured: Callable[[], Sequence[User]]) -> None:
        self.path, self._configured = path, configured
        self._lock = threading.Lock()
        self._seen = self._stamp()
        self._file = read_users(path)
        self._say_who_may_do_everything()

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _say_who_may_do_everything(self) -> None:
        if self._file.groups is None and self._file.keys:
            log.warning(
                "No user of %s has a group: as long as the configuration has no rules (nacm), each of them may do "
                'everything. Write group="admin" after the name of who may.',
                self.path,
            )

    def _current(self) -> UsersFile:
        with self._lock:
            stamp = self._stamp()
            if stamp != self._seen:
                self._seen = stamp
                try:
                    self._file = read_users(self.path)
                    self._say_who_may_do_everything()
                except SnfError as error:
                    # Without a readable file nobody logs in: a revoked key must not live on.
                    log.error("%s", error)
                    self._file = UsersFile({}, {})
            return self._file

    def reload(self) -> int:
        """Read the file and return how many users it has; raises SnfError, and nobody logs in by it any more."""
        with self._lock:
            self._seen = ()  # no stamp of a file
        read_users(self.path)
        return len(self._current().keys)

    def allows(self, name: str, key: bytes) -> bool:
        """Say if *key*, a public key as it is on the wire, is one of the user's."""
        configured = (k for u in self._configured() if u.name == name for k in u.keys)
        return _is_one_of(key, self._current().keys.get(name, ())) or _is_one_of(key, configured)

    def groups(self, name: str, key: bytes) -> frozenset[str] | None:
        """Return the groups that the users file gives to who logs in with a key; None when nobody has one there.

        A key that only the configuration has gives none, also where the file knows the name: who may add keys to the
        configuration must not get the rights of others.
        """
        current = self._current()
        if not _is_one_of(key, current.keys.get(name, ())):
            return frozenset()
        return None if current.groups is None else current.groups.get(name, frozenset())


def _is_one_of(key: bytes, known: Iterable[bytes]) -> bool:
    return any(hmac.compare_digest(key, each) for each in known)


class Visit(Protocol):
    """Told by a `Login` how it goes, in the thread of its connection."""

    def login_failed(self, user: str, how: str) -> None:
        """Hear of a login that failed; returns when its answer may be sent."""

    def may_open(self) -> bool:
        """Say if a user who has logged in may open a session."""

    def opened(self, channel: paramiko.Channel) -> None:
        """Take the bytes of the subsystem."""


class Login(paramiko.ServerInterface):  # type: ignore[misc]
    """Rights of one connection: log in by key, open one channel, start the subsystem netconf."""

    def __init__(self, users: Users, visit: Visit) -> None:
        self._users, self._visit = users, visit
        self._channels = 0
        self._started = False
        self._tried = ""
        self.user = self.fingerprint = ""  # name and key that were accepted last
        self.groups: frozenset[str] | None = frozenset()  # of these
        self.failures = 0

    def get_allowed_auths(self, username: str) -> str:
        """Offer keys, and nothing else. paramiko asks when it refuses a login, also for a wrong signature."""
        if self._tried:
            self.failures += 1
            self._visit.login_failed(username, self._tried)
        return "publickey"

    def check_auth_none(self, _username: str) -> int:
        """Refuse; a client asks so for the methods, which is no try."""
        self._tried = ""
        return int(paramiko.AUTH_FAILED)

    def check_auth_password(self, _username: str, _password: str) -> int:
        """Refuse: there are no passwords."""
        self._tried = "password"
        return int(paramiko.AUTH_FAILED)

    def check_auth_interactive(self, _username: str, _submethods: str) -> int:
        """Refuse, as passwords."""
        self._tried = "keyboard-interactive"
        return int(paramiko.AUTH_FAILED)

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        """Accept a key of the user; paramiko has checked, or will check, the signature."""
        self._tried = str(key.fingerprint)
        if not self._users.allows(username, key.asbytes()):
            return int(paramiko.AUTH_FAILED)
        self.user, self.fingerprint = username, self._tried
        self.groups = self._users.groups(username, key.asbytes())
        return int(paramiko.AUTH_SUCCESSFUL)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        """Accept one session channel."""
        if kind != "session" or self._channels:
            return int(paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED)
        if not self._visit.may_open():
            return int(paramiko.OPEN_FAILED_RESOURCE_SHORTAGE)
        self._channels += 1
        return int(paramiko.OPEN_SUCCEEDED)

    def check_channel_subsystem_request(self, channel: paramiko.Channel, name: str) -> bool:
        """Accept the subsystem netconf, once (RFC 6242, 3)."""
        if name != "netconf" or self._started:
            return False
        self._started = True
        self._visit.opened(channel)
        return True


def host_key(given: Path | None, state_dir: Path) -> paramiko.PKey:
    """Return the host key: of the file given, or the one in the state directory, made at a first start.

    Its public half is written to ``ssh_host_key.pub`` there.

    Raises SnfError when the file is not a private key of type ed25519, ecdsa or rsa, or is readable by others.
    """
    path = given or state_dir / "ssh_host_key"
    if given is None and not path.exists():
        _make_key(path)
    check_host_key(path)
    try:
        key = paramiko.PKey.from_path(path)
        # Clients compare the server's key with this file.
        (state_dir / "ssh_host_key.pub").write_text(f"{key.get_name()} {key.get_base64()}\n")
    except OSError as error:
        raise SnfError(f"The host key {path} cannot be published in {state_dir}: {error.strerror}.") from None
    except (ValueError, TypeError, paramiko.SSHException, paramiko.UnknownKeyType):
        raise no_host_key(path) from None
    return key


def _make_key(path: Path) -> None:
    text = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    try:
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise SnfError(f"The host key {path} cannot be made: {error.strerror}.") from None
