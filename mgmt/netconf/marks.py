"""The operation ``mark-change`` of the module snf-marks: its parameters, and its request."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from lxml import etree

from feed.change import Mark
from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.rpcerror import RpcError

__all__ = ["NAMESPACE", "OPERATION", "mark_of", "request"]

NAMESPACE = "urn:supernetflow:yang:snf-marks"
OPERATION = f"{{{NAMESPACE}}}mark-change"
_FIELDS = {"application": "app"}  # of a mark, where it has another name than the parameter


def mark_of(model: Model, parameters: Mapping[str, etree._Element], now_s: float) -> Mark:
    """Return the mark of an rpc mark-change. Raises RpcError (invalid-value) with the parameter."""
    given: dict[str, str] = {}
    for name, element in parameters.items():
        try:
            given[name] = model.canonical(model.inputs[OPERATION][name], element)
        except RpcError as error:
            raise RpcError("invalid-value", error.message, info=[("bad-element", name)]) from None
    text, time = given.pop("text"), given.pop("time", "")
    try:
        at_s = datetime.fromisoformat(time).timestamp() if time else now_s
    except (ValueError, OverflowError):
        at_s = -1.0
    if at_s < 0:
        raise RpcError("invalid-value", "The time is none since 1970.", info=[("bad-element", "time")])
    return Mark(at_s, text, **{_FIELDS.get(name, name): value for name, value in given.items()})


def request(parameters: Mapping[str, str]) -> etree._Element:
    """Return the element of the operation."""
    operation = etree.Element(OPERATION, nsmap={None: NAMESPACE})
    for name, value in parameters.items():
        etree.SubElement(operation, f"{{{NAMESPACE}}}{name}").text = value
    return operation
