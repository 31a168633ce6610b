"""Actions: operations on one container or list entry (RFC 7950, 7.15).

The content of ``action`` is the way down to the node, with the keys of lists, and in the node the action itself with
its parameters. The node has to be in running, as far as it is configuration.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lxml import etree

from mgmt.netconf.alarms import meant, purged
from mgmt.netconf.caller import Caller
from mgmt.netconf.model.schema import ActionNode, Kind, SchemaNode, list_keys
from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.params import Params
from mgmt.netconf.rpcerror import RpcError, bad_element, missing_element, unknown_element
from mgmt.netconf.served import Operations, Served
from mgmt.netconf.xml_names import elements, local, step

__all__ = ["ACTION", "actions"]

ACTION = "{urn:ietf:params:xml:ns:yang:1}action"
_RESET = "/ietf-interfaces:interfaces/ietf-interfaces:interface/snf-interfaces:capture/snf-interfaces:reset-statistics"

_PURGE = "/ietf-alarms:alarms/ietf-alarms:alarm-list/ietf-alarms:purge-alarms"

Keys = tuple[str, ...]
Act = Callable[[Caller, Keys, Params], list[etree._Element] | None]
"""Answers an action; the keys are those of all lists on the way, in canonical form."""


@dataclass(frozen=True, slots=True)
class _Found:
    """An action as a request names it, and the data path of its node."""

    node: ActionNode
    element: etree._Element
    keys: Keys
    path: str


def actions(served: Served) -> Operations:
    """Return the one operation by which all actions are asked for."""
    known: Mapping[str, Act] = {
        _RESET: lambda _caller, keys, _params: _reset_statistics(served, keys[0]),
        _PURGE: lambda _caller, _keys, params: _purge_alarms(served, params),
    }
    return {ACTION: (None, lambda caller, params: _act(served, known, caller, params.operation))}


def _act(
    served: Served, known: Mapping[str, Act], caller: Caller, request: etree._Element
) -> list[etree._Element] | None:
    served.access.act(caller, request)
    found = _find(served, request)
    act = known.get(found.node.path)
    if act is None:
        said = f"The action {local(found.element)} is not supported."
        raise RpcError("operation-not-supported", said, kind="protocol", path=found.path)
    try:
        return act(caller, found.keys, Params(found.element, tuple(found.node.inputs)))
    except RpcError as error:
        raise error.at(found.path) from None


def _find(served: Served, request: etree._Element) -> _Found:
    """Return the action that the content of a request leads to. Raises RpcError."""
    model = served.datastore.model
    element, path = _only_child(request), ""
    node, nodes = None, model.top
    entry: etree._Element | None = served.datastore.read("running")
    keys: Keys = ()
    while True:
        if node is not None and (action := node.actions.get(element.tag)) is not None:
            return _Found(action, element, keys, path)
        node = nodes.get(element.tag)
        if node is None or node.kind not in (Kind.CONTAINER, Kind.LIST):
            raise unknown_element(local(element), f"{local(element)} leads to no action.", path)
        named = _keys(model, node, element, path)
        path = step(path, node.name, node.module_if_new, named)
        keys += tuple(value for _, value in named)
        entry = _instance(node, named, entry)
        if node.config and entry is None and (node.kind is Kind.LIST or node.presence):
            raise RpcError("data-missing", f"There is no such {node.name}.", path=path)
        element, nodes = _only_child(element, node.keys), node.children


def _only_child(parent: etree._Element, keys: tuple[str, ...] = ()) -> etree._Element:
    """Return the one element that goes on below *parent*, beside its keys."""
    inner = [c for c in elements(parent) if not (local(c) in keys and c.tag == _sibling(parent, local(c)))]
    if not inner:
        raise missing_element(local(parent), f"{local(parent)} needs the way to an action, or the action.")
    if len(inner) > 1:
        raise bad_element(local(inner[1]), "A request has one action.")
    return inner[0]


def _sibling(element: etree._Element, name: str) -> str:
    return f"{{{etree.QName(element).namespace}}}{name}"


def _keys(model: Model, node: SchemaNode, element: etree._Element, path: str) -> tuple[tuple[str, str], ...]:
    """Return the keys of a list entry in canonical form."""
    if node.kind is not Kind.LIST:
        return ()
    given = dict(list_keys(node, element))
    for key in node.keys:
        if len(element.findall(node.child(key).tag)) > 1:
            raise bad_element(key, f"The key {key} of {node.name} is there twice.", path)
        if key not in given:
            raise missing_element(key, f"The key {key} of {node.name} has to be given.", path)
    return tuple((key, model.canonical(node.child(key), element.find(node.child(key).tag))) for key in node.keys)


def _instance(
    node: SchemaNode, named: tuple[tuple[str, str], ...], parent: etree._Element | None
) -> etree._Element | None:
    """Return the node of running below *parent* that a request names."""
    found = parent.findall(node.tag) if parent is not None else []
    return next((e for e in found if node.kind is not Kind.LIST or list_keys(node, e) == named), None)


def _reset_statistics(served: Served, name: str) -> None:
    if served.function.reset_statistics is None or not served.function.reset_statistics(name):
        raise RpcError("operation-failed", "The interface has no statistics: it is not enabled.")


def _purge_alarms(served: Served, params: Params) -> list[etree._Element]:
    alarms = served.function.alarms
    if alarms is None:
        raise RpcError("operation-failed", "The function has no alarms.")
    return [purged(alarms.purge(meant(params, time.time())))]
