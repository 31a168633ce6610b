"""Writing: the rights of one session over what it changes (RFC 8341, 3.2.5 to 3.2.8).

Rights are asked for the nodes in which a datastore differs after an edit, a copy or a commit, not for those that a
request names. Beyond the RFC, so that nothing is lost or told by a way around:

    what the user may not read is deleted by nobody's replace or copy: only by an operation that names it
    a node that he may neither read nor change is refused before anything looks if it is there, or has that value
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from lxml import etree

from mgmt.netconf.model.schema import Kind, SchemaNode
from mgmt.netconf.model.touched import Touched
from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.nacm.order import moved
from mgmt.netconf.nacm.places import Asked, Place, asked, place_of
from mgmt.netconf.nacm.prune import prune, readable
from mgmt.netconf.nacm.rights import Rights
from mgmt.netconf.nacm.rules import Access
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.store.changes import Changed, changes
from mgmt.netconf.xml_names import elements

__all__ = ["UNGUARDED", "Guard", "Writer"]

_NEEDED = {"create": Access.CREATE, "update": Access.UPDATE, "delete": Access.DELETE}
_REMOVING = ("delete", "remove")


class Guard(Protocol):
    """The rights of a session over the datastores; each method raises RpcError (access-denied)."""

    def asks(self, config: etree._Element, default_operation: str) -> None:
        """Look at an edit before it is applied."""

    def edited(
        self,
        old: etree._Element,
        new: etree._Element,
        config: etree._Element,
        default_operation: str,
        within: Touched | None = None,
    ) -> None:
        """Look at what an edit made of a datastore; it differs nowhere but *within*, when that is known."""

    def copied(self, old: etree._Element, source: etree._Element) -> etree._Element:
        """Look at a copy of the datastore *source* over *old*; return what the user may copy of it."""

    def commits(self, old: etree._Element, new: etree._Element, found: Iterable[Changed]) -> None:
        """Look at what a commit changes: *found* are the nodes in which the trees differ."""


class _Unguarded:
    """Guard of what the function itself does."""

    def asks(self, config: etree._Element, default_operation: str) -> None:
        return

    def edited(
        self,
        old: etree._Element,
        new: etree._Element,
        config: etree._Element,
        default_operation: str,
        within: Touched | None = None,
    ) -> None:
        return

    def copied(self, old: etree._Element, source: etree._Element) -> etree._Element:
        return source

    def commits(self, old: etree._Element, new: etree._Element, found: Iterable[Changed]) -> None:
        return


UNGUARDED: Guard = _Unguarded()


class Writer:
    """Guard of a user's session. ``denied`` is called with each refusal: the operation, and the node."""

    def __init__(self, model: Model, rights: Rights, denied: Callable[[str, SchemaNode], None]) -> None:
        self._model, self._rights, self._denied = model, rights, denied

    def asks(self, config: etree._Element, default_operation: str) -> None:
        """Refuse a node that may neither be read nor changed in the way that the edit asks."""
        if self._rights.unlimited:
            return
        for each in asked(self._model.top, elements(config), default_operation):
            needed = self._to_ask(each)
            if needed and not self._reads(each.place):
                for access in needed:
                    if not self._rights.verdict(each.place.nodes[-1], access).at(each.place.key_of):
                        raise self._refuse(each.place, access, len(each.place.nodes))

    def _to_ask(self, each: Asked) -> tuple[Access, ...]:
        node = each.place.nodes[-1]
        passed = each.deep or (node.kind is Kind.CONTAINER and not node.presence)
        if passed and each.operation in ("none", "merge"):
            return ()  # it is named for the sake of what is below
        if each.operation in _REMOVING:
            return (Access.DELETE,)
        return (Access.CREATE,) if each.operation == "create" else (Access.CREATE, Access.UPDATE)

    def edited(
        self,
        old: etree._Element,
        new: etree._Element,
        config: etree._Element,
        default_operation: str,
        within: Touched | None = None,
    ) -> None:
        """Refuse a change without a right, and a hidden node that goes without being named."""
        if self._rights.unlimited:
            return
        named = {
            each.place
            for each in asked(self._model.top, elements(config), default_operation)
            if each.operation in _REMOVING
        }
        self._judge(old, new, changes(self._model, old, new, within), named)

    def copied(self, old: etree._Element, source: etree._Element) -> etree._Element:
        """Leave out of the source what may not be read (3.2.6), and refuse what that would delete."""
        if self._rights.unlimited:
            return source
        seen = copy.deepcopy(source)
        if not prune(self._rights, seen, self._model.top):
            seen = source
        self._judge(old, seen, changes(self._model, old, seen), set())
        return seen

    def commits(self, old: etree._Element, new: etree._Element, found: Iterable[Changed]) -> None:
        """Refuse a change without a right, whoever made it in the candidate (3.2.8)."""
        if not self._rights.unlimited:
            self._judge(old, new, found, None)

    # -- judging -----------------------------------------------------------

    def _judge(
        self,
        old: etree._Element,
        new: etree._Element,
        found: Iterable[Changed],
        named: set[Place] | None,
    ) -> None:
        found = list(found)
        cases = _cases(self._model, found)
        for change in found:
            access = _NEEDED[change.operation]
            below = access is not Access.UPDATE and not self._simple(change.node, access)
            tree = old if access is Access.DELETE else new
            for place in self._places(change, tree) if below else [place_of(self._model.top, change.path)]:
                if access is Access.DELETE:
                    if named is not None and not _is_named(place, named) and not self._reads(place):
                        raise self._refuse(place, "delete", readable(self._rights, place))
                    if _goes_with_its_case(place, cases):
                        continue
                self._need(place, access, readable(self._rights, place))
        for place in moved(self._model.top, old, new):
            self._need(place, Access.UPDATE, readable(self._rights, place))

    def _simple(self, node: SchemaNode, access: Access) -> bool:
        """Say if rights to a node and everything below it need no look at the instances."""
        sees = access is Access.CREATE or self._rights.whole(node, Access.READ)
        return sees and self._rights.whole(node, access)

    def _places(self, change: Changed, tree: etree._Element) -> Iterator[Place]:
        place = place_of(self._model.top, change.path)
        element = place.find(tree)
        yield place
        if element is not None:
            yield from _inside(place, element)

    def _reads(self, place: Place) -> bool:
        return readable(self._rights, place) == len(place.nodes)

    def _need(self, place: Place, access: Access, shown: int) -> None:
        if not self._rights.may_touch(place.nodes[-1], access, place.key_of):
            raise self._refuse(place, access, shown)

    def _refuse(self, place: Place, access: str, shown: int) -> RpcError:
        self._denied(access, place.nodes[-1])
        where = "this node" if shown == len(place.nodes) else "something below this node"
        return RpcError("access-denied", f"You have no right to {access} {where}.", path=place.path(shown))


def _inside(place: Place, element: etree._Element) -> Iterator[Place]:
    for child in elements(element):
        node = place.nodes[-1].children[child.tag]
        here = place.below(node, child)
        yield here
        yield from _inside(here, child)


def _is_named(place: Place, named: set[Place]) -> bool:
    return any(place.above(n) in named for n in range(1, len(place.nodes) + 1))


# -- what goes with another change (RFC 8341, 3.2.5: no rights are needed for it) ----------


def _cases(model: Model, found: Iterable[Changed]) -> set[tuple[Place, tuple[str, str]]]:
    """Return where a case of a choice came: the place of its parent, and the case."""
    made = [change for change in found if change.operation == "create" and change.node.case is not None]
    places = [place_of(model.top, change.path) for change in made]
    return {(p.above(len(p.nodes) - 1), c.node.case or ("", "")) for c, p in zip(made, places, strict=True)}


def _goes_with_its_case(place: Place, cases: set[tuple[Place, tuple[str, str]]]) -> bool:
    """Say if a node goes because another case of its choice came."""
    for depth, node in enumerate(place.nodes):
        if node.case is not None:
            choice, own = node.case
            if any(at == place.above(depth) and c[0] == choice and c[1] != own for at, c in cases):
                return True
    return False
