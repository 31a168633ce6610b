"""The stages of an interval spread over shards: processes, each with the flows of some subscribers.

    rings ──── `drain` ──┬── shard 0 ──┬── records ── `Sink`
    flow table, `sweep` ─┴── shard 1 ──┘

The face is that of `nf.pipeline.Pipeline`. A shard reads the flow table in place; what there is once (rings, sessions,
names of subscribers, counters, the bus) stays here, and what a stage must know of all flows is told to all. A shard
that ends is started anew: it takes up its flows as a process that takes over does, and bytes that it had read and not
told are counted (``unread_octets``).
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feed.records import RecordBatch
from gtp.events import Identity
from nf.abi import SNF_BY_DNS
from nf.apps.signatures import Signatures
from nf.flows.copies import in_several_tunnels
from nf.flows.delays import Delays
from nf.flows.deltas import FlowDeltas
from nf.flows.echoes import echoes
from nf.flows.media import COUNTED, Media
from nf.kernel.dataplane import DataPlane
from nf.kernel.rows import joined, rows_at
from nf.naming.explain import Ground, Question
from nf.naming.readers import Status
from nf.naming.stage import tell_suffixes
from nf.pipeline import talk
from nf.pipeline.homes import NOBODY, Homes, SessionHomes, home_of
from nf.pipeline.process import Ended, Process
from nf.pipeline.relabelled import Relabelled
from nf.pipeline.shard import Start
from nf.pipeline.stages import IDLE_S, PolicyTable, Sink, put_policies
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore
from nf.sessions.binding import Binding
from nf.settings import QoeProfile, SubscriberGroup
from nf.subscribers.estimators import HORIZON_S
from nf.subscribers.labels import StoreTeller

__all__ = ["Shards"]

log = logging.getLogger(__name__)

_WAITING = 16_384  # payloads that may wait for a shard: about a second, and 32 MB
_PATIENCE_S = 60.0  # without a word of a shard in an interval; then it is ended, and another one takes its place


@dataclass
class _Unheard:
    """Flows that moved before an event told of them, in the states that the interval left them in."""

    places: NDArray[np.intp]
    keys: NDArray[np.void]
    flows: NDArray[np.void]


class Shards:
    """*count* shards with the face of a `nf.pipeline.Pipeline`; *turn_s* as `Inference` has it."""

    def __init__(
        self,
        count: int,
        plane: DataPlane,
        signatures: Signatures,
        store: BindingStore,
        pseudonymiser: Pseudonymiser,
        sink: Sink,
        *,
        clock_offset_s: float = 0.0,
        turn_s: float = 0.0,
        idle_s: float = IDLE_S,
    ) -> None:
        self.plane, self.store, self.sink, self.signatures = plane, store, sink, signatures
        self.rows = self.unread_octets = 0
        self.learned: list[tuple[int, str]] = []
        self.groups: tuple[SubscriberGroup, ...] = ()
        self._tables: Sequence[PolicyTable] = [{}]
        self._profiles: tuple[QoeProfile, ...] = ()
        self._pseudonymiser, self._turn = pseudonymiser, 0  # another turn: all labels may be others
        self._relabelled = Relabelled()
        store.on_relabelled(self._relabelled.note)
        self._count, self._offset_s, self._turn_s, self._idle_s = count, clock_offset_s, turn_s, idle_s
        self._session_homes = SessionHomes(self._homes_of)
        self._homes = Homes(len(plane.flows), count, self._session_homes.of)
        self._delays = Delays()
        self._last_s: float | None = None
        self._told_s = 0.0  # of the last interval with a record
        self._read = self._total = self._missing = 0  # bytes of flows, as shards read them, as ports counted them
        self._counted = plane.read_counters()["counted_octets"]
        self._counters: Counter[str] = Counter()
        self._state: list[dict[str, int]] = [{} for _ in range(count)]
        self._seed = secrets.randbits(64)
        self._before = (
            talk.States.make(plane.record_types["flow"], len(plane.flows)),
            talk.States.make(COUNTED, len(plane.details)),
        )
        self._nothing = plane.flows.at(np.zeros(0, np.intp))
        if plane.taken_over:  # packets that passed while nobody looked are in the kernel's counters, in no interval
            places = plane.flows.occupied()
            keys, flows = plane.flows.at(places)
            FlowDeltas(len(plane.flows), self._before[0].map()).begin(places, flows)
            Media(len(plane.details), self._before[1].map()).begin(plane.details.present())
            self._homes.assign(places, keys, flows)
            plane.read_ended()
            plane.read_chunks()
            self._last_s = plane.now_ns() / 1e9 + clock_offset_s
        tell_suffixes(plane, signatures)
        put_policies(plane, signatures, self._tables)
        self._shards = [self._start(number) for number in range(count)]

    # -- processes ----------------------------------------------------------

    def _start(self, number: int) -> Process:
        shard = Process(
            Start(
                number,
                self.signatures,
                self._offset_s,
                self._turn_s,
                self._idle_s,
                self._seed,
                self.plane.replayed,
                tuple(self.plane.mapped().values()),
                self.plane.record_types,
                self._before,
            )
        )
        shard.say((self._tables, self.groups))
        shard.say(talk.Profiles(self._profiles))
        shard.say(talk.Begin(self._homes.places_of(number)))
        return shard

    def _restart(self, number: int) -> None:
        log.warning("shard %d ended; another process takes its flows up", number)
        self._counters["shards_restarted"] += 1
        self._counters["payloads_lost"] += self._shards[number].waiting
        self._shards[number].stop()
        self._shards[number] = self._start(number)
        self.plane.tell_again()

    def _look_after(self) -> None:
        """Hear what shards took, and start those anew that ended."""
        for number, shard in enumerate(self._shards):
            try:
                while shard.pipe.poll():
                    shard.hear()
                ended = not shard.process.is_alive()
            except (Ended, OSError):
                ended = True
            if ended:
                self._restart(number)

    def close(self) -> None:
        """End the processes."""
        for shard in self._shards:
            shard.stop()
        for memory in self._before:
            memory.close()

    def begin(self, at_s: float) -> None:
        """As `Pipeline.begin`."""
        self._last_s = at_s

    def read_names_in(self, workers: int) -> None:
        """Do nothing: each shard reads the payloads of its subscribers."""

    # -- configuration -----------------------------------------------------

    @property
    def pseudonymiser(self) -> Pseudonymiser:
        """The names of subscribers."""
        return self._pseudonymiser

    @pseudonymiser.setter
    def pseudonymiser(self, pseudonymiser: Pseudonymiser) -> None:
        self._pseudonymiser = pseudonymiser
        self._turn += 1

    def set_policies(self, tables: Sequence[PolicyTable], groups: Sequence[SubscriberGroup] = ()) -> None:
        """As `Pipeline.set_policies`."""
        self._tables, self.groups = tables, tuple(groups)
        put_policies(self.plane, self.signatures, tables)
        self._turn += 1
        for shard in self._shards:
            shard.say((tables, self.groups))

    def set_profiles(self, profiles: Sequence[QoeProfile]) -> None:
        """As `Pipeline.set_profiles`."""
        self._profiles = tuple(profiles)
        for shard in self._shards:
            shard.say(talk.Profiles(self._profiles))

    def forget_subscriber(self, subscriber: str) -> None:
        """As `Pipeline.forget_subscriber`."""
        for shard in self._shards:
            shard.say(talk.Forget(subscriber))

    def use(self, signatures: Signatures) -> None:
        """As `Pipeline.use`."""
        self.signatures = signatures
        tell_suffixes(self.plane, signatures)
        self._answers(talk.Use(signatures))
        self.plane.new_generation()

    def explain(self, question: Question) -> list[list[Ground]]:
        """As `Pipeline.explain`."""
        return [grounds for found in self._answers(talk.Ask("explain", question)) for grounds in found]

    def _answers(self, message: object) -> list[Any]:
        for shard in self._shards:
            shard.say(message)
        return list(self._until(lambda word: not isinstance(word, talk.Taken)).values())

    def status(self) -> Status:
        """As `Pipeline.status`."""
        waiting = sum(shard.waiting for shard in self._shards)
        return {
            "waiting": waiting,
            "lost": self._counters["payloads_lost"],
            "restarts": self._counters["shards_restarted"],
        }

    def state(self) -> dict[str, int]:
        """As `Pipeline.state`; counts of what all shards do alike are those of one."""
        total: Counter[str] = Counter()
        for state in self._state:
            for name, value in state.items():
                alike = name.startswith(("learned_", "doubted_")) and name != "doubted_tunnel"
                total[name] = max(total[name], value) if alike else total[name] + value
        return {**total, "unread_octets": self.unread_octets}

    def left_out(self) -> dict[str, int]:
        """As `Pipeline.left_out`."""
        outside = sum(n for state in self._state for name, n in state.items() if _is_outside(name))
        return {"unread_bytes": self.unread_octets, "outside_bytes": outside}

    # -- rings --------------------------------------------------------------

    def drain(self, on_events: Callable[[NDArray[np.void]], None] | None = None) -> None:
        """As `Pipeline.drain`: each shard gets its part, and takes it in its own time."""
        self._look_after()
        for shard, given in zip(self._shards, self._given(on_events), strict=True):
            if len(given):
                shard.say(given)

    def _given(self, on_events: Callable[[NDArray[np.void]], None] | None = None) -> list[talk.Given]:
        """Read the rings, and return the part of each shard."""
        plane = self.plane
        self._session_homes.forget(self._relabelled.for_homes())
        payloads, events, names = plane.read_payloads(), plane.read_events(), plane.read_names()
        if len(events) and on_events is not None:
            on_events(events)
        of_events = self._homes.note(events)
        of_payloads, of_names = (self._homes.of_records(r["place"], r["number"]) for r in (payloads, names))
        told = names["basis"] == SNF_BY_DNS
        ended = plane.read_ended()
        of_ended = self._of_ended(ended)
        self._homes.left(ended["place"], ended["flow"]["number"])
        if in_several_tunnels(sum(shard.returned for shard in self._shards)) and not plane.legs:
            plane.legs = True
        parts = []
        for number, shard in enumerate(self._shards):
            mine = rows_at(payloads, of_payloads == number)
            if shard.waiting + len(mine) > _WAITING:
                self._counters["payloads_lost"] += len(mine)
                mine = mine[:0]
            shard.waiting += len(mine)
            parts.append(
                talk.Given(
                    rows_at(events, of_events == number),
                    mine,
                    rows_at(names, of_names == number),
                    rows_at(names, told & (of_names != number)),
                    rows_at(ended, of_ended == number),
                )
            )
        return parts

    def _of_ended(self, ended: NDArray[np.void]) -> NDArray[np.uint8]:
        """Return the shards of flows that left: that of their session, known since they began or not."""
        homes = self._homes.of_records(ended["place"], ended["flow"]["number"])
        bound = np.flatnonzero(ended["flow"]["session"])
        of_session = self._session_homes.of(ended["flow"]["session"][bound])
        homes[bound] = np.where(of_session == NOBODY, homes[bound], of_session)
        return homes

    # -- one interval ------------------------------------------------------

    def waits(self, now_s: float) -> bool:
        """As `Pipeline.waits`; true as well for as long as a shard may remember anybody, which it alone knows."""
        return now_s - self._told_s <= HORIZON_S

    def sweep(self, now_s: float, intervals: int = 1) -> list[RecordBatch]:
        """As `Pipeline.sweep`."""
        self._look_after()
        for shard, given in zip(self._shards, self._given(), strict=True):
            if len(given):
                shard.say(given)
        counted = self.plane.read_counters()["counted_octets"]  # before the table, which then has all of these
        unheard = self._read_in_shards(now_s)
        astray: dict[int, dict[int, talk.Astray]] = self._until(lambda word: isinstance(word, dict))
        self.plane.new_epoch(intervals)
        self._go(unheard, astray)
        done: dict[int, talk.Done] = self._until(lambda word: isinstance(word, talk.Done))
        self._last_s = now_s
        out = _merged([batch for word in done.values() for batch in word.records])
        self._told_s = now_s if out else self._told_s
        for records in out:
            self.rows += len(records)
            self.sink.records(records)
        for number, word in done.items():
            for detail in word.details:
                self.sink.detail(*detail)
            self._state[number] = word.state
            self._read += word.read_octets
            self.plane.flows.hold(word.hold)
        self.learned = [found for word in done.values() for found in word.learned]
        self._account(counted, len(done) == self._count)
        return out

    def _read_in_shards(self, now_s: float) -> _Unheard:
        """Have each shard read its flows that moved; return those that are nobody's yet."""
        table, plane = self.plane.flows, self.plane
        moved, late = table.moved()
        homes, of_late = self._homes.of_places(moved), self._homes.of_places(late)
        relabelled, turn = self._relabelled.for_shards(), (self._turn, self._pseudonymiser.turn)
        followed = {who: self._pseudonymiser.current(who) for who in self.sink.followed()}
        site, chunks, nameless = self._site(), plane.read_chunks(), self.store.nameless()
        for number, shard in enumerate(self._shards):
            mine = moved[homes == number]
            its_late = np.setdiff1d(self._homes.places_of(number), mine) if shard.new else late[of_late == number]
            shard.new = False
            shard.say(
                talk.Read(
                    self._last_s,
                    now_s,
                    mine,
                    its_late,
                    chunks,
                    relabelled,
                    turn,
                    followed,
                    bool(self._pseudonymiser.opted_out),
                    site,
                    len(self.store),
                    nameless,
                )
            )
        places = np.concatenate([moved[homes == NOBODY], late[of_late == NOBODY]])
        return _Unheard(places, *table.at(places))

    def _site(self) -> talk.Site:
        plane = self.plane
        ports = {name: talk.Port(port.interface) for name, port in plane.attached.items()}
        return talk.Site(ports, plane.host_addresses, (plane.sees(translated=False), plane.sees(translated=True)))

    def _go(self, unheard: _Unheard, astray: dict[int, dict[int, talk.Astray]]) -> None:
        """Give each shard what came until the end of the interval, and the flows that are its."""
        given = self._given()
        homes = self._homes.of_places(unheard.places)
        still = homes == NOBODY
        homes[still] = self._homes.assign(
            unheard.places[still], rows_at(unheard.keys, still), rows_at(unheard.flows, still)
        )
        legs = self.plane.legs
        copies = self.plane.read_copies() if legs else (np.zeros(0, np.uint64), np.zeros((0, 2), np.uint32))
        told = echoes(*self.plane.read_echoes())
        delays = self._delays.update(self.plane.read_delays(), self.plane.read_transits(), told)
        for number, shard in enumerate(self._shards):
            mine = homes == number
            came = [words[number] for words in astray.values() if number in words]
            for flows in came:
                self._homes.move(flows.places, number)
            shard.say(
                talk.Go(
                    given[number],
                    np.concatenate([unheard.places[mine], *(flows.places for flows in came)]),
                    joined([rows_at(unheard.keys, mine), *(flows.keys for flows in came)]),
                    joined([rows_at(unheard.flows, mine), *(flows.flows for flows in came)]),
                    [flows.book for flows in came],
                    delays,
                    copies,
                    legs,
                )
            )

    def _until(self, is_last: Callable[[Any], bool]) -> dict[int, Any]:
        """Hear all shards until each said its last word, and answer them; a shard that ends says none."""
        last: dict[int, Any] = {}
        words: dict[int, bytes] = {}
        open_ones = dict(enumerate(self._shards))
        deadline_s = time.monotonic() + _PATIENCE_S
        while open_ones:
            by_pipe = {shard.pipe: number for number, shard in open_ones.items() if number not in words}
            ready = wait(list(by_pipe), max(0.0, deadline_s - time.monotonic()))
            for number in [by_pipe[pipe] for pipe in ready if isinstance(pipe, Connection)] or list(by_pipe.values()):
                try:
                    if not ready:
                        raise Ended
                    word = open_ones[number].hear()
                except Ended:
                    open_ones.pop(number).process.kill()
                    continue
                deadline_s = time.monotonic() + _PATIENCE_S
                if isinstance(word, talk.Ask):
                    open_ones[number].say(self._answer(word))
                elif isinstance(word, talk.Agree):
                    words[number] = word.word
                elif is_last(word):
                    last[number] = word
                    del open_ones[number]
            if words and words.keys() == open_ones.keys():
                for shard in open_ones.values():
                    shard.say([words[number] for number in sorted(words)])
                words.clear()
        return last

    # -- questions of shards -------------------------------------------------

    def _answer(self, question: talk.Ask) -> Any:
        match question.what:
            case "labels":
                return StoreTeller.now(self.store, self._pseudonymiser, self.groups)(question.about)
            case "unknown":
                return [self._pseudonymiser.unknown(name) for name in question.about]
            case "homes":
                return self._session_homes.of(question.about)
            case _:
                keys, at_s = question.about
                return [_nameless(found) if found else None for found in self.store.by_tunnels(keys, at_s)]

    def _homes_of(self, sessions: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """Return the shard of each session, NOBODY for one that is not known."""
        return np.array([self._home_of(number) for number in sessions.tolist()], np.uint8)

    def _home_of(self, session: int) -> int:
        label = self.store.label(session)
        return NOBODY if label is None else home_of(f"{label.imsi or label.name} {label.dnn}", self._count)

    # -- accounts -------------------------------------------------------------

    def _account(self, counted: int, complete: bool) -> None:
        """As `Pipeline._account`; an interval that a shard did not end leaves its flows to the next one."""
        self._total += max(counted - self._counted, 0)  # less: a port that left took its counters along
        self._counted = counted
        if complete:
            before, self._missing = self._missing, self._total - self._read
            self.unread_octets = max(self.unread_octets, min(before, self._missing))


def _nameless(binding: Binding) -> Binding:
    """Return a session as a shard may know it: without the identity of its subscriber."""
    return Binding(binding.index, replace(binding.session, identity=Identity()), binding.first_s)


def _is_outside(name: str) -> bool:
    return name.startswith("n6_") and name.endswith("_octets")


def _merged(batches: Sequence[RecordBatch]) -> list[RecordBatch]:
    """Return the rows of shards in a batch for each class."""
    of_class: dict[str, list[RecordBatch]] = {}
    for batch in batches:
        of_class.setdefault(batch.app_class, []).append(batch)
    return [_joined(parts) if len(parts) > 1 else parts[0] for parts in of_class.values()]


def _joined(parts: Sequence[RecordBatch]) -> RecordBatch:
    first = parts[0]
    columns = {
        name: [value for part in parts for value in part.columns[name]]
        if isinstance(column, list)
        else np.concatenate([part.columns[name] for part in parts])
        for name, column in first.columns.items()
    }
    return RecordBatch(first.app_class, first.t_start_s, first.t_end_s, columns)
