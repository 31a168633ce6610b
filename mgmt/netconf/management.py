"""Operational state of the server itself, of the module snf-management."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lxml import etree

from mgmt.netconf.model.yang_model import Model

__all__ = ["CallHomeState", "ManagementState", "add_management"]

_MODULE = "snf-management"


@dataclass(frozen=True, slots=True)
class CallHomeState:
    """The connection to one client."""

    name: str
    connected: bool = False
    attempts: int = 0  # since there was one
    error: str = ""


@dataclass(frozen=True, slots=True)
class ManagementState:
    """The server now, and its counters since the start."""

    sessions: int = 0
    unauthenticated: int = 0
    counters: Mapping[str, int] = field(default_factory=dict)
    call_home: Sequence[CallHomeState] = ()


def add_management(model: Model, tree: etree._Element, state: ManagementState) -> None:
    """Add *state* to *tree*, a copy of running whose children are the top-level nodes."""
    namespace = model.namespace(_MODULE)

    def add(parent: etree._Element, name: str, value: object = None) -> etree._Element:
        element = etree.SubElement(parent, f"{{{namespace}}}{name}", nsmap={None: namespace})
        element.text = None if value is None else str(value)
        return element

    top = tree.find(f"{{{namespace}}}management")
    found = add(top if top is not None else add(tree, "management"), "state")
    add(found, "sessions", state.sessions)
    add(found, "unauthenticated", state.unauthenticated)
    for client in state.call_home:
        entry = add(found, "call-home")
        add(entry, "name", client.name)
        add(entry, "connected", str(client.connected).lower())
        add(entry, "attempts", client.attempts)
        if client.error:
            add(entry, "last-error", client.error)
    for name, value in sorted(state.counters.items()):
        counter = add(found, "counter")
        add(counter, "name", name)
        add(counter, "value", value)
