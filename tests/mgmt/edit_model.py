"""RFC 6241, 7.2, read straight on plain dicts, and random edits: nothing here knows the code under test.

The schema is a table of the part of the modules that the edits use. A tree is a dict of a container or an entry: a leaf
has a string, a leaf-list the list of its values, a container a dict, a list a dict of dicts by its keys.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

__all__ = ["Refused", "Schema", "edit", "read", "some_edit", "top"]

NC = "urn:ietf:params:xml:ns:netconf:base:1.0"
P = "urn:supernetflow:yang:snf-policies"
A = "urn:supernetflow:yang:snf-applications"
S = "urn:supernetflow:yang:snf-subscribers"
E = "urn:supernetflow:yang:snf-export"

Tree = dict[str, Any]


@dataclass(frozen=True)
class Schema:
    """A node: ``container``, ``presence`` (a container that means something), ``list``, ``leaf`` or ``leaf-list``."""

    name: str
    kind: str
    space: str
    values: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    case: tuple[str, str] = ("", "")  # choice and case
    usual: tuple[str, ...] = ()  # children without which it is seldom valid
    children: tuple[Schema, ...] = field(default=())

    def child(self, name: str) -> Schema:
        return next(c for c in self.children if c.name == name)


def leaf(space: str, name: str, *values: str, case: tuple[str, str] = ("", "")) -> Schema:
    return Schema(name, "leaf", space, values, case=case)


def tunnel(name: str) -> Schema:
    inner = (leaf(S, "address", "192.0.2.1", "192.0.2.2", "2001:db8::1"), leaf(S, "teid", "1", "2"))
    return Schema(name, "list", S, keys=("address", "teid"), children=inner)


NAMES = ("a", "b", "c")
POLICY = Schema(
    "policy",
    "list",
    P,
    keys=("name",),
    usual=("application", "action"),
    children=(
        leaf(P, "name", *NAMES),
        leaf(P, "application", "x", "y", "z", case=("traffic", "application")),
        leaf(P, "application-class", "web", "video", case=("traffic", "class")),
        leaf(P, "subscriber-group", "all", "all", "all", "g"),
        leaf(P, "action", "count", "inspect", "suppress", "truncate"),
        leaf(P, "snap-length", "100", "200"),
    ),
)
GROUP = Schema(
    "subscriber-group",
    "list",
    P,
    keys=("name",),
    usual=("dnn",),
    children=(
        leaf(P, "name", "g", "h"),
        Schema("dnn", "leaf-list", P, ("internet", "ims", "x")),
        Schema("imsi-prefix", "leaf-list", P, ("00101", "00102")),
    ),
)
MONITOR = Schema(
    "monitor",
    "presence",
    P,
    usual=("interface",),
    children=(leaf(P, "interface", "m0", "m1"), leaf(P, "decapsulate", "true")),
)
APPLICATION = Schema(
    "application",
    "list",
    A,
    keys=("name",),
    usual=("class",),
    children=(
        leaf(A, "name", *NAMES),
        leaf(A, "class", "web", "video"),
        Schema("domain", "leaf-list", A, ("one.example", "two.example", "three.example")),
        leaf(A, "confidence", "50", "100"),
    ),
)
SESSION = Schema(
    "static-session",
    "list",
    S,
    keys=("name",),
    children=(
        leaf(S, "name", *NAMES),
        leaf(S, "imsi", "001010000000001", "001010000000002"),
        leaf(S, "dnn", "internet", "ims"),
        tunnel("uplink"),
        tunnel("downlink"),
    ),
)
EXPORTER = Schema(
    "exporter", "container", E, children=(leaf(E, "interval", "1000", "2000"), leaf(E, "batch-rows", "10", "20"))
)
ROOT = Schema(
    "config",
    "container",
    NC,
    children=(
        Schema("policies", "container", P, children=(POLICY, GROUP, MONITOR)),
        Schema("applications", "container", A, children=(APPLICATION,)),
        Schema("subscribers", "container", S, children=(SESSION,)),
        EXPORTER,
    ),
)


def top() -> Tree:
    """Return a tree without a node."""
    return {}


# -- RFC 6241, 7.2, on dicts --------------------------------------------------


class Refused(Exception):
    """The edit is refused with this error-tag."""

    @property
    def tag(self) -> str:
        return str(self.args[0])


@dataclass
class Edit:
    """A node of an edit: an operation or none, and a value or children."""

    schema: Schema
    operation: str = ""
    value: str = ""
    children: list[Edit] = field(default_factory=list)

    def key(self) -> tuple[str, ...]:
        by_name = {c.schema.name: c.value for c in self.children if c.schema.name in self.schema.keys}
        return tuple(by_name[name] for name in self.schema.keys)


def edit(tree: Tree, change: Edit, default: str) -> Tree:
    """Return *tree* after an edit-config of *change*, whose schema is the root. Raises Refused."""
    result = {} if default == "replace" else copy.deepcopy(tree)
    _into(result, change, default, was_there=True)
    return result


def _into(target: Tree, change: Edit, inherited: str, *, was_there: bool) -> None:
    once: set[str] = set()
    cases: dict[str, str] = {}
    for child in change.children:
        schema = child.schema
        if schema.kind in ("leaf", "container", "presence"):
            if schema.name in once:
                raise Refused("bad-element")
            once.add(schema.name)
        operation = child.operation or inherited
        choice, case = schema.case
        if choice and operation not in ("delete", "remove") and cases.setdefault(choice, case) != case:
            raise Refused("bad-element")
        if schema.name in change.schema.keys:
            if child.operation in ("delete", "remove"):
                raise Refused("bad-attribute")
            if child.operation == "create" and was_there:
                raise Refused("data-exists")
            continue
        _one(target, change.schema, child, operation)


def _one(target: Tree, parent: Schema, child: Edit, operation: str) -> None:
    schema, name = child.schema, child.schema.name
    if schema.kind == "list":
        holder, key = target.setdefault(name, {}), child.key()
        _entry(holder, key, parent, child, operation, target)
        if not holder:
            del target[name]
        return
    if schema.kind == "leaf-list":
        there = child.value in target.get(name, [])
        _check(operation, there, node=True)
        if operation in ("delete", "remove"):
            if there:
                target[name].remove(child.value)
                if not target[name]:
                    del target[name]
        elif operation != "none" and not there:
            target.setdefault(name, []).append(child.value)
        return
    _entry(target, name, parent, child, operation, target)


def _check(operation: str, there: bool, *, node: bool) -> None:
    if operation == "create" and there:
        raise Refused("data-exists")
    if operation == "delete" and not there:
        raise Refused("data-missing")
    if operation == "none" and not there and node:
        raise Refused("data-missing")


def _entry(holder: dict[Any, Any], key: Any, parent: Schema, child: Edit, operation: str, around: Tree) -> None:
    """Edit the node that is *holder* [*key*], of which there is one or none."""
    schema, there = child.schema, key in holder
    _check(operation, there, node=schema.kind != "container")
    if operation in ("delete", "remove"):
        holder.pop(key, None)
        return
    if schema.kind == "leaf":
        if operation != "none":
            _other_cases(around, parent, schema)
            holder[key] = child.value
        return
    _other_cases(around, parent, schema)
    if not there or operation == "replace":
        keys = dict(zip(schema.keys, key, strict=True)) if schema.kind == "list" else {}
        holder[key] = keys
    _into(holder[key], child, operation, was_there=there)
    if schema.kind == "container" and not holder[key]:
        del holder[key]


def _other_cases(around: Tree, parent: Schema, schema: Schema) -> None:
    for other in parent.children:
        if schema.case[0] and other.case[0] == schema.case[0] and other.case != schema.case:
            around.pop(other.name, None)


# -- to and from XML ----------------------------------------------------------


def xml(change: Edit) -> etree._Element:
    """Return an edit as the element config of a request."""
    element = etree.Element(f"{{{change.schema.space}}}{change.schema.name}", nsmap={"nc": NC})
    if change.operation:
        element.set(f"{{{NC}}}operation", change.operation)
    if change.value:
        element.text = change.value
    element.extend([xml(child) for child in change.children])
    return element


def read(element: etree._Element, schema: Schema = ROOT) -> Tree:
    """Return a tree of the code under test as the model has it."""
    tree: Tree = {}
    for child in element:
        node = schema.child(etree.QName(child).localname)
        assert etree.QName(child).namespace == node.space
        if node.kind == "leaf":
            assert node.name not in tree
            tree[node.name] = child.text
        elif node.kind == "leaf-list":
            tree.setdefault(node.name, []).append(child.text)
        elif node.kind == "list":
            inner = read(child, node)
            key = tuple(inner[name] for name in node.keys)
            assert key not in tree.setdefault(node.name, {})
            tree[node.name][key] = inner
        else:
            assert node.name not in tree
            tree[node.name] = read(child, node)
    return tree


# -- random edits -------------------------------------------------------------

_OPERATIONS = ("merge", "replace", "create", "delete", "remove")


def some_edit(rng: random.Random) -> tuple[Edit, str]:
    """Return a random edit and default-operation: mostly of what may be there, now and then of what is refused."""
    default = rng.choices(("merge", "none", "replace"), (90, 8, 2))[0]
    return Edit(ROOT, children=list(_some(rng, ROOT))), default


def _some(rng: random.Random, schema: Schema) -> Iterator[Edit]:
    keys = [Edit(schema.child(name), value=rng.choice(schema.child(name).values)) for name in schema.keys]
    for key in keys:
        if rng.random() < 0.02:
            key.operation = rng.choice(_OPERATIONS)
    others = [c for c in schema.children if c.name not in schema.keys]
    chosen = [rng.choice(others) for _ in range(rng.randint(0 if schema.keys else 1, 3))] if others else []
    if rng.random() < 0.7:
        in_cases = {c.case[0] for c in chosen if c.case[0]}
        usual = [schema.child(name) for name in schema.usual]
        chosen = [c for c in chosen if c.name != "snap-length"] + [c for c in usual if c.case[0] not in in_cases]
    again = [c for c in chosen if rng.random() < 0.1]
    # A node of which there is one comes twice now and then only, so that most edits get through.
    once = list(dict.fromkeys(chosen)) + [c for c in again if c.kind in ("list", "leaf-list") or rng.random() < 0.3]
    lists = [c for c in others if c.kind in ("list", "leaf-list")]
    if lists and rng.random() < 0.1:
        once += [rng.choice(lists)] * 12  # so many that the code finds them by an index
    edits = [*keys, *(_of(rng, c) for c in once)]
    if rng.random() < 0.2:
        rng.shuffle(edits)
    yield from edits


def _of(rng: random.Random, schema: Schema) -> Edit:
    # A node high up takes much with it: most of these have no operation, so that trees grow.
    busy = 0.05 if schema.kind == "container" else 0.3 if schema.kind == "list" else 0.5
    made = Edit(schema, operation=rng.choice(_OPERATIONS) if rng.random() < busy else "")
    if schema.kind in ("leaf", "leaf-list"):
        made.value = rng.choice(schema.values)
    else:
        made.children = list(_some(rng, schema))
    return made
