"""edit-config on a tree (RFC 6241, 7.2): a tree and an edit in, a new tree out.

A tree is an element ``config`` of NETCONF whose descendants are in canonical form: one namespace
declaration where the module changes, canonical values, keys first, no empty containers. The tree
that is given is never changed, so undoing an edit is keeping the old one.

An edit is read strictly: a node of which there is one comes once, nothing but white space stands between elements,
a key has no operation that would take it from its entry. Entries of a list that come twice are edited in their order.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field
from functools import cache

from lxml import etree

from mgmt.netconf.model.schema import Kind, SchemaNode, identity, instance
from mgmt.netconf.model.touched import Touched
from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.rpcerror import RpcError, bad_element, missing_element, unknown_element
from mgmt.netconf.xml_names import NC, elements, local, path_steps, step

__all__ = ["DEFAULT_OPERATIONS", "apply_edit", "empty_tree"]

DEFAULT_OPERATIONS = ("merge", "replace", "none")
_OPERATIONS = ("merge", "replace", "create", "delete", "remove")
_REMOVING = ("delete", "remove")
_OPERATION = f"{NC}operation"
_IS_DEFAULT = "{urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults}default"
_FEW = 4  # entries of one list that are searched one by one: an index costs as much as some searches

_Keys = tuple[tuple[str, str], ...]
_SPACES = " \t\r\n"  # XML 1.0, 2.3: other spaces are text


def empty_tree() -> etree._Element:
    """Return a tree without a node."""
    return etree.Element(f"{NC}config", nsmap={"nc": NC[1:-1]})


@dataclass
class _Walk:
    """One edit. ``errors`` collects where the client asked to go on after an error."""

    model: Model
    go_on: bool = False
    errors: list[RpcError] = field(default_factory=list)
    # Entries of a list by key, for each list that was searched often: a linear search would make a
    # large edit quadratic. Holding the elements keeps their Python identity.
    index: dict[tuple[etree._Element, str], dict[_Keys, etree._Element]] = field(default_factory=dict)
    searched: Counter[tuple[etree._Element, str]] = field(default_factory=Counter)


def apply_edit(
    model: Model,
    tree: etree._Element,
    edit: etree._Element,
    default_operation: str = "merge",
    *,
    continue_on_error: bool = False,
    touched: Touched | None = None,
) -> tuple[etree._Element, list[RpcError]]:
    """Return a copy of *tree* with *edit* applied, and the errors that did not end it.

    *edit* is the element ``config`` of the request. Raises RpcError at the first error unless
    *continue_on_error*; *tree* is as it was in every case. The nodes that may have changed are added to *touched*.
    """
    walk, touched = _Walk(model, continue_on_error), touched or Touched()
    _check_config(edit)
    if default_operation == "replace":
        # "The configuration data in <config> completely replaces the target."
        result = empty_tree()
        touched.mark()
    else:
        result = copy.deepcopy(tree)
    _children(walk, _Place(result, None, "", touched), edit, default_operation)
    return result, walk.errors


def _check_config(config: etree._Element) -> None:
    """Refuse what stands at the element around all nodes: an operation there would be nobody's."""
    for attribute in config.attrib:
        raise _unknown_attribute(str(attribute), config, "")
    if _has_text(config):
        raise bad_element(local(config), "The configuration has elements, not text.")


@dataclass(frozen=True, slots=True)
class _Place:
    """Place in the tree at which an edit goes on: the element, its schema (None at the top), its path."""

    target: etree._Element
    schema: SchemaNode | None
    path: str
    touched: Touched
    was_there: bool = True


def _children(walk: _Walk, place: _Place, edit: etree._Element, inherited: str) -> None:
    nodes = walk.model.top if place.schema is None else place.schema.children
    cases: dict[str, tuple[str, str]] = {}
    once: set[str] = set()
    for element in elements(edit):
        try:
            node = _schema_of(walk.model, nodes, element, place.path)
            _check_once(once, node, place.path)
            operation = _operation_of(element, inherited, place.path)
            if node.case and operation not in _REMOVING:
                other = cases.setdefault(node.case[0], (node.case[1], node.name))
                if other[0] != node.case[1]:
                    said = f"Only one of {other[1]} and {node.name} can be given."
                    raise bad_element(node.name, said, step(place.path, node.name))
            if place.schema is not None and node.name in place.schema.keys:
                _check_key(place, element, node)
            else:
                _node(walk, place, element, node, operation)
        except RpcError as error:
            if not walk.go_on:
                raise
            walk.errors.append(error)


def _check_once(once: set[str], node: SchemaNode, path: str) -> None:
    if node.kind in (Kind.LEAF, Kind.CONTAINER):
        if node.tag in once:
            raise bad_element(node.name, f"{node.name} is there twice.", step(path, node.name, node.module_if_new))
        once.add(node.tag)


def _check_key(place: _Place, element: etree._Element, node: SchemaNode) -> None:
    operation, path = element.get(_OPERATION), step(place.path, node.name)
    if operation in _REMOVING:
        raise RpcError(
            "bad-attribute",
            f"The key {node.name} goes with its entry only: put the operation there.",
            path=path,
            info=[("bad-attribute", "operation"), ("bad-element", node.name)],
        )
    if operation == "create" and place.was_there:
        raise RpcError("data-exists", f"{node.name} cannot be created: it is there.", path=path)


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


def _unknown_attribute(attribute: str, element: etree._Element, path: str) -> RpcError:
    name = str(etree.QName(attribute).localname)
    return RpcError(
        "unknown-attribute",
        f"The attribute {name} has no meaning here.",
        path=path,
        info=[("bad-attribute", name), ("bad-element", local(element))],
    )


def _operation_of(element: etree._Element, inherited: str, path: str) -> str:
    for attribute in element.attrib:
        if attribute != _OPERATION and (attribute != _IS_DEFAULT or len(element)):
            raise _unknown_attribute(str(attribute), element, path)
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
    touched = place.touched.at(node.tag, keys)
    if element.get(_IS_DEFAULT) is not None:
        operation = _as_default(walk.model, element, node, operation, path)
    if operation in _REMOVING:
        _check_below(walk.model, element, node, path)
        if existing is not None:
            touched.mark()
            _forget(walk, target, node, keys)
            target.remove(existing)
    elif leaf:
        value = keys[0][1] if keys else _value(walk.model, node, element, path)
        if operation != "none":
            touched.mark()
            _other_cases(walk, place, node)
            _set(walk, target, existing, node, value)
    else:
        _other_cases(walk, place, node)
        was_there = existing is not None
        if existing is None:
            existing = _add(walk, target, node, keys)
        if operation == "replace":
            _clear(walk, existing, node)
        if operation == "replace" or not was_there:
            touched.mark()
        _children(walk, _Place(existing, node, path, touched, was_there), element, operation)
        if not len(existing) and not _is_data(node):
            target.remove(existing)


def _as_default(model: Model, element: etree._Element, node: SchemaNode, operation: str, path: str) -> str:
    """Return the operation for a leaf that is marked as a default (RFC 6243, 4.5.2): it is not set any more.

    So what was read with report-all-tagged can be written back.
    """
    marked = (element.get(_IS_DEFAULT) or "").strip()
    info = [("bad-attribute", "default"), ("bad-element", node.name)]
    if marked in ("false", "0"):
        return operation
    if marked not in ("true", "1") or operation in _REMOVING or operation == "none":
        said = "The attribute default is true or false, and for create, merge and replace."
        raise RpcError("bad-attribute", said, path=path, info=info)
    if node.default is None or _value(model, node, element, path) != node.default:
        raise RpcError("invalid-value", f"This is not the default of {node.name}.", path=path, info=info)
    return "remove"


def _check_below(model: Model, element: etree._Element, node: SchemaNode, path: str) -> None:
    """Check what stands in an element that is removed: its content has no effect, but has to be in the schema."""
    for child in elements(element):
        inner = _schema_of(model, node.children, child, path)
        _operation_of(child, "remove", path)
        here = step(path, inner.name, inner.module_if_new)
        _check_form(child, inner, inner.kind in (Kind.LEAF, Kind.LEAF_LIST), here)
        _check_below(model, child, inner, here)


def _identity_of(model: Model, element: etree._Element, node: SchemaNode, path: str) -> _Keys:
    """Return the value that tells the entries of a list apart: its keys, or the value of a leaf-list."""
    if node.kind is Kind.LIST:
        return _keys_of(model, element, node, path)
    if node.kind is Kind.LEAF_LIST:
        return ((".", _value(model, node, element, step(path, node.name, node.module_if_new))),)
    return ()


def _has_text(element: etree._Element) -> bool:
    return any((text or "").strip(_SPACES) for text in (element.text, *(child.tail for child in element)))


def _check_form(element: etree._Element, node: SchemaNode, leaf: bool, path: str) -> None:
    if leaf and next(elements(element), None) is not None:
        raise bad_element(node.name, f"{node.name} has a value, not elements.", path)
    if not leaf and _has_text(element):
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


def _keys_of(model: Model, element: etree._Element, node: SchemaNode, path: str) -> _Keys:
    found = []
    here = step(path, node.name, node.module_if_new)
    for key in node.keys:
        schema = node.child(key)
        leaves = element.findall(schema.tag)
        if not leaves:
            raise missing_element(key, f"An entry of {node.name} needs its key {key}.", step(here, key))
        if len(leaves) > 1:
            raise bad_element(key, f"{key} is there twice.", step(here, key))
        _check_form(leaves[0], schema, True, step(here, key))
        try:
            found.append((key, model.canonical(schema, leaves[0])))
        except RpcError as error:
            raise error.at(step(here, key)) from None
    return tuple(found)


def _find(walk: _Walk, target: etree._Element, node: SchemaNode, keys: _Keys) -> etree._Element | None:
    if not keys:
        return instance(node, target, keys)
    place = target, node.tag
    entries = walk.index.get(place)
    if entries is None:
        walk.searched[place] += 1
        if walk.searched[place] <= _FEW:
            return instance(node, target, keys)
        entries = walk.index[place] = {identity(node, e): e for e in target.iterchildren(node.tag)}
    return entries.get(keys)


def _forget(walk: _Walk, target: etree._Element, node: SchemaNode, keys: _Keys) -> None:
    walk.index.get((target, node.tag), {}).pop(keys, None)


def _add(walk: _Walk, target: etree._Element, node: SchemaNode, keys: _Keys) -> etree._Element:
    element = etree.SubElement(target, node.tag, nsmap=_namespaces(node))
    if node.kind is Kind.LIST:
        for key, value in keys:
            _add_leaf(walk.model, element, node.child(key), value)
        walk.index.get((target, node.tag), {})[keys] = element
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


def _add_leaf(model: Model, target: etree._Element, node: SchemaNode, value: str) -> etree._Element:
    prefixes: dict[str | None, str | None] = {None: node.module.namespace}
    if node.identity:
        # The prefix of the value has to be declared at this very element. One of the element's own namespace would be
        # lost when the element is appended, as lxml drops what it takes for a second name of it.
        prefix, _, name = value.rpartition(":")
        if prefix == node.module.name:
            value = name
        else:
            prefixes[prefix] = model.namespace(prefix)
    elif node.path_value:
        # So have the names of modules in a path.
        prefixes.update({each.module: model.namespace(each.module) for each in path_steps(value) or ()})
    element = etree.Element(node.tag, nsmap=prefixes)
    element.text = value
    target.append(element)
    return element


def _set(walk: _Walk, target: etree._Element, existing: etree._Element | None, node: SchemaNode, value: str) -> None:
    """Give a leaf its value, or a leaf-list one more."""
    if existing is None:
        added = _add_leaf(walk.model, target, node, value)
        if node.kind is Kind.LEAF_LIST:
            walk.index.get((target, node.tag), {})[(".", value),] = added
    elif node.kind is Kind.LEAF:
        target.replace(existing, _add_leaf(walk.model, target, node, value))


def _clear(walk: _Walk, element: etree._Element, node: SchemaNode) -> None:
    for child in list(element):
        if node.children[child.tag].name not in node.keys:
            element.remove(child)
        walk.index.pop((element, child.tag), None)


def _other_cases(walk: _Walk, place: _Place, node: SchemaNode) -> None:
    """Delete the other alternatives of a choice (RFC 7950, 7.9)."""
    if node.case is None or node.parent is None:
        return
    for other in node.parent.children.values():
        if other.case and other.case[0] == node.case[0] and other.case[1] != node.case[1]:
            for element in place.target.findall(other.tag):
                place.touched.at(other.tag, identity(other, element)).mark()
                place.target.remove(element)
            walk.index.pop((place.target, other.tag), None)
