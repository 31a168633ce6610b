"""The places of a tree that edits have named: elsewhere it is as it was, and nobody has to look."""

from __future__ import annotations

from dataclasses import dataclass, field

from lxml import etree

from mgmt.netconf.model.schema import Key

__all__ = ["Since", "Touched"]


@dataclass(slots=True)
class Touched:
    """The nodes that edits have named: outside of them a tree is as it was. ``all``: it may differ anywhere below."""

    all: bool = False
    below: dict[Key, Touched] = field(default_factory=dict)

    def at(self, tag: str, keys: tuple[tuple[str, str], ...]) -> Touched:
        """Return the part below a child."""
        return self if self.all else self.below.setdefault((tag, keys), Touched())

    def mark(self) -> None:
        """Say that all below may differ."""
        self.all = True
        self.below.clear()

    def entries(self, container: str, entry: str) -> set[str] | None:
        """Return the first keys of the entries of a list in a top-level container that may differ; None: any may."""
        inner = self.below.get((container, ()), Touched())
        if self.all or inner.all:
            return None
        return {keys[0][1] for tag, keys in inner.below if tag == entry}


@dataclass(frozen=True, slots=True)
class Since:
    """A valid tree, and where edits have touched it since: for a validation that reads that alone anew.

    ``bulk`` is a list in a top-level container, as (container, list), of which the result has only what was touched.
    """

    tree: etree._Element
    touched: Touched
    bulk: tuple[str, str]
