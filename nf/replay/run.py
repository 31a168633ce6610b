"""A replay: captures through the kernel program, with the capture's clock.

Every packet of one or more captures, merged by time, is run by BPF_PROG_TEST_RUN through the same
program that a live interface has; signalling goes to the trackers before the next packet runs. So
one capture gives the same result each time, faster than real time, under any load.
"""

from __future__ import annotations

import errno
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gtp.events import Notice, PeersRefused, SessionEvent
from nf.apply import lines, policies, sessions
from nf.apps.signatures import Signatures
from nf.capture import merged, to_ethernet
from nf.kernel.dataplane import MAX_FRAME, DataPlane
from nf.pipeline import DRAIN_S, IDLE_S, Pipeline, Sink
from nf.privacy import Pseudonymiser
from nf.replay.rows import Ended, flow_rows
from nf.sessions import BindingStore
from nf.settings import Limits, Role, Settings
from nf.signalling.trackers import Signalling, may_signal

__all__ = ["Replay", "Result"]

_TOLD_PACKETS = 256  # packets between two words on the progress
_DRAIN_PACKETS = 4096  # packets between two reads of the rings, which hold more than these can fill
_DRAIN_NS = round(DRAIN_S * 1e9)
_MIN_FRAME = 14
_WHOLE = 65_536  # signalling is read here, not in the kernel, and may be larger than a test run takes


@dataclass(slots=True)
class Result:
    """The result of a replay, beside the records that went to its sink."""

    packets: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    flows: list[dict[str, Any]] = field(default_factory=list)  # each leg of a flow: one in each tunnel, one on N6
    copies: dict[int, tuple[bool, bool]] = field(default_factory=dict)  # forward, reverse: mostly copies of another leg
    events: list[dict[str, Any]] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)  # of the kernel program
    skipped: Counter[str] = field(default_factory=Counter)  # frames that did not reach it, by reason
    outside: Counter[str] = field(default_factory=Counter)  # packets and octets that are no subscriber's
    signalling: Counter[str] = field(default_factory=Counter)  # of tracker and reassembly
    records: int = 0


class Replay:
    """One run over captures. ``run`` may be called once; ``close`` frees the kernel's memory.

    *signatures* and *pseudonymiser* are those of *settings*, of which sessions, peers, policies and groups hold here.
    *plane* is a compiled data plane with empty tables, for callers that replay often.
    """

    def __init__(
        self,
        signatures: Signatures,
        pseudonymiser: Pseudonymiser,
        sink: Sink,
        *,
        settings: Settings | None = None,
        interval_s: float = 1.0,
        limits: Limits | None = None,
        plane: DataPlane | None = None,
    ) -> None:
        self._own_plane = plane is None
        self.plane = plane or DataPlane(limits or Limits(flows=262_144), replay=True, split_legs=True)
        self.plane.legs = True
        self.plane.economy = False  # user space reads all payloads that may name a flow
        most = (limits or Limits()).sessions
        self.store = BindingStore(most, history=most)
        self.ended = Ended()
        self.pipeline = Pipeline(
            self.plane, signatures, self.store, pseudonymiser, sink, idle_s=math.inf, on_ended=self.ended.add
        )
        self._settings = settings or Settings()
        self.pipeline.set_profiles(self._settings.profiles)
        if self._settings.policies:
            policies.put(self.pipeline, self._settings.policies, self._settings.groups)
        lines.put(self, self._settings.line_gateways)
        self.signalling = Signalling()
        self.signalling.use_peers(self._settings.pfcp_peers)
        self._interval_ns = round(interval_s * 1e9)
        self.plane.forget_clocks_after(math.ceil(IDLE_S / interval_s))  # live, such a flow would have left the table
        self._starts: list[int] = []  # first flow number whose first packet is of the file at the same place
        self._files: list[int] = []
        self._counted = self.plane.read_counters()
        self.result = Result()

    def run(
        self,
        paths: Sequence[Path],
        roles: Sequence[Role | None],
        progress: Callable[[int, int, int], None] = lambda done, total, packets: None,
    ) -> Result:
        """Run the captures; ``roles[i]`` says what file i holds (None: anything).

        *progress* is told (bytes read, bytes of all captures, packets run) now and then.
        """
        result, boundary, looked_ns = self.result, 0, 0
        self.plane.follow = Role.both_sides(roles)
        captures = merged(paths)
        for index, at_ns, frame, link, wire in captures:
            if at_ns >= boundary:
                if not boundary:
                    sessions.write(self, self.store.configure((), self._settings.sessions, at_ns / 1e9))
                else:
                    self._sweep_until(at_ns, boundary)
                boundary = (at_ns // self._interval_ns + 1) * self._interval_ns
                self.pipeline.begin((boundary - self._interval_ns) / 1e9)
            result.packets += 1
            ethernet = to_ethernet(frame, link, snap=_WHOLE)
            if ethernet is None:
                result.skipped["link type not read, or shorter than its header"] += 1
                continue
            self._packet(index, at_ns, ethernet, roles[index], wire + len(ethernet) - len(frame))
            if at_ns - looked_ns >= _DRAIN_NS or not result.packets % _DRAIN_PACKETS:
                self._drain()
                looked_ns = at_ns
            if not result.packets % _TOLD_PACKETS:
                progress(captures.bytes_read, captures.size, result.packets)
            result.first_s = result.first_s or at_ns / 1e9
            result.last_s = max(result.last_s, at_ns / 1e9)
        if boundary:
            self._sweep(boundary)
            self._look_once_more()
        progress(captures.bytes_read, captures.size, result.packets)
        result.skipped.update(captures.notes)
        return self._finish(paths)

    def _packet(self, index: int, at_ns: int, ethernet: bytes, role: Role | None, wire: int) -> None:
        if role is Role.N4:
            self._signalling(ethernet, at_ns)
            return
        frame = ethernet[:MAX_FRAME]
        if len(frame) < _MIN_FRAME:
            self.result.skipped["shorter than an Ethernet header"] += 1
            return
        flows = self.plane.next_flow
        try:
            self.plane.run(frame, at_ns, role, wire)
        except OSError as error:
            self.result.skipped[f"refused by the kernel ({errno.errorcode.get(error.errno or 0, error.errno)})"] += 1
            return
        if self.plane.next_flow != flows and (not self._files or self._files[-1] != index):
            self._starts.append(flows)
            self._files.append(index)
        if may_signal(ethernet):
            self._signalling(ethernet, at_ns)

    def _signalling(self, ethernet: bytes, at_ns: int) -> None:
        self._apply(self.signalling.frame(ethernet, at_ns / 1e9))

    def _apply(self, events: Sequence[SessionEvent]) -> None:
        for event in events:
            self.result.events.append(_event_row(event))
            sessions.write(self, self.store.apply(event))
        self.result.events += map(_notice_row, self.signalling.notices())

    def _drain(self) -> None:
        self.pipeline.drain()

    def _sweep_until(self, at_ns: int, boundary_ns: int) -> None:
        """End the interval at *boundary_ns*, and those up to *at_ns* in which somebody waits; pass over the others."""
        self._sweep(boundary_ns)
        while boundary_ns + self._interval_ns <= at_ns and self.pipeline.waits((boundary_ns + self._interval_ns) / 1e9):
            boundary_ns += self._interval_ns
            self._sweep(boundary_ns)
        passed = (at_ns - boundary_ns) // self._interval_ns
        if passed:
            self.plane.new_epoch(passed)

    def _sweep(self, at_ns: int) -> None:
        """End the interval at *at_ns*."""
        self._drain()
        self.pipeline.sweep(at_ns / 1e9)
        sessions.write(self, self.store.learn(self.pipeline.learned, at_ns / 1e9))
        sessions.write(self, self.store.expire(at_ns / 1e9))

    def _look_once_more(self) -> None:
        self.pipeline.naming.finish()

    def _finish(self, paths: Sequence[Path]) -> Result:
        result = self.result
        names = [path.name for path in paths]

        def file_of(number: int) -> str:
            at = bisect_right(self._starts, number) - 1
            return names[self._files[at]] if at >= 0 else names[0]

        result.flows = flow_rows(self.pipeline, self.ended, file_of)
        result.copies = self._copies(result.flows)
        result.counters = {n: v - self._counted[n] for n, v in self.plane.read_counters().items()}
        result.signalling.update(self.signalling.counters)
        result.outside.update(self.pipeline.outside.counters)
        result.records = self.pipeline.rows
        return result

    def _copies(self, rows: Sequence[Mapping[str, Any]]) -> dict[int, tuple[bool, bool]]:
        """Return by flow number which directions were for the most part copies of another leg."""
        numbers, copies = self.plane.read_copies()
        found = dict(zip(numbers.tolist(), copies.tolist(), strict=True))
        out = {}
        for number, row in ((row["number"], row) for row in rows if row["number"] in found):
            fwd = int(self.pipeline.book.get(number)["first_dir"])
            out[number] = (
                2 * found[number][fwd] >= max(row["pkts_fwd"], 1),
                2 * found[number][1 - fwd] >= max(row["pkts_rev"], 1),
            )
        return out

    def close(self) -> None:
        """Free the kernel's memory."""
        if self._own_plane:
            self.plane.close()


def _notice_row(notice: Notice) -> dict[str, Any]:
    """Return a notice in the columns of an event."""
    if isinstance(notice, PeersRefused):
        reason, number = "kept apart" if notice.apart else "refused", notice.exchanges
    else:
        reason, number = notice.reason.value, notice.sessions
    return {
        "t_s": f"{notice.at_s:.6f}",
        "event": type(notice).__name__,
        "reason": reason,
        "source": "pfcp",
        **dict.fromkeys(("ue_ipv4", "ue_ipv6", "dnn", "tunnels", "gone"), ""),
        "peers": " ".join(notice.peers),
        "number": number,
    }


def _event_row(event: SessionEvent) -> dict[str, Any]:
    """Return a session event without identity: events are read by people and kept in files."""
    session = event.session
    return {
        "t_s": f"{event.at_s:.6f}",
        "event": type(event).__name__,
        "reason": getattr(getattr(event, "reason", None), "value", ""),
        "source": session.source,
        "ue_ipv4": session.ue_ipv4,
        "ue_ipv6": session.ue_ipv6,
        "dnn": session.dnn,
        "tunnels": " ".join(map(str, session.tunnels)),
        "gone": " ".join(map(str, getattr(event, "gone", ()))),
        "peers": "",
        "number": 1,
    }
