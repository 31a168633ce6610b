"""Instances of nodes: by an error's path, by an element of a tree, and as an edit names them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lxml import etree

from mgmt.netconf.model.schema import ActionNode, Kind, SchemaNode, list_keys
from mgmt.netconf.xml_names import NC, elements, path_steps, step

__all__ = ["Asked", "Place", "asked", "place_of", "way_to_action"]

_Keys = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """An instance of a node: the nodes from the top to it, and the keys of each; ``complete``: nothing came after."""

    nodes: tuple[SchemaNode, ...]
    keys: tuple[_Keys, ...]
    complete: bool = True

    def key_of(self, depth: int, key: str) -> str | None:
        """Return the value of a key at a depth."""
        return dict(self.keys[depth]).get(key) if depth < len(self.keys) else None

    def above(self, length: int) -> Place:
        """Return the place of the first *length* nodes."""
        return Place(self.nodes[:length], self.keys[:length])

    def path(self, length: int) -> str:
        """Return the data path of the first *length* nodes."""
        out = ""
        for node, keys in zip(self.nodes[:length], self.keys, strict=False):
            out = step(out, node.name, node.module_if_new, keys)
        return out

    def below(self, node: SchemaNode, element: etree._Element) -> Place:
        """Return the place of a child."""
        keys = list_keys(node, element) if node.kind in (Kind.LIST, Kind.LEAF_LIST) else ()
        return Place((*self.nodes, node), (*self.keys, keys))

    def find(self, tree: etree._Element) -> etree._Element | None:
        """Return the element of this place in a tree."""
        found: etree._Element | None = tree
        for node, keys in zip(self.nodes, self.keys, strict=True):
            if found is not None:
                candidates = found.iterchildren(node.tag)
                found = next((e for e in candidates if not keys or list_keys(node, e) == keys), None)
        return found


def place_of(top: Mapping[str, SchemaNode], path: str) -> Place:
    """Return the place of a data path, as far as the modules know it."""
    steps = path_steps(path)
    nodes: list[SchemaNode] = []
    keys: list[_Keys] = []
    inner: Mapping[str, SchemaNode] = top
    for each in steps or ():
        node = next((n for n in inner.values() if (n.name, n.module.name) == (each.name, each.module)), None)
        if node is None:
            return Place(tuple(nodes), tuple(keys), complete=False)
        nodes.append(node)
        keys.append(each.keys)
        inner = node.children
    return Place(tuple(nodes), tuple(keys), complete=bool(steps))


def way_to_action(top: Mapping[str, SchemaNode], request: etree._Element) -> tuple[Place, ActionNode | None]:
    """Return the place that the content of a request leads to, as far as the modules know it, and the action there."""
    place, nodes, inside = Place((), ()), top, request
    actions: Mapping[str, ActionNode] = {}
    while True:
        keys = place.nodes[-1].keys if place.nodes else ()
        below = [e for e in elements(inside) if not (e.tag in nodes and nodes[e.tag].name in keys)]
        if not below:
            return place, None
        if below[0].tag in actions:
            return place, actions[below[0].tag]
        if below[0].tag not in nodes:
            return place, None
        inside = below[0]
        place = place.below(nodes[inside.tag], inside)
        nodes, actions = place.nodes[-1].children, place.nodes[-1].actions


@dataclass(frozen=True, slots=True)
class Asked:
    """A node that an edit names, with its operation; *deep*: it names nodes below."""

    place: Place
    operation: str
    deep: bool


def asked(
    nodes: Mapping[str, SchemaNode], edit: Iterable[etree._Element], operation: str, above: Place | None = None
) -> Iterator[Asked]:
    """Yield the nodes that the elements of an edit name, parents first; what the modules do not know is left out."""
    above = above or Place((), ())
    for element in edit:
        node = nodes.get(element.tag)
        if node is None or not node.config:
            continue
        own = element.get(f"{NC}operation", operation)
        here = above.below(node, element)
        inner = [e for e in elements(element) if e.tag in node.children and node.children[e.tag].name not in node.keys]
        yield Asked(here, own, bool(inner))
        if node.kind in (Kind.CONTAINER, Kind.LIST):
            yield from asked(node.children, _without_keys(element, node), own, here)


def _without_keys(element: etree._Element, node: SchemaNode) -> Sequence[etree._Element]:
    return [e for e in elements(element) if e.tag not in {f"{{{node.module.namespace}}}{key}" for key in node.keys}]
