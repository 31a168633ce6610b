"""``snf run``: the function, its configuration, and the server that changes it, from start to end."""

from __future__ import annotations

import logging
import pathlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from mgmt.cli.reporter import Reporter
from mgmt.cli.watchman import Watchman
from mgmt.netconf.events import ConfigChange, Event, Events, RestartNeeded
from mgmt.netconf.served import Function
from mgmt.netconf.ssh.access import bound_socket
from mgmt.netconf.state import ClockState, InterfaceState, PathState, PlaceState, SourceState, StateTree, TakeoverState
from mgmt.netconf.store.datastore import Datastore
from mgmt.vitals.alarms import Alarms
from nf.apply import memory
from nf.apply.sources import Source
from nf.apply.unread import not_read
from nf.errors import SnfError
from nf.kernel import links, privilege
from nf.kernel.clock import Clock
from nf.kernel.confine import confine
from nf.kernel.dataplane import Path
from nf.kernel.process import no_core_dumps
from nf.publish import Publisher
from nf.service import Service
from nf.sessions.restart.statedir import hold
from nf.sessions.restart.takeover import Takeover
from nf.settings import Limits

if TYPE_CHECKING:
    from mgmt.netconf.ssh.listener import NetconfServer

__all__ = ["Options", "Wishes", "serve", "state_of"]

log = logging.getLogger(__name__)

_PATIENCE_S = 0.2  # with a commit that holds the interfaces: more than a look at them takes


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line, checked by `mgmt.cli.inputs`; the state directory exists."""

    state_dir: pathlib.Path
    users: pathlib.Path
    host_key: pathlib.Path | None
    startup: bytes | None  # the document
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Wishes:
    """Wishes beside a stop: that the data plane is left to the next process, and that files are read again."""

    leave: threading.Event = field(default_factory=threading.Event)
    reload: threading.Event = field(default_factory=threading.Event)


def serve(
    options: Options, stop: threading.Event, ready: Callable[[str], object], wishes: Wishes | None = None
) -> None:
    """Run until *stop* is set; *ready* is told once when the function answers.

    Raises SnfError with a sentence when it cannot start.
    """
    wishes = wishes or Wishes()
    bound = _port_alone(options.address, options.port)
    no_core_dumps()
    links.lock_beside(options.state_dir / "locks")
    reporter = Reporter()
    reporter.start()
    with ExitStack() as stack:
        held = stack.enter_context(hold(options.state_dir))
        memory.check(Limits())  # which it begins with
        with _phase("making the kernel programs"), reporter.phase("making the kernel programs"):
            service = stack.enter_context(Service(options.state_dir / "sessions.snapshot", held))
        with _phase("putting the configuration in force"), reporter.phase("putting the configuration in force"):
            datastore = Datastore(options.state_dir, service, options.startup)
            stack.callback(datastore.close)
            service.publisher.start()  # at the default place, where there is no configuration
        from mgmt.netconf.ssh.listener import (
            NetconfServer,  # the import takes as long as an attach, and the ports come first
        )

        alarms, interfaces = Alarms(), dict[str, InterfaceState]()
        server = NetconfServer(
            datastore,
            Function(
                state=lambda: {**state_of(service, interfaces), "alarms": alarms},
                alarms=alarms,
                find_sessions=service.find_sessions,
                explain=service.explain,
                mark_change=service.publisher.publish_mark,
                vitals=lambda: service.vitals(trial=True),
                reset_statistics=service.reset_statistics,
                purge_subscriber=service.purge_subscriber,
                reload_signatures=service.reload_signatures,
            ),
            address=options.address,
            bound=bound,
            host_key_file=options.host_key,
            users_file=options.users,
        )
        datastore.events.listen(_restart_needed(service, datastore.events))
        server.start()
        confine()
        stack.callback(server.stop)
        watchman = Watchman(service, alarms, datastore.events)
        service.erased = watchman.erase
        watchman.start()
        stack.callback(watchman.stop)
        where = f"NETCONF on {options.address}:{server.port}, publishing on {service.settings.export.endpoint}"
        ready(f"snf: {where}")
        reporter.runs(service, where)
        threading.Thread(target=_stop_when, args=(stop, service, wishes), name="stop", daemon=True).start()
        again = partial(_reload, reporter, server, service)
        threading.Thread(target=_read_again, args=(wishes, again), name="reload", daemon=True).start()
        service.run()
        leaves = wishes.leave.is_set()
        reporter.stops("leaving the data plane to the next process" if leaves else "taking the programs off")


def _port_alone(address: str, port: int) -> socket.socket:
    """Take the port of NETCONF, and give all capabilities away that the function does not need after that."""
    privilege.begin(port)
    bound = bound_socket(address, port)
    privilege.forget_low_ports()
    return bound


@contextmanager
def _phase(what: str) -> Iterator[None]:
    """Name, on a terminal and in the log, a phase that takes a while, and log how long it took."""
    begun_s = time.monotonic()
    log.info("%s", what)
    shown = sys.stderr.isatty() and not log.isEnabledFor(logging.INFO)
    if shown:
        print(f"snf: {what} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        took_s = time.monotonic() - begun_s
        log.info("%s: %.1f s", what, took_s)
        if shown:
            print(f" {took_s:.1f} s", file=sys.stderr, flush=True)


def _restart_needed(service: Service, events: Events) -> Callable[[Event], None]:
    """Return a listener that tells which settings wait for a restart, when a commit changes that."""
    told: list[tuple[str, ...]] = [service.waiting]

    def listen(event: Event) -> None:
        if isinstance(event, ConfigChange) and service.waiting != told[-1]:
            told[:] = [service.waiting]
            events.tell(RestartNeeded(service.waiting))

    return listen


def _stop_when(stop: threading.Event, service: Service, wishes: Wishes) -> None:
    stop.wait()
    service.stop(leave=wishes.leave.is_set())


def _read_again(wishes: Wishes, again: Callable[[], None]) -> None:
    while True:
        wishes.reload.wait()
        wishes.reload.clear()
        again()


def _reload(reporter: Reporter, server: NetconfServer, service: Service) -> None:
    """Read files again: users, host key, signatures. Each is taken or refused for itself, and the log says which."""
    before = "what was read before stays"
    steps: tuple[tuple[str, Callable[[], str], str], ...] = (
        ("the users file", server.reload_users, "nobody logs in by it until it is mended"),
        ("the host key", server.reload_host_key, before),
        ("the signatures", lambda: f"{service.reload_signatures()} applications", before),
    )
    with reporter.reload():
        for what, step, otherwise in steps:
            try:
                log.warning("read %s again: %s", what, step())
            except SnfError as error:
                log.error("%s cannot be used, and %s: %s", what, otherwise, error)


def state_of(service: Service, last: dict[str, InterfaceState] | None = None) -> StateTree:
    """Return the operational state of the function now.

    While a commit attaches interfaces their states are the *last* ones, which are kept there: nobody waits for it.
    """
    plane, publisher = service.plane, service.publisher
    interfaces = _last_interface_states(service, {} if last is None else last)
    total, published = plane.read_counters(), publisher.status()
    places = _place_states(publisher, published["dropped_messages"])
    return {
        "started_s": service.started_s,
        "limits": service.limits,
        "restart_needed": service.waiting,
        "clock": _clock_state(service.clock),
        **({"takeover": _takeover_state(service.takeover)} if service.takeover else {}),
        "interfaces": interfaces,
        "links": service.interfaces.links(),
        "naming": service.pipeline.status(),
        "data_plane": {
            **total,
            "refused_entries": plane.refused_entries,
            **service.pipeline.state(),
        },
        "gtpu_paths": [_path_state(path) for path in plane.read_paths()],
        "sources": {name: _source_state(service, source) for name, source in service.sources().items()},
        "n4_peers": service.n4_peers(),
        "session_counters": dict(service.store.counters),
        "partial_sessions": service.store.partial,
        "session_events": list(service.interfaces.notices),
        "exporter": {
            **places[""],
            "octets_sent": published["exported_bytes"],
            "inspected_octets": total["octets"],
        },
        "listeners": places,
        "degraded": [
            {
                "subscriber": alarm.subscriber,
                "class": alarm.app_class,
                "application": alarm.app,
                "since_s": service.clock.label_s(alarm.since_s),
                "score": f"{alarm.mos:.2f}",
                "suspect": alarm.suspect,
            }
            for alarm in service.vitals(trial=False).degraded
        ],
    }


def _place_states(publisher: Publisher, dropped: int) -> dict[str, PlaceState]:
    """Return the state of each place where records can be read, by name; the one that is always there has none."""
    return {
        name: {
            "oper_status": "up" if place.up else "down",
            "records": place.records,
            "dropped": dropped,
            "subscribers": place.subscriptions,
            "snapshots": place.snapshots,
        }
        for name, place in publisher.places().items()
    }


def _last_interface_states(service: Service, last: dict[str, InterfaceState]) -> dict[str, InterfaceState]:
    if not service.interfaces.lock.acquire(timeout=_PATIENCE_S if last else -1):
        return dict(last)
    try:
        found = _interface_states(service)
    finally:
        service.interfaces.lock.release()
    last.clear()
    last.update(found)
    return found


def _interface_states(service: Service) -> dict[str, InterfaceState]:
    """Return the state of each configured interface."""
    plane, found = service.plane, dict[str, InterfaceState]()
    for name, port in service.interfaces.states().items():
        state: InterfaceState = {"oper_status": port.oper_status, "phys_address": port.mac}
        if port.last_change_s is not None:
            state["last_change_s"] = service.clock.label_s(port.last_change_s)
        if (since_s := service.interfaces.statistics.since_s(name)) is not None:
            state["since_s"] = service.clock.label_s(since_s)
        if port.device:
            state["device"] = port.device
        if port.why:
            state["not_attached"] = port.why
        counters = service.counters(name)
        if name in service.interfaces.listeners and not port.why:
            state["attached_mode"] = "socket"
        if counters is not None and "octets" in counters:
            state |= {"octets": counters["octets"], "not_read": not_read(counters)}
        if counters is not None:
            state |= {"packets": counters.get("frames", counters.get("n4_frames", 0)), "counters": counters}
        if (attached := plane.attached.get(name)) is not None:
            state |= {
                "attached_mode": attached.xdp_mode,
                "program_id": attached.program_id,
                "vlan_offload": "true" if attached.rx_vlan else "false",
                "multi_buffer": "false" if attached.mtu_limit else "true",
            }
            state["link_type"] = "bare" if attached.bare else "ethernet"
            if attached.sent_id:
                state["sent_program_id"] = attached.sent_id
            if attached.mtu_limit:
                state["mtu_limit"] = attached.mtu_limit
            if attached.why:
                state["attached_mode_reason"] = attached.why
            if attached.redirects:
                state["losses_counted"] = "true" if plane.losses_seen else "false"
        found[name] = state
    return found


def _source_state(service: Service, source: Source) -> SourceState:
    state: SourceState = {"sessions": source.sessions, "oper_status": source.oper_status}
    if source.messages is not None:
        state["messages"] = source.messages
    if source.heard_s is not None:
        state["last_heard_s"] = service.clock.label_s(source.heard_s)
    return state


def _clock_state(clock: Clock) -> ClockState:
    state: ClockState = {"steps": clock.steps}
    if clock.last is not None:
        state |= {"last_step": f"{clock.last.seconds:.3f}", "last_step_time_s": clock.label_s(clock.last.at_s)}
    return state


def _takeover_state(takeover: Takeover) -> TakeoverState:
    state: TakeoverState = {}
    if takeover.process is not None:
        state["process"] = takeover.process
    if takeover.since_s is not None:
        state["unread_since_s"] = takeover.since_s
    if takeover.outage_s is not None:
        state["outage"] = round(takeover.outage_s * 1e3)
    return state


def _path_state(path: Path) -> PathState:
    state: PathState = {
        "requester": path.requester,
        "responder": path.responder,
        "requests": path.requests,
        "responses": path.responses,
        "error_indications": path.error_indications,
        "rtt_samples": path.rtt_samples,
    }
    if path.rtt_samples:
        state |= {"rtt_min": path.rtt_min_us, "rtt_mean": path.rtt_mean_us, "rtt_last": path.rtt_last_us}
    return state
