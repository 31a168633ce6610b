"""The last revisions of the configuration as the module snf-revisions tells them, and its operation rollback."""

from __future__ import annotations

from collections.abc import Callable

from lxml import etree

from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.store.datastore import Datastore

__all__ = ["ROLLBACK", "add_revisions", "number_of"]

_SPACE = "urn:supernetflow:yang:snf-revisions"
ROLLBACK = f"{{{_SPACE}}}rollback"
_LARGEST = (1 << 64) - 1  # uint64


def add_revisions(datastore: Datastore, tree: etree._Element, reads: Callable[[str], bool]) -> None:
    """Add the container revisions to *tree*; of the paths that changed those that the session *reads*."""
    kept = datastore.revisions()
    if not kept:
        return
    revisions = _add(tree, "revisions")
    _add(revisions, "current", str(datastore.revision))
    for revision in kept:
        entry = _add(revisions, "revision")
        _add(entry, "number", str(revision.number))
        for name, text in (("time", revision.time), ("user", revision.user)):
            if text:
                _add(entry, name, text)
        for path in filter(reads, revision.changed):
            _add(entry, "changed", path)


def number_of(element: etree._Element) -> int:
    """Return the number of a revision. Raises RpcError (invalid-value)."""
    text = (element.text or "").strip()
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else -1
    if not 0 <= number <= _LARGEST:
        info = [("bad-element", "revision")]
        raise RpcError("invalid-value", "A revision is a number.", info=info)
    return number


def _add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, f"{{{_SPACE}}}{name}", nsmap={None: _SPACE})
    element.text = text
    return element
