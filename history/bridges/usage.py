"""Sums over the flows of one followed subscriber, and the reports of TS 29.564 (6.1.6.2) that are made of them.

Flows have the UE's address, which a report needs and records have not. A session is an address (IPv4, or the /64 of
IPv6) at one function: two functions that see the same one report it twice, each with what it saw.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv6Network
from typing import Any

from history.bridges.subscriptions import Event, Wish

__all__ = ["Window"]

_MAX_FLOWS = 5000  # of a session in a window that are told one by one; further ones count in the sums above them
_MAX_NAMES = 50
# Grounds of names (docs/feed.md) for which the standard has a word; an HTTP host has none (6.1.6.3.8).
_DOMAIN = {"sni": "TLS_SNI", "dns_answer": "DNS_QNAME"}
_COUNTS = ("ul_bytes", "dl_bytes", "ul_packets", "dl_packets")
_TRIP = ("ran_ul_ms", "n3_rtt_ms", "ran_dl_ms")


@dataclass(slots=True)
class _Sums:
    counts: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    names: dict[tuple[str, str], None] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any]) -> None:
        for at, name in enumerate(_COUNTS):
            self.counts[at] += int(row[name])
        if row["name"] and row["app_basis"] in _DOMAIN and len(self.names) < _MAX_NAMES:
            self.names[row["name"], _DOMAIN[row["app_basis"]]] = None


@dataclass(slots=True)
class _Session:
    whole: _Sums = field(default_factory=_Sums)
    apps: dict[str, _Sums] = field(default_factory=dict)
    flows: dict[tuple[int, str, str, str], _Sums] = field(default_factory=dict)
    trip_ms: float = 0.0
    trips: int = 0


@dataclass(slots=True)
class Window:
    """Sums of the flows of a subscription since its last report."""

    sessions: dict[tuple[str, str], _Session] = field(default_factory=dict)  # by function and UE address
    labels: set[tuple[str, str]] = field(default_factory=set)  # (DNN, slice) of its records
    start_ms: float = math.inf
    end_ms: float = 0.0

    def add(self, nf: str, wish: Wish, labels: set[tuple[str, str]], rows: list[dict[str, Any]]) -> None:
        """Take the flows of an interval, and what its records are labelled with; leave out what was not asked for.

        Flows have no label: where DNN or slice are asked for, an interval counts when its records have no other one.
        """
        wanted = (wish.dnn, wish.slice)
        if any(want and have != want for label in labels for want, have in zip(wanted, label, strict=True)):
            return
        if any(wanted) and not labels:
            return
        for row in rows:
            ue = _address(str(row["ue"]))
            if not ue or (wish.address and ue != wish.address):
                continue
            self._count(self.sessions.setdefault((nf, ue), _Session()), row)
            self.labels |= labels
            self.start_ms = min(self.start_ms, row["t_ms"] - row["interval_ms"])
            self.end_ms = max(self.end_ms, row["t_ms"])

    def _count(self, session: _Session, row: Mapping[str, Any]) -> None:
        session.whole.add(row)
        if row["app"]:
            session.apps.setdefault(row["app"], _Sums()).add(row)
        key = (int(row["proto"]), str(row["ue"]), str(row["remote"]), str(row["app"]))
        if key in session.flows or len(session.flows) < _MAX_FLOWS:
            session.flows.setdefault(key, _Sums()).add(row)
        # Without clocks that agree one way of N3 is not known; all three are the round trip (TS 23.501, 5.33.3.2).
        trip = [row[name] for name in _TRIP]
        if None not in trip:
            session.trip_ms, session.trips = session.trip_ms + sum(trip), session.trips + 1

    def items(self, events: tuple[Event, ...]) -> list[dict[str, Any]]:
        """Return the NotificationItems of the events, one for each session; none without traffic."""
        return [item for event in events for key in self.sessions for item in self._item(event, key)]

    def _item(self, event: Event, key: tuple[str, str]) -> Iterator[dict[str, Any]]:
        session, address = self.sessions[key], key[1]
        item: dict[str, Any] = {
            "eventType": event.kind,
            "ueIpv6Prefix" if ":" in address else "ueIpv4Addr": address,
            "timeStamp": _time(self.end_ms),
            "startTime": _time(self.start_ms),
        }
        if len(self.labels) == 1:
            ((dnn, slice_),) = self.labels
            item |= {"dnn": dnn} if dnn else {}
            item |= {"snssai": _snssai(slice_)} if slice_ else {}
        seconds = max(self.end_ms - self.start_ms, 1.0) / 1e3
        if event.kind == "QOS_MONITORING":
            yield item | {"qosMonitoringMeasurement": _quality(session, seconds)}
        elif found := [_usage(event, seconds, *each) for each in _parts(event, session)]:
            yield item | {"userDataUsageMeasurements": found}


def _address(end: str) -> str:
    """Return the address of "ADDRESS:PORT", the /64 of "[ADDRESS]:PORT"."""
    if end.startswith("["):
        return str(IPv6Network((end[1:].partition("]")[0], 64), strict=False))
    return end.rpartition(":")[0]


def _parts(event: Event, session: _Session) -> Iterator[tuple[dict[str, Any], _Sums]]:
    """Yield what a measurement is of, and its sums."""
    if event.granularity == "PER_FLOW":
        for (proto, ue, remote, app), sums in session.flows.items():
            if not event.apps or app in event.apps:
                part: dict[str, Any] = {"appId": app} if app else {}
                yield part | {"flowInfo": _flow(proto, ue, remote)}, sums
    elif event.granularity == "PER_APPLICATION" or event.apps:
        for app, sums in session.apps.items():
            if not event.apps or app in event.apps:
                yield {"appId": app}, sums
    else:
        yield {}, session.whole


def _flow(proto: int, ue: str, remote: str) -> dict[str, str]:
    """Return FlowInformation (TS 29.512, 5.6.2.14): the filter names the downlink (TS 29.214, 5.3.8)."""
    ends = [f"{end.rpartition(':')[0].strip('[]')} {end.rpartition(':')[2]}" for end in (remote, ue)]
    return {"flowDescription": f"permit out {proto} from {ends[0]} to {ends[1]}", "flowDirection": "BIDIRECTIONAL"}


def _usage(event: Event, seconds: float, part: dict[str, Any], sums: _Sums) -> dict[str, Any]:
    ul, dl, ul_packets, dl_packets = sums.counts
    if "VOLUME_MEASUREMENT" in event.measures:
        part["volumeMeasurement"] = {
            **{"totalVolume": f"{ul + dl} B", "ulVolume": f"{ul} B", "dlVolume": f"{dl} B"},
            **{"totalNbOfPackets": ul_packets + dl_packets, "ulNbOfPackets": ul_packets, "dlNbOfPackets": dl_packets},
        }
    if "THROUGHPUT_MEASUREMENT" in event.measures:
        part["throughputMeasurement"] = {
            **{"ulThroughput": _bps(ul, seconds), "dlThroughput": _bps(dl, seconds)},
            "ulPacketThroughput": f"{ul_packets / seconds:.1f} pps",
            "dlPacketThroughput": f"{dl_packets / seconds:.1f} pps",
        }
    if "APPLICATION_RELATED_INFO" in event.measures and sums.names:
        names = [{"domainName": name, "domainNameProtocol": by} for name, by in sums.names]
        part["applicationRelatedInformation"] = {"domainInfoList": names}
    return part


def _quality(session: _Session, seconds: float) -> dict[str, Any]:
    """Return the delay in whole milliseconds (6.1.6.2.4), or that there is none, and the throughput."""
    ul, dl, *_ = session.whole.counts
    rates = {"ulAveThroughput": _bps(ul, seconds), "dlAveThroughput": _bps(dl, seconds)}
    if not session.trips:
        return rates | {"measureFailure": True}
    return rates | {"rtrPacketDelay": round(session.trip_ms / session.trips)}


def _bps(octets: int, seconds: float) -> str:
    return f"{8 * octets / seconds:.0f} bps"


def _time(at_ms: float) -> str:
    return datetime.fromtimestamp(at_ms / 1e3, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _snssai(text: str) -> dict[str, Any]:
    sst, _, sd = text.partition("-")
    return {"sst": int(sst)} | ({"sd": sd} if sd else {})
