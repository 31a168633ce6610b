"""Subscriptions to the stream of events (RFC 5277, 2.1.1)."""

from __future__ import annotations

from datetime import UTC, datetime

from lxml import etree

from mgmt.netconf.caller import Caller
from mgmt.netconf.filters import Nodes
from mgmt.netconf.notify.log import NOTIFICATION
from mgmt.netconf.notify.stream import Matches, StreamSubscription
from mgmt.netconf.notify.told import MANAGE, STREAM
from mgmt.netconf.params import Params
from mgmt.netconf.rpcerror import RpcError, bad_element, missing_element
from mgmt.netconf.selecting import selected
from mgmt.netconf.served import Operations, Served
from mgmt.netconf.xml_names import NC

__all__ = ["matcher", "moment", "notifying"]

_CREATE = f"{{{NOTIFICATION}}}create-subscription"

_FILTER = f"{NC}filter"  # as ncclient writes it, in the namespace of NETCONF


def notifying(served: Served) -> Operations:
    """Return create-subscription."""
    parameters = ("stream", "filter", _FILTER, "startTime", "stopTime")
    return {_CREATE: (parameters, lambda caller, params: _create_subscription(served, caller, params))}


def _create_subscription(served: Served, caller: Caller, params: Params) -> None:
    stream = params.text("stream", STREAM)
    if stream != STREAM:
        raise bad_element("stream", f"The one stream is {STREAM}.", kind="protocol")
    start, stop = moment(served, _CREATE, params, "startTime"), moment(served, _CREATE, params, "stopTime")
    if start is not None and start > datetime.now(UTC):
        raise bad_element("startTime", "A replay cannot begin in the future.", kind="protocol")
    if stop is not None and start is None:
        raise missing_element("startTime", "A stopTime needs a startTime.", kind="protocol")
    if stop is not None and start is not None and stop <= start:
        raise bad_element("stopTime", "The stopTime is not after the startTime.", kind="protocol")
    told = served.notifications
    if any(isinstance(s, _OfRfc5277) and s.caller.session == caller.session for s in told.subscriptions()):
        raise RpcError("in-use", "The session has a subscription, which ends with it.", kind="protocol")
    told.add(
        _OfRfc5277(
            caller,
            told.log,
            matcher(_filter(params), told.model.notifications),
            start=start,
            stop=stop,
            replayed=etree.Element(f"{{{MANAGE}}}replayComplete", nsmap={None: MANAGE}),
            completed=etree.Element(f"{{{MANAGE}}}notificationComplete", nsmap={None: MANAGE}),
        )
    )


def _filter(params: Params) -> etree._Element | None:
    both = [found for name in ("filter", _FILTER) if (found := params.get(name)) is not None]
    if len(both) > 1:
        raise bad_element("filter", "filter is there twice.", kind="protocol")
    return both[0] if both else None


class _OfRfc5277(StreamSubscription):
    """A subscription that ends with its session; a session has one."""


def moment(served: Served, operation: str, params: Params, name: str) -> datetime | None:
    """Return a parameter that is a date-and-time. Raises RpcError (bad-element) when it is none."""
    element = params.get(name)
    if element is None:
        return None
    model = served.datastore.model
    try:
        found = datetime.fromisoformat(model.canonical(model.inputs[operation][name], element))
    except (RpcError, ValueError):
        raise bad_element(name, f"{name} is a time with its zone, as 2026-11-29T12:00:00Z.", kind="protocol") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def matcher(wanted: etree._Element | None, nodes: Nodes) -> Matches:
    """Return what says if an event passes the filter *wanted*. Raises RpcError when that is no filter."""
    if wanted is None:
        return lambda _tree: True
    selected(etree.Element("events"), wanted, nodes)

    return lambda tree: len(selected(tree, wanted, nodes)) > 0
