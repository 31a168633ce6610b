"""Checks before the server starts: the users who may log in, its key, its address.

Without an SSH library, which takes longer to import than all of this: it is checked before the ports are attached.
"""

from __future__ import annotations

import re
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from mgmt.keys import KEY_TYPES, public_key
from nf.errors import SnfError

__all__ = [
    "UsersFile",
    "bound_socket",
    "check_host_key",
    "listening_socket",
    "look_at_users",
    "no_host_key",
    "read_users",
]

_HOST_KEYS = (Ed25519PrivateKey, EllipticCurvePrivateKey, RSAPrivateKey)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}\Z")

_GROUP = re.compile(r'group="(?P<groups>[^"]*)"\Z')


@dataclass(frozen=True, slots=True)
class UsersFile:
    """Public keys, as they are on the wire, by user, and groups by user; None: no line names a group."""

    keys: Mapping[str, tuple[bytes, ...]]
    groups: Mapping[str, frozenset[str]] | None


def read_users(path: Path) -> UsersFile:
    """Return the users of a file. Raises SnfError with the line."""
    users, faults = look_at_users(path)
    if faults:
        raise faults[0]
    return users


def look_at_users(path: Path) -> tuple[UsersFile, list[SnfError]]:
    """Return the users of a file as far as they can be read, and what is wrong. Raises SnfError when it is no text."""
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SnfError(
            f"The users file {path} cannot be read: {reason}.", "Give a file with lines of NAME and a public key."
        ) from None
    faults = []
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        faults.append(SnfError(f"The users file {path} can be written by others than its owner.", f"chmod go-w {path}"))
    keys: dict[str, tuple[bytes, ...]] = {}
    groups: dict[str, frozenset[str]] = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                name, named, key = _read_line(path, number, line.split())
            except SnfError as fault:
                faults.append(fault)
                continue
            keys[name] = (*keys.get(name, ()), key)
            groups[name] = groups.get(name, frozenset()) | named
    return UsersFile(keys, groups if any(groups.values()) else None), faults


def _read_line(path: Path, number: int, words: list[str]) -> tuple[str, frozenset[str], bytes]:
    where = f"Line {number} of the users file {path}"
    option = _GROUP.match(words[1]) if len(words) > 1 else None
    groups = option["groups"].split(",") if option else []
    if not all(map(_NAME.match, groups)):
        raise SnfError(f"{where} has a group that is no name.", 'Write them as group="admin" or group="noc,audit".')
    if option:
        del words[1]
    if len(words) < 3 or words[1] not in KEY_TYPES:
        raise SnfError(
            f'{where} is not NAME, perhaps group="...", and a public key.',
            "Types: " + ", ".join(sorted(KEY_TYPES)) + ".",
        )
    if not _NAME.match(words[0]):
        raise SnfError(f"{where} does not begin with a name of letters, digits and _ . @ -.")
    try:
        return words[0], frozenset(groups), public_key(words[1], words[2])
    except ValueError as error:
        said, remedy = error.args
        raise SnfError(f"{where} has {said}", remedy) from None


def check_host_key(path: Path) -> None:
    """Raise SnfError when a file is not a private key of type ed25519, ecdsa or rsa, or is readable by others."""
    try:
        mode, data = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise SnfError(f"The host key {path} cannot be read: {error.strerror}.") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SnfError(f"The host key {path} can be read by others than its owner.", f"chmod 600 {path}")
    openssh = b"BEGIN OPENSSH PRIVATE KEY" in data
    load = serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key
    try:
        key = load(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise no_host_key(path) from None
    if not isinstance(key, _HOST_KEYS):
        raise no_host_key(path)


def no_host_key(path: Path) -> SnfError:
    """Return the error for a file that is no host key."""
    return SnfError(
        f"The host key {path} is not a private key of type ed25519, ecdsa or rsa without a passphrase.",
        "Make one: ssh-keygen -t ed25519 -N '' -f FILE",
    )


def bound_socket(address: str, port: int) -> socket.socket:
    """Return a socket that may listen. Raises SnfError when the address is not of this host, or taken."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        remedy = "Choose another address or port, or end what uses it."
        if isinstance(error, PermissionError):  # capabilities(7): a port below 1024
            remedy = (
                "A low port needs CAP_NET_BIND_SERVICE: grant it, or choose another one with --netconf ADDRESS:PORT."
            )
        raise SnfError(f"NETCONF cannot listen at {address} port {port}: {error.strerror}.", remedy) from None
    return listener


def listening_socket(address: str, port: int, waiting: int) -> socket.socket:
    """Return a socket that listens. Raises SnfError when the address is not of this host, or taken."""
    listener = bound_socket(address, port)
    listener.listen(waiting)
    return listener
