"""The modules as a client is told of them: both trees of ietf-yang-library (RFC 8525; RFC 7895 for older clients).

Told are the modules whose nodes exist here and what those import, nothing that the library below brings for itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from lxml import etree

from mgmt.netconf.model.schema import Module

__all__ = ["DATASTORES", "content_id", "told", "yang_library"]

_LIBRARY = "urn:ietf:params:xml:ns:yang:ietf-yang-library"
_DATASTORES = "urn:ietf:params:xml:ns:yang:ietf-datastores"
_ALL = "all"  # the one module-set, of the one schema that every datastore has

DATASTORES = ("running", "candidate", "operational")
"""Datastores of this function, identities of ietf-datastores (RFC 8342)."""


def told(modules: Mapping[str, Module]) -> tuple[Module, ...]:
    """Return the modules that are implemented and all that those import, by name."""
    found = {m.name for m in modules.values() if m.implemented}
    new = found
    while new:
        new = {name for each in new for name in modules[each].imports} - found
        found = found | new
    return tuple(modules[name] for name in sorted(found))


def content_id(modules: tuple[Module, ...]) -> str:
    """Return a name of the set of modules that changes with it (RFC 8525, 2)."""
    names = (
        f"{m.name}@{m.revision}{'+' if m.implemented else ''} {' '.join(m.features + m.deviations)}" for m in modules
    )
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def yang_library(modules: tuple[Module, ...]) -> list[etree._Element]:
    """Return yang-library and modules-state."""
    return [_library(modules), _modules_state(modules)]


def _library(modules: tuple[Module, ...]) -> etree._Element:
    library = etree.Element(f"{{{_LIBRARY}}}yang-library", nsmap={None: _LIBRARY})
    one = _add(library, "module-set")
    _add(one, "name", _ALL)
    for module in sorted(modules, key=lambda m: not m.implemented):
        entry = _add(one, "module" if module.implemented else "import-only-module")
        _described(entry, module)
        for name in module.deviations:
            _add(entry, "deviation", name)
    schema = _add(library, "schema")
    _add(schema, "name", _ALL)
    _add(schema, "module-set", _ALL)
    for name in DATASTORES:
        datastore = _add(library, "datastore")
        etree.SubElement(datastore, f"{{{_LIBRARY}}}name", nsmap={"ds": _DATASTORES}).text = f"ds:{name}"
        _add(datastore, "schema", _ALL)
    _add(library, "content-id", content_id(modules))
    return library


def _modules_state(modules: tuple[Module, ...]) -> etree._Element:
    state = etree.Element(f"{{{_LIBRARY}}}modules-state", nsmap={None: _LIBRARY})
    _add(state, "module-set-id", content_id(modules))
    known = {module.name: module for module in modules}
    for module in modules:
        entry = _add(state, "module")
        _described(entry, module)
        for name in module.deviations:
            deviation = _add(entry, "deviation")
            _add(deviation, "name", name)
            _add(deviation, "revision", known[name].revision)
        _add(entry, "conformance-type", "implement" if module.implemented else "import")
    return state


def _described(entry: etree._Element, module: Module) -> None:
    """Append name, revision, namespace and features; a location would be a path of this machine."""
    for name in ("name", "revision", "namespace"):
        _add(entry, name, getattr(module, name))
    for feature in module.features if module.implemented else ():
        _add(entry, "feature", feature)


def _add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, f"{{{_LIBRARY}}}{name}")
    element.text = text
    return element
