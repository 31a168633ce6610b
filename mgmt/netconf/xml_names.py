"""XML names of NETCONF, and the data paths in its errors.

A path is written as libyang and `nf.errors.BadSettings` write it (RFC 7951, 6.11):
``/snf-policies:policies/policy[name='a']/action``, a module's name where it changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

from lxml import etree

__all__ = ["BASE", "NC", "Doctype", "date_and_time", "elements", "local", "parse", "qualified_path", "step"]

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
NC = f"{{{BASE}}}"

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


def date_and_time(moment: datetime) -> str:
    """Return a time as YANG writes it (RFC 6991, date-and-time), to the microsecond."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
