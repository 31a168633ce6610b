"""Entries of lists that a user orders, when they have another order: that alters them without another value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from lxml import etree

from mgmt.netconf.model.schema import SchemaNode
from mgmt.netconf.nacm.places import Place

__all__ = ["moved"]


def moved(
    nodes: Mapping[str, SchemaNode], old: etree._Element, new: etree._Element, above: Place | None = None
) -> Iterator[Place]:
    """Yield entries that stand elsewhere among those that both trees have. *nodes* are the schema of the children."""
    above = above or Place((), ())
    for tag, node in nodes.items():
        if not _is_ordered(node):
            continue
        was, now = ({above.below(node, e).keys[-1]: e for e in tree.iterchildren(tag)} for tree in (old, new))
        if node.user_ordered:
            before, after = [k for k in was if k in now], [k for k in now if k in was]
            yield from (above.below(node, now[b]) for a, b in zip(before, after, strict=True) if a != b)
        for key, element in now.items():
            if key in was:
                yield from moved(node.children, was[key], element, above.below(node, element))


@cache
def _is_ordered(node: SchemaNode) -> bool:
    return node.config and (node.user_ordered or any(map(_is_ordered, node.children.values())))
