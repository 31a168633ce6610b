"""Paths of the configuration in the form of errors, and the elements that they stand for.

/snf-policies:policies/policy[name='a']/action       an entry of a list has all its keys
/policies/policy[name='a']                           a module may be left out where one node has the name
/                                                    everything
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lxml import etree

from mgmt.netconf.model.schema import Kind, SchemaNode, list_keys
from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.xml_names import NC, elements, step
from nf.errors import SnfError

__all__ = ["Path", "Step", "completions", "leaves", "merged", "parse_path", "reaches", "set_value"]

_STEP = re.compile(r"/(?:(?P<module>[\w.-]+):)?(?P<name>[\w.-]+)(?P<keys>(?:\[(?:[^\]\"']|\"[^\"]*\"|'[^']*')*\])*)")
_KEY = re.compile(r"\[\s*(?:[\w.-]+:)?(?P<name>[\w.-]+)\s*=\s*(?:\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)')\s*\]")


@dataclass(frozen=True, slots=True)
class Step:
    """One node of a path, and the values of its keys as far as they were given."""

    node: SchemaNode
    keys: Mapping[str, str] = field(default_factory=dict)


Path = Sequence[Step]
"""The way from the top to a node; empty for everything."""


def parse_path(model: Model, text: str) -> Path:
    """Return the steps of a path. Raises SnfError with the place where it is wrong."""
    if text == "/":
        return ()
    steps: list[Step] = []
    nodes, at = model.top, 0
    for found in _STEP.finditer(text):
        if found.start() != at:
            break
        at = found.end()
        node = _node(nodes, found["module"], found["name"], steps, text[: found.start()])
        steps.append(Step(node, _keys(node, found["keys"], text[:at])))
        nodes = node.children
    if at != len(text) or not steps:
        raise SnfError(f"{text} is no path.", "Write it as: /snf-policies:policies/policy[name='a']/action")
    return steps


def _node(nodes: Mapping[str, SchemaNode], module: str | None, name: str, above: Path, where: str) -> SchemaNode:
    found = [n for n in nodes.values() if n.name == name and module in (None, n.module.name)]
    if len(found) > 1:  # a name without a module is of the module of the node above
        found = [n for n in found if above and n.module is above[-1].node.module] or found
    if len(found) == 1:
        return found[0]
    if found:
        raise SnfError(f"{name} is in several modules.", f"Write {where}/{found[0].module.name}:{name}.")
    known = ", ".join(sorted(_written(n, nodes) for n in nodes.values())) or "nothing"
    raise SnfError(f"There is no {name} at {where or '/'}.", f"There is: {known}.")


def _written(node: SchemaNode, among: Mapping[str, SchemaNode]) -> str:
    """Return a name as short as it may be."""
    several = sum(n.name == node.name for n in among.values()) > 1
    return f"{node.module.name}:{node.name}" if several else node.name


def _keys(node: SchemaNode, text: str, where: str) -> dict[str, str]:
    given = {k["name"]: k["double"] if k["double"] is not None else k["single"] for k in _KEY.finditer(text)}
    known = node.keys if node.kind is Kind.LIST else (".",) if node.kind is Kind.LEAF_LIST else ()
    if _KEY.sub("", text) or given.keys() - set(known):
        has = f"keys: {', '.join(known)}" if known else "no keys"
        raise SnfError(f"The keys of {where} cannot be read.", f"{node.name} has {has}.")
    return given


def completions(model: Model, text: str) -> Iterator[str]:
    """Yield the paths that go one step on from the beginning of one."""
    above, _, begun = text.rpartition("/")
    try:
        nodes = parse_path(model, above)[-1].node.children if above else model.top
    except SnfError:
        return
    for node in nodes.values():
        name = _written(node, nodes)
        for way in dict.fromkeys((name, f"{node.module.name}:{node.name}")):
            if way.startswith(begun) and (begun or way == name):
                yield f"{above}/{way}"


# -- elements --------------------------------------------------------------------


def merged(model: Model, parent: etree._Element, path: Path) -> etree._Element:
    """Return the element of a path below *parent*; what is not there is made, keys first. Raises SnfError."""
    here = ""
    for number, at in enumerate(path):
        here = step(here, at.node.name, at.node.module_if_new, tuple(at.keys.items()))
        last = number == len(path) - 1
        if at.node.kind is Kind.LIST and len(at.keys) < len(at.node.keys) and not last:
            missing = ", ".join(key for key in at.node.keys if key not in at.keys)
            raise SnfError(f"{here} needs its key {missing}.", f"Write it as {here}[{missing}='...'].")
        parent = _child(model, parent, at)
    return parent


def _child(model: Model, parent: etree._Element, at: Step) -> etree._Element:
    for child in elements(parent):
        if child.tag == at.node.tag and dict(list_keys(at.node, child)) == dict(at.keys):
            return child
    child = etree.SubElement(parent, at.node.tag, nsmap={None: at.node.module.namespace, "nc": NC[1:-1]})
    for key in at.node.keys:
        if key in at.keys:
            set_value(model, _under(child, at.node.child(key)), at.keys[key])
    return set_value(model, child, at.keys["."]) if "." in at.keys else child


def _under(parent: etree._Element, node: SchemaNode) -> etree._Element:
    return etree.SubElement(parent, node.tag, nsmap={None: node.module.namespace})


def set_value(model: Model, element: etree._Element, value: str) -> etree._Element:
    """Give a leaf its text and return it; a module's name before a colon becomes a prefix (RFC 7951, 6.8)."""
    module, colon, _ = value.partition(":")
    space = model.namespace(module) if colon else None
    if space and element.getparent() is not None:
        fresh = etree.Element(element.tag, nsmap={**element.nsmap, module: space})
        element.getparent().replace(element, fresh)
        element = fresh
    element.text = value
    return element


def reaches(trees: Iterable[etree._Element], path: Path) -> bool:
    """Say if the node of a path is among these or below them."""
    here, below = path[0], path[1:]
    fitting = [
        e for e in trees if e.tag == here.node.tag and here.keys.items() <= dict(list_keys(here.node, e)).items()
    ]
    return any(not below or reaches(elements(e), below) for e in fitting)


def leaves(model: Model, trees: Iterable[etree._Element]) -> dict[str, str]:
    """Return the values below top-level nodes by path; "" for a node that has none and means something by being there.

    Raises SnfError when a node is not in the modules.
    """
    found: dict[str, str] = {}
    for tree in trees:
        _collect(model, model.top, tree, "", found)
    return found


def _collect(
    model: Model, nodes: Mapping[str, SchemaNode], element: etree._Element, above: str, found: dict[str, str]
) -> None:
    node = nodes.get(element.tag)
    if node is None:
        raise SnfError(f"The function has {element.tag} at {above or '/'}, which the modules of this version have not.")
    keys = list_keys(node, element) if node.kind is Kind.LIST else ()
    here = step(above, node.name, node.module_if_new, keys)
    if node.kind is Kind.LEAF_LIST:
        value = _text(model, node, element)
        found[step(above, node.name, node.module_if_new, ((".", value),))] = value
    elif node.kind is Kind.LEAF:
        found[here] = _text(model, node, element)
    else:
        inner = [child for child in elements(element) if _is_more(node, child)]
        for child in inner:
            _collect(model, node.children, child, here, found)
        if not inner and (node.kind is Kind.LIST or node.presence):
            found[here] = ""


def _is_more(node: SchemaNode, child: etree._Element) -> bool:
    """Say if a child is no key, which the path has already."""
    known = node.children.get(child.tag)
    return known is None or known.name not in node.keys


def _text(model: Model, node: SchemaNode, element: etree._Element) -> str:
    text = element.text or ""
    prefix, colon, name = text.partition(":")
    module = model.module_of(element.nsmap.get(prefix)) if node.identity and colon else None
    return f"{module}:{name}" if module else text
