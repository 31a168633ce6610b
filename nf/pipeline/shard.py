"""A shard: a process with the stages of an interval for the flows of some subscribers.

It maps the flow table and reads the states of its flows in place; rings, sessions and the bus are the function's, which
hands their part over (`nf.pipeline.talk`). A shard holds no IMSI.
"""

from __future__ import annotations

import contextlib
import mmap
import pickle
import signal
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from feed.records import Columns, RecordBatch
from nf.apps.signatures import Signatures
from nf.flows.delays import DelayInterval
from nf.kernel.details import DetailTable
from nf.kernel.flows import FlowTable, Places
from nf.kernel.maps import Map
from nf.kernel.rows import joined, rows_at
from nf.naming.servers import Learned
from nf.pipeline import talk
from nf.pipeline.homes import NOBODY, SessionHomes
from nf.pipeline.stages import Pipeline, Table
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore
from nf.sessions.binding import Binding
from nf.settings import Action
from nf.subscribers.labels import Told
from nf.subscribers.who import late_sessions

__all__ = ["Start", "work"]

_Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Start:
    """Values that a shard begins with; descriptors of the maps and of the states come behind it, in their order."""

    number: int
    signatures: Signatures
    clock_offset_s: float
    turn_s: float
    idle_s: float
    seed: int  # of the learned servers: all shards learn the same
    replay: bool
    maps: tuple[Map, ...]
    types: Mapping[str, np.dtype[np.void]]
    before: tuple[talk.States, talk.States]  # of flows, and of details of media flows


class _Table(FlowTable):
    """The flow table, of which the function says what moved; what is to leave goes back to it."""

    def __init__(self, buckets: Map, flows: Map, control: NDArray[np.void]) -> None:
        super().__init__(buckets, flows, control, at_once=False)
        self.told: tuple[Places, Places] = (np.zeros(0, np.intp), np.zeros(0, np.intp))
        self.leaving: list[Places] = []

    def moved(self) -> tuple[Places, Places]:
        """Return the places that the function says."""
        return self._with_a_flow(self.told[0]), self._with_a_flow(self.told[1])

    def hold(self, places: Places) -> None:
        """Remember flows that are to leave."""
        self.leaving.append(places)


class _Plane:
    """The part of a data plane that a shard has: the mapped table, and what the function hands over."""

    taken_over, legs = False, False

    def __init__(self, start: Start) -> None:
        buckets, flows, sets, details, control = start.maps
        self._replay, types = start.replay, start.types
        self._memory = mmap.mmap(control.fd, mmap.PAGESIZE, mmap.MAP_SHARED)
        self._control = np.frombuffer(self._memory, control.value, 1)
        self.flows = _Table(buckets, flows, self._control)
        self.details = DetailTable(sets, details, self._control)
        none = {name: np.zeros(0, types[name]) for name in ("event", "payload", "named", "ended", "chunk")}
        self._none = talk.Given(none["event"], none["payload"], none["named"], none["named"], none["ended"])
        self.given, self.chunks = self._none, none["chunk"]
        self.site = talk.Site()
        self.copies = np.zeros(0, np.uint64), np.zeros((0, 2), np.uint32)

    @property
    def attached(self) -> Mapping[str, talk.Port]:
        return self.site.attached

    @property
    def host_addresses(self) -> frozenset[bytes]:
        return self.site.host_addresses

    def sees(self, *, translated: bool) -> tuple[bool, bool]:
        return self.site.sees[translated]

    def now_ns(self) -> int:
        return int(self._control["clock_ns"][0]) if self._replay else time.monotonic_ns()

    def _take(self, name: str) -> NDArray[np.void]:
        found: NDArray[np.void] = getattr(self.given, name)
        self.given = replace(self.given, **{name: getattr(self._none, name)})
        return found

    def read_events(self) -> NDArray[np.void]:
        return self._take("events")

    def read_payloads(self) -> NDArray[np.void]:
        return self._take("payloads")

    def read_names(self) -> NDArray[np.void]:
        return self._take("names")

    def read_heard(self) -> NDArray[np.void]:
        return self._take("heard")

    def read_ended(self) -> NDArray[np.void]:
        return self._take("ended")

    def read_chunks(self) -> NDArray[np.void]:
        chunks, self.chunks = self.chunks, self.chunks[:0]
        return chunks

    def read_copies(self) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        return self.copies

    def read_earlies(self) -> dict[int, tuple[list[int], list[int]]]:
        return {}  # a replay reads them, which has no shards

    def read_flows(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        return self.flows.at(self.flows.present())

    def put_verdicts(
        self, keys: NDArray[np.void], numbers: NDArray[np.uint64], apps: NDArray[np.uint16], final: NDArray[np.bool_]
    ) -> None:
        places = self.flows.find(keys)
        there = places >= 0
        self.flows.answer(places[there], numbers[there], apps[there], final[there])

    # The function does these, for all shards.

    def read_counters(self) -> dict[str, int]:
        return {"counted_octets": 0}

    def read_delays(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        raise NotImplementedError

    def read_transits(self) -> tuple[NDArray[np.uint32], NDArray[np.void]]:
        raise NotImplementedError

    def read_echoes(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        raise NotImplementedError

    def set_policies(
        self,
        policies: Mapping[int, tuple[Action, int]],
        coarse: Collection[int] = (),
        detailed: Collection[int] = (),
        groups: Sequence[Mapping[int, tuple[Action, int]]] = (),
        grown: Collection[int] = (),
    ) -> None:
        pass

    def set_suffixes(self, apps: Mapping[str, int], ask: Iterable[str] = (), networks: Iterable[int] = ()) -> None:
        pass

    def new_generation(self) -> None:
        pass

    def new_epoch(self, intervals: int = 1) -> None:
        pass


class _Sessions:
    """The sessions as a shard knows them: by asking the function."""

    def __init__(self, ask: Callable[[str, Any], Any]) -> None:
        self._ask = ask
        self.count = 0
        self.without_name: NDArray[np.uint32] = np.zeros(0, np.uint32)
        self.homes = SessionHomes(lambda sessions: ask("homes", sessions))
        self._relabelled: list[Callable[[list[int]], None]] = []

    def __len__(self) -> int:
        return self.count

    def on_relabelled(self, tell: Callable[[list[int]], None]) -> None:
        self._relabelled.append(tell)

    def relabel(self, sessions: list[int]) -> None:
        """Take note of sessions whose label may be another."""
        self.homes.forget(sessions)
        for tell in self._relabelled:
            tell(sessions)

    def nameless(self) -> NDArray[np.uint32]:
        return self.without_name

    def by_tunnels(self, keys: Sequence[_Key], at_s: float) -> list[Binding | None]:
        wanted = [key for key in keys if key[0]]
        found = iter(self._ask("tunnels", (wanted, at_s)) if wanted else ())
        return [next(found) if key[0] else None for key in keys]


@dataclass(frozen=True)
class _Teller:
    """Labels by asking the function; another *turn* tells others."""

    ask: Callable[[str, Any], Any]
    turn: tuple[int, int]

    def __call__(self, sessions: NDArray[np.int64], /) -> Sequence[Told | None]:
        told: Sequence[Told | None] = self.ask("labels", sessions)
        return told

    def unknown(self, names: Sequence[str], /) -> Sequence[str]:
        published: Sequence[str] = self.ask("unknown", names)
        return published


class _Names:
    """The part of a pseudonymiser that a shard has: whether anybody opted out, and present names of the followed."""

    def __init__(self) -> None:
        self.followed: dict[str, str] = {}
        self.opted_out = False

    def current(self, name: str) -> str:
        return self.followed.get(name, name)


class _Kept:
    """A sink that keeps what is to be published until the interval is done."""

    def __init__(self, names: _Names) -> None:
        self._names = names
        self.batches: list[RecordBatch] = []
        self.details: list[tuple[str, Columns, Columns, float, float]] = []

    def records(self, batch: RecordBatch) -> None:
        self.batches.append(batch)

    def followed(self) -> frozenset[str]:
        return frozenset(self._names.followed)

    def detail(self, subscriber: str, records: Columns, flows: Columns, t_start_s: float, t_end_s: float) -> None:
        self.details.append((subscriber, records, flows, t_start_s, t_end_s))


class _Shard(Pipeline):
    """The stages, in the process of a shard; they turn to the function where they need what it has."""

    def __init__(self, pipe: Connection, start: Start) -> None:
        self._pipe, self._number = pipe, start.number
        self._tables, self._sessions, self._names, self._turn = _Plane(start), _Sessions(self._ask), _Names(), (0, 0)
        self._kept = _Kept(self._names)
        self._go: talk.Go | None = None
        self._now_s = 0.0
        super().__init__(
            self._tables,
            start.signatures,
            cast(BindingStore, self._sessions),  # as much of one as the stages use
            cast(Pseudonymiser, self._names),
            self._kept,
            clock_offset_s=start.clock_offset_s,
            idle_s=start.idle_s,
            agree=self._with_all,
            before=(start.before[0].map(), start.before[1].map()),
        )
        self.naming.inference.turn_s = start.turn_s
        self.naming.inference.learned = Learned(seed=start.seed)

    # -- words to the function ---------------------------------------------

    def _say(self, message: object) -> None:
        self._pipe.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def _hear(self) -> Any:
        return pickle.loads(self._pipe.recv_bytes())  # of our own process

    def _ask(self, what: str, about: Any) -> Any:
        self._say(talk.Ask(what, about))
        return self._hear()

    def _with_all(self, mine: Any) -> list[Any]:
        self._say(talk.Agree(pickle.dumps(mine, pickle.HIGHEST_PROTOCOL)))
        return [pickle.loads(word) for word in self._hear()]

    # -- stages that are otherwise here --------------------------------------

    def drain(self, on_events: Callable[[NDArray[np.void]], None] | None = None) -> None:
        """As `Pipeline.drain`, of what the function handed over."""
        heard = self._tables.read_heard()
        if len(heard):
            self.naming.hear(heard)
        super().drain(on_events)

    def _table(self, intervals: int) -> Table:
        places, keys, flows, media = super()._table(intervals)
        homes = self._homes_of(flows)
        astray = (homes != self._number) & (homes != NOBODY)
        self._say({int(home): self._give(places, keys, flows, homes == home) for home in np.unique(homes[astray])})
        go = self._go = self._hear()
        self._tables.given, self._tables.copies, self._tables.legs = go.given, go.copies, go.legs
        for moved in go.books:
            self.book.adopt(moved)
        if astray.any():
            mine = np.flatnonzero(~astray)
            places, keys, flows = places[mine], rows_at(keys, mine), rows_at(flows, mine)
        if len(go.places):
            places, keys, flows = np.append(places, go.places), joined([keys, go.keys]), joined([flows, go.flows])
        return places, keys, flows, media

    def _homes_of(self, flows: NDArray[np.void]) -> NDArray[np.uint8]:
        """Return the shard of each flow by its session, NOBODY where it has none."""
        session = flows["session"].copy()
        nobody = np.flatnonzero(session == 0)
        if len(nobody):
            session[nobody] = late_sessions(flows["number"][nobody], self.book, self.store, self._now_s)
        homes = np.full(len(flows), NOBODY, np.uint8)
        bound = np.flatnonzero(session)
        homes[bound] = self._sessions.homes.of(session[bound])
        return homes

    def _give(
        self, places: NDArray[np.intp], keys: NDArray[np.void], flows: NDArray[np.void], which: NDArray[np.bool_]
    ) -> talk.Astray:
        self._silence.leave(places[which])
        book = self.book.give(np.sort(flows["number"][which]))
        return talk.Astray(places[which], rows_at(keys, which), rows_at(flows, which), book)

    def _delays(self) -> DelayInterval:
        assert self._go is not None
        return self._go.delays

    def _teller(self) -> _Teller:
        return _Teller(self._ask, self._turn)

    # -- words of the function ----------------------------------------------

    def run(self) -> None:
        """Do what the function says until it is gone."""
        while True:
            message = self._hear()
            match message:
                case talk.Given():
                    self._tables.given = message
                    self.drain()
                    self._say(talk.Taken(len(message.payloads), self.book.returned))
                case talk.Read():
                    self._interval(message)
                case talk.Begin(places):
                    self.resume(places)
                case talk.Use(signatures):
                    self.use(signatures)
                    self._say(None)
                case talk.Profiles(profiles):
                    self.set_profiles(profiles)
                case talk.Forget(subscriber):
                    self.forget_subscriber(subscriber)
                case talk.Ask(_, question):
                    self._say(self.explain(question))
                case (tables, groups):
                    self.set_policies(tables, groups)

    def _interval(self, read: talk.Read) -> None:
        self._tables.flows.told, self._tables.chunks = (read.moved, read.late), read.chunks
        self._tables.site = read.site
        self._sessions.count, self._sessions.without_name = read.sessions, read.nameless
        self._names.followed, self._names.opted_out = read.followed, read.opted_out
        self._sessions.relabel(read.relabelled)
        self._turn = read.turn
        self._last_s, self._now_s = read.last_s, read.now_s
        self.sweep(read.now_s)
        kept, leaving = self._kept, self._tables.flows.leaving
        hold = np.concatenate([np.zeros(0, np.intp), *leaving])
        self._say(talk.Done(kept.batches, kept.details, self.learned, hold, self.read_octets, self.state()))
        kept.batches, kept.details = [], []
        leaving.clear()


def work(pipe: Connection, start: Start) -> None:
    """Be a shard until the function is gone, killed or not."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; the function stops its shards
    with contextlib.suppress(EOFError, OSError):
        for shared in start.maps:
            shared.fd = recv_handle(pipe)
        flows, details = (replace(memory, fd=recv_handle(pipe)) for memory in start.before)
        _Shard(pipe, replace(start, before=(flows, details))).run()
