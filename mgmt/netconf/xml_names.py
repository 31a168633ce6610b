"""XML names of NETCONF, and the data paths in its errors.

A path is written as libyang and `nf.errors.BadSettings` write it (RFC 7951, 6.11):
``/snf-policies:policies/policy[name='a']/action``, a module's name where it changes.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from lxml import etree

__all__ = [
    "BASE",
    "NC",
    "NMDA",
    "Doctype",
    "PathStep",
    "date_and_time",
    "detached",
    "elements",
    "local",
    "parse",
    "path_steps",
    "qualified_path",
    "step",
    "steps_to",
    "wall_time",
    "with_modules",
    "with_prefixes",
    "without_predicates",
]

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
NC = f"{{{BASE}}}"
NMDA = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda"

_STEP = re.compile(r"/(?:(?P<module>[\w.-]+):)?(?P<name>[\w.*-]+)(?P<keys>(?:\[(?:[^\]\"']|\"[^\"]*\"|'[^']*')*\])*)")
_KEY = re.compile(r"\[\s*(?:(?P<module>[\w.-]+):)?(?P<name>[\w.-]+)(?P<rest>\s*=\s*(?:\"[^\"]*\"|'[^']*')\s*\])")


class Doctype(ValueError):
    """A message carries a document type declaration, which NETCONF forbids (RFC 6241, 3)."""


def parse(message: bytes, *, huge: bool = False) -> etree._Element:
    """Parse one XML document: no entities, no network, no DOCTYPE.

    Raises etree.XMLSyntaxError, or `Doctype`.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=huge)
    root = etree.fromstring(message, parser)
    if root.getroottree().docinfo.internalDTD is not None or root.getroottree().docinfo.doctype:
        raise Doctype("a message must not contain a DOCTYPE")
    return root


def elements(parent: etree._Element) -> Iterator[etree._Element]:
    """Yield the child elements: no comments, no processing instructions."""
    return (child for child in parent if isinstance(child.tag, str))


def detached(element: etree._Element) -> etree._Element:
    """Return a copy with all prefixes that are in scope: values of identities, and XPath, need those."""
    copied = etree.Element(element.tag, attrib=dict(element.attrib), nsmap=element.nsmap)
    copied.text = element.text
    copied.extend([copy.deepcopy(child) for child in elements(element)])
    return copied


def local(element: etree._Element) -> str:
    """Return the name of an element without its namespace."""
    return str(etree.QName(element).localname)


def step(parent: str, name: str, module: str = "", keys: tuple[tuple[str, str], ...] = ()) -> str:
    """Append a step to a path; *module* is given where it differs from the parent's."""
    predicates = "".join(f"[{key}={_quoted(value)}]" for key, value in keys)
    return f"{parent}/{module}{':' if module else ''}{name}{predicates}"


def _quoted(value: str) -> str:
    return f"'{value}'" if "'" not in value else f'"{value}"'


def _with_prefix(module: str, key: re.Match[str]) -> str:
    # The value of a leaf-list entry is written as "."; it has no prefix.
    name = key["name"] if key["name"] == "." else f"{key['module'] or module}:{key['name']}"
    return f"[{name}{key['rest']}"


def qualified_path(path: str, namespace: Callable[[str], str | None]) -> tuple[str, dict[str | None, str]]:
    """Return *path* with a prefix at every name, and the prefixes, as an error-path needs them (RFC 6241, 4.3).

    *namespace* gives the namespace of a module. A path of another form comes back as it is.
    """
    out, module, at = "", "", 0
    prefixes: dict[str | None, str] = {}
    for found in _STEP.finditer(path):
        if found.start() != at:
            return path, {}
        at, module = found.end(), found["module"] or module
        space = namespace(module)
        if space is None:
            return path, {}
        prefixes[module] = space
        keys = _KEY.sub(partial(_with_prefix, module), found["keys"])
        out += f"/{module}:{found['name']}{keys}"
    return (out, prefixes) if at == len(path) and out else (path, {})


def wall_time(seconds: float) -> str:
    """Return a time since the epoch as YANG writes it, to the second."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def date_and_time(moment: datetime) -> str:
    """Return a time as YANG writes it (RFC 6991, date-and-time), to the microsecond."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class PathStep:
    """One step of a path: the module and name of its node, and the (name, value) that its predicates ask for."""

    module: str
    name: str
    keys: tuple[tuple[str, str], ...] = ()


_PREDICATE = re.compile(
    r"\[\s*(?:[\w.-]+:)?(?P<name>[\w.-]+)\s*=\s*(?:\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)')\s*\]"
)


def path_steps(path: str) -> tuple[PathStep, ...] | None:
    """Return the steps of a path, None when it is none."""
    out: list[PathStep] = []
    at, module = 0, ""
    for found in _STEP.finditer(path):
        if found.start() != at:
            return None
        at, module = found.end(), found["module"] or module
        keys = tuple((k["name"], k["double"] or k["single"] or "") for k in _PREDICATE.finditer(found["keys"]))
        if _PREDICATE.sub("", found["keys"]):
            return None
        out.append(PathStep(module, found["name"], keys))
    return tuple(out) if at == len(path) and out else None


def with_prefixes(path: str, module_of: Callable[[str], str | None]) -> str | None:
    """Return an instance-identifier in the form of `qualified_path`; *module_of* gives the module of a prefix.

    None when it is none, or has a prefix of no module. The path of all nodes is ``/``.
    """
    path = path.strip()
    steps = path_steps(path)
    if path == "/" or steps is None:
        return path if path == "/" else None
    out, prefix = "", None
    for each in steps:
        if each.module != prefix:
            prefix, module = each.module, module_of(each.module)
        if not module:
            return None
        keys = "".join(f"[{k if k == '.' else f'{module}:{k}'}={_quoted(v)}]" for k, v in each.keys)
        out += f"/{module}:{each.name}{keys}"
    return out


def with_modules(path: str) -> str:
    """Return a path of `with_prefixes` with the name of a module where it changes only, as JSON has it."""
    out, module = "", ""
    for each in path_steps(path) or ():
        keys = "".join(f"[{name}={_quoted(value)}]" for name, value in each.keys)
        out += f"/{each.module + ':' if each.module != module else ''}{each.name}{keys}"
        module = each.module
    return out or path


def without_predicates(path: str) -> str:
    """Return a path without keys and values."""
    return _STEP.sub(lambda m: f"/{m['module']}:{m['name']}" if m["module"] else f"/{m['name']}", path)


def steps_to(root: etree._Element, path: str) -> Iterator[etree._Element]:
    """Yield the elements on the way to a path, as far as they are there."""
    here = root
    for each in path_steps(path) or ():
        found = next((child for child in elements(here) if _is(child, each)), None)
        if found is None:
            return
        here = found
        yield here


def _is(element: etree._Element, wanted: PathStep) -> bool:
    if local(element) != wanted.name:
        return False
    for name, value in wanted.keys:
        text = element.text if name == "." else element.findtext(f"{{*}}{name}")
        if (text or "").strip() != value:
            return False
    return True
