"""The error that RFC 7950 (8.3 and 15) asks for, from the findings of a validation by libyang.

libyang says it in sentences that may repeat a value; those are read here and replaced. Only the
error-message statements of the modules pass through.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from lxml import etree

from mgmt.netconf.model.schema import Kind, SchemaNode, list_keys
from mgmt.netconf.rpcerror import RpcError, bad_element, missing_element, unknown_element
from mgmt.netconf.xml_names import elements, step

__all__ = ["constraint_error", "instances"]

_Match = re.Match[str]


def _unique(m: _Match, path: str) -> RpcError:
    # A leaf in a choice is written with the names of choice and case, which are no data nodes.
    leaves = [leaf.rpartition("/")[2] for leaf in m["leaves"].split()]
    return RpcError(
        "operation-failed",
        f"Another entry has the same {' and '.join(leaves)}.",
        path=path or m["two"],
        app_tag="data-not-unique",
        info=[("non-unique", f"{entry}/{leaf}") for entry in (m["one"], m["two"]) for leaf in leaves],
    )


def _choice(m: _Match, path: str) -> RpcError:
    return RpcError(
        "data-missing",
        f"One of the alternatives of {m['name']} has to be given.",
        path=path,
        app_tag="missing-choice",
        info=[("missing-choice", m["name"])],
    )


def _number(m: _Match, path: str) -> RpcError:
    return RpcError(
        "operation-failed", f"There are too {m['what']} entries.", path=path, app_tag=f"too-{m['what']}-elements"
    )


def _leafref(_: _Match, path: str) -> RpcError:
    said = f"{path.rpartition('/')[2]} refers to something that is not there."
    return RpcError("data-missing", said, path=path, app_tag="instance-required")


_CASES: tuple[tuple[re.Pattern[str], Callable[[_Match, str], RpcError]], ...] = (
    (
        re.compile(r'Unique data leaf\(s\) "(?P<leaves>[^"]*)" not satisfied in "(?P<one>.*)" and "(?P<two>.*)"\.$'),
        _unique,
    ),
    (re.compile(r'Mandatory choice "(?P<name>[^"]+)" '), _choice),
    (
        re.compile(r'Mandatory node "(?P<name>[^"]+)" '),
        lambda m, path: RpcError("data-missing", f"{m['name']} has to be given.", path=path),
    ),
    (
        re.compile(r'Data for both cases "(?P<one>[^"]+)" and "(?P<two>[^"]+)"'),
        lambda m, path: bad_element(m["two"], f"Only one of {m['one']} and {m['two']} can be given.", path),
    ),
    (re.compile(r"Invalid leafref value "), _leafref),
    # The form of each value was checked with the edit: what is left of a union here is a reference.
    (re.compile(r'Invalid union value ".*" - no matching subtype found'), _leafref),
    (re.compile(r"Too (?P<what>many|few) "), _number),
    (
        re.compile(r'When condition "'),
        lambda _, path: unknown_element(path.rpartition("/")[2], "It has no meaning with the rest as it is.", path),
    ),
    (
        re.compile(r'Duplicate instance of "(?P<name>[^"]+)"'),
        lambda m, path: RpcError("data-exists", f"{m['name']} is there twice.", path=path),
    ),
    (
        re.compile(r'List instance is missing its key "(?P<name>[^"]+)"'),
        lambda m, path: missing_element(m["name"], f"The key {m['name']} has to be given.", path),
    ),
    (
        re.compile(r'Node "(?P<name>[^"]+)" not found'),
        lambda m, path: unknown_element(m["name"], f"There is no {m['name']} here.", path),
    ),
    (
        re.compile(r"Must condition "),
        lambda _, path: RpcError("operation-failed", "A condition is not met.", path=path, app_tag="must-violation"),
    ),
)

_LOCATION = re.compile(r'(?P<kind>Data|Schema) location "(?P<path>[^"]*(?:"[^"]*"[^"]*)*)"')


def constraint_error(
    found: list[tuple[str, str, str]], tree: etree._Element, top: Mapping[str, SchemaNode]
) -> RpcError:
    """Return the error for what libyang *found*, a list of (sentence, location, app-tag), in *tree*."""
    said, where, app_tag = found[-1] if found else ("", "", "")
    path = _path(where, tree, top)
    for pattern, make in _CASES:
        if m := pattern.match(said):
            return make(m, path)
    if app_tag:
        # The error-message of a must, with the error-app-tag beside it.
        return RpcError("operation-failed", said, path=path, app_tag=app_tag)
    return RpcError("invalid-value", "The value is not valid.", path=path)


def _path(where: str, tree: etree._Element, top: Mapping[str, SchemaNode]) -> str:
    m = _LOCATION.search(where)
    if m is None:
        return ""
    return m["path"] if m["kind"] == "Data" else _instance_path(m["path"], tree, top)


def instances(
    tree: etree._Element, nodes: Mapping[str, SchemaNode], path: str = ""
) -> Iterator[tuple[str, etree._Element, SchemaNode]]:
    """Yield (data path, element, schema) of all nodes, parents first."""
    for element in elements(tree):
        node = nodes.get(element.tag)
        if node is None:
            continue
        keys = list_keys(node, element) if node.kind in (Kind.LIST, Kind.LEAF_LIST) else ()
        here = step(path, node.name, node.module_if_new, keys)
        yield here, element, node
        yield from instances(element, node.children, here)


def _instance_path(schema_path: str, tree: etree._Element, top: Mapping[str, SchemaNode]) -> str:
    """Return the path of a missing node, which libyang names by its place in the schema only.

    The path is that of the missing node, or of its parent when it is a choice.
    """
    parent, _, last = schema_path.rpartition("/")
    last = last.rpartition(":")[2]
    for path, element, node in instances(tree, top):
        if re.sub(r"\[(?:[^\]'\"]|'[^']*'|\"[^\"]*\")*\]", "", path) != parent:
            continue
        present = {node.children[c.tag].name for c in elements(element) if c.tag in node.children}
        cases = [c.case for c in node.children.values() if c.case and c.name in present and c.case[0] == last]
        if last in (c.name for c in node.children.values()):
            if last not in present:
                child = next(c for c in node.children.values() if c.name == last)
                return step(path, last, child.module_if_new)
        elif len(set(cases)) != 1:
            return path
    return schema_path
