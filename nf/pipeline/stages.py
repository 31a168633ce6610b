"""The way from the kernel's tables and rings to published records: one pass an interval, in columns.

    flow events ─┐                       ┌─ verdicts back to the kernel
    payloads ────┼─ `drain` ── names ────┘
    flow table ──┴─ `sweep` ── deltas ── subscribers ── records ── `Sink`

The only Python loops are over rare things: payload packets of flows without a name (three a flow
at most), new tunnels, the flows of a followed subscriber.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from feed.records import APP_CLASSES, Columns, RecordBatch
from nf.abi import TCP_CLIENT
from nf.apps.signatures import Signatures
from nf.flows.agree import Agree, alone
from nf.flows.batch import FlowBatch
from nf.flows.book import FlowBook, age_us
from nf.flows.copies import in_several_tunnels, without_copies
from nf.flows.delays import DelayInterval, Delays
from nf.flows.deltas import FlowDeltas, from_b
from nf.flows.echoes import echoes
from nf.flows.media import Media
from nf.flows.outside import Outside
from nf.flows.over import SILENT_S, are_over
from nf.flows.silence import Silence
from nf.kernel.details import Details
from nf.kernel.rows import joined, rows_at
from nf.naming.explain import Ground, Question, explain, find
from nf.naming.readers import Here, Status
from nf.naming.stage import Naming
from nf.naming.workers import Workers
from nf.pipeline.plane import Plane
from nf.privacy import OPTED_OUT, Pseudonymiser
from nf.sessions import BindingStore
from nf.settings import Action, Interface, QoeProfile, SubscriberGroup
from nf.subscribers import Subscribers, missing_where_unseen
from nf.subscribers.followed import flow_columns
from nf.subscribers.labels import StoreTeller, Teller
from nf.subscribers.signs import Ttls, dns_columns, is_tunnel, vpn_share
from nf.subscribers.ue_addresses import seen_in_tunnels
from nf.subscribers.who import far_ends, subjects

__all__ = ["DRAIN_S", "IDLE_S", "Pipeline", "PolicyTable", "Sink", "Table", "put_policies"]

DRAIN_S = 0.05  # between two looks at the rings: a name is in force this much after its packet
IDLE_S = 300  # a flow without packets for so long leaves the table (RFC 4787, REQ-5: five minutes or more for UDP)

# Classes scored by jitter: their packets are timed exactly, and so are those of flows without a name yet (number 0).
_TIMED = ("conferencing", "voice", "gaming")
_DETAILED = (  # classes of which sizes, frames and chunks are kept
    "video", "live-video", "conferencing", "voice", "gaming", "web", "social", "navigation", "music", "messaging",
    "download",
)  # fmt: skip
_TCP = 6
_UNNAMED = 0  # number of the application of flows without a name
_SPARE_ENTRIES = 4096  # of flows that are gone, before the tables about flows are cleaned
_ACTION_NUMBER = {action: number for number, action in enumerate(Action)}
Table = tuple[NDArray[np.intp], NDArray[np.void], NDArray[np.void], tuple[Details, NDArray[np.void]]]
PolicyTable = dict[int, tuple[Action, int]]  # action and snap length by application number


class Sink(Protocol):
    """The receiver of records: the publisher, or the files of a replay."""

    def records(self, batch: RecordBatch) -> None:
        """Take one interval of one application class."""

    def followed(self) -> frozenset[str]:
        """Return the subscribers whose detail somebody wants."""

    def detail(self, subscriber: str, records: Columns, flows: Columns, t_start_s: float, t_end_s: float) -> None:
        """Take one interval of a followed subscriber."""


class Pipeline:
    """The stages and what they remember between intervals.

    Times are seconds since the epoch: those of the kernel's clock plus ``clock_offset_s``.
    Flows without packets for ``idle_s`` leave the table. ``on_ended`` sees the flows that gave their place in it to
    another one (``struct ended``). ``agree``: other processes have the other flows of the table (`nf.pipeline.shards`);
    ``before`` is then where all of them keep the states of the last sweep and the counts of details, by place.
    """

    def __init__(
        self,
        plane: Plane,
        signatures: Signatures,
        store: BindingStore,
        pseudonymiser: Pseudonymiser,
        sink: Sink,
        *,
        clock_offset_s: float = 0.0,
        idle_s: float = IDLE_S,
        on_ended: Callable[[NDArray[np.void]], None] = lambda ended: None,
        agree: Agree = alone,
        before: tuple[NDArray[np.void] | None, NDArray[np.void] | None] = (None, None),
    ) -> None:
        self.plane, self.store, self.sink = plane, store, sink
        self.signatures, self.pseudonymiser = signatures, pseudonymiser
        self.book, self.media, self._delay_sums = FlowBook(), Media(len(plane.details), before[1]), Delays()
        self.naming = Naming(plane, signatures, self.book, Here(signatures, clock_offset_s), agree)
        self.subscribers, self.ttls = Subscribers(), Ttls()
        store.on_relabelled(self.subscribers.labels.forget)
        self.rows = 0
        self._clock_offset_s, self._idle_s = clock_offset_s, idle_s
        self._deltas, self._silence = FlowDeltas(len(plane.flows), before[0]), Silence(len(plane.flows))
        self._ended: list[NDArray[np.void]] = []
        self._left: NDArray[np.uint64] = np.zeros(0, np.uint64)  # flows that left the table in the last interval
        self._on_ended = on_ended
        self.outside, self._agree = Outside(agree), agree
        self.read_octets = 0  # of the last interval
        self.unread_octets = 0  # counted by the kernel for flows, and in no reading of its table
        self._unread, self._counted = 0, plane.read_counters()["counted_octets"]
        self._sessions_known = False
        self._came, self._ways = np.zeros(2, np.bool_), np.zeros(2, np.bool_)  # uplink and downlink
        self._ports: frozenset[Interface] = frozenset()  # on which they came
        self._last_s: float | None = None
        self.learned: list[tuple[int, str]] = []  # session and UE address, of the last interval
        self.set_policies([{}])
        if plane.taken_over:  # packets that passed while nobody looked are in the kernel's counters, in no interval
            places = plane.flows.occupied()
            self._deltas.begin(places, plane.flows.at(places)[1])
            self.resume(plane.flows.present())
            self.media.begin(plane.details.present())
            plane.read_ended()
            plane.read_chunks()
            self._last_s = plane.now_ns() / 1e9 + clock_offset_s

    def resume(self, places: NDArray[np.intp]) -> None:
        """Look after the flows at places, which another process did."""
        self._silence.note(places, self.plane.flows.at(places)[1], self.plane.now_ns())

    # -- configuration -----------------------------------------------------

    def set_policies(self, tables: Sequence[PolicyTable], groups: Sequence[SubscriberGroup] = ()) -> None:
        """Put policies in force with the next packet: a table for sessions in no group, and one for each group."""
        self.groups = tuple(groups)
        put_policies(self.plane, self.signatures, tables)
        self.action = np.zeros((len(tables), len(self.signatures.class_of)), np.uint8)
        for group, table in enumerate(tables):
            for app, (action, _) in table.items():
                self.action[group, app] = _ACTION_NUMBER[action]

    def set_profiles(self, profiles: Sequence[QoeProfile]) -> None:
        """Judge under other constants from the next interval on; nothing is forgotten."""
        self.subscribers.use_profiles(profiles)

    def forget_subscriber(self, subscriber: str) -> None:
        """Forget whose the memory of a subscriber is, by the published name."""
        self.subscribers.forget_subscriber(subscriber)

    def use(self, signatures: Signatures) -> None:
        """Name by other signatures from now on; the policies are to be set again."""
        self.signatures = signatures
        self.naming.use(signatures)

    def status(self) -> Status:
        """Return the state of the reading of payloads, for operational state."""
        return self.naming.reading.status()

    def state(self) -> dict[str, int]:
        """Return counters by name, for operational state."""
        return {
            **self.naming.inference.counters,
            **self.outside.counters,
            "unread_octets": self.unread_octets,
            "histories_forgotten": self.subscribers.forgotten,
        }

    def drain(self, on_events: Callable[[NDArray[np.void]], None] | None = None) -> None:
        """Take what the rings hold, and name flows; *on_events* sees the flow events."""
        self.naming.drain(on_events)
        ended = self.plane.read_ended()
        if len(ended):
            self._ended.append(ended)
            self._on_ended(ended)
        if in_several_tunnels(self.book.returned) and not self.plane.legs:
            self.plane.legs = True

    def read_names_in(self, workers: int) -> None:
        """Read payloads in *workers* processes; 0: in this one."""
        self.naming.reading.close()
        reading = (
            Workers(workers, self.signatures, self._clock_offset_s)
            if workers
            else Here(self.signatures, self._clock_offset_s)
        )
        self.naming.reading = reading

    def close(self) -> None:
        """End the readers of payloads."""
        self.naming.reading.close()

    # -- one interval ------------------------------------------------------

    def sweep(self, now_s: float, intervals: int = 1) -> list[RecordBatch]:
        """Read the flow table, publish what happened since the last sweep, and begin a new interval.

        *intervals*: the number of the interval that begins grows by so much.
        """
        counted = self.plane.read_counters()["counted_octets"]  # before the table, which then has all of these
        followed = self.sink.followed()
        places, keys, flows, media = self._table(intervals)
        present = len(places)
        self.drain()  # after the table: then the book knows each flow that is in it
        if self._ended:  # after the table as well: each flow is here or there, and the last state counts
            ended = joined(self._ended)
            self._ended.clear()
            keys, flows = joined([keys, ended["key"]]), joined([flows, ended["flow"]])
            places = np.concatenate([places, ended["place"].astype(np.intp)])
        self.naming.name_by_server()
        clock_ns = self.plane.now_ns()
        if self._last_s is None:
            begun = float(self.book.rows["first_ns"].min()) / 1e9 + self._clock_offset_s if len(self.book) else now_s
            self._last_s = min(*self._agree(begun), now_s)
        batch, rows = self._deltas.update(places, keys, flows, self.book.apps, (self._last_s, now_s))
        batch = self._with_media(batch, *media, round((now_s - self._clock_offset_s) * 1e6))
        busy = np.isin(np.arange(present, len(flows)), rows)  # of the flows that left
        active = rows_at(flows, rows)
        self.book.seen(active, clock_ns)
        if self.plane.legs:
            batch = without_copies(batch, active, *self.plane.read_copies())
        self.naming.inference.watch(self.book, batch, active)  # in force with the next interval
        self._account(counted, batch)
        batch, active, rows = self._owned(batch, keys, active, rows)
        self._last_s, seen = now_s, self._seen(batch)
        out: list[RecordBatch] = []
        self.learned = []
        if len(batch) or self.subscribers.waits(now_s):
            subject, who = subjects(
                batch, active, self.book, self.store, self.subscribers.labels, self._teller(), now_s
            )
            delays = self._delays()
            out = self.subscribers.update(
                batch,
                subject=subject,
                names=who,
                class_of_app=self.signatures.class_of,
                app_names=self.signatures.names,
                action=self.action,
                delays=delays.sessions(np.array(who.session, np.uint64))
                | self._health(batch, rows_at(keys, rows), subject, np.array(who.session, np.uint32)),
                seen=seen,
                both=bool(self._came.all()),
                teller=self._teller(),
                begun_s=self._begun_s(batch, active),
                clock_s=self._clock_offset_s,
                peers=lambda rows: far_ends(batch.flow_id[rows], from_b(rows_at(active, rows)), self.book),
                echoes=delays.echoes,
            )
            out = self._without_opted_out(out)
            for records in out:
                self.rows += len(records)
                self.sink.records(records)
            if followed:
                table = keys, flows, rows
                self._follow(followed, out, batch, table, np.array(who.subscriber, object), subject, delays)
            self.learned = list(seen_in_tunnels(batch, active, self.book, self.store))
        self._expire(places, flows, busy, clock_ns)
        return out

    def _table(self, intervals: int) -> Table:
        """Read the flows that had packets, and begin a new interval.

        Returns places, keys and states, and after them read: details of media flows, and chunks.
        """
        places = self._moved()
        keys, flows = self.plane.flows.at(places)
        media = self.plane.details.moved(), self.plane.read_chunks()
        self.plane.new_epoch(intervals)
        return places, keys, flows, media

    def _with_media(self, batch: FlowBatch, details: Details, chunks: NDArray[np.void], now_us: int) -> FlowBatch:
        """Return the batch with its media until *now_us* of the kernel's clock.

        Chunks of flows that the book does not have are told by another shard.
        """
        mine = rows_at(chunks, self.book.at(chunks["number"]) >= 0)
        return replace(batch, media=self.media.update(batch.flow_id, details, mine, now_us))

    def _begun_s(self, batch: FlowBatch, flows: NDArray[np.void]) -> NDArray[np.float64]:
        """Return when flows began; NaN for a connection that was there before the probe, and where it is not known."""
        row = self.book.at(batch.flow_id)
        if not len(self.book):
            return np.full(len(row), np.nan)
        tcp = flows["transport"]["tcp"]["seen"]
        midway = (batch.proto == _TCP) & ((tcp[:, 0] | tcp[:, 1]) & TCP_CLIENT == 0)
        begun_s = self.book.rows["first_ns"][row] / 1e9 + self._clock_offset_s
        return np.where((row < 0) | midway, np.nan, begun_s)

    def _delays(self) -> DelayInterval:
        plane = self.plane
        return self._delay_sums.update(plane.read_delays(), plane.read_transits(), echoes(*plane.read_echoes()))

    def _teller(self) -> Teller:
        return StoreTeller.now(self.store, self.pseudonymiser, self.groups)

    def _moved(self) -> NDArray[np.intp]:
        """Return the places of the flows that had packets since the last sweep."""
        table = self.plane.flows
        moved, late = table.moved()
        return np.concatenate([moved, late[self._deltas.changed(late, table.numbers(late), table.packets(late))]])

    def _account(self, counted: int, batch: FlowBatch) -> None:
        """Tell of bytes that were counted before the table was read, and that no reading showed.

        Those of flows whose end found its ring full. What comes after the counters, and is read, evens out with the
        next interval, as does a packet that a program has counted for its port and not yet for its flow: so what one
        interval alone finds missing is not told.
        """
        before, self.read_octets = self._unread, int(batch.octets.sum())
        if counted >= self._counted:  # less: a port that left took its counters along
            self._unread += counted - self._counted - self.read_octets
            self.unread_octets = max(self.unread_octets, min(before, self._unread))
        self._counted = counted

    def left_out(self) -> dict[str, int]:
        """Return the bytes that are in no record though a flow has them, by the columns of the heartbeat."""
        outside = sum(n for name, n in self.outside.counters.items() if name.endswith("_octets"))
        return {"unread_bytes": self.unread_octets, "outside_bytes": outside}

    def _owned(
        self, batch: FlowBatch, keys: NDArray[np.void], active: NDArray[np.void], rows: NDArray[np.intp]
    ) -> tuple[FlowBatch, NDArray[np.void], NDArray[np.intp]]:
        """Leave out the flows that are nobody's (outside)."""
        ports = frozenset(port.interface for port in self.plane.attached.values())
        if ports != self._ports:  # ways and translation that other ports saw say nothing of these
            self._ports, self._came, self.outside.translated = ports, np.zeros(2, np.bool_), False
        self._sessions_known = self._sessions_known or len(self.store) > 0
        owned = self.outside.owned(
            batch,
            rows_at(keys, rows),
            active,
            self.book,
            sessions_known=self._sessions_known,
            hosts=self.plane.host_addresses,
        )
        return (batch, active, rows) if owned.all() else (batch.select(owned), rows_at(active, owned), rows[owned])

    def _seen(self, batch: FlowBatch) -> NDArray[np.bool_]:
        """Return for (uplink, downlink) whether the ports see them: by their modes, or because they did.

        Beside ports that see uplink only, downlink on a translated N6 proves nothing: it is of IPv6 alone.
        """
        self._came = np.any(self._agree(self._came | batch.packets.any(axis=0)), axis=0)
        uplink, downlink = self.plane.sees(translated=self.outside.translated)
        proven = not (self.outside.translated and uplink) and bool(self._came[1])
        self._ways = np.array((uplink or self._came[0], downlink or proven))
        return self._ways

    def _without_opted_out(self, out: list[RecordBatch]) -> list[RecordBatch]:
        if not self.pseudonymiser.opted_out:
            return out
        kept = [r.select(np.array(r.columns["subscriber"], object) != OPTED_OUT) for r in out]
        return [r for r in kept if len(r)]

    def _health(
        self,
        batch: FlowBatch,
        keys: NDArray[np.void],
        subject: NDArray[np.int64],
        session: NDArray[np.uint32],
    ) -> dict[str, NDArray[np.float32]]:
        self.ttls.add(self.book.begun(), batch.t_end_s)
        vpn = is_tunnel(keys, self.naming.inference.doubts.vpn[batch.app])
        return {
            **dns_columns(batch, subject, len(session)),
            "vpn_share": vpn_share(batch, vpn, subject, len(session)),
            "ttls": self.ttls.distinct(session, batch.t_end_s),
        }

    def explain(self, question: Question) -> list[list[Ground]]:
        """Return why the flows between two ends have their application, the latest last."""
        return [self.explain_flow(number) for number in find(self.book, question)]

    def explain_flow(self, number: int) -> list[Ground]:
        """Return why one flow has its application."""
        return explain(self.book, self.naming.inference, self.signatures, number, self.plane.now_ns() / 1e9)

    def waits(self, now_s: float) -> bool:
        """Say whether an interval that ends then has records without a packet."""
        return self.subscribers.waits(now_s)

    def begin(self, at_s: float) -> None:
        """Begin the next interval at *at_s*: a replay passes over times without packets."""
        self._last_s = at_s

    def _follow(
        self,
        followed: frozenset[str],
        out: Sequence[RecordBatch],
        batch: FlowBatch,
        table: tuple[NDArray[np.void], NDArray[np.void], NDArray[np.intp]],
        names: NDArray[np.object_],
        subject: NDArray[np.int64],
        delays: DelayInterval,
    ) -> None:
        keys, flows, rows = table
        for who in followed:
            now = self.pseudonymiser.current(who)
            mine = np.flatnonzero(np.isin(subject, np.flatnonzero(names == now)))
            records = [r for r in out if now in r.columns["subscriber"]]
            if now == OPTED_OUT or not records:
                continue
            merged = _concatenate([_of(r, now) for r in records])
            active = rows_at(keys, rows), rows_at(flows, rows)
            detail = flow_columns(batch, *active, mine, self.book, delays, self.signatures)
            detail = missing_where_unseen(detail, self._ways)
            self.sink.detail(who, merged, detail, batch.t_start_s, batch.t_end_s)

    def _expire(
        self, places: NDArray[np.intp], flows: NDArray[np.void], busy: NDArray[np.bool_], clock_ns: int
    ) -> None:
        """Take idle flows out of the table. The last rows are of flows that left it, *busy* says which had packets."""
        if math.isinf(self._idle_s):  # a replay, which tells of all flows at its end
            return
        present = len(flows) - len(busy)
        self._silence.leave(places[present:])
        self._silence.note(places[:present], flows[:present], clock_ns)
        idle, silent = self._silence.due(self._idle_s, clock_ns)
        over = silent[are_over(*self.plane.flows.at(silent), np.arange(len(silent)))]
        self.plane.flows.hold(self._still_silent(np.union1d(idle, over)))
        gone = flows["number"][present:]
        self.book.forget(np.concatenate([self._left, gone[~busy]]))
        self._left = gone[busy]  # names of their last packets may still come
        # A flow whose end found the ring full leaves no trace, so the book is compared with the table.
        if len(self.book) > 2 * len(self._silence) + _SPARE_ENTRIES:
            self.book.keep(self.plane.flows.numbers(self.plane.flows.present()))

    def _still_silent(self, places: NDArray[np.intp]) -> NDArray[np.intp]:
        """Leave out places where a flow had a packet meanwhile: it is noted in the next interval."""
        self._silence.leave(places)
        flows = self.plane.flows.at(places)[1]
        return places[age_us(flows, self.plane.now_ns()) > SILENT_S * 1e6]  # no packet is later than that


def put_policies(plane: Plane, signatures: Signatures, tables: Sequence[PolicyTable]) -> None:
    """Put policies in force with the next packet: a table for sessions in no group, and one for each group."""
    timed, detailed = (_apps_of(signatures, classes) for classes in (_TIMED, _DETAILED))
    coarse = sorted(set(range(1, len(signatures.class_of))) - set(timed))
    plane.set_policies(tables[0], coarse, detailed, tables[1:], [_UNNAMED])


def _apps_of(signatures: Signatures, classes: Sequence[str]) -> list[int]:
    wanted = [APP_CLASSES.index(name) for name in classes]
    return [app for app in np.flatnonzero(np.isin(signatures.class_of, wanted)).tolist() if app]


def _of(batch: RecordBatch, who: str) -> RecordBatch:
    """Return one subscriber's rows with a column of their class, which else is in the topic of a batch."""
    mine = batch.select(np.array(batch.columns["subscriber"]) == who)
    return replace(mine, columns={**mine.columns, "class": [batch.app_class] * len(mine)})


def _concatenate(batches: Sequence[RecordBatch]) -> Columns:
    """Return the rows of batches of any class, with the columns that one of them has."""
    names = dict.fromkeys(name for batch in batches for name in batch.columns)
    return {name: _joined(name, batches) for name in names}


def _joined(name: str, batches: Sequence[RecordBatch]) -> NDArray[Any] | list[str]:
    parts: list[Any] = [batch.columns.get(name) for batch in batches]
    if any(isinstance(part, list) for part in parts):
        filled = ([""] * len(batch) if part is None else part for part, batch in zip(parts, batches, strict=True))
        return [text for part in filled for text in part]
    return np.concatenate(
        [
            np.full(len(batch), np.nan, np.float32) if part is None else part
            for part, batch in zip(parts, batches, strict=True)
        ]
    )
