"""Checks of a command's input, before anything is compiled, loaded or connected.

Each function returns what it read, or raises SnfError with one sentence. The heavy modules that would use the
input are imported by the command afterwards, so that a mistake is told in a fraction of a second.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nf.errors import SnfError

if TYPE_CHECKING:
    from feed.consumer import CurveKeys
    from nf.settings import Settings

__all__ = [
    "PLACE",
    "captures",
    "configuration",
    "curve_keys",
    "endpoint",
    "ip_address",
    "moment",
    "outputs",
    "private_key",
    "pseudonym_key",
    "public_key",
    "service",
]

_CURVE = ("server_key", "public_key", "secret_key")
# Of a key that is to be filled in, all of an element: a key in Z85 may have @x@ in it, but its < and > are escaped.
PLACE = re.compile(r"(?<=>)@(?P<name>[a-z0-9-]+?)(?P<kind>-public|-secret)?@(?=<)")
_Z85_KEY = 40  # characters of a CURVE key (ZeroMQ RFC 32)


def _text(path: Path, remedy: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise SnfError(f"{path} is not text.", remedy) from None
    except OSError as error:
        raise SnfError(f"{path} cannot be read: {error.strerror}.", remedy) from None


def endpoint(text: str) -> tuple[str, int]:
    """Return ADDRESS:PORT as a pair; IPv6 addresses may stand in brackets."""
    address, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise SnfError(f"{text} is not ADDRESS:PORT.", "Write it as 127.0.0.1:830.")
    return address.strip("[]") or "0.0.0.0", int(port)


def moment(text: str, option: str) -> float:
    """Return the seconds since the epoch of a time as in 2026-11-29T12:30:00; without a zone it is one of this host."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise SnfError(f"{option} {text} is no time.", "Write it as 2026-11-29T12:30:00.") from None


def ip_address(text: str, option: str) -> str:
    """Return an IPv4 or IPv6 address as it was written."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise SnfError(f"{option} {text} is no IPv4 or IPv6 address.") from None
    return text


# -- replay ------------------------------------------------------------------


def captures(paths: Iterable[Path]) -> None:
    """Look at the head of each capture."""
    from nf.capture.reader import check_capture

    for path in paths:
        check_capture(path)


def outputs(paths: Sequence[Path]) -> None:
    """Check that each result file can be written and that no two are one."""
    from nf.replay.output import check_suffix

    for path in paths:
        check_suffix(path)
    if len({path.resolve() for path in paths}) < len(paths):
        raise SnfError("Two results would go to one file.", "Give each a name of its own.")


def configuration(path: Path | None) -> Settings | None:
    """Return the settings of a configuration in XML, the format of ``snf run --startup``; None without a file."""
    if path is None:
        return None
    document = _filled(path)
    from mgmt.netconf.store.datastore import settings_of

    return settings_of(document, str(path))


def example(path: Path) -> str:
    """Return the text of a configuration, with or without places for keys."""
    return _text(path, "Give a configuration in XML.")


def named(text: str, name: str, path: Path) -> str:
    """Return a configuration with another name of the function; raises SnfError when *path* is no XML."""
    from lxml import etree

    space = "urn:supernetflow:yang:snf-function"
    try:
        root = etree.fromstring(text.encode(), etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError as error:
        raise SnfError(f"{path} is no XML: {error.msg}.", "Give a configuration in XML.") from None
    function = root.find(f"{{{space}}}network-function")
    if function is None:
        function = etree.Element(f"{{{space}}}network-function", nsmap={None: space})
        root.insert(0, function)
    leaf = function.find(f"{{{space}}}name")
    if leaf is None:
        leaf = etree.Element(f"{{{space}}}name")
        function.insert(0, leaf)
    leaf.text = name
    return str(etree.tostring(root, encoding="unicode"))


def _filled(path: Path) -> bytes:
    """Return a configuration in XML in which no key is left to be filled in."""
    text = example(path)
    if place := PLACE.search(text):
        raise SnfError(
            f"{path} is an example: it has no key at {place[0]}.",
            f"Make keys, and a file with them: snf keys DIR -f {path}",
        )
    return text.encode()


def pseudonym_key(path: Path | None) -> bytes:
    """Return the key of the pseudonyms; without a file b"", which means one that is drawn."""
    if path is None:
        return b""
    try:
        key = path.read_bytes()
    except OSError as error:
        raise SnfError(f"The key file {path} cannot be read: {error.strerror}.") from None
    if not key:
        raise SnfError(f"The key file {path} is empty.", "Make one: head -c 32 /dev/urandom > FILE")
    return key


# -- clients -----------------------------------------------------------------


def private_key(path: Path) -> Path:
    """Check that a file looks like a private SSH key."""
    remedy = "Give the private key of a user of the function, e.g. ~/.ssh/id_ed25519."
    if not _text(path, remedy).lstrip().startswith("-----BEGIN "):
        raise SnfError(f"{path} is no private key.", remedy)
    return path


def public_key(path: Path | None) -> str | None:
    """Return the public host key of a file as ``TYPE BASE64``, None without a file."""
    if path is None:
        return None
    remedy = "Give the file ssh_host_key.pub of the function's state directory."
    words = _text(path, remedy).split()
    try:
        if (
            len(words) < 2
            or not words[0].startswith(("ssh-", "ecdsa-"))
            or not base64.b64decode(words[1], validate=True)
        ):
            raise SnfError(f"{path} is no public key.", remedy)
    except (binascii.Error, ValueError):
        raise SnfError(f"{path} is no public key.", remedy) from None
    return f"{words[0]} {words[1]}"


def curve_keys(path: Path | None) -> CurveKeys | None:
    """Return the CURVE keys of a file with one NAME=VALUE a line, None without a file."""
    if path is None:
        return None
    remedy = "Write one NAME=VALUE a line: server_key, public_key and secret_key, each of 40 characters of Z85."
    values = dict(line.strip().split("=", 1) for line in _text(path, remedy).splitlines() if "=" in line)
    for name in _CURVE:
        if len(values.get(name, "")) != _Z85_KEY:
            raise SnfError(f"{path} has no line {name}=... of {_Z85_KEY} characters.", remedy)
    from feed.consumer import CurveKeys

    return CurveKeys(*(values[name] for name in _CURVE))


# -- run ---------------------------------------------------------------------


def service(
    state_dir: Path, users: Path, host_key: Path | None, startup: Path | None, address: str, port: int
) -> bytes | None:
    """Check all inputs of ``snf run``; return the startup configuration.

    The state directory is made, one that is not there yet when nothing else is wrong with the rest.
    """
    from nf.kernel import links, privilege

    privilege.require(port)
    from mgmt.netconf.ssh.access import check_host_key, listening_socket, read_users
    from mgmt.netconf.store.datastore import check_start
    from nf.sessions.restart import statedir

    links.lock_beside(state_dir / "locks")
    read_users(users)
    if host_key is not None:
        check_host_key(host_key)
    document = None
    if startup is not None and not state_dir.exists():
        document = _first_configuration(startup)
    statedir.check(state_dir)
    if not check_start(state_dir):
        statedir.check_room(state_dir)
        if startup is not None and document is None:
            document = _first_configuration(startup)
    listening_socket(address, port, 1).close()
    return document


def _first_configuration(path: Path) -> bytes:
    """Return a startup configuration in which nothing is wrong, on this host either. Raises SnfError."""
    from mgmt.cli import check

    report = check.look(path)
    if not report.errors and report.settings is not None:
        report.faults += check.look_at_ports(report, warning=False)
    if errors := report.errors:
        more = f"{len(errors) - 1} more: snf config check --here {path}" if errors[1:] else ""
        where = f"{path}:{errors[0].line}" if errors[0].line else str(path)
        passing = all(fault.passing for fault in errors)
        said = f"The startup configuration cannot be used: {where}: {errors[0].sentence.rstrip('.')}."
        raise SnfError(said, more, passing=passing)
    return report.document
