"""Alarms as the module ietf-alarms has them (RFC 8632): its list, its inventory, and the filter of purge-alarms."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lxml import etree

from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.params import Params
from mgmt.netconf.rpcerror import Namespaces, RpcError, bad_element, missing_element
from mgmt.netconf.xml_names import elements, local, qualified_path, wall_time
from mgmt.vitals.alarms import SEVERITIES, Alarm, Alarms
from mgmt.vitals.conditions import KINDS

__all__ = ["add_alarms", "alarm_notification", "meant", "purged"]

_SPACE = "urn:ietf:params:xml:ns:yang:ietf-alarms"
_KINDS = "snf-alarms"  # the module of their identities
_UNITS_S = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400, "weeks": 604_800}


def add_alarms(model: Model, tree: etree._Element, alarms: Alarms) -> None:
    """Add the inventory and the list of alarms to *tree*."""
    top = _add(tree, "alarms")
    inventory = _add(top, "alarm-inventory")
    for kind in KINDS.values():
        entry = _add(inventory, "alarm-type")
        _add_kind(model.namespace, entry, kind.name)
        _leaves(entry, {"will-clear": "true", "severity-level": kind.severity, "description": kind.description})
    found = alarms.all()
    alarm_list = _add(top, "alarm-list")
    _add(alarm_list, "number-of-alarms", str(len(found)))
    if alarms.changed_s is not None:
        _add(alarm_list, "last-changed", wall_time(alarms.changed_s))
    for alarm in found:
        _add_alarm(model.namespace, _add(alarm_list, "alarm"), alarm)


def alarm_notification(alarm: Alarm, namespaces: Namespaces) -> etree._Element:
    """Return the notification of a change of an alarm."""
    root = etree.Element(f"{{{_SPACE}}}alarm-notification", nsmap={None: _SPACE})
    _add_named(namespaces, root, alarm)
    severity = "cleared" if alarm.cleared else alarm.severity
    _leaves(root, {"time": wall_time(alarm.changed_s), "perceived-severity": severity, "alarm-text": alarm.text})
    return root


def _add_named(namespaces: Namespaces, entry: etree._Element, alarm: Alarm) -> None:
    """Add what names an alarm: resource and type."""
    path, prefixes = qualified_path(alarm.resource, namespaces)
    resource = etree.SubElement(entry, f"{{{_SPACE}}}resource", nsmap=prefixes)
    resource.text = path
    _add_kind(namespaces, entry, alarm.kind)


def _add_alarm(namespaces: Namespaces, entry: etree._Element, alarm: Alarm) -> None:
    _add_named(namespaces, entry, alarm)
    _leaves(
        entry,
        {
            "time-created": wall_time(alarm.created_s),
            "is-cleared": str(alarm.cleared).lower(),
            "last-raised": wall_time(alarm.raised_s),
            "last-changed": wall_time(alarm.changed_s),
            "perceived-severity": alarm.severity,
            "alarm-text": alarm.text,
        },
    )


def _add_kind(namespaces: Namespaces, entry: etree._Element, kind: str) -> None:
    identity = etree.SubElement(entry, f"{{{_SPACE}}}alarm-type-id", nsmap={_KINDS: namespaces(_KINDS)})
    identity.text = f"{_KINDS}:{kind}"
    _add(entry, "alarm-type-qualifier", "")


def _add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, f"{{{_SPACE}}}{name}", nsmap={None: _SPACE})
    element.text = text
    return element


def _leaves(parent: etree._Element, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        _add(parent, name, value)


# -- purge-alarms ------------------------------------------------------------------


def meant(params: Params, now_s: float) -> Callable[[Alarm], bool]:
    """Return which alarms the input of purge-alarms means. Raises RpcError."""
    status = _one_of(params.need("alarm-clearance-status"), ("any", "cleared", "not-cleared"))
    older = _criterion(params.get("older-than"))
    severity = _criterion(params.get("severity"))
    before_s = now_s - _age_s(older) if older is not None else None
    level = SEVERITIES.index(_one_of(severity, SEVERITIES)) if severity is not None else 0
    how = local(severity) if severity is not None else ""

    def is_meant(alarm: Alarm) -> bool:
        at = SEVERITIES.index(alarm.severity)
        return (
            status in ("any", "cleared" if alarm.cleared else "not-cleared")
            and (before_s is None or alarm.changed_s <= before_s)
            and {"below": at < level, "is": at == level, "above": at > level, "": True}[how]
        )

    return is_meant


def purged(number: int) -> etree._Element:
    """Return the output of purge-alarms."""
    element = etree.Element(f"{{{_SPACE}}}purged-alarms", nsmap={None: _SPACE})
    element.text = str(number)
    return element


def _criterion(container: etree._Element | None) -> etree._Element | None:
    """Return the one leaf of a container of criteria; they are the cases of a choice."""
    if container is None:
        return None
    inner = list(elements(container))
    if not inner:
        raise missing_element(local(container), f"{local(container)} needs a criterion.")
    if len(inner) > 1:
        raise bad_element(local(inner[1]), f"{local(container)} has one criterion.")
    if inner[0].tag not in {f"{{{_SPACE}}}{name}" for name in (*_UNITS_S, "below", "is", "above")}:
        raise bad_element(local(inner[0]), f"{local(inner[0])} is no criterion.")
    return inner[0]


def _one_of(element: etree._Element, allowed: tuple[str, ...]) -> str:
    text = (element.text or "").strip()
    if text not in allowed:
        said = f"{local(element)} is one of {', '.join(allowed)}."
        raise RpcError("invalid-value", said, info=[("bad-element", local(element))])
    return text


def _age_s(element: etree._Element) -> int:
    text, unit = (element.text or "").strip(), _UNITS_S.get(local(element))
    if unit is None or not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 0xFFFF):
        said = f"{local(element)} is a number of at most 65535."
        raise RpcError("invalid-value", said, info=[("bad-element", local(element))])
    return int(text) * unit
