"""Operational state: plain values from the service, XML nodes of the modules for a reply.

The service gives a `StateTree` whenever it is asked; what it leaves out is not in the reply.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

from lxml import etree

from gtp.events import Notice, PeersRefused, Side
from mgmt.netconf.alarms import add_alarms
from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.xml_names import wall_time
from mgmt.vitals.alarms import Alarms
from nf.naming.readers import Status
from nf.sessions import Page, Query
from nf.sessions.find import Found
from nf.sessions.lines import is_line
from nf.settings import Limits

__all__ = [
    "ClockState",
    "DegradedState",
    "ExporterState",
    "InterfaceState",
    "PathState",
    "PlaceState",
    "SessionFinder",
    "SourceState",
    "StateProvider",
    "StateTree",
    "TakeoverState",
    "add_sessions",
    "add_state",
    "found_elements",
]

_IF = "ietf-interfaces"
# The leaves of RFC 8343, and what is a list.
_NO_LEAVES = ("oper_status", "last_change_s", "phys_address", "since_s", "counters", "not_read")
_COUNTER_32 = 1 << 32
# Counters of the programs that are what RFC 8343 counts: frames that could not be read, and frames that are no IP.
_IN_ERRORS = ("l2_truncated", "ip_truncated", "ip_malformed")
_UNKNOWN_PROTOCOLS = "not_ip"


class InterfaceState(TypedDict, total=False):
    """One interface of the function."""

    oper_status: str  # of RFC 8343, as the next three
    last_change_s: float  # since the epoch; not there: it was so before it was looked at first
    phys_address: str  # of the device that was found
    since_s: float  # discontinuity-time, since the epoch
    device: str  # name of the device that was found
    not_attached: str  # reason
    attached_mode: str  # native, generic, socket
    link_type: str  # ethernet, bare
    sent_program_id: int
    attached_mode_reason: str  # reason for generic, when it is for the sake of the peer
    losses_counted: str  # true, false: of a port that redirects
    program_id: int
    vlan_offload: str  # true, false: the card takes VLAN tags off, and cannot be told not to
    multi_buffer: str  # true, false: frames larger than a buffer are read
    mtu_limit: int  # without multi_buffer
    not_read: Sequence[str]  # sentences of nf.apply.unread
    packets: int  # since it was attached
    octets: int
    counters: Mapping[str, int]


class ClockState(TypedDict, total=False):
    """The clock on the wall."""

    steps: int
    last_step: str  # seconds, forward positive
    last_step_time_s: float  # since the epoch, by the clock after it


class TakeoverState(TypedDict, total=False):
    """Data plane that was taken over from a process that died."""

    process: int
    unread_since_s: float  # since the epoch
    outage: int  # ms


class PathState(TypedDict, total=False):
    """One GTP-U path; times in microseconds."""

    requester: str
    responder: str
    requests: int
    responses: int
    error_indications: int
    rtt_samples: int
    rtt_min: int
    rtt_mean: int
    rtt_last: int


class SourceState(TypedDict, total=False):
    """A source of sessions."""

    sessions: int
    oper_status: str  # up, silent, down
    messages: int
    last_heard_s: float  # since the epoch


DegradedState = TypedDict(
    "DegradedState",
    {"subscriber": str, "class": str, "application": str, "since_s": float, "score": str, "suspect": str},
)
"""An alarm of a subscriber that stands; ``since_s`` is since the epoch."""


class PlaceState(TypedDict, total=False):
    """A place where records can be read."""

    oper_status: str
    records: int
    dropped: int  # messages
    subscribers: int
    snapshots: int


class ExporterState(PlaceState, total=False):
    """The publisher, since its start."""

    octets_sent: int
    inspected_octets: int


class StateTree(TypedDict, total=False):
    """The function's operational state now."""

    started_s: float  # since the epoch
    limits: Limits  # in force
    restart_needed: Sequence[str]  # settings that wait for it
    clock: ClockState
    takeover: TakeoverState
    interfaces: Mapping[str, InterfaceState]  # by configured name
    links: Mapping[str, str]  # oper-status of all devices, by name
    naming: Status
    data_plane: Mapping[str, int]  # counters of all interfaces together
    gtpu_paths: Sequence[PathState]
    sources: Mapping[str, SourceState]  # of sessions, by name
    n4_peers: Mapping[tuple[str, str], int]  # sessions of two PFCP nodes
    session_counters: Mapping[str, int]  # conflicts between sources, and sessions that could not be held
    partial_sessions: int  # sessions of which only tunnels are known
    session_events: Sequence[Notice]
    exporter: ExporterState
    alarms: Alarms
    degraded: Sequence[DegradedState]
    listeners: Mapping[str, PlaceState]  # further places, by name


SessionFinder = Callable[[Query], Page]
"""Given to the server by the service; called from a thread of the server."""

StateProvider = Callable[[], StateTree]
"""Given to the server by the service; called from a thread of the server for each get."""


class _Writer:
    """Appends nodes to a tree by module and name."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def tag(self, module: str, name: str) -> str:
        return f"{{{self._model.namespace(module)}}}{name}"

    def under(self, parent: etree._Element, module: str, name: str) -> etree._Element:
        """Return the child of that name, made if it is not there."""
        found = parent.find(self.tag(module, name))
        return found if found is not None else self.add(parent, module, name)

    def add(self, parent: etree._Element, module: str, name: str, value: object = None) -> etree._Element:
        namespace = self._model.namespace(module)
        element = etree.SubElement(parent, self.tag(module, name), nsmap={None: namespace})
        if value is not None:
            element.text = str(value)
        return element

    def leaves(self, parent: etree._Element, module: str, values: Mapping[str, object]) -> None:
        """Append leaves; a name of Python is one of YANG but for the hyphen."""
        for name, value in values.items():
            self.add(parent, module, name.replace("_", "-"), value)

    def with_times(self, parent: etree._Element, module: str, values: Mapping[str, object]) -> None:
        """Append leaves; one whose name ends in ``_s`` is a time since the epoch."""
        for name, value in values.items():
            if isinstance(value, float) and name.endswith("_s"):
                self.leaves(parent, module, {name.removesuffix("_s"): wall_time(value)})
            else:
                self.leaves(parent, module, {name: value})

    def counters(self, parent: etree._Element, module: str, counters: Mapping[str, int]) -> None:
        for name, value in counters.items():
            self.leaves(self.add(parent, module, "counter"), module, {"name": name, "value": value})


def add_state(model: Model, tree: etree._Element, state: StateTree) -> None:
    """Add *state* to *tree*, a copy of running whose children are the top-level nodes."""
    write = _Writer(model)
    _add_function(write, tree, state)
    for interface in tree.findall(f"{write.tag(_IF, 'interfaces')}/{write.tag(_IF, 'interface')}"):
        name = interface.findtext(write.tag(_IF, "name"))
        _add_interface(write, interface, state.get("interfaces", {}).get(name), state)
    if "sources" in state:
        module = "snf-subscribers"
        parent = write.add(write.under(tree, module, "subscribers"), module, "state")
        for name, source in sorted(state["sources"].items()):
            write.with_times(write.add(parent, module, "source"), module, {"name": name, **source})
        for (node, peer), sessions in sorted(state.get("n4_peers", {}).items()):
            values = {"node": node, "peer": peer, "sessions": sessions}
            write.leaves(write.add(parent, module, "n4-peer"), module, values)
        if "partial_sessions" in state:
            write.add(parent, module, "partial-sessions", state["partial_sessions"])
        write.counters(parent, module, state.get("session_counters", {}))
        for notice in state.get("session_events", ()):
            _add_event(write, parent, notice)
    if "exporter" in state:
        module = "snf-export"
        exporter = write.under(tree, module, "exporter")
        write.leaves(write.add(exporter, module, "state"), module, {**state["exporter"]})
        for listener in exporter.findall(write.tag(module, "listener")):
            place = state.get("listeners", {}).get(listener.findtext(write.tag(module, "name")) or "")
            if place is not None:
                write.leaves(write.add(listener, module, "state"), module, {**place})
    if state.get("degraded"):
        module = "snf-alarms"
        parent = write.under(tree, module, "subscriber-alarms")
        for entry in state["degraded"]:
            write.with_times(write.add(parent, module, "degraded"), module, {**entry})
    if "alarms" in state:
        add_alarms(model, tree, state["alarms"])


def _add_function(write: _Writer, tree: etree._Element, state: StateTree) -> None:
    module = "snf-function"
    parent = write.add(write.under(tree, module, "network-function"), module, "state")
    if "started_s" in state:
        write.add(parent, module, "started", wall_time(state["started_s"]))
    if "limits" in state:
        limits = state["limits"]
        values = {"flows": limits.flows, "sessions": limits.sessions, "shards": limits.shards}
        values["unknown_flow_rate"] = limits.unknown_flows_per_s
        write.leaves(write.add(parent, module, "limits"), module, values)
    for name in state.get("restart_needed", ()):
        write.add(parent, module, "restart-needed", name)
    if "clock" in state:
        write.with_times(write.add(parent, module, "clock"), module, {**state["clock"]})
    if "takeover" in state:
        write.with_times(write.add(parent, module, "takeover"), module, {**state["takeover"]})
    if "naming" in state:
        write.leaves(write.add(parent, module, "naming"), module, {**state["naming"]})
    if "data_plane" in state:
        write.counters(write.add(parent, module, "data-plane"), module, state["data_plane"])
    if state.get("gtpu_paths"):
        paths = write.add(parent, module, "gtpu-paths")
        for path in state["gtpu_paths"]:
            write.leaves(write.add(paths, module, "gtpu-path"), module, {**path})


def _add_interface(write: _Writer, interface: etree._Element, seen: InterfaceState | None, state: StateTree) -> None:
    # RFC 8343 makes oper-status and discontinuity-time mandatory for every interface.
    name = interface.findtext(write.tag(_IF, "name")) or ""
    status = seen["oper_status"] if seen else state.get("links", {}).get(name, "not-present")
    write.add(interface, _IF, "oper-status", status)
    if seen and "last_change_s" in seen:
        write.add(interface, _IF, "last-change", wall_time(seen["last_change_s"]))
    if seen and seen.get("phys_address"):
        write.add(interface, _IF, "phys-address", seen["phys_address"])
    statistics = write.add(interface, _IF, "statistics")
    since_s = seen.get("since_s") if seen else None
    write.add(statistics, _IF, "discontinuity-time", wall_time(since_s or state.get("started_s", 0.0)))
    capture = interface.find(write.tag("snf-interfaces", "capture"))
    if seen is None or capture is None:
        return
    counters = seen.get("counters", {})
    if "octets" in seen:
        write.add(statistics, _IF, "in-octets", seen["octets"])
        write.add(statistics, _IF, "in-errors", sum(counters.get(name, 0) for name in _IN_ERRORS) % _COUNTER_32)
        write.add(statistics, _IF, "in-unknown-protos", counters.get(_UNKNOWN_PROTOCOLS, 0) % _COUNTER_32)
    module = "snf-interfaces"
    parent = write.add(capture, module, "state")
    write.leaves(parent, module, {k: v for k, v in seen.items() if k not in _NO_LEAVES})
    for sentence in seen.get("not_read", ()):
        write.add(parent, module, "not-read", sentence)
    write.counters(parent, module, counters)


def _add_event(write: _Writer, parent: etree._Element, notice: Notice) -> None:
    module = "snf-subscribers"
    entry = write.add(parent, module, "event")
    if isinstance(notice, PeersRefused):
        kind, number, reason = "kept-apart" if notice.apart else "refused", notice.exchanges, None
    else:
        kind, number, reason = "ended-together", notice.sessions, notice.reason.value
    write.leaves(entry, module, {"time": wall_time(notice.at_s), "kind": kind})
    for peer in notice.peers:
        write.add(entry, module, "peer", peer)
    write.leaves(entry, module, {"number": number, **({"reason": reason} if reason else {})})


def add_sessions(model: Model, tree: etree._Element, page: Page) -> None:
    """Add sessions to the state of subscribers in *tree*."""
    write, module = _Writer(model), "snf-subscribers"
    parent = write.under(write.under(tree, module, "subscribers"), module, "state")
    for found in page.found:
        _add_session(write, parent, found)


def found_elements(model: Model, page: Page) -> list[etree._Element]:
    """Return the output of find-sessions."""
    write, module = _Writer(model), "snf-subscribers"
    output = etree.Element("output")
    write.add(output, module, "known", page.known)
    if page.next is not None:
        write.add(output, module, "next", page.next)
    for found in page.found:
        _add_session(write, output, found)
    return list(output)


def _slice(snssai: str) -> dict[str, str]:
    """Return the attributes of an S-NSSAI under their names in the NRM."""
    sst, _, sd = snssai.partition("-")
    return {"sst": sst, "sd": sd}


def _add_session(write: _Writer, parent: etree._Element, found: Found) -> None:
    module, s = "snf-subscribers", found.session
    entry = write.add(parent, module, "session")
    leaves = {
        "number": found.number,
        "subscriber": found.subscriber,
        "source": s.source,
        "first_seen": wall_time(found.first_s),
        "ue_ipv4": s.ue_ipv4,
        "ue_ipv6": s.ue_ipv6,
        "dnn": s.dnn,
        "network_instance": s.instance,
        "s_nssai": s.snssai,
        **_slice(s.snssai),
        "rat": s.place.rat,
        "tai": s.place.tai,
        "cell": s.place.cell,
    }
    write.leaves(entry, module, {name: value for name, value in leaves.items() if value != ""})
    upf = {
        "error_indications": found.error_indications,
        "uplink_followed": found.followed[0],
        "uplink_lost": found.lost[0],
        "downlink_followed": found.followed[1],
        "downlink_lost": found.lost[1],
    }
    if any(upf.values()):
        write.leaves(write.add(entry, module, "upf"), module, upf)
    for prefix in s.routes:
        write.add(entry, module, "ue-prefix", prefix)
    for t in s.tunnels:
        if is_line(t.address):
            continue  # it is none: the entry of the configuration says the line
        direction = "uplink" if t.side is Side.UPLINK else "downlink"
        tunnel = {"address": t.address, "teid": t.teid, "direction": direction}
        write.leaves(write.add(entry, module, "tunnel"), module, tunnel)
