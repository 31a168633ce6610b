"""Checks of a configuration file that say all that is wrong: ``snf config check``, and ``snf run`` before a start.

Nothing is compiled, loaded or changed, and nothing of bcc imported. A fault that another one brings about is not told:
what is wrong is taken out of the tree, and what is left is looked at again.
"""

from __future__ import annotations

import hashlib
import re
import stat
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from lxml import etree

from mgmt.bind import bind
from mgmt.cli.follow import Gone
from mgmt.cli.inputs import PLACE
from mgmt.netconf.model.schema import SchemaNode
from mgmt.netconf.model.yang_model import Model, default_model
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.ssh.access import UsersFile, look_at_users
from mgmt.netconf.store.edit import apply_edit, empty_tree
from mgmt.netconf.xml_names import Doctype, elements, local, parse, steps_to
from mgmt.published_keys import is_published
from nf.apply import memory
from nf.errors import BadSettings, SnfError, passes
from nf.kernel import links
from nf.publish.auth import pair_of
from nf.publish.bindable import check as check_endpoint
from nf.settings import Curve, Interface, Role, Settings

__all__ = [
    "Fault",
    "Report",
    "as_json",
    "device_name",
    "lines",
    "look",
    "look_at",
    "look_at_memory",
    "look_at_ports",
    "look_beside",
]

_MOST = 100  # faults that are told of one file
_SECRETS = {"secret-key", "key", "previous-key", "value"}
_IMSI = re.compile(r"(?<=imsi=')[^']*|(?<=imsi-prefix\[\.=')[^']*|(?<=opt-out\[\.=')[^']*")
_INTERFACES = "{urn:ietf:params:xml:ns:yang:ietf-interfaces}"
_CAPTURE = "{urn:supernetflow:yang:snf-interfaces}"
_KEYS_BEFORE = {"previous-key"}  # may be published: names go on
_LOCAL = ("tcp://127.", "tcp://localhost:", "tcp://[::1]:", "ipc://")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong; a ``warning`` keeps nothing from starting."""

    what: str
    remedy: str = ""
    path: str = ""
    line: int = 0  # of the file; 0: of none
    warning: bool = False
    passing: bool = False  # it may be over in a while by itself

    @property
    def sentence(self) -> str:
        """The whole of it but the line, without a subscriber's identity."""
        where = f" ({_shown(self.path)})" if self.path and not self.line else ""
        return f"{self.what.rstrip('.')}{where}. {self.remedy}".strip()


def _shown(path: str) -> str:
    """Return a path without a subscriber's identity."""
    return _IMSI.sub("...", path)


@dataclass(slots=True)
class Report:
    """All that was found in a configuration, and its settings as far as they could be read."""

    faults: list[Fault] = field(default_factory=list)
    settings: Settings | None = None
    document: bytes = b""
    root: etree._Element | None = None

    @property
    def errors(self) -> list[Fault]:
        """The faults that keep the function from starting."""
        return [fault for fault in self.faults if not fault.warning]


def look(path: Path) -> Report:
    """Return what is wrong with a configuration, and its settings. Raises SnfError when the file cannot be read."""
    try:
        mode, document = path.stat().st_mode, path.read_bytes()
        text = document.decode("utf-8")
    except UnicodeDecodeError:
        raise SnfError(f"{path} is not text.", "Give a configuration in XML.") from None
    except OSError as error:
        raise SnfError(f"{path} cannot be read: {error.strerror}.", "Give a configuration in XML.") from None
    report = look_at(text, path)
    if report.root is not None:
        _look_at_modes(report, path, mode)
    return report


def look_at(text: str, path: Path) -> Report:
    """Return what is wrong with the text of a configuration, and its settings; *path* is its name in remedies."""
    report = Report(document=text.encode())
    places = [*PLACE.finditer(text)]
    for place in places:
        what, remedy = f"No key is here but {place[0]}", f"Make keys, and a file with them: snf keys DIR -f {path}"
        report.faults.append(Fault(what, remedy, line=text.count("\n", 0, place.start()) + 1))
    try:
        root = parse(PLACE.sub(_stand_in, text).encode(), huge=True)
    except (etree.XMLSyntaxError, Doctype) as error:
        said = "It has a document type" if isinstance(error, Doctype) else f"It is not well-formed XML: {error.msg}"
        report.faults.append(Fault(said.partition(", line")[0], line=getattr(error, "lineno", 0) or 0))
        return report
    if local(root) not in ("config", "data"):
        around = empty_tree()
        around.append(root)
        root = around
    report.root = root
    _look_at_tree(report, root)
    report.faults.sort(key=lambda fault: (fault.warning, fault.line))
    if "\n" not in text.strip():  # one line tells nothing apart: the paths do
        report.faults = [replace(fault, line=0) if fault.path else fault for fault in report.faults]
    return report


def _stand_in(place: re.Match[str]) -> str:
    """Return a key that nobody has for a place that has none, so that the rest can be looked at."""
    digest = hashlib.sha256(place[0].encode())
    return digest.hexdigest()[:40] if place["kind"] else b64encode(digest.digest()).decode()


def _look_at_modes(report: Report, path: Path, mode: int) -> None:
    found = report.root.iter("{*}*") if report.root is not None else ()
    example = PLACE.search(report.document.decode()) is not None
    secret = not example and any(local(e) in _SECRETS and (e.text or "").strip() for e in found)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        report.faults.append(Fault("The file can be written by others than its owner", f"chmod go-w {path}"))
    if secret and mode & stat.S_IRWXO:
        report.faults.append(Fault("The file has keys, and everybody on this host can read it", f"chmod o= {path}"))


# -- the tree ----------------------------------------------------------------


def _look_at_tree(report: Report, root: etree._Element) -> None:
    """Add the faults of a document, and its settings when only faults of values could be taken out."""
    model = default_model()
    report.faults += _twice(root, model)
    try:
        tree, errors = apply_edit(model, empty_tree(), root, continue_on_error=True)
    except RpcError as error:
        report.faults.append(_fault(error, root))
        return
    found = [_fault(error, root) for error in errors[:_MOST]]
    more = [*_published(root, tree), *_names(root, tree)]
    found += more
    gone = Gone(tree, [*(error.path for error in errors if error.tag != "unknown-namespace"), *(f.path for f in more)])
    for _ in range(_MOST):
        try:
            report.settings = bind(model.validate(tree))
        except (RpcError, BadSettings) as error:
            fault, tag = _fault(error, root), error.app_tag if isinstance(error, RpcError) else ""
            if not gone.explains(fault.path, tag):
                found.append(fault)
            if not gone.take_out(fault.path, tag):
                break
        else:
            break
    whole = not found and PLACE.search(report.document.decode()) is None
    report.faults += found
    if report.settings is not None:
        report.faults += _of_settings(report.settings, root, whole)


def _fault(error: RpcError | BadSettings, root: etree._Element) -> Fault:
    if isinstance(error, BadSettings):
        return Fault(error.what, error.remedy, error.path, _line(root, error.path))
    line, element = _line(root, error.path), dict(error.info).get("bad-element")
    if error.tag == "unknown-namespace":
        *_, above = root, *steps_to(root, error.path)
        line = next((e.sourceline for e in elements(above) if local(e) == element), line)
    return Fault(error.message, "", error.path, line)


def _twice(root: etree._Element, model: Model) -> list[Fault]:
    """Take the entries of lists out of a document that are there already, and tell of them: they would be merged."""
    found: list[Fault] = []

    def walk(parent: etree._Element, nodes: dict[str, SchemaNode], path: str) -> None:
        seen: dict[tuple[str, ...], etree._Element] = {}
        for element in list(elements(parent)):
            node = nodes.get(element.tag)
            if node is None:
                continue
            keys = tuple((element.findtext(node.child(key).tag) or "").strip() for key in node.keys)
            where = "".join(f"[{k}='{v}']" for k, v in zip(node.keys, keys, strict=True))
            here = f"{path}/{node.module_if_new}{':' * bool(node.module_if_new)}{node.name}{where}"
            if keys:
                first = seen.setdefault((str(element.tag), *keys), element)
                if first is not element:
                    found.append(Fault(_said_twice(first, element), "Keep one.", here, element.sourceline))
                    parent.remove(element)
                    continue
            walk(element, node.children, here)

    walk(root, model.top, "")
    return found


def _said_twice(first: etree._Element, again: etree._Element) -> str:
    roles = [each.findtext(f"{_CAPTURE}capture/{_CAPTURE}role") for each in (first, again)]
    if roles[0] != roles[1]:
        name = first.findtext(f"{_INTERFACES}name")
        return f"The port {name} has two roles, {roles[0]} and {roles[1]}; the first is in line {first.sourceline}"
    return f"This {local(first)} is there twice, first in line {first.sourceline}"


def _published(root: etree._Element, tree: etree._Element) -> list[Fault]:
    """Return the keys that everybody knows, and put others in their place, so that the rest can be looked at."""
    what, remedy = "The key is one of an example, which everybody can read", "Make keys of your own: snf keys DIR"
    found = [
        Fault(what, remedy, _path_of(leaf), leaf.sourceline)
        for leaf in root.iter("{*}*")
        if not len(leaf) and local(leaf) not in _KEYS_BEFORE and is_published((leaf.text or "").strip())
    ]
    for number, leaf in enumerate(e for e in tree.iter("{*}*") if not len(e) and is_published(e.text or "")):
        digest = hashlib.sha256(bytes([number]))
        leaf.text = digest.hexdigest()[:40] if len(leaf.text) == 40 else b64encode(digest.digest()).decode()
    return found


def _names(root: etree._Element, tree: etree._Element) -> Iterator[Fault]:
    """Yield the ports with a name that no device can have, and no address to find them by."""
    for entry in tree.iter(f"{_INTERFACES}interface"):
        name, capture = entry.findtext(f"{_INTERFACES}name") or "", entry.find(f"{_CAPTURE}capture")
        if capture is not None and capture.find(f"{_CAPTURE}mac-address") is None and (why := device_name(name)):
            path = f"/ietf-interfaces:interfaces/interface[name='{name}']/name"
            remedy = "Give the name of the port, or its mac-address."
            yield Fault(f"No port can be called {name}: {why}", remedy, path, _line(root, path))


def _path_of(element: etree._Element) -> str:
    names = [local(element), *(local(above) for above in element.iterancestors())]
    return "/" + "/".join(reversed(names[:-1]))


def _line(root: etree._Element | None, path: str) -> int:
    """Return the line of what a path names, or of what it should be in; 0: there is none."""
    line = 0
    if root is None:
        return line
    for element in steps_to(root, path):
        line = element.sourceline or line
    return line


# -- what the settings mean ---------------------------------------------------


def _of_settings(settings: Settings, root: etree._Element, whole: bool) -> Iterator[Fault]:
    """Yield what is wrong with settings; *whole*: nothing of the file was taken out, and its keys are its own."""
    exporter = "/snf-export:exporter"
    for curve, path in (
        (settings.export.curve, f"{exporter}/curve"),
        *((each.curve, f"{exporter}/listener[name='{each.name}']/curve") for each in settings.export.further),
    ):
        if whole and curve is not None and (said := _unpaired(curve)):
            yield Fault(said, "Take both from one file of snf keys.", path, _line(root, path))
    if whole and not settings.interfaces:
        yield Fault("No port is read: there is no interface with a role", warning=True)
    if settings.export.curve is None and not settings.export.endpoint.startswith(_LOCAL):
        yield Fault(f"Everybody who reaches {settings.export.endpoint} reads the records",
                    "Give it keys: snf keys DIR -f yang/examples/probe-mirror.xml shows how", exporter,
                    _line(root, exporter), warning=True)  # fmt: skip
    if not settings.privacy.key:
        yield Fault("Pseudonyms have no key: after each start subscribers have other names", "Give privacy/key.",
                    warning=True)  # fmt: skip


def _unpaired(curve: Curve) -> str:
    try:
        pair_of(curve)
    except SnfError as error:
        return error.what
    return ""


def device_name(name: str) -> str:
    """Return why no device can have a name, "" when one can: the rule of the kernel (dev_valid_name of Linux)."""
    if not 0 < len(name.encode()) < 16:
        return "a name has 1 to 15 characters"
    if name in (".", "..") or re.search(r"[/:\s]", name):
        return "a name has no spaces, / or :"
    return ""


# -- this host ---------------------------------------------------------------


def look_at_ports(report: Report, *, warning: bool) -> Iterator[Fault]:
    """Yield what keeps a configuration from being put in force on this host; *warning*: it is for another one."""
    settings = report.settings or Settings()
    for error, path in _not_here(settings):
        line = _line(report.root, path)
        yield Fault(error.what, error.remedy, path, line, warning=warning, passing=passes(error))


def _not_here(settings: Settings) -> Iterator[tuple[SnfError, str]]:
    read: dict[int, str] = {}
    for interface in settings.interfaces:
        path = f"/ietf-interfaces:interfaces/interface[name='{interface.name}']"
        try:
            link = links.find(interface)
            links.refuse_unread(interface, link)
            links.refuse_twice(interface, link)
            if interface.role is not Role.N4:
                links.refuse_unsafe(interface, link)
                links.refuse_claimed(link)
        except SnfError as error:
            yield error, path
            continue
        if (other := read.setdefault(link.ifindex, interface.name)) != interface.name:
            said = f"The port {link.name} has two roles: it is {other} and {interface.name}"
            yield SnfError(said, "Take one of them out."), path
    if settings.monitor is not None:
        try:
            links.find(Interface(settings.monitor.interface, Role.N6))
        except SnfError as error:
            yield error, "/snf-policies:policies/monitor"
    for listener in settings.export.listeners:
        above = "/snf-export:exporter" + f"/listener[name='{listener.name}']" * bool(listener.name)
        for leaf, endpoint in (("endpoint", listener.endpoint), ("snapshot-endpoint", listener.snapshot_endpoint)):
            try:
                check_endpoint(endpoint, "")
            except SnfError as error:
                yield error, f"{above}/{leaf}"


def look_at_memory(report: Report, allowed: int | None, *, warning: bool) -> None:
    """Add a fault when the tables have no room in the *allowed* bytes of the service, a warning when not all has."""
    path, limits = "/snf-function:network-function/limits", (report.settings or Settings()).limits
    if allowed is None:
        return
    try:
        memory.check(limits, allowed)
    except BadSettings as error:
        fault = Fault(error.what, error.remedy, path, _line(report.root, path), warning=warning)
    else:
        if not (said := memory.complaint(limits, allowed)):
            return
        fault = Fault(said, "", path, _line(report.root, path), warning=True)
    report.faults.append(fault)


# -- files beside it ----------------------------------------------------------


def look_beside(report: Report, users: Path | None, keys: Path) -> UsersFile | None:
    """Add what is wrong with a users file and with a folder of keys, and return the users."""
    known: UsersFile | None = None
    if users is not None:
        try:
            known, wrong = look_at_users(users)
        except SnfError as error:
            wrong = [error]
        report.faults += [Fault(each.what, each.remedy) for each in wrong]
        if known is not None and not wrong:
            report.faults += _of_users(users, known, b"ietf-netconf-acm" in report.document)
    with suppress(OSError):
        for path in sorted(keys.iterdir()):
            if path.is_file() and path.stat().st_mode & stat.S_IRWXO:
                report.faults.append(Fault(f"Everybody on this host can read the key {path}", f"chmod o= {path}"))
    return known


def _of_users(path: Path, users: UsersFile, rules: bool) -> Iterator[Fault]:
    if not users.keys:
        yield Fault(f"The users file {path} has no user, so nobody can log in", "Write a line NAME TYPE KEY.",
                    warning=True)  # fmt: skip
    elif (rules or users.groups) and "admin" not in frozenset[str]().union(*(users.groups or {}).values()):
        yield Fault(f"No user of {path} is in the group admin", 'Write a line NAME group="admin" TYPE KEY.',
                    warning=True)  # fmt: skip


# -- what a person and a program get to see ------------------------------------


def as_json(fault: Fault) -> dict[str, object]:
    """Return a fault as JSON has it."""
    said = {"severity": "warning" if fault.warning else "error", "message": f"{fault.what.rstrip('.')}."}
    more = {"remedy": fault.remedy, "path": _shown(fault.path), "line": fault.line}
    return said | {name: value for name, value in more.items() if value}


def lines(report: Report, name: str, users: UsersFile | None) -> Iterator[str]:
    """Yield what a person reads: each fault, and in the end what the configuration is, or how much is wrong."""
    for fault in sorted(report.faults, key=lambda fault: (fault.warning, fault.line == 0, fault.line)):
        place = f"{name}:{fault.line}" if fault.line else name
        yield f"{place}: {'warning: ' if fault.warning else ''}{fault.sentence}"
    errors, warnings = len(report.errors), len(report.faults) - len(report.errors)
    if errors:
        said = _count(errors, "error") + " or more" * (errors >= _MOST)
        yield f"{name} cannot be used: {said}, {_count(warnings, 'warning')}."
        return
    if report.settings is not None:
        yield f"{name} can be used: {_summary(report.settings, users)}."


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _summary(settings: Settings, users: UsersFile | None) -> str:
    ports = ", ".join(f"{i.name} ({i.role.value} {i.mode.value})" for i in settings.interfaces)
    curve = settings.export.curve
    bus = f"the bus at {settings.export.endpoint}"
    if curve is not None:
        bus += f" for {_count(len(curve.clients) + len(curve.consumers), 'client')} with a key"
    known = [f"{_count(len(users.keys), 'user')}"] if users is not None else []
    return "; ".join([ports or "no port", bus, *known])
