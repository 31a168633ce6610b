"""The data plane: compiled programs, their maps, the interfaces they sit on.

This and its neighbours are the only modules that know bcc. Addresses go in as text and come out as
the 16 bytes of abi.h; records come out as numpy structures whose types bcc derived from the C.

A live data plane is attached to interfaces; a replayed one (``replay=True``) runs the same programs
on frames that it is given, at the times it is given.
"""

from __future__ import annotations

import mmap
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nf.kernel import source, syscall
from nf.kernel.addresses import address_bytes, address_text
from nf.kernel.objects import Verified
from nf.kernel.paths import Path, paths
from nf.kernel.ports import Attached, Ports, load_role
from nf.kernel.programs import TAILS, Program, Programs
from nf.kernel.ring import Rings
from nf.kernel.routes import RouteTable
from nf.kernel.rtnetlink import LinkState
from nf.kernel.sessions import SessionTable, TunnelRow
from nf.kernel.suffixes import SuffixTables
from nf.settings import Action, Encapsulation, Interface, Limits, Mode, Monitor, Role

__all__ = ["MAX_FRAME", "Attached", "DataPlane", "Path", "TunnelRow", "address_bytes", "address_text"]

MAX_FRAME = 3400  # of a test run: a page less head room and shared info (net/bpf/test_run.c)

_CLOCK_MONOTONIC_COARSE = 6  # include/uapi/linux/time.h; time has no name for it
_LOOPBACK = 1  # interface index that a test run without a context shows to the program
_GROUPS = 8  # SNF_GROUPS of abi.h
_WHOLE = 0xFFFF  # snap length: no packet is longer
_KEEP_FINE, _KEEP_DETAIL = 1, 2  # enum policy_keep
_READER = 32  # of FLOW_READER in abi.h: the first of its three values
_ACTIONS = {Action.INSPECT: 0, Action.COUNT: 1, Action.TRUNCATE: 2, Action.SUPPRESS: 3}


class DataPlane:
    """Programs and maps of one function; ``close()`` detaches and frees everything."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        replay: bool = False,
        split_legs: bool = False,
        tails_later: bool = False,
    ) -> None:
        """Make or take over the tables. *tails_later*: `load_tails` is called once ports are attached."""
        limits = limits or Limits()
        self._replay = replay
        self._programs = Programs(limits, replay=replay)
        self.taken_over = self._programs.taken_over  # from a process that died
        self._maps = self._programs.maps
        self.counters = source.counters()
        self._fds = {
            name: self._maps[name].fd
            for name in (
                *("flows", "verdicts", "policies", "sessions", "endpoints", "routes"),
                *("ports", "paths", "earlies", "details", "answers"),
                *("delays", "transits", "leg_copies"),
            )
        }
        self._types = {
            "event": self._maps["event_type"].value,
            "payload": self._maps["payload_type"].value,
            "flow_key": self._maps["flows"].key,
            "flow": self._maps["flows"].value,
            "verdict": self._maps["verdicts"].value,
            "policy": self._maps["policies"].value,
            "path_key": self._maps["paths"].key,
            "path": self._maps["paths"].value,
            "detail": self._maps["details"].value,
            "chunk": self._maps["chunk_type"].value,
            "named": self._maps["named_type"].value,
            "ended": self._maps["ended_type"].value,
            "delay_key": self._maps["delays"].key,
            "delay": self._maps["delays"].value,
            "transit": self._maps["transits"].value,
            "leg_copy": self._maps["leg_copies"].value,
            "early": self._maps["earlies"].value,
        }
        control = self._maps["control"].value
        self._control_map = mmap.mmap(self._maps["control"].fd, mmap.PAGESIZE, mmap.MAP_SHARED)
        self._control = np.frombuffer(self._control_map, control, 1)
        self._clock = self._control["clock_ns"]
        self._wire_length = self._control["wire_length"]
        self._next_flow = self._control["next_flow"]
        self.first_session = 1  # numbers below are those of a process that died
        self._events, self._payloads, self._chunks, self._names, self._ended = self._rings()
        self.sessions = SessionTable(
            self._fds["sessions"], len(self._maps["sessions"]), self._fds["endpoints"], self._control
        )
        self.routes = RouteTable(self._fds["routes"], self._control, source.ROUTES)
        suffixes = self._maps["suffixes"]
        self._suffixes = SuffixTables(suffixes.fd, suffixes.value, self._control)
        self._instances: dict[str, int] = {"": 0}
        self._spent_instances = 0  # numbers that ports of a process before may still have
        self._ports = Ports(self._programs, self.instance_number)
        self._changing = threading.RLock()  # of the interfaces
        self._runs: dict[Role | None, syscall.TestRun] = {}
        self._tails_loaded = False
        if not tails_later:
            self.load_tails()
        if self.taken_over:
            self._take_over()
        else:
            self._begin(split_legs)
        if not replay:
            self.limit_unknown(limits)
        if replay:
            self.take_test_runs()

    def _rings(self) -> Iterator[Rings]:
        """Yield the rings of each kind of record, in the order of ``enum snf_ring``."""
        kinds = self._programs.rings
        sizes = source.ring_sizes(len(kinds[0]))
        for fds, size, record in zip(kinds, sizes, ("event", "payload", "chunk", "named", "ended"), strict=True):
            yield Rings(fds, size, self._types[record])

    def _begin(self, split_legs: bool) -> None:
        self._control["abi"] = self._programs.abi
        self._control["next_flow"] = self._control["epoch"] = self._control["first_session"] = 1
        self._control["split_legs"] = split_legs
        self._control["buckets"] = len(self._maps["sessions"])
        self._control["seed"] = 0 if self._replay else secrets.randbits(32)
        self._control["reader"] = _READER
        self.set_policies({})
        self._measure_tick()

    def _take_over(self) -> None:
        """Make the tables of a process that died ours: its session numbers end, its flows are told once more."""
        flows = self.read_flows()[1]
        used = [int(flows["session"].max(initial=0)), int(self._control["first_session"][0])]
        used.append(self.sessions.clear())
        self.routes.clear()
        self._spent_instances = int(self._maps["ports"].read()[1]["instance"].max())
        self.first_session = max(used) + 1
        self._control["first_session"] = self.first_session
        self._control["reader"] = self._control["reader"] % (3 * _READER) + _READER
        self.new_generation()

    # -- programs ---------------------------------------------------------

    def _load(self, name: str, tail: int | None = None) -> Program:
        return self._programs.load(name, tail)

    def load_tails(self) -> None:
        """Load the programs that read names, hand payloads over and copy packets, unless they are loaded."""
        if self._tails_loaded:
            return
        for slot, name in enumerate(TAILS):
            self._load(name, tail=slot)
        self._tails_loaded = True

    def verify(self) -> Mapping[str, Verified]:
        """Return what the verifier says of each program; raises Unsupported when it refuses one."""
        return self._programs.verify()

    def swap(self) -> None:
        """Compile the programs again and put them in the place of the running ones: no packet and no count is lost.

        Raises Unsupported, and everything stays as it was, when the kernel refuses one of them.
        """
        with self._changing:
            self._programs.swap()
            self._runs.clear()
            self._ports.renew()

    def _measure_tick(self) -> None:
        """Tell the programs how long a tick of the kernel is and what time one had (clock.h)."""
        length_ns = time.clock_getres(_CLOCK_MONOTONIC_COARSE) * 1e9  # TICK_NSEC
        ask = syscall.TestRun(self._load("snf_tick").fd, 64)
        readings = []
        for _ in range(3):  # when a tick falls between its number and its time, the time is that of the next
            ask(bytes(14))
            readings.append((int(self._control["tick"][0]), int(self._control["tick_ns"][0])))
        tick, at_ns = min(readings, key=lambda r: r[1] - r[0] * length_ns)
        self._control["tick"], self._control["tick_at_us"] = tick, at_ns // 1000 & 0xFFFF_FFFF
        self._control["tick_us_q20"] = round(length_ns / 1000 * (1 << 20))

    @property
    def record_types(self) -> Mapping[str, np.dtype[np.void]]:
        """The numpy types of keys, values and records, by the names of abi.h."""
        return self._types

    def take_test_runs(self) -> None:
        """Let test runs of the programs count as packets of a mirrored interface; without, they are a stranger's."""
        self.set_test_port(Mode.MIRROR, Encapsulation.every())

    def set_test_port(self, mode: Mode, opens: Encapsulation) -> None:
        """Say of what mode the port of test runs is, and what is read through on it."""
        self._ports.take_test_runs(_LOOPBACK, mode, opens)

    def program(self, role: Role | None) -> int:
        """Return the file descriptor of the program of *role* (None: any)."""
        return load_role(self._programs, role).fd

    def run(self, frame: bytes, at_ns: int, role: Role | None = None, wire: int = 0) -> int:
        """Replay: run the program of *role* (None: any) on an Ethernet frame of 14 to MAX_FRAME bytes.

        *wire* is how many bytes it had before the capture, or this limit, cut it.
        Returns the XDP action. Raises OSError when the kernel refuses the frame.
        """
        self._clock[0] = at_ns
        self._wire_length[0] = wire
        run = self._runs.get(role)
        if run is None:
            run = self._runs[role] = syscall.TestRun(self.program(role), MAX_FRAME + 64)
        return run(frame)

    # -- interfaces -------------------------------------------------------

    def attach(self, interface: Interface) -> Attached:
        """Put the program of its role on an interface; raises AttachRefused and leaves it as it was."""
        with self._changing:
            attached = self._ports.attach(interface)
            self._follow()
        return attached

    def change(self, interface: Interface) -> bool:
        """Change an attached interface in place; False when that takes another attach."""
        with self._changing:
            return self._ports.change(interface)

    def detach(self, name: str) -> None:
        """Take the program off an interface."""
        with self._changing:
            self._ports.detach(name)
            self._follow()

    def look(self) -> None:
        """See that what inline pairs redirect arrives; to be called about once a second."""
        with self._changing:
            self._ports.look()

    @property
    def losses_seen(self) -> bool:
        """Whether what is redirected and lost is counted; once there is an inline pair or a monitor port."""
        return self._ports.redirects.watching

    def check(self, read: Callable[[], Mapping[int, LinkState]]) -> dict[str, str]:
        """Compare the attached interfaces with the links that *read* returns; return why some were lost, by name.

        What a lost interface counted is kept until it is attached again, or `forget` is called.
        """
        with self._changing:
            lost = self._ports.check(read())
            if lost:
                self._follow()
            self._ports.check_monitor()
        return lost

    def forget(self, name: str) -> None:
        """Keep nothing of an interface that was lost."""
        with self._changing:
            self._ports.forget(name)

    def _follow(self) -> None:
        roles = {attached.interface.role for attached in self.attached.values()}
        self.follow = {Role.N3, Role.N6} <= roles

    @property
    def follow(self) -> bool:
        """Whether packets are timed on their way from N3 to N6 and back; so while both are attached."""
        return bool(self._control["follow"][0])

    @follow.setter
    def follow(self, on: bool) -> None:
        self._control["follow"] = on

    def set_monitor(self, monitor: Monitor | None) -> None:
        """Send what mirror ports receive to another port, as far as the policies let it; None: to nobody.

        Raises AttachRefused when there is no such interface, or when it is one that is attached.
        """
        with self._changing:
            self._ports.set_monitor(monitor)

    def left_behind(self) -> list[str]:
        """Return the devices on which a process before left programs, while none of them is attached anew."""
        return self._ports.left_behind() if self.taken_over else []

    def release_left_behind(self) -> None:
        """Take what a process before left attached off the interfaces that are not attached by now."""
        if self.taken_over:
            with self._changing:
                self._ports.release_left_behind()

    @property
    def lost(self) -> Collection[str]:
        """Configured names of the interfaces that were lost, and whose counts are kept."""
        return self._ports.kept.keys()

    @property
    def attached(self) -> Mapping[str, Attached]:
        """Interfaces with a program, by their configured name."""
        return self._ports.attached

    @property
    def host_addresses(self) -> frozenset[bytes]:
        """The addresses of the attached interfaces, 16 bytes each: of this host, and of no subscriber."""
        return frozenset(address_bytes(text) for port in self.attached.values() for text in port.link.addresses)

    def sees(self, *, translated: bool) -> tuple[bool, bool]:
        """Say whether the ports are sure to see uplink and downlink of a subscriber; *translated*: not on N6.

        A port in mode local sees what it receives, on a UPF's host: uplink on N3; on N6 downlink, where that is not
        translated. A TUN receives uplink, in any mode, and is before all translation.
        """
        if self._replay or not self.attached:
            return True, True
        ports = [(port.interface, port.link.bare) for port in self.attached.values()]
        whole = any(
            p.mode is not Mode.LOCAL and not bare and (p.role is Role.N3 or not translated) for p, bare in ports
        )
        return whole or any(p.role is Role.N3 or bare for p, bare in ports), whole

    # -- what the programs are told ---------------------------------------

    def instance_number(self, name: str) -> int:
        """Return the number of a network instance; a new name gets the next one."""
        return self._instances.setdefault(name, self._spent_instances + len(self._instances))

    def put_tunnels(self, rows: Iterable[TunnelRow]) -> None:
        """As `SessionTable.put_tunnels`."""
        self.sessions.put_tunnels(rows)

    def drop_tunnels(self, rows: Iterable[tuple[str, int]]) -> None:
        """As `SessionTable.drop_tunnels`."""
        self.sessions.drop_tunnels(rows)

    def put_ues(self, rows: Iterable[tuple[str, str, int]]) -> None:
        """Write (network instance, UE address or IPv6 prefix, session) rows, as `SessionTable.put_ues`."""
        self.sessions.put_ues((self.instance_number(instance), address, session) for instance, address, session in rows)

    def drop_ues(self, rows: Iterable[tuple[str, str]]) -> None:
        """Delete (network instance, UE address or IPv6 prefix) rows."""
        self.sessions.drop_ues((self.instance_number(instance), address) for instance, address in rows)

    def change_routes(self, rows: Mapping[tuple[str, str, int], bool]) -> None:
        """Take (network instance, prefix, session) rows, as `RouteTable.change`."""
        self.routes.change({(self.instance_number(name), prefix, n): has for (name, prefix, n), has in rows.items()})

    def put_groups(self, groups: Mapping[int, int]) -> None:
        """Write the group of each session, by number; 0: none. It holds from the next packet on."""
        self.sessions.put_groups(groups)

    @property
    def refused_entries(self) -> int:
        """Tunnels, UE addresses, prefixes and groups that found no room."""
        return self.sessions.refused + self.routes.refused

    @property
    def next_flow(self) -> int:
        """Number that the next new flow will have."""
        return int(self._next_flow[0])

    def new_generation(self) -> None:
        """Let each flow ask once again for its session and its group."""
        self._control["generation"] += 1

    def new_epoch(self, intervals: int = 1) -> None:
        """Begin an interval, so many after the one before: minima and maxima start anew."""
        self._control["epoch"] += intervals

    @property
    def epoch(self) -> int:
        """Number of the interval."""
        return int(self._control["epoch"][0])

    def forget_clocks_after(self, intervals: int) -> None:
        """Let a flow that was silent for so many intervals, 65,535 at most, time nothing from before; 0: never."""
        self._control["stale"] = min(intervals, 0xFFFF)

    def limit_unknown(self, limits: Limits) -> None:
        """Put in force how many flows without a session may begin: at this rate a table is new in 16 s or more."""
        per_second = limits.unknown_flows_per_s or limits.flows // 16
        cpus = os.cpu_count() or 1  # a port's packets are spread over them
        self._control["birth_gap_ns"] = min(cpus * 1_000_000_000 // per_second, 0xFFFF_FFFF)

    def set_policies(
        self,
        policies: Mapping[int, tuple[Action, int]],
        coarse: Collection[int] = (),
        detailed: Collection[int] = (),
        groups: Sequence[Mapping[int, tuple[Action, int]]] = (),
    ) -> None:
        """Write (action, snap length) by application number; all others are inspected.

        *groups* are the same for groups 1, 2 and so on of subscribers (`put_groups`), *policies* for the rest.

        The packets of *coarse* applications are timed to the kernel's tick, which is cheaper, except for RTTs.
        Flows of *detailed* ones keep a ``struct detail``.
        """
        values = np.zeros((_GROUPS, len(self._maps["policies"]) // _GROUPS), self._types["policy"])
        values["keep"], values["snap_length"] = _KEEP_FINE, _WHOLE
        values["keep"][:, list(coarse)] = 0
        values["keep"][:, list(detailed)] |= _KEEP_DETAIL
        for group, table in enumerate((policies, *groups)):
            for app, (action, snap) in table.items():
                values["action"][group, app] = _ACTIONS[action]
                values["snap_length"][group, app] = {Action.INSPECT: _WHOLE, Action.TRUNCATE: snap}.get(action, 0)
        syscall.update_batch(self._fds["policies"], np.arange(values.size, dtype=np.uint32), values.ravel())

    def set_suffixes(self, apps: Mapping[str, int], ask: Iterable[str] = (), networks: Iterable[int] = ()) -> None:
        """Let the programs name flows by these suffixes and forget DNS answers; user space reads names under *ask*."""
        self._suffixes.write(apps, ask, networks)
        self._maps["answers"].clear()

    @property
    def economy(self) -> bool:
        """Whether DNS is read in the kernel, and QUIC flows that an answer names hand nothing over."""
        return bool(self._control["economy"][0])

    @economy.setter
    def economy(self, on: bool) -> None:
        self._control["economy"] = on

    def put_verdicts(
        self, keys: NDArray[np.void], numbers: NDArray[np.uint64], apps: NDArray[np.uint16], final: NDArray[np.bool_]
    ) -> None:
        """Answer about flows: columns of flow keys, flow numbers, applications, and whether that is the last word."""
        values = np.zeros(len(keys), self._types["verdict"])
        values["flow"] = numbers & np.uint64(0xFFFF_FFFF)
        values["app"], values["final"] = apps, final
        syscall.update_batch(self._fds["verdicts"], keys.astype(self._types["flow_key"]), values)
        self._control["answers"] += 1

    # -- what the programs tell -------------------------------------------

    def read_flows(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Return (keys, flows) of all flows in the table."""
        return syscall.read_map(self._fds["flows"], self._types["flow_key"], self._types["flow"])

    def flow_reader(self) -> syscall.MapReader:
        """Return a reader of the whole flow table, for who reads it again and again."""
        return syscall.MapReader(self._fds["flows"], self._types["flow_key"], self._types["flow"])

    def read_ended(self) -> NDArray[np.void]:
        """Return the flows that gave their place to another one since the last call (``struct ended``)."""
        return self._ended.read()

    def read_earlies(self) -> dict[int, tuple[list[int], list[int]]]:
        """Return (packets, bytes) by direction of fragments before the last of their datagram, by flow number."""
        keys, values = syscall.read_map(self._fds["earlies"], np.dtype(np.uint64), self._types["early"], 4096)
        return {int(k): (v["packets"].tolist(), v["bytes"].tolist()) for k, v in zip(keys, values, strict=True)}

    def now_ns(self) -> int:
        """Return the time of the programs' clock: in a replay that of the packet before, else the kernel's."""
        return int(self._clock[0]) if self._replay else time.monotonic_ns()

    def drop_flows(self, keys: NDArray[np.void]) -> None:
        """Delete flows that ended."""
        syscall.delete_batch(self._fds["flows"], keys)

    def read_events(self) -> NDArray[np.void]:
        """Return the flow events since the last call (``struct flow_event``)."""
        return self._events.read()

    def read_payloads(self) -> NDArray[np.void]:
        """Return the payload records since the last call (``struct payload``)."""
        return self._payloads.read()

    def read_names(self) -> NDArray[np.void]:
        """Return what the programs named since the last call (``struct named``)."""
        return self._names.read()

    def read_chunks(self) -> NDArray[np.void]:
        """Return the request-answer pairs since the last call (``struct chunk``)."""
        return self._chunks.read()

    @property
    def legs(self) -> bool:
        """Whether user data is looked for in other tunnels that it passed in, so that it is counted once."""
        return bool(self._control["legs"][0])

    @legs.setter
    def legs(self, on: bool) -> None:
        self._control["legs"] = on

    def read_leg_copies(self) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """Return (flow numbers, (n, 2) packets by direction that had passed in another tunnel).

        A replay has a flow for each leg.
        """
        keys, values = syscall.read_map(self._fds["leg_copies"], np.dtype(np.uint64), self._types["leg_copy"], 4096)
        return keys.astype(np.uint64), values["packets"].astype(np.uint32)

    def read_delays(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Return (``struct delay_key``, ``struct delay``) of the QoS flows that PDU Session Containers measure."""
        return syscall.read_map(self._fds["delays"], self._types["delay_key"], self._types["delay"], 8192)

    def read_transits(self) -> tuple[NDArray[np.uint32], NDArray[np.void]]:
        """Return (sessions, ``struct transit``): the ways of their packets through the UPF."""
        keys, values = syscall.read_map(self._fds["transits"], np.dtype(np.uint32), self._types["transit"], 8192)
        return keys.astype(np.uint32), values

    def read_tunnel_errors(self) -> list[tuple[str, int, int, int]]:
        """Return (receiving address, TEID, error indications, time of the last in ns) of tunnels that were refused."""
        keys, values = self._maps["tunnel_errors"].read()
        return [
            (address_text(bytes(key["address"])), int(key["teid"]), int(value["count"]), int(value["last_ns"]))
            for key, value in zip(keys, values, strict=True)
        ]

    def forget_sessions(self, numbers: Iterable[int]) -> None:
        """Drop what is kept of sessions whose numbers are free: they will be others'."""
        for number in numbers:
            self._maps["transits"].delete(number)

    def read_details(self) -> tuple[NDArray[np.uint64], NDArray[np.void]]:
        """Return (flow numbers, ``struct detail``) of the media flows."""
        keys, values = syscall.read_map(self._fds["details"], np.dtype(np.uint64), self._types["detail"], 16_384)
        return keys.astype(np.uint64), values

    def read_paths(self) -> list[Path]:
        """Return the GTP-U paths that echoes or error indications were seen on, by their ends."""
        keys, values = syscall.read_map(self._fds["paths"], self._types["path_key"], self._types["path"], 4096)
        return paths(keys, values)

    def read_counters(self, name: str | None = None) -> dict[str, int]:
        """Return the counters of an interface that is attached, or was lost, by its configured name, or of all."""
        slots = [self._ports.slot(name)] if name is not None else range(len(self._maps["stats"]))
        table = self._maps["stats"]
        total = np.zeros(len(self.counters), np.uint64)
        for slot in slots:
            total += table.get(slot)["n"].sum(axis=0, dtype=np.uint64)
        return {c.name: int(total[i]) for i, c in enumerate(self.counters)}

    def close(self, *, leave_behind: bool = False) -> None:
        """Detach everything and free programs and maps; *leave_behind*: but not what a process before left attached."""
        for name in list(self.attached):
            self.detach(name)
        if not leave_behind:
            self.release_left_behind()
        self._ports.redirects.close()
        for rings in (self._events, self._payloads, self._chunks, self._names, self._ended):
            rings.close()
        self._suffixes.close()
        self.sessions.close()
        del self._clock, self._wire_length, self._next_flow, self._control, self.routes
        self._control_map.close()
        self._programs.close(leave_behind=leave_behind)
