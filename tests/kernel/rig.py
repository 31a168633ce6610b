"""The compiled programs as one function: a frame in, the kernel's outcome out."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

import numpy as np

from gtp.events import Side
from nf.abi import FLOW_FIRST_B, FLOW_GTPU, SNF_DETAILS
from nf.kernel.changes import PutTunnel
from nf.kernel.dataplane import DataPlane
from nf.settings import Encapsulation, Limits, Mode, Role
from tests.kernel.twin import DOWNLINK, UPLINK, Flow

ROLES = {"n3": Role.N3, "n6": Role.N6, "mixed": Role.MIXED, "any": None}
VERDICTS = {1: "drop", 2: "pass", 4: "redirect"}  # enum xdp_action of linux/bpf.h
VERDICT_COUNTERS = {"drop": "dropped", "pass": "passed", "redirect": "redirected"}
BOOKS = {"frames", "octets", "counted", "counted_octets", "flow_new", "tcp_midway", "handed_off", "handed_off_octets"}
"""Counters that follow from the others; `Rig.run` checks that they do."""
# Without sessions each tunnel is unknown; the twin knows neither the tables nor what a payload says.
TABLES = {"tunnel_unknown", "sni_named", "sni_unlisted", "sni_handed_off"}
A_SECOND_NS = 1_000_000_000
LOOPBACK = 1  # the interface index that a test run shows to the program


@dataclass(frozen=True)
class Outcome:
    """The kernel's result for a frame."""

    verdict: str
    why: frozenset[str]  # reasons and facts: counters that moved, without BOOKS and verdict
    flow: Flow | None  # of the first packet of a flow
    counters: dict[str, int]


def drop_all(plane: DataPlane) -> None:
    """Empty the flow table of a replay."""
    plane.flows.hold(plane.flows.present())
    plane.read_ended()


def drop_details(plane: DataPlane) -> None:
    """Empty the table of details."""
    sets = plane._maps["detail_sets"]
    for number in np.unique(plane.details.present().places // SNF_DETAILS).tolist():
        sets.put(number, sets.zeros())


class Rig:
    """Programs in replay mode with small tables; time moves only as told."""

    def __init__(self) -> None:
        self.plane = DataPlane(Limits(flows=1024, sessions=256), replay=True)
        self.now_ns = 1_700_000_000 * A_SECOND_NS
        self._names = [c.name for c in self.plane.counters]
        self._last = self._read_stats()
        self._tunnels: list[tuple[str, int]] = []
        self._ues: list[tuple[str, str]] = []
        self._events: list[Any] = []

    def run(self, frame: bytes, role: str = "n3", after_ns: int = 1000, wire: int = 0) -> Outcome:
        """Run one frame, *after_ns* later than the one before; the flow is told when it is the only one.

        *wire*: its bytes before a capture cut it.
        """
        self.now_ns += after_ns
        verdict = VERDICTS[self.plane.run(frame, self.now_ns, ROLES[role], wire)]
        counters = self._moved()
        flow = self.flows()[0] if counters.get("flow_new") else None
        why = frozenset(counters) - BOOKS - set(VERDICT_COUNTERS.values())
        why |= {
            f"{name} is {counters.get(name, 0)}" for name in _unbalanced(counters, verdict, max(len(frame), wire), flow)
        }
        return Outcome(verdict, why, flow, counters)

    def _read_stats(self) -> list[int]:
        """Return the counters of the replayed port, as `DataPlane.read_counters` does for all ports, but at once."""
        return self.plane._maps["stats"].get(0)["n"].sum(axis=0).tolist()  # type: ignore[no-any-return]

    def _moved(self) -> dict[str, int]:
        now = self._read_stats()
        moved = {name: a - b for name, a, b in zip(self._names, now, self._last, strict=True) if a != b}
        self._last = now
        return moved

    def _table(self) -> tuple[Any, Any]:
        return self.plane.read_flows()

    def events(self) -> list[Any]:
        """Return the flow events since the tables were emptied (``struct flow_event``)."""
        self._events.extend(self.plane.read_events())
        return self._events

    def flows(self) -> list[Flow]:
        """Return what is in the flow table, each as its first packet's sender sees it."""
        told = {int(e["number"]): e for e in self.events()}
        return [_flow(key, flow, told[int(flow["number"])]) for key, flow in zip(*self._table(), strict=True)]

    def flow(self) -> dict[str, Any]:
        """Return the one flow there is by field; of each pair the first is its first packet's direction.

        The fields of TCP are there as well, and those of RTP with their prefix.
        """
        (flow,) = self._table()[1].copy()
        fields = {name: flow[name] for name in flow.dtype.names if name not in ("transport", "rare")}
        fields |= {name: flow["rare"]["tcp"][name] for name in ("retrans", "spurious", "rtt_high", "connect_us")}
        fields |= {f"rtp_{name}": flow["transport"]["rtp"][name] for name in ("expected", "received")}
        if flow["flags"] & FLOW_FIRST_B:
            fields = {name: v[::-1] if np.shape(v) == (2,) else v for name, v in fields.items()}
        early = self.plane.read_earlies().get(int(flow["number"]), ([0, 0], [0, 0]))
        return fields | {"early_packets": sum(early[0]), "early_bytes": sum(early[1])}

    def know_tunnel(self, address: str, teid: int, side: str, session: int) -> None:
        """Bind the tunnel that ends at (address, TEID) to a session, and tell the flows."""
        self.plane.put_tunnels([PutTunnel(address, teid, Side.UPLINK if side == UPLINK else Side.DOWNLINK, session)])
        self.plane.new_generation()
        self._tunnels.append((address, teid))

    def know_ue(self, address: str, session: int) -> None:
        """Bind a UE address, or an IPv6 prefix, to a session, and tell the flows."""
        self.plane.put_ues([("", address, session)])
        self.plane.new_generation()
        self._ues.append(("", address))

    def forget_sessions(self) -> None:
        """Drop every tunnel and UE address, and tell the flows."""
        self.plane.drop_tunnels(self._tunnels)
        self.plane.drop_ues(self._ues)
        self.plane.new_generation()
        self._tunnels, self._ues = [], []

    @contextlib.contextmanager
    def mode(self, mode: Mode) -> Iterator[None]:
        """Set another mode of the replayed port for a while; only an attached port has a setting for it."""
        with self._port(mode, Encapsulation.every()):
            yield

    @contextlib.contextmanager
    def opens(self, kinds: Encapsulation) -> Iterator[None]:
        """Read through only these encapsulations on the replayed port for a while."""
        with self._port(Mode.MIRROR, kinds):
            yield

    @contextlib.contextmanager
    def _port(self, mode: Mode, opens: Encapsulation) -> Iterator[None]:
        self.plane.set_test_port(mode, opens)
        try:
            yield
        finally:
            self.plane.take_test_runs()

    def forget_fragments(self) -> None:
        """Empty the table of fragments."""
        self.plane._maps["fragments"].clear()

    def forget(self) -> None:
        """Empty the flow table, the details, the fragments and the rings."""
        self.forget_fragments()
        for name in ("earlies", "leg_sights", "copies"):
            self.plane._maps[name].clear()
        drop_all(self.plane)
        drop_details(self.plane)
        self.plane.read_chunks()
        self.plane.read_events()
        self._events.clear()
        self.plane.read_payloads()
        self.plane.read_names()
        self.plane.read_ended()
        self._last = self._read_stats()  # a test may have run frames without `run`

    def close(self) -> None:
        """Free the kernel's memory."""
        self.plane.close()


def _unbalanced(counters: dict[str, int], verdict: str, length: int, flow: Flow | None) -> Iterator[str]:
    """Yield the counters that contradict what one frame can do."""
    due = {"frames": 1, "octets": length, **dict.fromkeys(VERDICT_COUNTERS.values(), 0)}
    due[VERDICT_COUNTERS[verdict]] = 1
    if flow is not None:
        due |= {"counted": 1, "counted_octets": flow.octets}
    yield from (name for name, value in due.items() if counters.get(name, 0) != value)


@functools.cache
def _text(raw: bytes) -> str:
    address = IPv6Address(raw)
    return str(address.ipv4_mapped or address)


def _flow(key: Any, flow: Any, told: Any) -> Flow:
    d = int(flow["flags"] & FLOW_FIRST_B > 0)
    ends = [
        (_text(told["address_a"].tobytes()), int(key["port_a"].byteswap())),
        (_text(told["address_b"].tobytes()), int(key["port_b"].byteswap())),
    ]
    (src, sport), (dst, dport) = ends[d], ends[1 - d]
    ue = int(flow["ue_end"])
    side = "" if ue == 2 else UPLINK if ue == d else DOWNLINK
    return Flow(
        src,
        sport,
        dst,
        dport,
        int(key["proto"]),
        int(flow["bytes"][d]),
        bool(flow["flags"] & FLOW_GTPU),
        int(flow["teid"][d]),
        int(flow["qfi"][d]),
        side,
    )
