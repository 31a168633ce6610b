"""``snf get``, ``set``, ``diff``: the configuration of a running function by paths, as tables and JSON.

Requests are made of paths by the modules of this version (`mgmt.cli.paths`); here is no session and no terminal but
`show`, which prints.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lxml import etree

from mgmt.cli.paths import Path, leaves, merged, parse_path, reaches, set_value
from mgmt.netconf.model.schema import Kind
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.xml_names import NC, Doctype, elements, local, parse
from nf.errors import SnfError

if TYPE_CHECKING:
    from mgmt.cli.netconf_client import Client
    from mgmt.netconf.model.yang_model import Model

__all__ = ["REVISIONS", "Difference", "Edit", "before", "difference", "edit_of", "read", "show", "show_differences"]

_OPERATION = f"{NC}operation"


# -- reading ---------------------------------------------------------------------


def read(client: Client, model: Model, paths: Sequence[str], source: str) -> list[etree._Element]:
    """Return the top-level nodes at *paths*: of a datastore, or with ``state`` of running and state.

    Raises SnfError when nothing is there.
    """
    ways = [parse_path(model, text) for text in paths]
    wanted = _filter(model, ways)
    data = client.state(wanted) if source == "state" else client.config(wanted, source)
    found = list(elements(data))
    # A filter for a leaf that is not there selects the keys of its entry all the same (RFC 6241, 6.2.5).
    if wanted is not None and not any(reaches(found, way) for way in ways):
        raise SnfError(f"Nothing is at {' or '.join(paths)}.", "See what there is: snf get /")
    return found


def _filter(model: Model, paths: Sequence[Path]) -> str | None:
    """Return a subtree filter; None for everything."""
    if not paths or () in paths:
        return None
    wanted = etree.Element("filter")
    for path in paths:
        merged(model, wanted, path)
    return "".join(etree.tostring(e, encoding="unicode") for e in elements(wanted))


def show(model: Model, trees: Sequence[etree._Element], output: str) -> None:
    """Print nodes: a line of path and value each, JSON (RFC 7951) or XML."""
    if output == "xml":
        data = etree.Element(f"{NC}data", nsmap={None: NC[1:-1]})
        data.extend(trees)
        etree.indent(data)
        print(etree.tostring(data, encoding="unicode"))
    elif output == "json":
        try:
            print(json.dumps(json.loads(model.as_json(trees)), indent=2, ensure_ascii=False))
        except RpcError as error:
            raise SnfError(f"The function's answer is not of the modules of this version: {error.message}") from None
    else:
        _lines(leaves(model, trees))


def _lines(values: Mapping[str, str]) -> None:
    width = max(map(len, values), default=0)
    for path, value in values.items():
        print(f"{path:{width}}  {value}".rstrip())


# -- changing --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit of candidate: the top-level nodes as XML, and the default operation."""

    config: str
    default_operation: str = "merge"


def edit_of(model: Model, values: Sequence[tuple[str, str]], gone: Sequence[str], replace: bool) -> Edit:
    """Return the edit that gives paths their values and deletes others.

    A value that begins with @ is XML, without the @: the content of a node, or for ``/`` whole top-level nodes.
    *replace*: what the nodes had goes. Raises SnfError.
    """
    config = etree.Element(f"{NC}config", nsmap={None: NC[1:-1], "nc": NC[1:-1]})
    everything = False
    for text, value in values:
        path = parse_path(model, text)
        everything = everything or not path
        _check_place(path, text)
        target = merged(model, config, path)
        if value.startswith("@"):
            _fill(target, value[1:].encode(), path)
        elif not path:
            raise SnfError("/ has no value.", "Give its nodes as XML: snf set / @FILE")
        elif "." not in path[-1].keys:
            target = set_value(model, target, value)
        if replace and path:
            target.set(_OPERATION, "replace")
    for text in gone:
        path = parse_path(model, text)
        if not path:
            raise SnfError("/ cannot be deleted.", "Delete what is below it.")
        _check_place(path, text)
        merged(model, config, path).set(_OPERATION, "delete")
    inner = "".join(etree.tostring(e, encoding="unicode") for e in elements(config))
    return Edit(inner, "replace" if replace and everything else "merge")


def _check_place(path: Path, text: str) -> None:
    if not path:
        return
    node, keys = path[-1].node, path[-1].keys
    if node.kind is Kind.LIST and len(keys) < len(node.keys):
        missing = next(key for key in node.keys if key not in keys)
        raise SnfError(f"{text} is a list.", f"Name an entry: {text}[{missing}='...']")
    if node.name in (path[-2].node.keys if len(path) > 1 else ()):
        raise SnfError(f"{text} is a key, which cannot be changed.", "Delete the entry and set another one.")


def _fill(target: etree._Element, document: bytes, path: Path) -> None:
    """Put the nodes of a document below a node: of ``config`` or ``data``, of the node itself, or its children."""
    try:
        root = parse(document, huge=True)
    except (etree.XMLSyntaxError, Doctype) as error:
        line = getattr(error, "lineno", None)
        raise SnfError(f"The value is not well-formed XML{f', line {line}' if line else ''}.") from None
    if not path:
        target.extend(list(elements(root)) if local(root) in ("config", "data") else [root])
        return
    if root.tag != target.tag:
        raise SnfError(f"The XML is a {local(root)}.", f"Give the element {path[-1].node.name}.")
    keys = {local(child) for child in elements(target)}
    target.extend([child for child in elements(root) if local(child) not in keys])


# -- revisions -------------------------------------------------------------------

_SPACE = "urn:supernetflow:yang:snf-revisions"
REVISIONS = f'<revisions xmlns="{_SPACE}"/>'


def before(data: etree._Element) -> int:
    """Return the number of the revision before the current one, of an element ``data``. Raises SnfError."""
    current = int(data.findtext(f".//{{{_SPACE}}}current") or 0)
    kept = [int(number.text or 0) for number in data.iter(f"{{{_SPACE}}}number")]
    earlier = [number for number in kept if number < current]
    if not earlier:
        raise SnfError("The function keeps no earlier revision.")
    return max(earlier)


# -- comparing -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that a commit would change; None where there is none."""

    path: str
    old: str | None
    new: str | None


def difference(
    model: Model, running: Iterable[etree._Element], candidate: Iterable[etree._Element]
) -> list[Difference]:
    """Return the values in which two configurations differ, by path; deleted ones last."""
    was, now = leaves(model, running), leaves(model, candidate)
    changed = [Difference(path, was.get(path), value) for path, value in now.items() if was.get(path) != value]
    return changed + [Difference(path, value, None) for path, value in was.items() if path not in now]


def show_differences(found: Sequence[Difference], output: str) -> None:
    """Print a line for each, with the sign of diff; or a JSON object."""
    for one in found:
        if output == "json":
            print(json.dumps(asdict(one), separators=(",", ":"), ensure_ascii=False))
            continue
        if one.old is not None:
            print(f"- {one.path}  {one.old}".rstrip())
        if one.new is not None:
            print(f"+ {one.path}  {one.new}".rstrip())
