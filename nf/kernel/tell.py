"""The face of a data plane that tells the programs: sessions, policies, names, answers about flows."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nf.kernel import source, syscall
from nf.kernel.routes import RouteTable
from nf.kernel.sessions import SessionTable, TunnelRow
from nf.kernel.shared import Shared
from nf.kernel.suffixes import SuffixTables
from nf.settings import Action, Limits

__all__ = ["Tell"]

_GROUPS = 8  # SNF_GROUPS of abi.h
_WHOLE = 0xFFFF  # snap length: no packet is longer
_KEEP_FINE, _KEEP_DETAIL = 1, 2  # enum policy_keep
_ACTIONS = {Action.INSPECT: 0, Action.COUNT: 1, Action.TRUNCATE: 2, Action.SUPPRESS: 3}


class Tell(Shared):
    """What is told holds from the next packet on."""

    def __init__(self, limits: Limits, *, replay: bool) -> None:
        super().__init__(limits, replay=replay)
        self.sessions = SessionTable(
            self._fds["sessions"], len(self._maps["sessions"]), self._fds["endpoints"], self._control
        )
        self.routes = RouteTable(self._fds["routes"], self._control, source.ROUTES)
        suffixes = self._maps["suffixes"]
        self._suffixes = SuffixTables(suffixes.fd, suffixes.value, self._control)

    def free(self, *, leave_behind: bool) -> None:
        """Let go of the tables as well."""
        self._suffixes.close()
        self.sessions.close()
        del self.routes
        super().free(leave_behind=leave_behind)

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

    def drop_flows(self, keys: NDArray[np.void]) -> None:
        """Delete flows that ended."""
        syscall.delete_batch(self._fds["flows"], keys)

    @property
    def legs(self) -> bool:
        """Whether user data is looked for in other tunnels that it passed in, so that it is counted once."""
        return bool(self._control["legs"][0])

    @legs.setter
    def legs(self, on: bool) -> None:
        self._control["legs"] = on

    def forget_sessions(self, numbers: Iterable[int]) -> None:
        """Drop what is kept of sessions whose numbers are free: they will be others'."""
        for number in numbers:
            self._maps["transits"].delete(number)
