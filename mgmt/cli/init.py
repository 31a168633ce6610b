"""``snf init``: a first configuration from ports and their roles, users and clients of the bus, with keys of its own.

All is looked at before anything is written, and the configuration is written last: a command that was interrupted, or
is given again, goes on with the keys that are there. What is there and differs is never written over.
"""

from __future__ import annotations

import fcntl
import grp
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from xml.sax.saxutils import escape

from feed.late import beside
from mgmt.cli import check, keys
from mgmt.keys import KEY_TYPES, public_key
from mgmt.netconf.model.yang_model import yang_dir
from nf.errors import SnfError
from nf.kernel import links
from nf.publish import bindable
from nf.settings import Interface, Mode, Role

__all__ = ["GROUP", "Port", "Wanted", "found_ports", "make", "next_steps", "pair", "ports_of"]

GROUP = "supernetflow"  # of the service (deploy/README.md)
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}")
_TOPICS = ("qoe.v1/", "delay.v1/", "change.v1/", "health.v1/")  # of the first consumer
_UNITS = ("/lib/systemd/system/supernetflow.service", "/etc/systemd/system/supernetflow.service")


@dataclass(frozen=True, slots=True)
class Port:
    """A port that is to be read, as the configuration will have it."""

    name: str
    role: Role
    mode: Mode = Mode.MIRROR
    mac: str = ""
    peer: str = ""
    both: bool = False  # what it sends is read as well

    @property
    def said(self) -> str:
        """The name or address that it was given by."""
        return self.mac or self.name


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that a first configuration is made from."""

    folder: Path
    ports: tuple[Port, ...]
    users: tuple[str, ...]  # NAME=FILE; the first one may do everything
    clients: tuple[str, ...]
    endpoint: str
    elsewhere: bool = False  # the ports are those of another host
    name: str = ""  # of the function in its feed


def ports_of(role: Role, given: Iterable[str], mode: Mode, *, both: bool = False) -> list[Port]:
    """Return the ports of a role, each given by its name or its MAC address. Raises SnfError."""
    found: list[Port] = []
    for text in given:
        if _MAC.fullmatch(text):
            number = len(found) + 1
            found.append(
                Port(f"{role.value}-{number}" if number > 1 else role.value, role, mode, text.lower(), both=both)
            )
        elif why := check.device_name(text):
            raise SnfError(f"No port can be called {text!r}: {why}.", "List them with: ip -brief link")
        else:
            found.append(Port(text, role, mode, both=both))
    return found


def pair(role: Role, text: str) -> list[Port]:
    """Return the two ports of an inline pair that is given as A,B. Raises SnfError."""
    names = text.split(",")
    if len(names) != 2 or not all(names):
        raise SnfError(f"{text} is no inline pair.", "Give the two ports as A,B.")
    if names[0].lower() == names[1].lower():
        raise SnfError(f"The inline pair {text} is one port.", "Give two.")
    one, two = ports_of(role, names, Mode.INLINE)
    if one.mac and not two.mac:
        one = Port(f"{role.value}-a", role, Mode.INLINE, one.mac)
    elif one.mac:
        one, two = (Port(f"{role.value}-{x}", role, Mode.INLINE, p.mac) for x, p in (("a", one), ("b", two)))
    elif two.mac:
        two = Port(f"{role.value}-b", role, Mode.INLINE, two.mac)
    return [Port(a.name, role, Mode.INLINE, a.mac, b.name) for a, b in ((one, two), (two, one))]


def found_ports() -> Iterator[tuple[str, str, str]]:
    """Yield (name, address, what it is) of the ports of this host that could be read."""
    for link in links.links():
        if link.kind == "loopback":
            continue
        said = "up" if link.up else "down"
        if link.addresses:
            said += f", has {link.addresses[0]}"
        if link.bare:
            said += ", no Ethernet header"
        yield link.name, link.mac, said


# -- looking --------------------------------------------------------------------


def _check_ports(wanted: Wanted) -> None:
    if not wanted.ports:
        raise SnfError(
            "No port is given.", "Give one with --n3, --n6, --n4, --mixed or --inline-n3; list them: ip -brief link"
        )
    seen: dict[int | str, Port] = {}
    for port in wanted.ports:
        same: int | str = port.mac or port.name
        if not wanted.elsewhere:
            interface = Interface(port.name, port.role, port.mode, port.mac, sent=port.both)
            link = links.find(interface)
            links.refuse_unread(interface, link)
            links.refuse_twice(interface, link)
            if port.role is not Role.N4:
                links.refuse_unsafe(interface, link)
            same = link.ifindex
        if (other := seen.setdefault(same, port)) is not port:
            roles = f"two roles, {other.role.value} and {port.role.value}"
            said = roles if other.role is not port.role else f"the role {port.role.value} twice"
            raise SnfError(f"The port {port.said} has {said}.", "Give it one.")


def _check_endpoint(wanted: Wanted) -> None:
    endpoint = wanted.endpoint
    if "%" in endpoint:
        raise SnfError(f"The endpoint {endpoint} has a zone.", "Give an address that means the same on every host.")
    if endpoint.endswith((":0", ":*")):
        raise SnfError(f"The endpoint {endpoint} has no port that a consumer could know.", "Give one from 1024 on.")
    for each in (endpoint, beside(endpoint)) if not wanted.elsewhere else ():
        bindable.check(each, each)  # of its address; the port may be that of the function that runs


def _users_text(given: Sequence[str]) -> str:
    """Return the users file. Raises SnfError when a name or a key is none."""
    if not given:
        raise SnfError("No user is given, so nobody could log in.", "Give --user NAME=FILE with a public SSH key.")
    lines, names = [], set()
    for number, text in enumerate(given):
        name, sign, file = text.partition("=")
        if not sign or not file or not _USER.fullmatch(name):
            raise SnfError(
                f"{text!r} is no user with a key.", "Write it as alice=~/.ssh/id_ed25519.pub, without spaces."
            )
        if name in names:
            raise SnfError(f"The user {name} is given twice.", "Give each user one key here.")
        names.add(name)
        group = ' group="admin"' if not number else ""
        lines.append(f"{name}{group} {_public(Path(file).expanduser())}\n")
    return "".join(lines)


def _public(path: Path) -> str:
    try:
        words = path.read_text(encoding="utf-8").split()
    except UnicodeDecodeError:
        words = []
    except OSError as error:
        remedy = "Make a key with: ssh-keygen -t ed25519"
        raise SnfError(f"The public key {path} cannot be read: {error.strerror}.", remedy) from None
    if words[:1] == ["-----BEGIN"]:
        raise SnfError(f"{path} is a private key.", f"Give the public one: {path}.pub")
    if len(words) < 2 or words[0] not in KEY_TYPES:
        raise SnfError(f"{path} is no public SSH key.", "Give a file that ssh-keygen made, which ends in .pub.")
    try:
        public_key(words[0], words[1])
    except ValueError as error:
        said, remedy = error.args
        raise SnfError(f"{path} is {said}", remedy) from None
    return " ".join(words[:3])


# -- the configuration ------------------------------------------------------------


def _document(wanted: Wanted) -> str:
    """Return the configuration, with a place for each key, and the rules of an example."""
    example = (yang_dir() / "examples" / "probe-mirror.xml").read_text(encoding="utf-8")
    rules = example[example.index("<nacm ") : example.index("</nacm>")] + "</nacm>"
    topics = "".join(f"\n        <topic>{topic}</topic>" for topic in _TOPICS)
    consumers = "".join(
        f"\n      <consumer>\n        <public-key>@{name}-public@</public-key>{topics}\n        <follow>true</follow>"
        "\n      </consumer>"
        for name in wanted.clients
    )
    name = f"\n  <network-function xmlns={_FUNCTION}><name>{escape(wanted.name)}</name></network-function>"
    name *= bool(wanted.name)
    snapshots = f"\n    <snapshot-endpoint>{escape(beside(wanted.endpoint))}</snapshot-endpoint>"
    snapshots *= bool(beside(wanted.endpoint))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<!-- The configuration of a first start, made by snf init. Later changes are made in the running function: snf set. -->
<config xmlns="{_BASE}">{name}
  <interfaces xmlns="urn:ietf:params:xml:ns:yang:ietf-interfaces">{"".join(map(_interface, wanted.ports))}
  </interfaces>
  <exporter xmlns="urn:supernetflow:yang:snf-export">
    <endpoint>{escape(wanted.endpoint)}</endpoint>{snapshots}
    <curve>
      <public-key>@publisher-public@</public-key>
      <secret-key>@publisher-secret@</secret-key>{consumers}
    </curve>
  </exporter>
  <privacy xmlns="urn:supernetflow:yang:snf-privacy">
    <key>@pseudonyms@</key>
    <epoch>1</epoch>
  </privacy>
  {rules}
</config>
"""


_BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
_FUNCTION = '"urn:supernetflow:yang:snf-function"'
_TYPE = '<type xmlns:ianaift="urn:ietf:params:xml:ns:yang:iana-if-type">ianaift:ethernetCsmacd</type>'


def _interface(port: Port) -> str:
    leaves = {"role": port.role.value, "mode": port.mode.value, "directions": "both" if port.both else ""}
    leaves |= {"peer": port.peer, "mac-address": port.mac}
    if port.mode is Mode.MIRROR:
        del leaves["mode"]  # the default
    said = "".join(f"\n        <{leaf}>{escape(value)}</{leaf}>" for leaf, value in leaves.items() if value)
    return f"""
    <interface>
      <name>{escape(port.name)}</name>
      {_TYPE}
      <capture xmlns="urn:supernetflow:yang:snf-interfaces">{said}
      </capture>
    </interface>"""


# -- writing ----------------------------------------------------------------------


def make(wanted: Wanted) -> list[Path]:
    """Write a configuration, and return the files that were written: none when all was there as it is wanted.

    Raises SnfError before anything is changed.
    """
    _check_endpoint(wanted)
    _check_ports(wanted)
    with _alone(wanted.folder):
        return _make(wanted)


def _make(wanted: Wanted) -> list[Path]:
    files, pairs, secrets = keys.plan(wanted.folder / "keys", wanted.clients)
    text = keys.fill(_document(wanted), pairs, secrets)
    startup = wanted.folder / "startup.xml"
    report = check.look_at(text, startup)
    if report.errors:
        raise SnfError(report.errors[0].what.rstrip(".") + ".", report.errors[0].remedy)
    for path, content in ((wanted.folder / "users", _users_text(wanted.users)), (startup, text)):
        if path.exists():
            _same(path, content)
        else:
            files[path] = content
    _write(wanted.folder, files)
    return [*files]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until nobody else makes a configuration below the same folder, so that the keys of one are with its file."""
    above = next(path for path in folder.absolute().parents if path.is_dir())
    try:
        lock = os.open(above, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # not to be read: what is written then says why it cannot be
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _same(path: Path, content: str) -> None:
    try:
        here = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        here = ""
    if here != content:
        raise SnfError(
            f"{path} is there already, and differs from what is asked for.",
            "Change it, or the running function (snf set), or move it away for another one.",
        )


def _write(folder: Path, files: dict[Path, str]) -> None:
    """Write files in their order; their group is that of the service where there is one."""
    group = -1
    with suppress(KeyError):
        group = grp.getgrnam(GROUP).gr_gid
    file_mode, folder_mode = (0o640, 0o750) if group >= 0 else (0o600, 0o700)
    try:
        for path in dict.fromkeys([folder, *(path.parent for path in files)]):
            if not path.exists():
                path.mkdir(mode=0o700, parents=True)
                _give(path, group, folder_mode)
        for path, content in files.items():
            fresh = path.with_name(f".{path.name}.new")
            fresh.unlink(missing_ok=True)
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _give(fresh, group, file_mode)
            fresh.rename(path)
    except OSError as error:
        for path in files:
            with suppress(OSError):
                path.with_name(f".{path.name}.new").unlink(missing_ok=True)
        raise SnfError(f"{error.filename or folder} cannot be written: {error.strerror}.", "Run it as root.") from None


def _give(path: Path, group: int, mode: int) -> None:
    if group >= 0 and os.geteuid() == 0:
        os.chown(path, 0, group)
    path.chmod(mode)


# -- what to do next ----------------------------------------------------------------


def next_steps(wanted: Wanted, made: Sequence[Path], state_dir: Path) -> Iterator[str]:
    """Yield what was made and what to type next."""
    folder = wanted.folder
    if made:
        yield f"Made in {folder}: {', '.join(str(path.relative_to(folder)) for path in made)}."
    else:
        yield f"{folder} has all of this already; nothing is changed."
    for port in wanted.ports:
        peer = f", forwards to {port.peer}" if port.peer else ""
        yield f"  {port.role.value}  {port.mode.value:<6}  {port.said}{peer}"
    if (state_dir / "running.xml").exists():
        yield f"{state_dir}/running.xml counts before it: snf set changes that, or move it away for a first start."
    yield "Start it:"
    if any(Path(unit).exists() for unit in _UNITS) and folder == Path("/etc/supernetflow"):
        yield "  systemctl start supernetflow"
    else:
        yield f"  snf run --users {quote(f'{folder}/users')} --startup {quote(f'{folder}/startup.xml')}"
    name, _, file = wanted.users[0].partition("=")
    key = Path(file).expanduser().with_suffix("") if file.endswith(".pub") else "KEY"
    own = "" if key == Path("~/.ssh/id_ed25519").expanduser() else f" --key {quote(str(key))}"
    yield "Look at it, in another shell:"
    where = "" if wanted.endpoint in _HERE else f" --endpoint {quote(_reached(wanted.endpoint))}"
    if wanted.clients:
        yield f"  snf watch --curve {quote(f'{folder}/keys/{wanted.clients[0]}.curve')}{where}"
    yield f"  snf sessions --user {name}{own}"


_HERE = ("tcp://127.0.0.1:5556", "tcp://*:5556")


def _reached(endpoint: str) -> str:
    """Return the endpoint as a client on this host connects to it."""
    return endpoint.replace("//*:", "//127.0.0.1:").replace("//0.0.0.0:", "//127.0.0.1:")
