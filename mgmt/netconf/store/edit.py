"""edit-config on a tree (RFC 6241, 7.2): a tree and an edit in, a new tree out.

A tree is an element ``config`` of NETCONF whose descendants are in canonical form: one namespace
declaration where the module changes, canonical values, keys first, no empty containers. The tree
that is given is never changed, so undoing an edit is keeping the old one.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cache

from lxml import etree

from mgmt.netconf.model.schema import Kind, SchemaNode, list_keys
from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.rpcerror import RpcError, bad_element, missing_element, unknown_element
from mgmt.netconf.xml_names import NC, elements, local, path_steps, step

__all__ = ["DEFAULT_OPERATIONS", "apply_edit", "empty_tree"]

DEFAULT_OPERATIONS = ("merge", "replace", "none")
_OPERATIONS = ("merge", "replace", "create", "delete", "remove")
_REMOVING = ("delete", "remove")
_OPERATION = f"{NC}operation"


def empty_tree() -> etree._Element:
    """Return a tree without a node."""
    return etree.Element(f"{NC}config", nsmap={"nc": NC[1:-1]})


@dataclass
class _Walk:
    """One edit. ``errors`` collects where the client asked to go on after an error."""

    model: Model
    go_on: bool = False
    errors: list[RpcError] = field(default_factory=list)
    # Entries of a list by key, for each list that was searched: a linear search would make a
    # large edit quadratic. Holding the elements keeps their Python identity.
    index: dict[tuple[etree._Element, str], dict[tuple[str, ...], etree._Element]] = field(default_factory=dict)


def apply_edit(
    model: Model,
    tree: etree._Element,
    edit: etree._Element,
    default_operation: str = "merge",
    *,
    continue_on_error: bool = False,
) -> tuple[etree._Element, list[RpcError]]:
    """Return a copy of *tree* with *edit* applied, and the errors that did not end it.

    *edit* is the element ``config`` of the request. Raises RpcError at the first error unless
    *continue_on_error*; *tree* is as it was in every case.
    """
    walk = _Walk(model, continue_on_error)
    result = copy.deepcopy(tree)
    if default_operation == "replace":
        # "The configuration data in <config> completely replaces the target."
        result = empty_tree()
    _children(walk, _Place(result, None, ""), edit, default_operation)
    _prune(result, model.top)
    return result, walk.errors


@dataclass(frozen=True, slots=True)
class _Place:
    """Place in the tree at which an edit goes on: the element, its schema (None at the top), its path."""

    target: etree._Element
    schema: SchemaNode | None
    path: str


def _children(walk: _Walk, place: _Place, edit: etree._Element, inherited: str) -> None:
    nodes = walk.model.top if place.schema is None else place.schema.children
    cases: dict[str, tuple[str, str]] = {}
    for element in elements(edit):
        try:
            node = _schema_of(walk.model, nodes, element, place.path)
            operation = _operation_of(element, inherited, place.path)
            if node.case and operation not in _REMOVING:
                other = cases.setdefault(node.case[0], (node.case[1], node.name))
                if other[0] != node.case[1]:
                    said = f"Only one of {other[1]} and {node.name} can be given."
                    raise bad_element(node.name, said, step(place.path, node.name))
            if place.schema is None or node.name not in place.schema.keys:
                _node(walk, place, element, node, operation)
        except RpcError as error:
            if not walk.go_on:
                raise
            walk.errors.append(error)


def _schema_of(model: Model, nodes: dict[str, SchemaNode], element: etree._Element, path: str) -> SchemaNode:
    node = nodes.get(element.tag)
    if node is not None and node.config:
        return node
    name, space = local(element), etree.QName(element).namespace
    if node is not None:
        raise unknown_element(name, f"{name} is state, which cannot be configured.", step(path, name))
    module = model.module_of(space)
    if module is None:
        raise RpcError(
            "unknown-namespace",
            f"No module has the namespace of {name}.",
            path=path,
            info=[("bad-element", name), ("bad-namespace", space or "")],
        )
    parent_module = next((n.module.name for n in nodes.values() if not n.module_if_new), "")
    raise unknown_element(
        name, f"There is no {name} here.", step(path, name, module if module != parent_module else "")
    )


def _operation_of(element: etree._Element, inherited: str, path: str) -> str:
    for attribute in element.attrib:
        if attribute != _OPERATION:
            name = str(etree.QName(attribute).localname)
            raise RpcError(
                "unknown-attribute",
                f"The attribute {name} has no meaning here.",
                path=path,
                info=[("bad-attribute", name), ("bad-element", local(element))],
            )
    operation = element.get(_OPERATION)
    if operation is None:
        return inherited
    if operation not in _OPERATIONS:
        raise RpcError(
            "bad-attribute",
            f"An operation is one of {', '.join(_OPERATIONS)}.",
            path=path,
            info=[("bad-attribute", "operation"), ("bad-element", local(element))],
        )
    return str(operation)


def _node(walk: _Walk, place: _Place, element: etree._Element, node: SchemaNode, operation: str) -> None:
    keys = _identity_of(walk.model, element, node, place.path)
    path = step(place.path, node.name, node.module_if_new, keys)
    leaf = node.kind in (Kind.LEAF, Kind.LEAF_LIST)
    _check_form(element, node, leaf, path)
    target, existing = place.target, _find(walk, place.target, node, keys)
    _check_existence(node, existing, operation, path)
    if operation in _REMOVING:
        if existing is not None:
            _forget(walk, target, node, keys)
            target.remove(existing)
        return
    if leaf:
        value = keys[0][1] if keys else _value(walk.model, node, element, path)
        if operation != "none":
            _other_cases(target, node)
            found = existing if existing is not None else _add(walk, target, node, keys)
            _set(found, node, value, walk.model)
        return
    _other_cases(target, node)
    if existing is None:
        existing = _add(walk, target, node, keys)
    if operation == "replace":
        _clear(walk, existing, node)
    _children(walk, _Place(existing, node, path), element, operation)


def _identity_of(model: Model, element: etree._Element, node: SchemaNode, path: str) -> tuple[tuple[str, str], ...]:
    """Return the value that tells the entries of a list apart: its keys, or the value of a leaf-list."""
    if node.kind is Kind.LIST:
        return _keys_of(model, element, node, path)
    if node.kind is Kind.LEAF_LIST:
        return ((".", _value(model, node, element, step(path, node.name, node.module_if_new))),)
    return ()


def _check_form(element: etree._Element, node: SchemaNode, leaf: bool, path: str) -> None:
    if leaf and next(elements(element), None) is not None:
        raise bad_element(node.name, f"{node.name} has a value, not elements.", path)
    if not leaf and ((element.text or "").strip() or any((c.tail or "").strip() for c in element)):
        raise bad_element(node.name, f"{node.name} has elements, not text.", path)


def _check_existence(node: SchemaNode, existing: etree._Element | None, operation: str, path: str) -> None:
    if operation == "delete" and existing is None:
        raise RpcError("data-missing", f"{node.name} cannot be deleted: it is not there.", path=path)
    if operation == "create" and existing is not None and (len(existing) or _is_data(node)):
        raise RpcError("data-exists", f"{node.name} cannot be created: it is there.", path=path)
    if operation == "none" and existing is None and _is_data(node):
        raise RpcError("data-missing", f"{node.name} is not there.", path=path)


def _is_data(node: SchemaNode) -> bool:
    """Say if the presence of a node means something; other containers come and go with their content."""
    return node.kind is not Kind.CONTAINER or node.presence


def _value(model: Model, node: SchemaNode, element: etree._Element, path: str) -> str:
    try:
        return model.canonical(node, element)
    except RpcError as error:
        raise error.at(path) from None


def _keys_of(model: Model, element: etree._Element, node: SchemaNode, path: str) -> tuple[tuple[str, str], ...]:
    found = []
    here = step(path, node.name, node.module_if_new)
    for key in node.keys:
        schema = node.child(key)
        leaf = element.find(schema.tag)
        if leaf is None:
            raise missing_element(key, f"An entry of {node.name} needs its key {key}.", step(here, key))
        try:
            found.append((key, model.canonical(schema, leaf)))
        except RpcError as error:
            raise error.at(step(here, key)) from None
    return tuple(found)


def _find(
    walk: _Walk, target: etree._Element, node: SchemaNode, keys: tuple[tuple[str, str], ...]
) -> etree._Element | None:
    if node.kind not in (Kind.LIST, Kind.LEAF_LIST):
        return target.find(node.tag)
    entries = walk.index.get((target, node.tag))
    if entries is None:
        entries = {tuple(v for _, v in list_keys(node, e)): e for e in target.iterchildren(node.tag)}
        walk.index[target, node.tag] = entries
    return entries.get(tuple(v for _, v in keys))


def _forget(walk: _Walk, target: etree._Element, node: SchemaNode, keys: tuple[tuple[str, str], ...]) -> None:
    walk.index.get((target, node.tag), {}).pop(tuple(v for _, v in keys), None)


def _add(walk: _Walk, target: etree._Element, node: SchemaNode, keys: tuple[tuple[str, str], ...]) -> etree._Element:
    element = etree.SubElement(target, node.tag, nsmap=_namespaces(node))
    if keys:
        walk.index[target, node.tag][tuple(v for _, v in keys)] = element
    if node.kind is Kind.LIST:
        for key, value in keys:
            leaf = node.child(key)
            _set(etree.SubElement(element, leaf.tag), leaf, value, walk.model)
    return element


def _namespaces(node: SchemaNode) -> dict[str | None, str]:
    """Return the declarations of a new element.

    A top-level node with paths below it declares its own prefix too: lxml takes a declaration off an element when one
    above it, the default one, has the same namespace.
    """
    spaces: dict[str | None, str] = {None: node.module.namespace}
    if node.parent is None and _has_paths(node):
        spaces[node.module.name] = node.module.namespace
    return spaces


@cache
def _has_paths(node: SchemaNode) -> bool:
    return node.path_value or any(map(_has_paths, node.children.values()))


def _set(element: etree._Element, node: SchemaNode, value: str, model: Model) -> None:
    if node.identity:
        # The prefix of the value has to be declared at this very element.
        prefix = value.partition(":")[0]
        fresh = etree.Element(node.tag, nsmap={None: node.module.namespace, prefix: model.namespace(prefix)})
        element.getparent().replace(element, fresh)
        element = fresh
    elif node.path_value:
        # So have the names of modules in a path.
        spaces: dict[str | None, str | None] = {e.module: model.namespace(e.module) for e in path_steps(value) or ()}
        fresh = etree.Element(node.tag, nsmap={None: node.module.namespace, **spaces})
        element.getparent().replace(element, fresh)
        element = fresh
    element.text = value


def _clear(walk: _Walk, element: etree._Element, node: SchemaNode) -> None:
    for child in list(element):
        if node.children[child.tag].name not in node.keys:
            element.remove(child)
        walk.index.pop((element, child.tag), None)


def _other_cases(target: etree._Element, node: SchemaNode) -> None:
    """Delete the other alternatives of a choice (RFC 7950, 7.9)."""
    if node.case is None or node.parent is None:
        return
    for other in node.parent.children.values():
        if other.case and other.case[0] == node.case[0] and other.case[1] != node.case[1]:
            for element in target.findall(other.tag):
                target.remove(element)


def _prune(target: etree._Element, nodes: dict[str, SchemaNode]) -> None:
    """Remove containers that are empty and whose presence means nothing."""
    for child in list(target):
        node = nodes[child.tag]
        if node.kind in (Kind.CONTAINER, Kind.LIST):
            _prune(child, node.children)
        if node.kind is Kind.CONTAINER and not node.presence and not len(child):
            target.remove(child)
