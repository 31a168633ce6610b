"""Filters of get and get-config: subtree (RFC 6241, 6) and XPath (8.9).

A tree and a filter in, a new tree out that holds the selected nodes, their ancestors, and the keys of
the list entries on the way, so that each entry can be identified.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice

from lxml import etree

from mgmt.netconf.budget import Budget
from mgmt.netconf.model.schema import Kind, SchemaNode
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.xml_names import BASE, elements
from mgmt.netconf.xpath import evaluate

__all__ = ["filter_subtree", "filter_xpath", "levels"]

_WHOLE, _PART = True, False
_LONG = 8  # entries from which an index is worth it
_Selected = dict[etree._Element, bool]
Nodes = Mapping[str, SchemaNode]


def filter_subtree(
    tree: etree._Element, subtree: etree._Element, top: Nodes, budget: Budget | None = None, depth: int | None = None
) -> etree._Element:
    """Return the nodes that a subtree filter selects, none without content. *subtree* is the element ``filter``.

    Of each selected node *depth* levels are returned, all without it. Raises RpcError (too-big, resource-denied) when
    it costs more than the budget.
    """
    budget = budget or Budget()
    budget.nodes(sum(1 for _ in islice(subtree.iterdescendants(), budget.NODES + 1)))
    choice = _Choice(budget)
    for each in elements(subtree):
        for data in elements(tree):
            if _same_name(each, data):
                choice.select(each, data)
    return _build(tree, choice.selected, top, depth)


@lru_cache(maxsize=4096)
def _parted(tag: str) -> tuple[str | None, str]:
    """Return namespace and name of a tag, as lxml writes it."""
    namespace, brace, name = tag.rpartition("}")
    return (namespace[1:], name) if brace else (None, name)


def _same_name(wanted: etree._Element, data: etree._Element) -> bool:
    """Match names; a filter without namespace matches every namespace (6.2.1), attributes have to agree (6.2.2)."""
    (namespace, name), (other_namespace, other) = _parted(wanted.tag), _parted(data.tag)
    # An element that declares no namespace inherits that of NETCONF itself.
    anywhere = namespace in (None, BASE)
    if name != other or not (anywhere or namespace == other_namespace):
        return False
    return not wanted.attrib or all(data.get(attribute) == value for attribute, value in wanted.attrib.items())


def _is_content_match(wanted: etree._Element) -> bool:
    return not len(wanted) and bool((wanted.text or "").strip())


def _same_value(wanted: etree._Element, data: etree._Element) -> bool:
    return len(data) == 0 and _expanded(wanted) == _expanded(data)


def _expanded(element: etree._Element) -> str:
    """Return the value; a known prefix, as of an identity, is replaced by its namespace (RFC 7950, 9.10.3)."""
    text = (element.text or "").strip()
    prefix, colon, name = text.partition(":")
    namespace = element.nsmap.get(prefix) if colon else None
    return f"{{{namespace}}}{name}" if namespace else text


class _Choice:
    """The nodes that are selected, and the work that went into it."""

    def __init__(self, budget: Budget) -> None:
        self.selected: _Selected = {}
        self._budget = budget

    def select(self, wanted: etree._Element, data: etree._Element) -> bool:
        """Mark the nodes that *wanted* selects in *data*, whose name it matches; say if there are any."""
        self._budget.check()
        if _is_content_match(wanted):
            found = _same_value(wanted, data)
        elif next(elements(wanted), None) is not None:
            return self._select_inside(wanted, data)
        else:
            found = True
        if found:
            self.selected[data] = _WHOLE
        return found

    def _select_inside(self, wanted: etree._Element, data: etree._Element) -> bool:
        matches = [w for w in elements(wanted) if _is_content_match(w)]
        others = [w for w in elements(wanted) if not _is_content_match(w)]
        inside = _Inside(data, self._budget)
        hits = [[d for d in inside.named(w) if _same_value(w, d)] for w in matches]
        if not all(hits):  # all of them have to be true (6.2.5)
            return False
        if not others:
            self.selected[data] = _WHOLE
            return True
        found = [self.select(w, d) for w in others for d in inside.candidates(w)]
        self.selected.update({leaf: _WHOLE for hit in hits for leaf in hit})
        if any(found) or matches:
            self.selected.setdefault(data, _PART)
            return True
        return False


class _Inside:
    """The children of an element by name, and those of a long list by the value of a leaf, so that each is found."""

    def __init__(self, data: etree._Element, budget: Budget) -> None:
        self._budget = budget
        self._by_name: dict[str, list[etree._Element]] = {}
        self._by_value: dict[tuple[str, str], dict[str, list[etree._Element]]] = {}
        for child in elements(data):
            self._by_name.setdefault(_parted(child.tag)[1], []).append(child)

    def named(self, wanted: etree._Element) -> Iterator[etree._Element]:
        """Yield the children whose name *wanted* matches."""
        self._budget.check()
        return (d for d in self._by_name.get(_parted(wanted.tag)[1], ()) if _same_name(wanted, d))

    def candidates(self, wanted: etree._Element) -> Iterator[etree._Element]:
        """Yield the same, without those that have no leaf of the first value that *wanted* asks for."""
        name = _parted(wanted.tag)[1]
        match = next((w for w in elements(wanted) if _is_content_match(w)), None)
        if match is None or len(self._by_name.get(name, ())) < _LONG:
            return self.named(wanted)
        leaf = _parted(match.tag)[1]
        index = self._by_value.get((name, leaf))
        if index is None:
            index = self._by_value[name, leaf] = self._index(name, leaf)
        return (d for d in index.get(_expanded(match), ()) if _same_name(wanted, d))

    def _index(self, name: str, leaf: str) -> dict[str, list[etree._Element]]:
        found: dict[str, list[etree._Element]] = {}
        for entry in self._by_name[name]:
            self._budget.check()
            for child in elements(entry):
                if _parted(child.tag)[1] == leaf and not len(child):
                    entries = found.setdefault(_expanded(child), [])
                    if not entries or entries[-1] is not entry:
                        entries.append(entry)
        return found


def levels(tree: etree._Element, top: Nodes, depth: int) -> etree._Element:
    """Return so many levels of all top-level nodes."""
    return _build(tree, dict.fromkeys(elements(tree), _WHOLE), top, depth)


def _build(tree: etree._Element, selected: _Selected, nodes: Nodes, depth: int | None) -> etree._Element:
    """Return a copy of *tree* with the selected nodes, and the keys beside them."""
    result = etree.Element(tree.tag, attrib=tree.attrib, nsmap=tree.nsmap)
    result.text = tree.text if not len(tree) else None
    if depth is None:
        _copy_selected(tree, result, selected, nodes, ())
    else:
        _copy_levels(tree, result, selected, nodes, (), (depth, 0))
    return result


def _copy_selected(
    source: etree._Element, target: etree._Element, selected: _Selected, nodes: Nodes, keys: tuple[str, ...]
) -> None:
    for child in elements(source):
        node = nodes.get(child.tag)
        mark = selected.get(child)
        if mark is _WHOLE or (node is not None and node.name in keys):
            whole = copy.deepcopy(child)
            whole.tail = None
            target.append(whole)
        elif mark is _PART:
            part = etree.SubElement(target, child.tag, attrib=child.attrib, nsmap=child.nsmap)
            _copy_selected(child, part, selected, node.children if node else {}, _keys(node))


def _copy_levels(
    source: etree._Element,
    target: etree._Element,
    selected: _Selected,
    nodes: Nodes,
    keys: tuple[str, ...],
    levels: tuple[int, int],
) -> None:
    """Copy as `_copy_selected` does; *levels* are those of a selected node, and those that are left of one above."""
    depth, left = levels
    for child in elements(source):
        node, mark = nodes.get(child.tag), selected.get(child)
        here = depth if mark is _WHOLE else left
        if here > 0 or mark is _PART or (node is not None and node.name in keys):
            part = etree.SubElement(target, child.tag, attrib=child.attrib, nsmap=child.nsmap)
            part.text = child.text if not len(child) else None
            below = (depth, max(0, here - 1))
            _copy_levels(child, part, selected, node.children if node else {}, _keys(node), below)


def _keys(node: SchemaNode | None) -> tuple[str, ...]:
    return node.keys if node is not None and node.kind is Kind.LIST else ()


def filter_xpath(
    tree: etree._Element,
    select: str,
    namespaces: Mapping[str | None, str],
    top: Nodes,
    budget: Budget | None = None,
    depth: int | None = None,
) -> etree._Element:
    """Return the nodes that an XPath 1.0 expression selects. Its root has the top-level nodes as children.

    *namespaces* are the prefixes in scope at the element ``filter``; *depth* is that of `filter_subtree`. Raises
    RpcError (invalid-value) when the expression is wrong or is no node set, (too-big, resource-denied) when it costs
    more than the budget.
    """
    budget = budget or Budget()
    budget.nodes(sum(1 for _ in islice(_tokens(select), budget.NODES + 1)))
    prefixes = {prefix: uri for prefix, uri in namespaces.items() if prefix}
    answer = evaluate(_below_root(select), prefixes, etree.tostring(tree), budget)
    if "wrong" in answer:
        raise _bad_select(_WRONG[answer["wrong"]])
    selected: _Selected = {}
    for node in _numbered(tree, answer["found"]):
        if node is tree:
            selected.update(dict.fromkeys(elements(tree), _WHOLE))
            continue
        selected[node] = _WHOLE
        for ancestor in node.iterancestors():
            selected.setdefault(ancestor, _PART)
    return _build(tree, selected, top, depth)


_WRONG = {
    "expression": "The select expression is not XPath 1.0, or has an unknown prefix or function.",
    "nodes": "The select expression has to select nodes.",
    "elements": "The select expression has to select elements.",
}


def _numbered(tree: etree._Element, numbers: Sequence[int]) -> Iterator[etree._Element]:
    """Yield the elements of these numbers, in document order."""
    wanted = set(numbers)
    for number, element in enumerate(tree.iter(etree.Element)):
        if number in wanted:
            yield element


def _bad_select(message: str) -> RpcError:
    return RpcError(
        "invalid-value", message, kind="protocol", info=[("bad-attribute", "select"), ("bad-element", "filter")]
    )


_TOKEN = re.compile(r"\s*(\"[^\"]*\"|'[^']*'|::|//|\.\.|!=|<=|>=|[\w.-]+(?::(?!:)[\w*-][\w.-]*)?|.)", re.DOTALL)
_OPERAND_FOLLOWS = frozenset(["@", "::", "(", "[", ",", "and", "or", "div", "mod", *"*/|+-=<>", "//", "!=", "<=", ">="])


def _tokens(expression: str) -> Iterator[str]:
    for found in _TOKEN.finditer(expression):
        if found[1].strip():
            yield found[1]


def _below_root(expression: str) -> str:
    """Return the expression with ``$root`` at the start of each absolute path.

    The tree has several top-level nodes and so is the child of an element that an absolute path
    would have to name.
    """
    out: list[str] = []
    operand = True  # the next token begins an operand (XPath 1.0, 3.7)
    for token in _tokens(expression):
        if token in ("/", "//") and operand and (not out or out[-1] not in ("/", "//")):
            out.append("$root")
        out.append(token)
        is_operator = not operand and token in _OPERAND_FOLLOWS
        operand = is_operator or token in ("@", "::", "(", "[", ",", "/", "//", "-")
    text = " ".join(out)
    # A lone "/" selects the root itself.
    return re.sub(r"\$root / (?=$|[|)\]=,])|\$root /$", "$root ", text)
