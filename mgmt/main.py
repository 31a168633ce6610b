"""``snf run``: the function, its configuration, and the server that changes it, from start to end."""

from __future__ import annotations

import logging
import pathlib
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from mgmt.datastore import Datastore
from mgmt.state import ClockState, InterfaceState, PathState, StateTree, TakeoverState
from nf.clock import Clock
from nf.kernel.dataplane import Path
from nf.kernel.process import no_core_dumps
from nf.service import Service
from nf.statedir import hold
from nf.takeover import Takeover

__all__ = ["Options", "serve", "state_of"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says, as `mgmt.inputs` checked it; the state directory is there."""

    state_dir: pathlib.Path
    users: pathlib.Path
    host_key: pathlib.Path | None
    startup: bytes | None  # the document
    address: str
    port: int


def serve(options: Options, stop: threading.Event, ready: Callable[[str], object]) -> None:
    """Run until *stop* is set; *ready* is told once when the function answers.

    Raises SnfError with a sentence when it cannot start.
    """
    no_core_dumps()
    with ExitStack() as stack:
        held = stack.enter_context(hold(options.state_dir))
        log.info("making the kernel programs")
        service = stack.enter_context(Service(options.state_dir / "sessions.snapshot", held))
        log.info("putting the configuration in force")
        datastore = Datastore(options.state_dir, service, options.startup)
        from mgmt.server import NetconfServer  # what it imports takes as long as an attach, and the ports come first

        server = NetconfServer(
            datastore,
            lambda: state_of(service),
            find_sessions=service.find_sessions,
            address=options.address,
            port=options.port,
            host_key_file=options.host_key,
            users_file=options.users,
            explain=service.explain,
        )
        server.start()
        stack.callback(server.stop)
        ready(f"snf: NETCONF on {options.address}:{server.port}, publishing on {service.settings.export.endpoint}")
        threading.Thread(target=_stop_when, args=(stop, service), name="stop", daemon=True).start()
        service.run()


def _stop_when(stop: threading.Event, service: Service) -> None:
    stop.wait()
    service.stop()


def state_of(service: Service) -> StateTree:
    """Return the operational state: what the function knows about itself now."""
    plane, publisher = service.plane, service.publisher
    interfaces: dict[str, InterfaceState] = {}
    for name, attached in list(plane.attached.items()):
        counters = plane.read_counters(name)
        interfaces[name] = {
            "device": attached.link.name,
            "attached_mode": attached.xdp_mode,
            "program_id": attached.program_id,
            "vlan_offload": "true" if attached.rx_vlan else "false",
            "multi_buffer": "false" if attached.mtu_limit else "true",
            **({"mtu_limit": attached.mtu_limit} if attached.mtu_limit else {}),
            "packets": counters["frames"],
            "octets": counters["octets"],
            "counters": counters,
        }
    for name, listener in list(service.interfaces.listeners.items()):
        counters = dict(listener.counters)
        interfaces[name] = {
            "device": listener.ifname,
            "attached_mode": "socket",
            "packets": counters.get("n4_frames", 0),
            "counters": counters,
        }
    total, published = plane.read_counters(), publisher.status()
    return {
        "started_s": service.started_s,
        "clock": _clock_state(service.clock),
        **({"takeover": _takeover_state(service.takeover)} if service.takeover else {}),
        "interfaces": interfaces,
        "naming": service.pipeline.naming.reading.status(),
        "data_plane": {
            **total,
            "refused_entries": plane.refused_entries,
            **service.pipeline.naming.inference.counters,
        },
        "gtpu_paths": [_path_state(path) for path in plane.read_paths()],
        "sessions": dict(service.store.count_by_source()),
        "session_counters": dict(service.store.counters),
        "exporter": {
            "octets_sent": published["exported_bytes"],
            "records": published["records"],
            "dropped": published["dropped_messages"],
            "subscribers": publisher.subscriptions,
            "inspected_octets": total["octets"],
        },
    }


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
