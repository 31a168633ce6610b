"""Dynamic subscriptions over NETCONF (RFC 8639, RFC 8640), to the stream of events and to operational (RFC 8641)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime

from lxml import etree

from mgmt.netconf.caller import Caller
from mgmt.netconf.find_sessions import session_numbers
from mgmt.netconf.notify.log import message
from mgmt.netconf.notify.push import LEAST_S, LIMIT_BYTES, OnChange, Periodic, PushSubscription
from mgmt.netconf.notify.stream import StreamSubscription
from mgmt.netconf.notify.terms import SN, YP, Terms, modified, state_change, terminated
from mgmt.netconf.notify.told import STREAM
from mgmt.netconf.operations.nmda import as_filter, in_operational
from mgmt.netconf.operations.notifying import matcher, moment
from mgmt.netconf.params import Params, identity
from mgmt.netconf.rpcerror import Namespaces, RpcError, missing_element
from mgmt.netconf.served import Operations, Served
from mgmt.netconf.xml_names import NC, date_and_time, detached

__all__ = ["subscribing"]

_SN, _YP = f"{{{SN}}}", f"{{{YP}}}"
_DS = "urn:ietf:params:xml:ns:yang:ietf-datastores"
_ESTABLISH = f"{_SN}establish-subscription"
_MODIFY = f"{_SN}modify-subscription"

# Subscriptions in all, of a session, and in all to state: to look at that takes 8 ms beside 10,000 static sessions.
_MOST, _MOST_OF_A_SESSION, _MOST_OF_STATE = 64, 16, 16
_HUNDREDTHS = 100  # centiseconds of RFC 8641

_OF_STREAM = ("stream-subtree-filter", "stream-xpath-filter")
_FILTERS = (f"{_YP}datastore-subtree-filter", f"{_YP}datastore-xpath-filter")
_TRIGGERS = (f"{_YP}periodic", f"{_YP}on-change")
_OF_DATASTORE = (f"{_YP}datastore", *_FILTERS, *_TRIGGERS)
_BY_REFERENCE = ("stream-filter-name", f"{_YP}selection-filter-ref")
_CHANGES = ("create", "delete", "insert", "move", "replace")  # change-type of ietf-yang-push

# Tags of the errors of RFC 8640, 7, by identity.
_TAGS = {
    "insufficient-resources": "resource-denied",
    "on-change-sync-unsupported": "operation-not-supported",
    "update-too-big": "too-big",
}
_OF_YANG_PUSH = frozenset(
    {"datastore-not-subscribable", "on-change-sync-unsupported", "period-unsupported", "update-too-big"}
)

_Subscription = StreamSubscription | PushSubscription


def subscribing(served: Served) -> Operations:
    """Return establish-, modify-, delete-, kill- and resync-subscription."""
    numbers = itertools.count(1)
    established = ("stream", *_OF_STREAM, "replay-start-time", "stop-time", "encoding", *_BY_REFERENCE, *_OF_DATASTORE)
    changed = ("id", *_OF_STREAM, "stop-time", *_BY_REFERENCE, *_OF_DATASTORE)
    return {
        _ESTABLISH: (established, lambda caller, params: _establish(served, caller, params, numbers)),
        _MODIFY: (changed, lambda caller, params: _modify(served, caller, params)),
        f"{_SN}delete-subscription": (("id",), lambda caller, params: _delete(served, caller, params)),
        f"{_SN}kill-subscription": (("id",), lambda _caller, params: _kill(served, params)),
        f"{_YP}resync-subscription": (("id",), lambda caller, params: _resync(served, caller, params)),
    }


def _establish(served: Served, caller: Caller, params: Params, numbers: itertools.count[int]) -> list[etree._Element]:
    known = [s for s in served.notifications.subscriptions() if s.terms is not None]
    of_state = sum(isinstance(s, PushSubscription) for s in known)
    full = len(known) >= _MOST or sum(s.caller.session == caller.session for s in known) >= _MOST_OF_A_SESSION
    if full or (params.get(f"{_YP}datastore") is not None and of_state >= _MOST_OF_STATE):
        raise _refused("insufficient-resources", "There are as many subscriptions as this function serves.")
    encoding = params.get("encoding")
    if encoding is not None and identity(encoding, SN) != "encode-xml":
        raise _refused("encoding-unsupported", "The encoding is XML.")
    _check(params)
    terms = Terms(next(numbers), _asked(params))
    reply = [_leaf("id", str(terms.identifier))]
    if params.get(f"{_YP}datastore") is not None:
        read, trigger = _reader(served, caller, params), _trigger(params)
        _check_size(params, read)
        served.notifications.add(
            PushSubscription(
                caller, terms, read, trigger, _stop(served, _ESTABLISH, params), served.datastore.model.top
            )
        )
        return reply
    if params.text("stream") != STREAM:
        info = [("bad-element", "stream")]
        raise RpcError("invalid-value", f"The one stream is {STREAM}.", kind="application", info=info)
    start = moment(served, _ESTABLISH, params, "replay-start-time")
    log = served.notifications.log
    if start is not None and start > datetime.now(UTC):
        raise _invalid("replay-start-time", "A replay cannot begin in the future.")
    revised = max(log.created, log.aged or log.created)
    if start is not None and start < revised:
        reply.append(_leaf("replay-start-time-revision", date_and_time(revised)))
    served.notifications.add(
        StreamSubscription(
            caller,
            log,
            _matcher(served, params),
            start=start,
            stop=_stop(served, _ESTABLISH, params, start),
            replayed=state_change("replay-completed", terms.identifier),
            terms=terms,
        )
    )
    return reply


def _modify(served: Served, caller: Caller, params: Params) -> None:
    found = _own(served, caller, params)
    _check(params)
    stop = _stop(served, _MODIFY, params)
    if isinstance(found, PushSubscription):
        if params.get(f"{_YP}datastore") is None:
            raise missing_element("datastore", "A subscription to a datastore stays one.", kind="application")
        read = _reader(served, caller, params)
        _check_size(params, read)
        trigger = _trigger(params) if _is_given(params, _TRIGGERS) else found.trigger
        if type(trigger) is not type(found.trigger):
            raise _invalid("periodic", "A subscription stays periodic, or on change.")
        found.modify(read, trigger, stop)
    else:
        if params.get(f"{_YP}datastore") is not None:
            raise _invalid("datastore", "A subscription to a stream stays one.")
        found.modify(_matcher(served, params), stop)
    terms = found.terms
    assert terms is not None
    replaced = (*_OF_STREAM, *_FILTERS, "stop-time", *(_TRIGGERS if _is_given(params, _TRIGGERS) else ()))
    terms.asked = {n: e for n, e in terms.asked.items() if n not in replaced} | _asked(params)
    served.notifications.wake()
    served.roster.notify(caller.session, message(datetime.now(UTC), etree.tostring(modified(terms))))


def _is_given(params: Params, names: tuple[str, ...]) -> bool:
    return any(params.get(name) is not None for name in names)


def _delete(served: Served, caller: Caller, params: Params) -> None:
    served.notifications.remove(_own(served, caller, params))


def _kill(served: Served, params: Params) -> None:
    found = _by_number(served, params)
    served.notifications.remove(found)
    assert found.terms is not None
    told = terminated(found.terms, "no-such-subscription")
    served.roster.notify(found.caller.session, message(datetime.now(UTC), etree.tostring(told)))


def _resync(served: Served, caller: Caller, params: Params) -> None:
    found = _own(served, caller, params)
    if not isinstance(found, PushSubscription) or not isinstance(found.trigger, OnChange):
        raise _refused("on-change-sync-unsupported", "Only a subscription on change can be resynchronized.")
    found.resync()
    served.notifications.wake()


def _by_number(served: Served, params: Params) -> _Subscription:
    text = (params.need("id").text or "").strip()
    for each in served.notifications.subscriptions():
        if each.terms is not None and str(each.terms.identifier) == text:
            assert isinstance(each, StreamSubscription | PushSubscription)
            return each
    raise _refused("no-such-subscription", "There is no subscription of this number.")


def _own(served: Served, caller: Caller, params: Params) -> _Subscription:
    found = _by_number(served, params)
    if found.caller.session != caller.session:
        raise _refused("no-such-subscription", "There is no subscription of this number in this session.")
    return found


def _check(params: Params) -> None:
    for name in _BY_REFERENCE:
        if params.get(name) is not None:
            raise _refused("filter-unsupported", "A filter is given in the subscription.")
    of_stream = [n for n in ("stream", "replay-start-time", *_OF_STREAM) if params.get(n) is not None]
    of_datastore = [n for n in _OF_DATASTORE if params.get(n) is not None]
    if of_stream and of_datastore:
        raise _invalid(of_stream[0], "A subscription is to a stream, or to a datastore.")
    if not of_stream and not of_datastore:
        raise missing_element("stream", "A subscription needs a stream or a datastore.", kind="application")


def _asked(params: Params) -> dict[str, etree._Element]:
    """Return the parameters by name, each in a document of its own."""
    return {name: detached(element) for name, element in params.all().items() if name not in ("id", "encoding")}


def _stop(served: Served, operation: str, params: Params, start: datetime | None = None) -> datetime | None:
    stop = moment(served, operation, params, "stop-time")
    if stop is not None and stop <= (start or datetime.now(UTC)):
        raise _invalid("stop-time", "The stop-time is not after the beginning.")
    return stop


def _matcher(served: Served, params: Params) -> Callable[[etree._Element], bool]:
    try:
        return matcher(as_filter(params, *_OF_STREAM), served.datastore.model.notifications)
    except RpcError as error:
        raise _refused("filter-unsupported", error.message) from None


def _reader(served: Served, caller: Caller, params: Params) -> Callable[[], etree._Element]:
    if identity(params.need(f"{_YP}datastore"), _DS) != "operational":
        raise _refused("datastore-not-subscribable", "Operational is the one datastore with subscriptions.")
    wanted = as_filter(params, *_FILTERS)
    if wanted is None:
        raise _refused("filter-unsupported", "A filter has to say which state is wanted.")
    if session_numbers(wanted, served.datastore.model.namespace("snf-subscribers")):
        said = "Sessions of subscribers are asked for by get; their scores are on the bus."
        raise _refused("filter-unsupported", said)
    return lambda: in_operational(served, caller, wanted)


def _check_size(params: Params, read: Callable[[], etree._Element]) -> None:
    try:
        size = len(etree.tostring(read()))
    except RpcError as error:
        raise _refused("filter-unsupported", error.message) from None
    if size > LIMIT_BYTES:
        kilobytes = {"kilobytes-estimate": size // 1024 + 1, "kilobytes-limit": LIMIT_BYTES // 1024}
        said = f"An update has {size // 1024 + 1} kB, and at most {LIMIT_BYTES // 1024} kB: select less."
        raise _Hinted(_refused("update-too-big", said), params.name, kilobytes)


def _trigger(params: Params) -> Periodic | OnChange:
    periodic, on_change = params.get(f"{_YP}periodic"), params.get(f"{_YP}on-change")
    if (periodic is None) == (on_change is None):
        raise missing_element("periodic", "An update is periodic or on change.", kind="application")
    if periodic is not None:
        given = Params(periodic, ("period", "anchor-time"))
        period_s = _hundredths(given, "period", given.need("period").text)
        if period_s < LEAST_S:
            least = round(LEAST_S * _HUNDREDTHS)
            said = f"The least period is {least} hundredths of a second."
            raise _Hinted(_refused("period-unsupported", said), params.name, {"period-hint": least})
        return Periodic(period_s, _anchor(given))
    assert on_change is not None
    given = Params(on_change, ("dampening-period", "sync-on-start", "excluded-change*"))
    sync = given.one_of("sync-on-start", ("true", "false"), "true") == "true"
    excluded = frozenset((element.text or "").strip() for element in given.every("excluded-change"))
    if not excluded <= set(_CHANGES):
        raise _invalid("excluded-change", f"A change is one of {', '.join(_CHANGES)}.")
    return OnChange(_hundredths(given, "dampening-period", given.text("dampening-period", "0")), sync, excluded)


def _hundredths(params: Params, name: str, text: str | None) -> float:
    text = (text or "").strip()
    if not (text.isascii() and text.isdigit()) or int(text) >= 2**32:
        raise _invalid(name, f"{name} of {params.name} is a number of hundredths of a second.")
    return int(text) / _HUNDREDTHS


def _anchor(params: Params) -> datetime | None:
    text = params.text("anchor-time")
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise _invalid("anchor-time", "anchor-time is a time with its zone, as 2026-11-29T12:00:00Z.")
    return found


def _leaf(name: str, text: str) -> etree._Element:
    element = etree.Element(f"{_SN}{name}", nsmap={None: SN})
    element.text = text
    return element


def _invalid(name: str, said: str) -> RpcError:
    return RpcError("invalid-value", said, kind="application", info=[("bad-element", name)])


def _refused(reason: str, said: str) -> RpcError:
    """Return the error of an identity: its name with its module is the error-app-tag (RFC 8640, 7)."""
    module = "ietf-yang-push" if reason in _OF_YANG_PUSH else "ietf-subscribed-notifications"
    return RpcError(_TAGS.get(reason, "invalid-value"), said, kind="application", app_tag=f"{module}:{reason}")


class _Hinted(RpcError):
    """A refusal that says what would be taken (RFC 8641, 4.4.1 and its grouping hints)."""

    def __init__(self, refused: RpcError, operation: str, hints: dict[str, int]) -> None:
        super().__init__(refused.tag, refused.message, kind=refused.kind, app_tag=refused.app_tag)
        self.operation, self.hints = operation, hints

    def elements(self, namespaces: Namespaces) -> list[etree._Element]:
        """Return the rpc-error element with the hints in its error-info."""
        (error,) = super().elements(namespaces)
        info = etree.SubElement(error, f"{NC}error-info")
        found = etree.SubElement(info, f"{_YP}{self.operation}-datastore-error-info", nsmap={None: YP, "yp": YP})
        etree.SubElement(found, f"{_YP}reason").text = f"yp:{self.app_tag.rpartition(':')[2]}"
        for name, value in self.hints.items():
            etree.SubElement(found, f"{_YP}{name}").text = str(value)
        return [error]
