"""The tree of libyang that was validated last, changed where edits touched it, in place of being read anew.

Reading and printing a tree of 10,000 entries takes longer than validating it. The whole tree is validated each time:
only its making is saved. The caller holds the lock of libyang.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import libyang
from _libyang import ffi, lib  # type: ignore[import-not-found]
from lxml import etree

from mgmt.netconf.model.schema import SchemaNode, instance, instances_of
from mgmt.netconf.model.touched import Since, Touched
from mgmt.netconf.xml_names import step

__all__ = ["KeptTree", "values_of"]

_MOST = 2000  # touched nodes; with more, reading the whole tree is not slower
_WD_ALL = lib.LYD_PRINT_WD_ALL | lib.LYD_PRINT_SHRINK


class _NoPath(Exception):
    """A node has a key that no path of libyang can hold."""


class KeptTree:
    """The libyang tree of one tree in canonical form, or none. Its memory is freed with it."""

    def __init__(self, context: libyang.Context, top: Mapping[str, SchemaNode]) -> None:
        self._context, self._top = context, top
        self._tree: etree._Element | None = None
        self._touched: Touched | None = None
        self._root: Any = ffi.NULL
        self._holder = ffi.new("struct lyd_node **")  # of the tree that is being changed
        self._when: dict[Any, bool] = {}  # by schema node: whether it or one below has a when

    def keep(self, tree: etree._Element, root: Any, touched: Touched | None) -> None:
        """Keep the valid libyang tree *root* of *tree*, in place of another."""
        self.forget()
        self._tree, self._root, self._touched = tree, root, touched

    def forget(self) -> None:
        """Free it."""
        if self._root:
            lib.lyd_free_all(self._root)
        self._tree, self._root, self._touched = None, ffi.NULL, None

    def take(self, tree: etree._Element, since: Since) -> Any:
        """Return the libyang tree of *tree*, not valid yet, which is the caller's from now on; None: read it anew."""
        # The set of touched nodes counts from `since.tree` on, and grows as long as it is the same object.
        if not self._root or (self._tree is not since.tree and self._touched is not since.touched):
            return None
        if since.touched.all or sum(max(1, len(t.below)) for t in since.touched.below.values()) > _MOST:
            return None
        self._holder[0], self._root = self._root, ffi.NULL
        self._tree = self._touched = None
        try:
            self._change(tree, since.touched)
        except (libyang.LibyangError, _NoPath):
            # Reading the whole tree finds the same, and says where.
            lib.lyd_free_all(self._holder[0])
            return None
        root = self._holder[0]
        self._forget_whens(root)
        return root or None

    def _change(self, tree: etree._Element, touched: Touched) -> None:
        fresh = []
        for (tag, keys), inner in touched.below.items():
            node = self._top[tag]
            path, now = step("", node.name, node.module_if_new, keys), instance(node, tree, keys)
            # An entry that is merged comes last, which in a list that the user orders is another place.
            if now is None or inner.all or any(node.children[child].user_ordered for child, _ in inner.below):
                self._free(path)
                fresh += [] if now is None else [etree.tostring(now)]
                continue
            fresh.append(f'<{node.name} xmlns="{node.module.namespace}">'.encode())
            elements = instances_of(node.children, now, inner.below)
            for (child_tag, child_keys), element in zip(inner.below, elements, strict=True):
                child = node.children[child_tag]
                self._free(step(path, child.name, child.module_if_new, child_keys))
                fresh += [] if element is None else [etree.tostring(element)]
            fresh.append(f"</{node.name}>".encode())
        self._merge(b"".join(fresh).decode())

    def _merge(self, text: str) -> None:
        parsed = None
        if text:
            parsed = self._context.parse_data_mem(text, "xml", parse_only=True, no_state=True, strict=True)
        if parsed is None:
            return
        if not self._holder[0]:
            self._holder[0] = parsed.cdata
        elif lib.lyd_merge_siblings(self._holder, parsed.cdata, lib.LYD_MERGE_DESTRUCT) != lib.LY_SUCCESS:
            raise self._context.error("a changed part cannot be merged")
        self._holder[0] = lib.lyd_first_sibling(self._holder[0])

    def _free(self, path: str) -> None:
        """Free the node at *path*, if it is there."""
        root, found = self._holder[0], ffi.new("struct lyd_node **")
        if not root:
            return
        code = lib.lyd_find_path(root, path.encode(), False, found)
        self._context.take_errors()
        if code in (lib.LY_ENOTFOUND, lib.LY_EINCOMPLETE):
            return
        if code != lib.LY_SUCCESS:
            raise _NoPath
        if found[0] == root:
            root = root.next
        lib.lyd_free_tree(found[0])
        self._holder[0] = lib.lyd_first_sibling(root) if root else ffi.NULL

    def _forget_whens(self, root: Any) -> None:
        """Make libyang judge each when anew: one that was met once and is no more would take its node away silently."""
        pending = [root]
        while pending:
            node = pending.pop()
            while node:
                if self._has_when(node.schema):
                    node.flags &= ~lib.LYD_WHEN_TRUE
                    pending.append(lib.lyd_child(node))
                node = node.next

    def _has_when(self, schema: Any) -> bool:
        known = self._when.get(schema)
        if known is None:
            node = libyang.SNode.new(self._context, schema)
            known = bool(list(node.when_conditions()))
            if not known and schema.nodetype in (libyang.SNode.CONTAINER, libyang.SNode.LIST):
                known = any(self._has_when(child.cdata) for child in node.children())
            self._when[schema] = known
        return known


def values_of(root: Any, bulk: tuple[Any, Any] | None, wanted: set[str]) -> dict[str, Any]:
    """Return a valid tree as JSON (RFC 7951) reads; of the list *bulk* (schemas of container and list) the *wanted*."""
    values: dict[str, Any] = {}
    node = root
    while node:
        if bulk is not None and node.schema == bulk[0]:
            values |= _few(node, bulk[1], wanted)
        else:
            values |= json.loads(_printed(node))
        node = node.next
    return values


def _few(container: Any, entry: Any, wanted: set[str]) -> dict[str, Any]:
    holder = ffi.new("struct lyd_node **")
    lib.lyd_dup_single(container, ffi.NULL, 0, holder)
    few = holder[0]
    try:
        inner = ffi.cast("struct lyd_node_inner *", few)
        child = lib.lyd_child(container)
        while child:
            key = ffi.string(lib.lyd_get_value(lib.lyd_child(child))).decode() if child.schema == entry else None
            if key is None or key in wanted:
                lib.lyd_dup_single(child, inner, lib.LYD_DUP_RECURSIVE, ffi.NULL)
            child = child.next
        values: dict[str, Any] = json.loads(_printed(few))
        return values
    finally:
        lib.lyd_free_tree(few)


def _printed(node: Any) -> str:
    buffer = ffi.new("char **")
    lib.lyd_print_mem(buffer, node, lib.LYD_JSON, _WD_ALL)
    if not buffer[0]:
        return "{}"
    try:
        return str(ffi.string(buffer[0]).decode())
    finally:
        lib.free(buffer[0])
