"""Reading: what a user may not read is left out of a reply without a word (RFC 8341, 3.2.4).

It is left out before a filter looks at the data, so that no filter can ask for what is not there. With a node go all
below it, also those that a rule would permit; an entry of a list of which a key may not be read goes as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from lxml import etree

from mgmt.netconf.model.schema import Kind, SchemaNode, list_keys
from mgmt.netconf.nacm.places import Place
from mgmt.netconf.nacm.rights import Rights
from mgmt.netconf.nacm.rules import Access

__all__ = ["prune", "readable"]

_Above = tuple[tuple[SchemaNode, etree._Element], ...]


def prune(rights: Rights, tree: etree._Element, top: Mapping[str, SchemaNode]) -> bool:
    """Take out of *tree*, whose children are top-level nodes, what may not be read; say if there was any."""
    return not rights.unlimited and _prune(rights, tree, top, ())


def _prune(rights: Rights, parent: etree._Element, nodes: Mapping[str, SchemaNode], above: _Above) -> bool:
    taken = False
    for child in list(parent):
        node = nodes.get(child.tag)
        if node is None:
            gone = not above  # what no module has is as its parent is, and nothing at the top
        elif rights.whole(node, Access.READ):
            gone = False
        else:
            here = (*above, (node, child))
            gone = not rights.verdict(node, Access.READ).at(partial(_key, here))
            if not gone and node.kind in (Kind.CONTAINER, Kind.LIST):
                had = len(child)
                inner = _prune(rights, child, node.children, here)
                taken = taken or inner
                gone = inner and _is_nothing(node, child, had)
        if gone:
            parent.remove(child)
            taken = True
    return taken


def _key(above: _Above, depth: int, key: str) -> str | None:
    return dict(list_keys(*above[depth])).get(key)


def _is_nothing(node: SchemaNode, element: etree._Element, had: int) -> bool:
    """Say if too little is left to be shown: an entry without one of its keys, a container that has become empty."""
    if node.kind is Kind.LIST:
        return len(list_keys(node, element)) < len(node.keys)
    return bool(had) and not len(element) and not node.presence


def readable(rights: Rights, place: Place) -> int:
    """Return how many nodes of a place may be read, from the top on."""
    for depth, node in enumerate(place.nodes):
        if not rights.verdict(node, Access.READ).at(place.key_of):
            return depth
    return len(place.nodes)
