"""Changes of bindings as entries of the kernel's tables."""

from __future__ import annotations

from collections.abc import Sequence

from gtp.events import Side
from nf.kernel.changes import DropRoute, DropTunnel, DropUe, PutRoute, PutTunnel, PutUe, TableChange
from nf.kernel.sessions import TunnelRow
from nf.kernel.tell import Tell
from nf.sessions.restart.restore import TakenBack

__all__ = ["apply_changes", "put_back"]

_SIDE = {Side.UPLINK: 0, Side.DOWNLINK: 1}  # enum snf_side


def apply_changes(plane: Tell, changes: Sequence[TableChange]) -> None:
    """Write *changes* in their order of kind: what leaves first, so that a re-used TEID ends up bound."""
    if not changes:
        return
    tunnels: dict[tuple[str, int], TunnelRow | None] = {}
    ues: dict[tuple[str, str], int | None] = {}
    routes: dict[tuple[str, str, int], bool] = {}
    for change in changes:  # the last word about a key wins
        match change:
            case PutTunnel():
                checked = change.ue_ipv4, change.ue_ipv6, change.routed
                row = TunnelRow(change.address, change.teid, _SIDE[change.side], change.index, *checked)
                tunnels[change.address, change.teid] = row
            case DropTunnel():
                tunnels[change.address, change.teid] = None
            case PutUe():
                ues[change.instance, change.address] = change.index
            case DropUe():
                ues[change.instance, change.address] = None
            case PutRoute() | DropRoute():
                routes[change.instance, change.prefix, change.index] = isinstance(change, PutRoute)
    if routes:
        plane.change_routes(routes)
    plane.drop_tunnels([k for k, v in tunnels.items() if v is None])
    plane.put_tunnels([row for row in tunnels.values() if row is not None])
    plane.drop_ues([k for k, v in ues.items() if v is None])
    plane.put_ues([(*k, v) for k, v in ues.items() if v is not None])


def put_back(plane: Tell, taken: TakenBack) -> None:
    """Write sessions that were taken back, many at a time."""
    plane.put_tunnels(map(TunnelRow._make, taken.tunnels))
    plane.put_ues(taken.ues)
    apply_changes(plane, taken.changes)
