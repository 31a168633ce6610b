"""The schema of each node, taken from the YANG modules as plain values: for the edit walker and the filters.

Made once from a libyang context by `mgmt.netconf.model.yang_model`; nothing here touches libyang again.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from lxml import etree

__all__ = [
    "ActionNode",
    "Key",
    "Kind",
    "Module",
    "SchemaNode",
    "identity",
    "instance",
    "instances_of",
    "list_keys",
]

Key = tuple[str, tuple[tuple[str, str], ...]]
"""The tag of a node, and what tells its entries apart."""


class Kind(enum.Enum):
    """The kinds of data node that are in use."""

    CONTAINER = "container"
    LIST = "list"
    LEAF = "leaf"
    LEAF_LIST = "leaf-list"


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the schema; ``implemented``: its data nodes exist here, else only its types are used.

    ``features`` are those that hold here, ``imports`` names of modules, ``deviations`` of those that deviate this one.
    """

    name: str
    revision: str
    namespace: str
    prefix: str
    implemented: bool
    features: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class SchemaNode:
    """A data node. ``tag`` is its name as lxml writes it, ``{namespace}name``."""

    name: str
    module: Module
    kind: Kind
    config: bool
    keys: tuple[str, ...] = ()  # of a list
    presence: bool = False  # of a container: it means something by being there
    case: tuple[str, str] | None = None  # (choice, case) that it is part of
    user_ordered: bool = False  # of a list: the order of its entries means something
    deny_all: bool = False  # nacm:default-deny-all stands in its statement or in one around it (RFC 8341, 3.2)
    deny_write: bool = False  # the same of nacm:default-deny-write
    identity: bool = False  # a value that carries a prefix
    default: str | None = None  # of a leaf, in canonical form
    path_value: bool = False  # a value that is an expression over paths, with a prefix at its names
    parent: SchemaNode | None = None
    children: dict[str, SchemaNode] = field(default_factory=dict)  # by tag
    actions: dict[str, ActionNode] = field(default_factory=dict)  # by tag
    handle: Any = None  # libyang's own node, for mgmt.netconf.model.yang_model only

    @property
    def tag(self) -> str:
        """The name as lxml writes it."""
        return f"{{{self.module.namespace}}}{self.name}"

    def child(self, name: str) -> SchemaNode:
        """Return the child of the same module that has this name."""
        return self.children[f"{{{self.module.namespace}}}{name}"]

    @property
    def path(self) -> str:
        """The place in the schema, each name with its module: /m:list/m:container."""
        above = self.parent.path if self.parent is not None else ""
        return f"{above}/{self.module.name}:{self.name}"

    @property
    def module_if_new(self) -> str:
        """The name of the module where a path has to state it: it differs from the parent's."""
        same = self.parent is not None and self.parent.module.name == self.module.name
        return "" if same else self.module.name


@dataclass(frozen=True, slots=True, eq=False)
class ActionNode:
    """An action of a container or list (RFC 7950, 7.15), and its parameters by name.

    ``path`` names it by its place in the schema, each name with its module: /m:list/m:container/m:action.
    """

    path: str
    inputs: dict[str, SchemaNode]
    node: SchemaNode  # as rules see it: a node below that of the action, without content


def list_keys(node: SchemaNode, element: etree._Element) -> tuple[tuple[str, str], ...]:
    """Return the keys of a list entry as (name, value), as far as they are there."""
    if node.kind is Kind.LEAF_LIST:
        return ((".", (element.text or "").strip()),)
    found = ((key, element.find(node.child(key).tag)) for key in node.keys)
    return tuple((key, (leaf.text or "").strip()) for key, leaf in found if leaf is not None)


def identity(node: SchemaNode, element: etree._Element) -> tuple[tuple[str, str], ...]:
    """Return what tells an element of a canonical tree apart: its keys, the value of a leaf-list, or nothing."""
    if node.kind is Kind.LIST:
        return tuple([(key, leaf.text or "") for key, leaf in zip(node.keys, element, strict=False)])
    return ((".", element.text or ""),) if node.kind is Kind.LEAF_LIST else ()


@cache
def _search(node: SchemaNode) -> etree.ETXPath:
    """Return the XPath of an entry by its keys, which are the variables k0, k1 ..."""
    if node.kind is Kind.LEAF_LIST:
        return etree.ETXPath(f"{node.tag}[.=$k0]")
    return etree.ETXPath(node.tag + "".join(f"[{node.child(key).tag}=$k{i}]" for i, key in enumerate(node.keys)))


_FEW = 8  # children that are looked for one by one: an index of all costs as much as some searches


def instances_of(
    nodes: Mapping[str, SchemaNode], parent: etree._Element, keys: Collection[Key]
) -> Iterator[etree._Element | None]:
    """Yield the child of *parent*, a part of a canonical tree, that is meant by each of *keys*."""
    if len(keys) <= _FEW:
        yield from (instance(nodes[tag], parent, values) for tag, values in keys)
        return
    index = {(child.tag, identity(nodes[child.tag], child)): child for child in parent}
    yield from (index.get(key) for key in keys)


def instance(node: SchemaNode, parent: etree._Element, keys: tuple[tuple[str, str], ...]) -> etree._Element | None:
    """Return the child of *parent* that is this node, of a list or leaf-list the one with these canonical *keys*."""
    if node.kind not in (Kind.LIST, Kind.LEAF_LIST):
        return parent.find(node.tag)
    found = _search(node)(parent, **{f"k{i}": value for i, (_, value) in enumerate(keys)})
    return found[0] if found else None
