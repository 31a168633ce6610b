"""The terms of a subscription of RFC 8639 as they were asked for, and what is told of its state."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from lxml import etree

__all__ = ["SN", "YP", "Terms", "add_subscription", "modified", "state_change", "terminated"]

SN = "urn:ietf:params:xml:ns:yang:ietf-subscribed-notifications"
YP = "urn:ietf:params:xml:ns:yang:ietf-yang-push"


@dataclass(slots=True)
class Terms:
    """Number of a subscription, the parameters that it was asked for with, and what became of it."""

    identifier: int
    asked: dict[str, etree._Element] = field(default_factory=dict)  # by tag
    sent: int = 0
    excluded: int = 0
    suspended: bool = False


def state_change(name: str, identifier: int, reason: tuple[str, str] | None = None) -> etree._Element:
    """Return a notification of ietf-subscribed-notifications; *reason* is an identity: namespace and name."""
    root = etree.Element(f"{{{SN}}}{name}", nsmap={None: SN})
    etree.SubElement(root, f"{{{SN}}}id").text = str(identifier)
    if reason is not None:
        space, identity = reason
        prefix = "sn" if space == SN else "yp"
        etree.SubElement(root, f"{{{SN}}}reason", nsmap={prefix: space}).text = f"{prefix}:{identity}"
    return root


def terminated(terms: Terms, reason: str = "filter-unavailable") -> etree._Element:
    """Return the notification that the function ended a subscription, by default as its filter cannot be evaluated."""
    return state_change("subscription-terminated", terms.identifier, (SN, reason))


def modified(terms: Terms) -> etree._Element:
    """Return the notification that a subscription has other terms now, with all of them."""
    root = state_change("subscription-modified", terms.identifier)
    root.extend(_copies(terms))
    return root


def add_subscription(parent: etree._Element, session: int, terms: Terms) -> None:
    """Append an entry of the list subscription."""
    entry = etree.SubElement(parent, f"{{{SN}}}subscription")
    etree.SubElement(entry, f"{{{SN}}}id").text = str(terms.identifier)
    entry.extend(_copies(terms))
    receiver = etree.SubElement(etree.SubElement(entry, f"{{{SN}}}receivers"), f"{{{SN}}}receiver")
    for name, text in (
        ("name", f"session {session}"),
        ("sent-event-records", str(terms.sent)),
        ("excluded-event-records", str(terms.excluded)),
        ("state", "suspended" if terms.suspended else "active"),
    ):
        etree.SubElement(receiver, f"{{{SN}}}{name}").text = text


def _copies(terms: Terms) -> list[etree._Element]:
    # Elements of their own documents: the prefixes in their values stay declared.
    return [copy.deepcopy(element) for element in terms.asked.values()]
