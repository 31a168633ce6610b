"""The state of streams and subscriptions, in the trees of RFC 5277 and of RFC 8639."""

from __future__ import annotations

from lxml import etree

from mgmt.netconf.notify.log import EventLog
from mgmt.netconf.notify.notifications import Notifications
from mgmt.netconf.notify.terms import SN, add_subscription
from mgmt.netconf.xml_names import date_and_time

__all__ = ["MANAGE", "STREAM", "add_streams"]

MANAGE = "urn:ietf:params:xml:ns:netmod:notification"

STREAM = "NETCONF"
"""Name of the one stream."""

_ABOUT = "Sessions, changes of the configuration, and what the modules of this function notify."


def add_streams(tree: etree._Element, notifications: Notifications) -> None:
    """Add to *tree* the streams as both modules have them, and the subscriptions."""
    log = notifications.log
    streams = _add(_add(tree, MANAGE, "netconf"), MANAGE, "streams")
    _add_stream(streams, MANAGE, log, ("replaySupport", "true"), "replayLogCreationTime", "replayLogAgedTime")
    aged, created = "replay-log-aged-time", "replay-log-creation-time"
    _add_stream(_add(tree, SN, "streams"), SN, log, ("replay-support", None), created, aged)
    subscriptions = _add(tree, SN, "subscriptions")
    for each in notifications.subscriptions():
        if each.terms is not None:
            add_subscription(subscriptions, each.caller.session, each.terms)


def _add_stream(
    parent: etree._Element, space: str, log: EventLog, support: tuple[str, str | None], created: str, aged: str
) -> None:
    stream = _add(parent, space, "stream")
    _add(stream, space, "name", STREAM)
    _add(stream, space, "description", _ABOUT)
    _add(stream, space, *support)
    _add(stream, space, created, date_and_time(log.created))
    if log.aged is not None:
        _add(stream, space, aged, date_and_time(log.aged))


def _add(parent: etree._Element, space: str, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, f"{{{space}}}{name}", nsmap={None: space})
    element.text = text
    return element
