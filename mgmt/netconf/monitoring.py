"""The server's description of itself: its capabilities, its modules, its locks (RFC 6022, RFC 8525)."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable
from functools import lru_cache

from lxml import etree

from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.store.datastore import TARGETS, Datastore

__all__ = ["CAPABILITIES", "MONITORING", "add_monitoring", "capabilities"]

MONITORING = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"

CAPABILITIES = (
    "urn:ietf:params:netconf:base:1.0",
    "urn:ietf:params:netconf:base:1.1",
    "urn:ietf:params:netconf:capability:candidate:1.0",
    "urn:ietf:params:netconf:capability:confirmed-commit:1.0",  # some clients look for this one only
    "urn:ietf:params:netconf:capability:confirmed-commit:1.1",
    "urn:ietf:params:netconf:capability:rollback-on-error:1.0",
    "urn:ietf:params:netconf:capability:validate:1.0",  # some clients look for this one only
    "urn:ietf:params:netconf:capability:validate:1.1",
    "urn:ietf:params:netconf:capability:xpath:1.0",
)


def _content_id(model: Model) -> str:
    """Return a name of the set of modules that changes with it (RFC 8525, 2)."""
    names = sorted(f"{m.name}@{m.revision}{'+' if m.implemented else ''}" for m in model.modules.values())
    return hashlib.sha256(" ".join(names).encode()).hexdigest()[:16]


def capabilities(model: Model) -> list[str]:
    """Return the capabilities in the hello.

    Modules of YANG 1.1 are told by yang-library only (RFC 7950, 5.6.4); the one of YANG 1.0 that
    clients look for to call get-schema is told here.
    """
    library = model.modules["ietf-yang-library"]
    monitoring = model.modules["ietf-netconf-monitoring"]
    return [
        *CAPABILITIES,
        f"urn:ietf:params:netconf:capability:yang-library:1.1?revision={library.revision}"
        f"&content-id={_content_id(model)}",
        f"{MONITORING}?module={monitoring.name}&revision={monitoring.revision}",
    ]


@lru_cache(maxsize=4)
def _library(model: Model) -> tuple[etree._Element, ...]:
    return tuple(model.yang_library(_content_id(model)))


def add_monitoring(datastore: Datastore, tree: etree._Element, told: Iterable[str]) -> None:
    """Add netconf-state, yang-library and modules-state to *tree*; *told* are the capabilities of the hello."""
    model = datastore.model
    state = _add(tree, "netconf-state")
    each = _add(state, "capabilities")
    for capability in told:
        _add(each, "capability", capability)
    stores = _add(state, "datastores")
    for name in TARGETS:
        store = _add(stores, "datastore")
        _add(store, "name", name)
        owner, since = datastore.lock_owner(name)
        if owner is not None:
            lock = _add(_add(store, "locks"), "global-lock")
            _add(lock, "locked-by-session", str(owner))
            _add(lock, "locked-time", since)
    schemas = _add(state, "schemas")
    for module in sorted(model.modules.values(), key=lambda m: m.name):
        schema = _add(schemas, "schema")
        for name, value in (
            ("identifier", module.name),
            ("version", module.revision),
            ("format", "yang"),
            ("namespace", module.namespace),
            ("location", "NETCONF"),
        ):
            _add(schema, name, value)
    tree.extend([copy.deepcopy(element) for element in _library(model)])


def _add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, f"{{{MONITORING}}}{name}", nsmap={None: MONITORING})
    element.text = text
    return element
