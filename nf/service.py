"""The running function: the order of the parts of the settings, and the loop that publishes.

`nf.apply` puts each part in force, and undoes it when a later one is refused.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from feed.records import Columns, RecordBatch
from gtp.events import SessionEvent
from nf.apply import alarming, export, limits, lines, monitor, naming, policies, privacy, profiles, purge, sessions
from nf.apply.alarming import Alarming
from nf.apply.engine import Engine
from nf.apply.figures import Owners, figures
from nf.apply.interfaces import Interfaces
from nf.apply.quality import Quality
from nf.apply.sources import Source, sources
from nf.apply.transaction import Part, Undo, change, prepare, verify
from nf.apply.unread import not_read
from nf.apply.vitals import PortVitals, Vitals
from nf.kernel.clock import Clock, interval_end_s
from nf.kernel.dataplane import DataPlane
from nf.naming.explain import Ground, Question
from nf.pipeline import DRAIN_S, Pipeline, Shards
from nf.publish import Publisher
from nf.sessions import BindingStore, Page, Query, find
from nf.sessions.restart.keeper import Keeper, Kept
from nf.sessions.restart.lanes import Lanes
from nf.sessions.restart.statedir import StateDir
from nf.sessions.restart.takeover import Takeover
from nf.sessions.upf import with_upf
from nf.settings import Limits, Settings

__all__ = ["Service"]

log = logging.getLogger(__name__)

_LOOK_S = 1.0  # between two looks at inline pairs: how long one may lose what its far end no longer takes
_DELAYS_S = 60.0  # between two publications of the distribution of delays, which begin with the minutes of the clock
_ALL_NAMED_S = 60.0  # between two publications of all IMSIs, beside those of the subscribers that an interval names


class _PublisherSink:
    """The sink of the pipeline that publishes on the bus, with times of the clock on the wall."""

    def __init__(self, publisher: Publisher, clock: Clock, lookers: Sequence[Quality | Alarming | Owners]) -> None:
        self._publisher, self._clock, self._lookers = publisher, clock, lookers
        self.followed = publisher.followed

    def records(self, batch: RecordBatch) -> None:
        """Publish one interval of one application class."""
        for looker in self._lookers:
            looker.see(batch)
        span_s = self._clock.label_s(batch.t_start_s), self._clock.label_s(batch.t_end_s)
        self._publisher.publish(replace(batch, t_start_s=span_s[0], t_end_s=span_s[1], columns=self._at(batch.columns)))

    def detail(self, subscriber: str, records: Columns, flows: Columns, t_start_s: float, t_end_s: float) -> None:
        """Publish one interval of a followed subscriber."""
        span_s = self._clock.label_s(t_start_s), self._clock.label_s(t_end_s)
        self._publisher.publish_subscriber(subscriber, self._at(records), self._at(flows), *span_s)

    def _at(self, columns: Columns) -> Columns:
        if "t_ms" not in columns:
            return columns
        t_ms = np.asarray(columns["t_ms"]).astype(np.int64) + round(self._clock.shift_s * 1e3)
        return {**columns, "t_ms": np.maximum(t_ms, 0).astype(np.uint64)}


class Service:
    """One function: data plane, sessions, pipeline, publisher. ``apply`` may be called from any thread."""

    def __init__(self, memory: Path | None = None, held: StateDir | None = None) -> None:
        """Begin without configuration. *memory*: the file of sessions over a restart; *held*: the state directory."""
        self.settings = Settings()
        self._held = held
        self.clock = Clock(held.clock_offset_s(time.time() - time.monotonic()) if held else None)
        lanes = Lanes()
        self._keeper = Keeper(memory, lanes, self.clock.now_s)
        self._all_named_s = 0.0
        self._delays_s = self.clock.now_s()  # until when the distribution of delays was published
        self._changing = threading.Lock()  # the settings, or what was made of them
        self._rings_s = self._interval_s = self.clock.now_s()  # when rings were read, and an interval ended
        self.publisher = Publisher(self.settings.export, self.settings.nf_id)
        self.started_s = time.time()
        self._stop = threading.Event()
        self._leaves = False
        self._quality = Quality()
        self._alarming = Alarming(self.publisher, self.clock, held.folder if held else None)
        self.erased: Callable[[Collection[str]], object] = lambda _names: None  # told names whose alarms are to go
        self._owners = Owners()
        sink = _PublisherSink(self.publisher, self.clock, (self._quality, self._alarming, self._owners))
        self._engine = Engine(sink, self.clock, held)
        self.interfaces = Interfaces(self.plane, self._on_events, self.clock.now_s, lanes)
        self._parts = self._wire()

    @property
    def plane(self) -> DataPlane:
        """The data plane; other limits make another one."""
        return self._engine.plane

    @property
    def store(self) -> BindingStore:
        """The sessions; other limits make another store."""
        return self._engine.store

    @property
    def pipeline(self) -> Pipeline | Shards:
        """The stages; other limits make others."""
        return self._engine.pipeline

    @property
    def takeover(self) -> Takeover | None:
        """The takeover from a process that died, if there was one."""
        return self._engine.takeover

    # -- settings ----------------------------------------------------------

    def _wire(self) -> list[Part]:
        """Return the parts of the settings in the order in which they are put in force."""
        engine, publisher = self._engine, self.publisher
        steps: list[tuple[str, Callable[[Settings, Settings], Undo]]] = [
            ("limits", partial(limits.apply, engine, self.interfaces)),
            ("naming_workers", partial(naming.apply_workers, engine)),
            ("nf_id", partial(export.apply_nf_id, publisher)),
            ("applications", partial(naming.apply_applications, engine)),
            ("privacy", partial(privacy.apply, engine, self._keeper, publisher.named_by)),
            ("applications policies groups", partial(policies.apply, engine)),
            ("profiles", partial(profiles.apply, engine)),
            ("thresholds", self._quality.apply),
            ("degradations", self._alarming.apply),
            ("line_gateways", partial(lines.apply, engine)),
            ("sessions", partial(sessions.apply, engine, self.clock.now_s)),
            ("pfcp_peers", self.interfaces.use_peers),
            ("export", partial(export.apply, publisher)),
            ("interfaces", self.interfaces.apply),
            ("monitor", partial(monitor.apply, engine)),
        ]
        asked: dict[str, Callable[[Settings, Settings], object]] = {
            "applications policies groups": partial(policies.prepare, engine),
            "degradations": partial(alarming.prepare, engine),
            "export": partial(export.prepare, publisher),
            "interfaces": self.interfaces.prepare,
            "monitor": monitor.prepare,
        }
        read_back: dict[str, Callable[[Settings, Settings], list[str]]] = {
            "applications policies groups": partial(policies.verify, engine),
            "sessions": partial(sessions.verify, engine),
            "interfaces": self.interfaces.verify,
        }
        return [Part(frozenset(of.split()), step, asked.get(of), read_back.get(of)) for of, step in steps]

    def prepare(self, old: Settings, new: Settings) -> None:
        """Check whether *new* could be put in force now, without touching traffic; raises what `apply` would."""
        prepare(self._parts, old, new)

    def apply(self, old: Settings, new: Settings) -> None:
        """Change from *old* to *new*, wholly or not at all.

        Raises BadSettings with the path of the setting that could not be put in force.
        """
        with self._changing, export.started(self.publisher, new):
            before = self._engine.pseudonymiser
            change(self._parts, old, new, at_last=self._load_tails)
            self.settings, now = new, self._engine.pseudonymiser
            self._alarming.named_by(before, now, lasting=bool(new.privacy.key))
            self._tell_to_erase(privacy.to_erase(old, new, before, now), "opt-out")

    def restore(self, old: Settings, new: Settings) -> None:
        """Change to settings that were in force before, as `apply`; a device that is not there now is waited for."""
        self.interfaces.patient = True
        try:
            self.apply(old, new)
        finally:
            self.interfaces.patient = False

    def verify(self, old: Settings, new: Settings) -> list[str]:
        """Read back what the kernel has of what differs from *old*; return what is not as *new* says, in sentences."""
        return verify(self._parts, old, new)

    def _load_tails(self) -> None:
        """Load the programs that ports did not wait for, into the present data plane."""
        self.plane.load_tails()

    def _kept(self) -> Kept:
        return self.settings.privacy.key, self.store, self.interfaces.trackers()

    def find_sessions(self, query: Query) -> Page:
        """Return a page of the sessions that match."""
        page = find(self.store, query, self._engine.pseudonymiser)
        told = with_upf(page.found, self.plane, self.store, self.clock.now_s() - time.monotonic())
        return replace(page, found=tuple(replace(f, first_s=self.clock.label_s(f.first_s)) for f in told))

    def _on_events(self, events: list[SessionEvent]) -> None:
        with self._engine.tables:
            sessions.write(self._engine, [change for event in events for change in self.store.apply(event)])

    def explain(self, question: Question) -> list[list[Ground]]:
        """Return why the flows between two ends have their application, the latest last; [] when there is none."""
        with self._engine.sweeping:
            return self.pipeline.explain(question)

    # -- upkeep ------------------------------------------------------------

    @property
    def limits(self) -> Limits:
        """The limits in force: others are configured while a change of them waits for the next start."""
        return self._engine.limits

    @property
    def waiting(self) -> tuple[str, ...]:
        """The limits that are configured and wait for the next start, by the names of their leaves."""
        wanted, here = self.settings.limits, self._engine.limits
        return tuple(name for name in ("flows", "sessions", "shards") if getattr(wanted, name) != getattr(here, name))

    def counters(self, name: str) -> dict[str, int] | None:
        """Return the counts of an interface since its statistics were reset; None when it has none (yet)."""
        raw = self._raw_counters(name)
        return None if raw is None else self.interfaces.statistics.of(name, raw)

    def _raw_counters(self, name: str) -> dict[str, int] | None:
        listener = self.interfaces.listeners.get(name)
        heard = {} if listener is None else dict(listener.counters)
        if name not in self.plane.attached and name not in self.plane.lost:
            return None if listener is None else heard
        counters = self.plane.read_counters(name) | heard
        attached = self.plane.attached.get(name)
        return counters | {"moved_to_generic": attached.moves} if attached and attached.redirects else counters

    def reset_statistics(self, name: str) -> bool:
        """Count the packets of an interface from now on; False when it is none of the function's."""
        with self.interfaces.lock:
            raw = self._raw_counters(name)
            if raw is None:
                return False
            self.interfaces.statistics.reset(name, raw, self.clock.now_s())
        return True

    def reload_signatures(self) -> int:
        """Read the signature files anew and return how many applications they know; flows keep their places.

        Raises SnfError, and the old ones stay, when the files or the policies do not fit.
        """
        with self._changing:
            return naming.reload(self._engine, self.settings)

    def purge_subscriber(self, imsi: str) -> purge.Purged:
        """Forget all that is held of a subscriber, in memory and in the file of sessions."""
        with self._changing:
            purged = purge.purge(self._engine, self.interfaces, imsi, self.clock.now_s())
            self._keeper.remember(self._kept())
            self._tell_to_erase(purged.names, "purge")
        return purged

    def _tell_to_erase(self, names: Mapping[str, int], why: str) -> None:
        """Tell consumers whose records they have to erase; a change that is refused tells nothing."""
        if not names:
            return
        self._alarming.forget(names)
        self.erased(names.keys())
        self.publisher.publish_purge(names, why, self.clock.label_s(self.clock.now_s()))

    def vitals(self, *, trial: bool) -> Vitals:
        """Return the state of the function's parts now. *trial*: make a file in the state directory."""
        now_s, total = self.clock.now_s(), self.plane.read_counters()
        return Vitals(
            interval_s=self.settings.export.interval_ms / 1e3,
            rings_age_s=now_s - self._rings_s,
            interval_age_s=now_s - self._interval_s,
            publisher_age_s=self.publisher.age_s,
            endpoint=self.publisher.endpoint,
            unwritable=self._held.unwritable() if trial and self._held else "",
            ports={name: PortVitals(port.oper_status, port.why) for name, port in self.interfaces.states().items()},
            sessions=len(self.store),
            session_room=self.limits.sessions,
            evicted=total["flow_evicted"],
            flow_room=self.limits.flows,
            quality=self._quality.last,
            degraded=self._alarming.degraded.standing,
            more_degraded=self._alarming.degraded.others,
        )

    def goes_on(self, patience_s: float) -> bool:
        """Say whether rings are read, intervals end and the publisher turns, each at most *patience_s* late."""
        now_s, publisher_s = self.clock.now_s(), self.publisher.age_s
        return (
            now_s - self._rings_s <= patience_s
            and now_s - self._interval_s <= self.settings.export.interval_ms / 1e3 + patience_s
            and publisher_s is not None
            and publisher_s <= patience_s
        )

    def counted(self) -> str:
        """Return in words how many sessions and flows are known."""
        return f"{len(self.store):,} sessions, {len(self.plane.flows.present()):,} flows"

    def sources(self) -> dict[str, Source]:
        """Return the sources of sessions, by name."""
        return sources(
            self.store.count_by_source(), self.interfaces.listeners, self.interfaces.waiting, self.clock.now_s()
        )

    def n4_peers(self) -> dict[tuple[str, str], int]:
        """Return how many sessions each two associated PFCP nodes have, as all N4 interfaces see them."""
        found: Counter[tuple[str, str]] = Counter()
        for listener in list(self.interfaces.listeners.values()):
            found.update(listener.associations())
        return dict(found)

    # -- running -----------------------------------------------------------

    def run(self) -> None:
        """Turn the loop until `stop`: look at the rings often, sweep and publish each interval."""
        self.publisher.start()  # without any settings it has not begun
        self.plane.load_tails()
        swept_s = self._rings_s = self._interval_s = self.clock.now_s()
        keeping = self._stop, self._kept
        threading.Thread(target=self._keeper.remember_often, args=keeping, name="remember", daemon=True).start()
        threading.Thread(target=self._look_after_pairs, name="pairs", daemon=True).start()
        while not self._stop.wait(min(DRAIN_S, max(0.0, self._due_s(swept_s) - self.clock.now_s()))):
            self._look_at_the_clock()
            try:
                with self._engine.sweeping:
                    now_s = self.clock.now_s()  # with the lock: a commit may have had it for a while
                    if now_s < self._due_s(swept_s):
                        self.pipeline.drain()
                        self._place_sessions()
                        self._looked_at_the_rings()
                        continue
                    swept_s = now_s
                    self.pipeline.sweep(now_s)
                    self._interval_s = now_s
                self._looked_at_the_rings()
                self._after_interval(now_s)
            except Exception:
                # One bad interval must not end the function; the next one starts from the same maps.
                log.exception("an interval was lost")

    def _after_interval(self, now_s: float) -> None:
        self._quality.turn()
        self._alarming.turn(now_s)
        with self._engine.tables:
            sessions.write(self._engine, self.store.learn(self.pipeline.learned, now_s))
            sessions.write(self._engine, self.store.expire(now_s))
            self.plane.put_groups(dict.fromkeys(self.store.freed, 0))
            self.plane.forget_sessions(self.store.freed)
            self.store.freed.clear()
        self._publish_imsis(now_s)
        counters = self.plane.read_counters()
        told = figures(self.plane, counters, self.store, self.limits.sessions, self._owners)
        self.publisher.tell(told | self.interfaces.dropped())
        with self._engine.tables:
            self._engine.distribution.look(counters)
        self._publish_delays(now_s)
        left_out = self.pipeline.left_out() | {"unflowed_bytes": counters["unflowed_octets"]}
        self.publisher.inspected(counters["octets"], left_out, counters["redirect_lost"] + counters["monitor_lost"])
        self.publisher.not_read(self._not_read())

    def _place_sessions(self) -> None:
        with self._engine.tables:
            self._engine.distribution.turn()

    def _publish_delays(self, now_s: float, *, at_once: bool = False) -> None:
        """Publish the distribution of delays, with the first interval of a minute."""
        end_s = self.clock.label_s(now_s)
        begin_s = end_s - (now_s - self._delays_s)
        if at_once or end_s // _DELAYS_S > begin_s // _DELAYS_S:
            self._delays_s = now_s
            with self._engine.tables:
                counts = self._engine.distribution.rows()
            self.publisher.publish_delays(counts, begin_s, end_s)

    def _look_at_the_clock(self) -> None:
        step = self.clock.look()
        if step is not None:
            log.warning("the clock was stepped by %+.3f s; intervals go on, and say its new time", step.seconds)
            self.publisher.stepped(step.seconds)

    def _looked_at_the_rings(self) -> None:
        self._rings_s = self.clock.now_s()
        if self.takeover is not None:
            self.takeover.ends()
        if self._held is not None:
            self._held.note(self.clock.offset_s, self.clock.shift_s)

    def _not_read(self) -> str:
        """Return the frames that ports do not read, in words."""
        said = ((name, not_read(self.plane.read_counters(name))) for name in list(self.plane.attached))
        return " ".join(f"{name}: {' '.join(sentences)}" for name, sentences in said if sentences)

    def _look_after_pairs(self) -> None:
        while not self._stop.wait(_LOOK_S):
            try:
                self.plane.look()
            except Exception:
                log.exception("the inline pairs were not looked after")

    def _publish_imsis(self, now_s: float) -> None:
        """Publish the IMSIs of names, if configured: of those that the interval named, and each minute of all."""
        again = now_s - self._all_named_s >= _ALL_NAMED_S
        names = self._engine.pseudonymiser.named(again=again)
        if again:
            self._all_named_s = now_s
        if self.settings.privacy.export_imsi:
            self.publisher.publish_imsis(names, self.clock.label_s(now_s))

    def _due_s(self, swept_s: float) -> float:
        return interval_end_s(swept_s, self.settings.export.interval_ms)

    def stop(self, *, leave: bool = False) -> None:
        """End `run`. *leave*: `close` then leaves the data plane to the next process, as a kill would."""
        self._leaves |= leave
        self._stop.set()

    def close(self) -> None:
        """Detach, publish what is left, free everything."""
        self.stop()
        self.interfaces.close()
        self._keeper.close(self._kept())
        with self._engine.sweeping:
            if self.plane.attached:
                self.pipeline.sweep(self.clock.now_s())
                self._publish_delays(self.clock.now_s(), at_once=True)
            self.publisher.stop()
            self.pipeline.close()
            if self._leaves:
                log.warning("the data plane is left to the next process: %s", ", ".join(self.plane.attached) or "none")
                return
            self.plane.close()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
