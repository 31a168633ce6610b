"""The face of a data plane that tells the programs: sessions, policies, names, answers about flows."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nf.abi import KEEP_DETAIL, KEEP_FINE, KEEP_GROWN, SNF_COUNT, SNF_GROUPS, SNF_INSPECT, SNF_SUPPRESS, SNF_TRUNCATE
from nf.kernel import syscall
from nf.kernel.changes import DropRoute, DropTunnel, DropUe, PutRoute, PutTunnel, PutUe, TableChange
from nf.kernel.columns import TunnelColumns, UeColumns
from nf.kernel.routes import RouteTable
from nf.kernel.sessions import SessionTable
from nf.kernel.shared import Shared
from nf.kernel.suffixes import SuffixTables
from nf.settings import Action, Limits

__all__ = ["Tell"]

_WHOLE = 0xFFFF  # snap length: no packet is longer
_ACTIONS = {
    Action.INSPECT: SNF_INSPECT,
    Action.COUNT: SNF_COUNT,
    Action.TRUNCATE: SNF_TRUNCATE,
    Action.SUPPRESS: SNF_SUPPRESS,
}


class Tell(Shared):
    """Orders to the programs, which hold from the next packet on."""

    def __init__(self, limits: Limits, *, replay: bool) -> None:
        super().__init__(limits, replay=replay)
        self.sessions = SessionTable(self._maps["sessions"], self._fds["endpoints"], self._control)
        self.routes = RouteTable(self._maps["routes"], self._control)
        suffixes = self._maps["suffixes"]
        self._suffixes = SuffixTables(suffixes.fd, suffixes.value, self._control)

    def free(self, *, leave_behind: bool) -> None:
        """Free the tables as well."""
        self._suffixes.close()
        self.sessions.close()
        del self.routes
        super().free(leave_behind=leave_behind)

    def write(self, changes: Sequence[TableChange]) -> None:
        """Write *changes* by kind, removals first, so that a re-used TEID ends up bound."""
        tunnels: dict[tuple[str, int], PutTunnel | None] = {}
        ues: dict[tuple[str, str], PutUe | None] = {}
        routes: dict[tuple[str, str, int], bool] = {}
        for change in changes:  # the last word about a key wins
            match change:
                case PutTunnel() | DropTunnel():
                    tunnels[change.address, change.teid] = change if isinstance(change, PutTunnel) else None
                case PutUe() | DropUe():
                    ues[change.instance, change.address] = change if isinstance(change, PutUe) else None
                case PutRoute() | DropRoute():
                    routes[change.instance, change.prefix, change.session] = isinstance(change, PutRoute)
        if routes:
            self.change_routes(routes)
        self.drop_tunnels([key for key, put in tunnels.items() if put is None])
        self.put_tunnels([put for put in tunnels.values() if put is not None])
        self.drop_ues([key for key, put in ues.items() if put is None])
        self.put_ues([put for put in ues.values() if put is not None])

    def put_tunnels(self, rows: Iterable[PutTunnel]) -> None:
        """Bind tunnels to sessions, as `SessionTable.put_tunnels`."""
        self.sessions.put_tunnels(rows)

    def put_columns(self, tunnels: TunnelColumns, ues: UeColumns) -> None:
        """Bind tunnels and IPv4 addresses of UEs to sessions, a million in seconds."""
        self.sessions.put_tunnel_columns(tunnels)
        numbers = np.array([self.instance_number(name) for name in ues.instances], np.uint32)
        if len(ues):
            self.sessions.put_ipv4_columns(numbers[ues.instance], ues.ipv4, ues.session)

    def drop_tunnels(self, rows: Iterable[tuple[str, int]]) -> None:
        """Delete (receiving address, TEID) rows, as `SessionTable.drop_tunnels`."""
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

    def set_gateways(self, values: Mapping[str, int]) -> None:
        """Name the gateways of fixed lines: what line.h is to know of each, by Ethernet address, and no others."""
        table = self._maps["gateways"]
        wanted = {int(mac.replace(":", ""), 16): value for mac, value in values.items()}
        for mac in table.read()[0].tolist():
            if mac not in wanted:
                table.delete(mac)
        for mac, value in wanted.items():
            table.put(mac, value)
        self._control["lines"] = bool(wanted)
        self.new_generation()  # of each flow somebody asks whose it is now

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
        """Make each flow ask once again for its session and its group."""
        self._control["generation"] += 1

    def new_epoch(self, intervals: int = 1) -> None:
        """Begin an interval, so many after the one before: minima and maxima start anew."""
        self._control["epoch"] += intervals

    @property
    def epoch(self) -> int:
        """Number of the interval."""
        return int(self._control["epoch"][0])

    def forget_clocks_after(self, intervals: int) -> None:
        """Stop a flow that was silent for so many intervals, 65,535 at most, from timing what came before; 0: never."""
        self._control["stale"] = min(intervals, 0xFFFF)

    def limit_unknown(self, limits: Limits) -> None:
        """Limit the flows without a session that may begin on a port: by default they fill a table in 16 s or more."""
        per_second = limits.unknown_flows_per_s or limits.flows // 16
        cpus = os.cpu_count() or 1  # a port's packets are spread over them
        self._control["birth_gap_ns"] = min(cpus * 1_000_000_000 // per_second, 0xFFFF_FFFF)

    def set_policies(
        self,
        policies: Mapping[int, tuple[Action, int]],
        coarse: Collection[int] = (),
        detailed: Collection[int] = (),
        groups: Sequence[Mapping[int, tuple[Action, int]]] = (),
        grown: Collection[int] = (),
    ) -> None:
        """Write (action, snap length) by application number; all others are inspected.

        *groups* are the same for groups 1, 2 and so on of subscribers (`put_groups`), *policies* for the rest.

        The packets of *coarse* applications are timed to the kernel's tick, which is cheaper, except for RTTs.
        Flows of *detailed* ones keep a ``struct detail``, those of *grown* ones do so once they have moved as much as
        media do.
        """
        values = np.zeros((SNF_GROUPS, len(self._maps["policies"]) // SNF_GROUPS), self._types["policy"])
        values["keep"], values["snap_length"] = KEEP_FINE, _WHOLE
        values["keep"][:, list(coarse)] = 0
        values["keep"][:, list(detailed)] |= KEEP_DETAIL
        values["keep"][:, list(grown)] |= KEEP_GROWN
        for group, table in enumerate((policies, *groups)):
            for app, (action, snap) in table.items():
                values["action"][group, app] = _ACTIONS[action]
                values["snap_length"][group, app] = {Action.INSPECT: _WHOLE, Action.TRUNCATE: snap}.get(action, 0)
        syscall.update_batch(self._fds["policies"], np.arange(values.size, dtype=np.uint32), values.ravel())

    def other_policies(self, groups: Sequence[Mapping[int, tuple[Action, int]]]) -> int:
        """Return how many entries of the kernel have another action than these, as `set_policies` takes them.

        The first of *groups* is of sessions without a group.
        """
        places, values = self._maps["policies"].read()
        wanted = np.full((SNF_GROUPS, len(self._maps["policies"]) // SNF_GROUPS), SNF_INSPECT)
        for group, table in enumerate(groups):
            for app, (action, _) in table.items():
                wanted[group, app] = _ACTIONS[action]
        return int(np.count_nonzero(wanted.ravel()[places] != values["action"]))

    def set_suffixes(self, apps: Mapping[str, int], ask: Iterable[str] = (), networks: Iterable[int] = ()) -> None:
        """Make the programs name flows by these suffixes and forget DNS answers; user space reads names under *ask*."""
        self._suffixes.write(apps, ask, networks)
        self._maps["answers"].clear()

    @property
    def economy(self) -> bool:
        """Say whether DNS is read in the kernel, and QUIC flows that an answer names hand nothing over."""
        return bool(self._control["economy"][0])

    @economy.setter
    def economy(self, on: bool) -> None:
        self._control["economy"] = on

    def put_verdicts(
        self, keys: NDArray[np.void], numbers: NDArray[np.uint64], apps: NDArray[np.uint16], final: NDArray[np.bool_]
    ) -> None:
        """Answer about flows: columns of flow keys, flow numbers, applications, and whether that is the last word."""
        places = self.flows.find(keys)
        there = places >= 0
        self.flows.answer(places[there], numbers[there], apps[there], final[there])

    @property
    def legs(self) -> bool:
        """Say whether user data is looked for in other tunnels that it passed in, so that it is counted once."""
        return bool(self._control["legs"][0])

    @legs.setter
    def legs(self, on: bool) -> None:
        self._control["legs"] = on

    def forget_sessions(self, numbers: Iterable[int]) -> None:
        """Drop the transits of sessions whose numbers are free: the numbers will be other sessions'."""
        for number in numbers:
            self._maps["transits"].delete(number)
