"""Subscriptions of TS 29.564 (Nupf_EventExposure, 6.1.6) as they are asked for: read, refused, changed; values only.

A subscription is for one UE, by SUPI or by address. What the feed cannot tell is refused with the problem of TS 29.500
(5.2.7.2), which names the attribute and never repeats its value, as it may be an IMSI. docs/bridges.md has the list.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv6Network, ip_address
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Event", "Problem", "Wish", "patched", "read"]

_EVENTS = ("USER_DATA_USAGE_MEASURES", "QOS_MONITORING")
_MEASURES = ("VOLUME_MEASUREMENT", "THROUGHPUT_MEASUREMENT", "APPLICATION_RELATED_INFO")
_GRANULARITIES = ("PER_SESSION", "PER_APPLICATION", "PER_FLOW")
_MAX_EVENTS, _MAX_APPS = 8, 100
_MAX_TEXT = 2048
_MAX_DEPTH = 20  # of the standard's own attributes 6
_MAX_PERIOD_S = 86_400
_IDENTITY = ("supi", "ueIpAddress")
# Other identities, and choices that the function does not make.
_UNSUPPORTED = {
    "": ("gpsi", "pei"),
    "eventReportingMode": ("sampRatio", "partitioningCriteria", "notifFlag", "mutingExcInstructions"),
    "event": ("trafficFilters",),
}


class Problem(Exception):
    """A refusal: status and cause of TS 29.500, table 5.2.7.2-1; ``param`` points to the attribute."""

    def __init__(self, status: int, cause: str, title: str, param: str = "") -> None:
        super().__init__(title)
        self.status, self.cause, self.title, self.param = status, cause, title, param

    def body(self) -> bytes:
        """Return ProblemDetails (TS 29.571, 5.2.4.1)."""
        details: dict[str, Any] = {"status": self.status, "title": self.title}
        if self.cause:
            details["cause"] = self.cause
        if self.param:
            details["invalidParams"] = [{"param": self.param, "reason": self.title}]
        return json.dumps(details).encode()


@dataclass(frozen=True, slots=True)
class Event:
    """An event that is asked for."""

    kind: str
    measures: tuple[str, ...] = ()
    granularity: str = "PER_SESSION"
    apps: frozenset[str] = frozenset()  # none: all


@dataclass(frozen=True, slots=True)
class Wish:
    """A subscription that can be served. ``imsi`` or ``address`` is given, the other one is empty."""

    document: Mapping[str, Any]  # as accepted, without the SUPI
    events: tuple[Event, ...]
    notify_uri: str
    correlation: str
    period_s: int  # 0: once, with the first interval that has traffic
    max_reports: int  # 0: no limit
    expiry_s: float  # since the epoch
    address: str  # of IPv6 the /64
    lookup: str  # the address as it was asked for
    imsi: str = field(repr=False)
    dnn: str = ""
    slice: str = ""  # as the feed writes it


def _missing(param: str) -> Problem:
    return Problem(400, "MANDATORY_IE_MISSING", "This attribute is missing.", param)


def _wrong(param: str, why: str, *, mandatory: bool = False) -> Problem:
    return Problem(400, f"{'MANDATORY' if mandatory else 'OPTIONAL'}_IE_INCORRECT", why, param)


def _get(node: Mapping[str, Any], name: str, kind: type, at: str, *, needed: bool = False) -> Any:
    value = node.get(name)
    if value is None and not needed:
        return None
    if value is None:
        raise _missing(f"{at}/{name}")
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise _wrong(f"{at}/{name}", "It has another type.", mandatory=needed)
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        raise _wrong(f"{at}/{name}", f"It has more than {_MAX_TEXT} characters.", mandatory=needed)
    return value


def _refuse(node: Mapping[str, Any], names: Sequence[str], at: str) -> None:
    for name in names:
        if name in node:
            raise _wrong(f"{at}/{name}", "The probe cannot do that.")


def read(raw: bytes, now_s: float, longest_s: float) -> Wish:
    """Return what a CreateEventSubscription asks for; it ends after *longest_s* at the latest. Raises Problem."""
    outer = _loaded(raw)
    if not isinstance(outer, dict):
        raise Problem(400, "INVALID_MSG_FORMAT", "The body is no JSON object.")
    return _wish(_get(outer, "subscription", dict, "", needed=True), now_s, longest_s, "/subscription")


def _loaded(raw: bytes) -> Any:
    """Return what a body says, of RFC 8259: no NaN, and no number that becomes one. Raises Problem."""
    try:
        value = json.loads(raw, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        raise Problem(400, "INVALID_MSG_FORMAT", "The body is no JSON.") from None
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [inner for each in level if isinstance(each, (dict, list)) for inner in _inner(each)]
    if level:
        raise Problem(400, "INVALID_MSG_FORMAT", f"The body has more than {_MAX_DEPTH} levels.")
    return value


def _inner(node: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else node


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


def _wish(asked: Mapping[str, Any], now_s: float, longest_s: float, at: str) -> Wish:
    _refuse(asked, _UNSUPPORTED[""], at)
    if asked.get("anyUe", False) is not False:
        raise _wrong(f"{at}/anyUe", "A report needs an address, and the feed has those of followed UEs alone.")
    events = _get(asked, "eventList", list, at, needed=True)
    if not 1 <= len(events) <= _MAX_EVENTS:
        raise _wrong(f"{at}/eventList", f"It has 1 to {_MAX_EVENTS} events.", mandatory=True)
    mode = _get(asked, "eventReportingMode", dict, at, needed=True)
    period_s, reports, expiry_s = _mode(mode, now_s, longest_s, f"{at}/eventReportingMode")
    _get(asked, "nfId", str, at, needed=True)
    document = copy.deepcopy({name: value for name, value in asked.items() if name != "supi"})
    document["eventReportingMode"]["expiry"] = datetime.fromtimestamp(expiry_s, UTC).isoformat().replace("+00:00", "Z")
    imsi, address, lookup = _who(asked, at)
    return Wish(
        document=document,
        events=tuple(_event(event, f"{at}/eventList/{n}") for n, event in enumerate(events)),
        notify_uri=_uri(_get(asked, "eventNotifyUri", str, at, needed=True), f"{at}/eventNotifyUri"),
        correlation=_get(asked, "notifyCorrelationId", str, at, needed=True),
        period_s=period_s,
        max_reports=reports,
        expiry_s=expiry_s,
        address=address,
        lookup=lookup,
        imsi=imsi,
        dnn=_get(asked, "dnn", str, at) or "",
        slice=_slice(_get(asked, "snssai", dict, at), f"{at}/snssai"),
    )


def _who(asked: Mapping[str, Any], at: str) -> tuple[str, str, str]:
    """Return the IMSI, or the address of the session and the one to look up; what is not given is empty."""
    given = [name for name in _IDENTITY if name in asked]
    if len(given) != 1:
        raise Problem(400, "MANDATORY_IE_MISSING", "Give either supi or ueIpAddress.", f"{at}/supi")
    if given == ["supi"]:
        found = re.fullmatch(r"imsi-([0-9]{5,15})", _get(asked, "supi", str, at))
        if not found:
            raise _wrong(f"{at}/supi", "The probe knows SUPIs of the form imsi- alone.")
        return found[1], "", ""
    node = _get(asked, "ueIpAddress", dict, at)
    if len(node) != 1 or not node.keys() <= {"ipv4Addr", "ipv6Addr", "ipv6Prefix"}:
        raise _wrong(f"{at}/ueIpAddress", "Give one of ipv4Addr, ipv6Addr and ipv6Prefix.")
    ((name, value),) = node.items()
    try:
        if name == "ipv6Prefix":
            network = IPv6Network(value)
            if network.prefixlen != 64:
                raise ValueError
            return "", str(network), str(network.network_address)
        found_address = ip_address(value)
        if found_address.version != int(name[3]):
            raise ValueError
    except (ValueError, TypeError):
        raise _wrong(f"{at}/ueIpAddress/{name}", "This is none; a prefix has 64 bits.") from None
    if found_address.version == 4:
        return "", str(found_address), str(found_address)
    return "", str(IPv6Network((found_address, 64), strict=False)), str(found_address)


def _mode(mode: Mapping[str, Any], now_s: float, longest_s: float, at: str) -> tuple[int, int, float]:
    _refuse(mode, _UNSUPPORTED["eventReportingMode"], at)
    trigger = _get(mode, "trigger", str, at, needed=True)
    if trigger not in ("ONE_TIME", "PERIODIC"):
        raise _wrong(f"{at}/trigger", "Give ONE_TIME or PERIODIC.", mandatory=True)
    period_s = _get(mode, "repPeriod", int, at, needed=trigger == "PERIODIC") or 0
    if trigger == "PERIODIC" and not 1 <= period_s <= _MAX_PERIOD_S:
        raise _wrong(f"{at}/repPeriod", f"It is 1 to {_MAX_PERIOD_S}.")
    reports = _get(mode, "maxReports", int, at)
    if reports is not None and reports < 1:
        raise _wrong(f"{at}/maxReports", "It is 1 at least.")
    expiry_s, text = now_s + longest_s, _get(mode, "expiry", str, at)
    if text is not None:
        try:
            asked_s = datetime.fromisoformat(text)
            if asked_s.tzinfo is None:
                raise ValueError
            expiry_s = min(expiry_s, asked_s.timestamp())
        except (ValueError, OverflowError):
            raise _wrong(f"{at}/expiry", "This is no date and time of RFC 3339.") from None
        if expiry_s <= now_s:
            raise _wrong(f"{at}/expiry", "It is over.")
    return (period_s, reports or 0, expiry_s) if trigger == "PERIODIC" else (0, 1, expiry_s)


def _event(node: Any, at: str) -> Event:
    if not isinstance(node, dict):
        raise _wrong(at, "It is no object.", mandatory=True)
    _refuse(node, _UNSUPPORTED["event"], at)
    kind = _get(node, "type", str, at, needed=True)
    if kind not in _EVENTS:
        raise _wrong(f"{at}/type", f"The probe knows {' and '.join(_EVENTS)}.", mandatory=True)
    measures = _texts(node, "measurementTypes", at)
    if kind == _EVENTS[0] and measures is None:
        raise _missing(f"{at}/measurementTypes")
    if not {*(measures or ())} <= {*_MEASURES}:
        raise _wrong(f"{at}/measurementTypes", f"The probe knows {', '.join(_MEASURES)}.")
    granularity = _get(node, "granularityOfMeasurement", str, at) or _GRANULARITIES[0]
    if granularity not in _GRANULARITIES:
        raise _wrong(f"{at}/granularityOfMeasurement", f"The probe knows {', '.join(_GRANULARITIES)}.")
    return Event(kind, tuple(measures or ()), granularity, frozenset(_texts(node, "appIds", at) or ()))


def _texts(node: Mapping[str, Any], name: str, at: str) -> list[str] | None:
    values: list[str] | None = _get(node, name, list, at)
    if values is not None and not (1 <= len(values) <= _MAX_APPS and all(isinstance(v, str) for v in values)):
        raise _wrong(f"{at}/{name}", f"It has 1 to {_MAX_APPS} texts.")
    return values


def _uri(text: str, at: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or not text.isascii() or not text.isprintable() or " " in text:
        raise _wrong(at, "This is no URI with http or https and a host.", mandatory=True)
    return text


def _slice(node: Mapping[str, Any] | None, at: str) -> str:
    """Return an S-NSSAI as the feed writes it."""
    if node is None:
        return ""
    sst, sd = _get(node, "sst", int, at, needed=True), _get(node, "sd", str, at)
    if not 0 <= sst <= 255 or (sd is not None and not re.fullmatch("[0-9A-Fa-f]{6}", sd)):
        raise _wrong(at, "This is no S-NSSAI.")
    return f"{sst}-{sd.lower()}" if sd else str(sst)


# -- changes -------------------------------------------------------------------


def patched(wish: Wish, raw: bytes, now_s: float, longest_s: float) -> Wish:
    """Return the subscription after a JSON Patch (RFC 6902) of add, replace, remove and test. Raises Problem.

    The UE cannot be changed: that is another subscription.
    """
    items = _loaded(raw)
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise Problem(400, "INVALID_MSG_FORMAT", "The body is no JSON Patch.")
    document: Any = copy.deepcopy(dict(wish.document))
    for number, item in enumerate(items):
        path = item.get("path")
        if not isinstance(path, str) or not path.startswith("/"):
            raise Problem(400, "MANDATORY_IE_INCORRECT", "This is no path of an attribute.", f"/{number}/path")
        steps = [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]
        if steps[0] in (*_IDENTITY, "nfId"):
            raise Problem(403, "MODIFICATION_NOT_ALLOWED", "UE and consumer stay as they are.", f"/{number}/path")
        try:
            _apply(document, item, steps)
        except (KeyError, IndexError, ValueError, TypeError):
            why = "The operation does not fit the subscription."
            raise Problem(400, "MANDATORY_IE_INCORRECT", why, f"/{number}") from None
    if wish.imsi:
        document["supi"] = f"imsi-{wish.imsi}"
    return _wish(document, now_s, longest_s, "")


def _apply(document: Any, item: Mapping[str, Any], steps: Sequence[str]) -> None:
    """Apply one operation in place; raises KeyError and its like when it does not fit."""
    operation, node = item["op"], document
    for step in steps[:-1]:
        node = node[int(step) if isinstance(node, list) else step]
    last: Any = steps[-1]
    if isinstance(node, list):
        last = len(node) if last == "-" and operation == "add" else int(last)
        if last < 0:
            raise IndexError
    if operation == "add" and isinstance(node, list):
        node.insert(last, item["value"])
    elif operation == "add" or (operation == "replace" and node[last] is not Ellipsis):
        node[last] = item["value"]
    elif operation == "remove":
        del node[last]
    elif operation != "test" or node[last] != item["value"]:
        raise ValueError
