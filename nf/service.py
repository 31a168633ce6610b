"""The running function: applies settings to the data plane, and turns the loop that publishes.

`Service.apply` is a transaction: each step that was done knows its inverse, and when one fails the
inverses run in reverse, so that the function is either as the new settings say or as it was.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from feed.records import Columns, RecordBatch
from gtp.events import SessionEvent
from nf.apply.interfaces import Interfaces, Undo, go_back
from nf.apply.unread import not_read
from nf.apps.signatures import Signatures
from nf.errors import BadSettings, SnfError
from nf.kernel.clock import Clock, interval_end_s
from nf.kernel.dataplane import DataPlane
from nf.naming.explain import Ground, Question
from nf.pipeline import Pipeline
from nf.privacy import Pseudonymiser
from nf.publish import Publisher
from nf.sessions import BindingStore, Page, PutTunnel, PutUe, Query, TableChange, find
from nf.sessions.groups import group_of
from nf.sessions.kernel_tables import apply_changes
from nf.sessions.restart.keeper import Keeper, Kept
from nf.sessions.restart.lanes import Lanes
from nf.sessions.restart.statedir import StateDir
from nf.sessions.restart.takeover import Takeover
from nf.sessions.upf import with_upf
from nf.settings import (
    Application,
    Limits,
    Monitor,
    Policy,
    Privacy,
    Settings,
    StaticSession,
    SubscriberGroup,
    diff,
)

__all__ = ["Service"]

log = logging.getLogger(__name__)

_DRAIN_S = 0.05  # between two looks at the rings: a name is in force this much after its packet
_LOOK_S = 1.0  # between two looks at inline pairs: how long one may lose what its far end no longer takes
_ALL_NAMED_S = 60.0  # between two times that all are named, not only whom an interval names
_Policies = tuple[tuple[Policy, ...], tuple[SubscriberGroup, ...]]


def _names(privacy: Privacy, random: Pseudonymiser) -> Pseudonymiser:
    """Return what names subscribers; *random* is used while there is no key and nobody has opted out."""
    if not privacy.key and not privacy.opted_out:
        return random
    return Pseudonymiser(privacy.key, privacy.epoch, privacy.previous_key, privacy.opted_out)


class _PublisherSink:
    """What the pipeline publishes, on the bus, with times of the clock on the wall."""

    def __init__(self, publisher: Publisher, clock: Clock) -> None:
        self._publisher, self._clock = publisher, clock
        self.followed = publisher.followed

    def records(self, batch: RecordBatch) -> None:
        """Publish one interval of one application class."""
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
        self.takeover: Takeover | None = None
        lanes = Lanes()
        self._keeper = Keeper(memory, lanes, self.clock.now_s)
        self._all_named_s = 0.0
        self.publisher = Publisher(self.settings.export, self.settings.nf_id)
        self.started_s = time.time()
        self._tables = threading.Lock()  # store and kernel tables change together
        self._pipeline_lock = threading.Lock()  # a sweep, or a change of what it uses
        self._stop = threading.Event()
        self._random = Pseudonymiser(b"", 0)  # names while no key is configured
        self.pseudonymiser = self._random
        self._build(self.settings)
        self.interfaces = Interfaces(self.plane, self._on_events, self.clock.now_s, lanes)
        self.publisher.start()

    def _build(self, settings: Settings) -> None:
        """Make data plane, store and pipeline of the sizes that the settings say."""
        self.plane = DataPlane(settings.limits, tails_later=True)
        if self.plane.taken_over:
            self.takeover = Takeover(self.clock, self._held, self.plane)
        self.plane.economy = True
        self.store = BindingStore(settings.limits.sessions, self.plane.first_session, pseudonymiser=self.pseudonymiser)
        self.pipeline = Pipeline(
            self.plane,
            Signatures.load(settings.applications),
            self.store,
            self.pseudonymiser,
            _PublisherSink(self.publisher, self.clock),
            clock_offset_s=self.clock.offset_s,
        )
        if settings.naming_workers:
            self.pipeline.read_names_in(settings.naming_workers)

    # -- settings ----------------------------------------------------------

    def apply(self, old: Settings, new: Settings) -> None:
        """Change from *old* to *new*, wholly or not at all.

        Raises BadSettings with the path of the setting that could not be put in force.
        """
        steps: dict[str, Callable[[Any, Any], Sequence[Undo]]] = {
            "limits": self._apply_limits,
            "naming_workers": self._apply_naming_workers,
            "nf_id": self._apply_nf_id,
            "applications": self._apply_applications,
            "privacy": self._apply_privacy,
            "policies": self._apply_policies,
            "sessions": self._apply_sessions,
            "pfcp_peers": self.interfaces.use_peers,
            "export": self._apply_export,
            "interfaces": self.interfaces.apply,
            "monitor": self._apply_monitor,
        }
        changed = diff(old, new)
        if changed.keys() & {"applications", "policies", "groups"}:
            changed = {**changed, "policies": ((old.policies, old.groups), (new.policies, new.groups))}
        with ExitStack() as undo:
            for part, step in steps.items():
                if part in changed:
                    for inverse in step(*changed[part]):
                        undo.callback(go_back, inverse)
            self.plane.load_tails()  # behind the ports, which wait for nothing
            undo.pop_all()
        self.settings = new

    def _apply_limits(self, old: Limits, new: Limits) -> Sequence[Undo]:
        """Sizes of kernel tables are fixed once traffic is in them: a change then waits for the next start."""
        if replace(old, unknown_flows_per_s=new.unknown_flows_per_s) != new:
            if not self.plane.attached and not self.interfaces.waiting and not len(self.store):
                self._resize(old, new)
                return [lambda: self._resize(new, old)]
            log.warning("the table sizes take effect at the next start")
        self.plane.limit_unknown(new)
        return [lambda: self.plane.limit_unknown(old)]

    def _resize(self, old: Limits, new: Limits) -> None:
        """Make tables of other sizes; policies and the monitor port stay as they are."""
        with self.interfaces.lock, self._pipeline_lock, self._tables:
            self.pipeline.close()
            self.plane.close(leave_behind=True)
            try:
                self._build(replace(self.settings, limits=new))
            except SnfError as error:
                self._build(replace(self.settings, limits=old))
                raise BadSettings(error.what, "/snf-function:network-function/limits", error.remedy) from None
            finally:
                self.interfaces.plane = self.plane
                self.pipeline.set_policies(self.settings.policies, self.settings.groups)
                self.plane.set_monitor(self.settings.monitor)

    def _apply_naming_workers(self, old: int, new: int) -> Sequence[Undo]:
        self._read_names_in(new)
        return [lambda: self._read_names_in(old)]

    def _read_names_in(self, workers: int) -> None:
        with self._pipeline_lock:
            self.pipeline.read_names_in(workers)

    def _apply_nf_id(self, old: str, new: str) -> Sequence[Undo]:
        self.publisher.nf_id = new
        return [lambda: setattr(self.publisher, "nf_id", old)]

    def _apply_applications(self, old: Any, new: Any) -> Sequence[Undo]:
        self._use_applications(new)
        return [lambda: self._use_applications(old)]  # loaded again: flows may carry the numbers of a refused change

    def _use_applications(self, applications: tuple[Application, ...]) -> None:
        signatures = Signatures.load(applications, before=self.pipeline.signatures)
        with self._pipeline_lock:
            self.pipeline.use(signatures)

    def _apply_privacy(self, old: Any, new: Any) -> Sequence[Undo]:
        before = self.pseudonymiser
        self._name_by(_names(new, self._random))
        if new.key:
            with self._tables:
                self._keeper.recall(new.key, self.store, self.plane)
        return [lambda: self._name_by(before)]

    def _kept(self) -> Kept:
        return self.settings.privacy.key, self.store, self.interfaces.trackers()

    def _name_by(self, pseudonymiser: Pseudonymiser) -> None:
        self.store.use(pseudonymiser)
        self.pseudonymiser = self.pipeline.pseudonymiser = pseudonymiser

    def find_sessions(self, query: Query) -> Page:
        """Return a page of the sessions that match."""
        page = find(self.store, query, self.pseudonymiser)
        told = with_upf(page.found, self.plane, self.store, self.clock.now_s() - time.monotonic())
        return replace(page, found=tuple(replace(f, first_s=self.clock.label_s(f.first_s)) for f in told))

    def _apply_policies(self, old: _Policies, new: _Policies) -> Sequence[Undo]:
        for policy in new[0]:
            if policy.application and not self.pipeline.signatures.number(policy.application):
                raise BadSettings(
                    f"No application is named {policy.application}.",
                    f"/snf-policies:policies/policy[name='{policy.name}']/application",
                    "Add it under applications, or use a name of the signature file.",
                )
        self._use_policies(*new)
        return [lambda: self._use_policies(*old)]

    def _use_policies(self, policies: tuple[Policy, ...], groups: tuple[SubscriberGroup, ...]) -> None:
        with self._pipeline_lock, self._tables:
            regroup = groups != self.pipeline.groups
            self.pipeline.set_policies(policies, groups)
            if regroup:
                self._put_groups(self.store.numbers())
                self.plane.new_generation()

    def _put_groups(self, numbers: Iterable[int]) -> None:
        found = ((number, self.store.label(number)) for number in numbers)
        self.plane.put_groups({n: group_of(b.dnn, b.imsi, self.pipeline.groups) for n, b in found if b is not None})

    def _change_tables(self, changes: Sequence[TableChange]) -> None:
        """Write changes of bindings; the group of a session first, for the flows that are bound to it from now on."""
        if self.pipeline.groups:
            self._put_groups({change.index for change in changes if isinstance(change, PutTunnel | PutUe)})
        apply_changes(self.plane, changes)

    def _apply_sessions(self, old: tuple[StaticSession, ...], new: tuple[StaticSession, ...]) -> Sequence[Undo]:
        self._configure_sessions(old, new)
        return [lambda: self._configure_sessions(new, old)]

    def _configure_sessions(self, old: tuple[StaticSession, ...], new: tuple[StaticSession, ...]) -> None:
        with self._tables:
            self._change_tables(self.store.configure(old, new, self.clock.now_s()))

    def _apply_export(self, old: Any, new: Any) -> Sequence[Undo]:
        self.publisher.reconfigure(new)
        return [lambda: self.publisher.reconfigure(old)]

    def _apply_monitor(self, old: Monitor | None, new: Monitor | None) -> Sequence[Undo]:
        try:
            self.plane.set_monitor(new)
        except SnfError as error:
            raise BadSettings(error.what, "/snf-policies:policies/monitor/interface", error.remedy) from None
        return [lambda: self.plane.set_monitor(old)]

    def _on_events(self, events: list[SessionEvent]) -> None:
        with self._tables:
            self._change_tables([change for event in events for change in self.store.apply(event)])

    def explain(self, question: Question) -> list[list[Ground]]:
        """Return why the flows between two ends have their application, the latest last; [] when there is none."""
        with self._pipeline_lock:
            return self.pipeline.explain(question)

    # -- running -----------------------------------------------------------

    def run(self) -> None:
        """Turn the loop until `stop`: look at the rings often, sweep and publish each interval."""
        self.plane.load_tails()
        swept_s = self.clock.now_s()
        keeping = self._stop, self._kept
        threading.Thread(target=self._keeper.remember_often, args=keeping, name="remember", daemon=True).start()
        threading.Thread(target=self._look_after_pairs, name="pairs", daemon=True).start()
        while not self._stop.wait(min(_DRAIN_S, max(0.0, self._due_s(swept_s) - self.clock.now_s()))):
            self._look_at_the_clock()
            try:
                with self._pipeline_lock:
                    now_s = self.clock.now_s()  # with the lock: a commit may have had it for a while
                    if now_s < self._due_s(swept_s):
                        self.pipeline.drain()
                        self._looked_at_the_rings()
                        continue
                    swept_s = now_s
                    self.pipeline.sweep(now_s)
                self._looked_at_the_rings()
                self._after_interval(now_s)
            except Exception:
                # One bad interval must not end the function; the next one starts from the same maps.
                log.exception("an interval was lost")

    def _after_interval(self, now_s: float) -> None:
        with self._tables:
            self._change_tables(self.store.learn(self.pipeline.learned, now_s))
            self._change_tables(self.store.expire(now_s))
            self.plane.put_groups(dict.fromkeys(self.store.freed, 0))
            self.plane.forget_sessions(self.store.freed)
            self.store.freed.clear()
        self._publish_imsis(now_s)
        self.publisher.known(len(self.store), self.store.partial)
        counters = self.plane.read_counters()
        left_out = self.pipeline.left_out() | {"unflowed_bytes": counters["unflowed_octets"]}
        self.publisher.inspected(counters["octets"], left_out, counters["redirect_lost"] + counters["monitor_lost"])
        self.publisher.not_read(self._not_read())

    def _look_at_the_clock(self) -> None:
        step = self.clock.look()
        if step is not None:
            log.warning("the clock was stepped by %+.3f s; intervals go on, and say its new time", step.seconds)
            self.publisher.stepped(step.seconds)

    def _looked_at_the_rings(self) -> None:
        if self.takeover is not None:
            self.takeover.ends()
        if self._held is not None:
            self._held.note(self.clock.offset_s, self.clock.shift_s)

    def _not_read(self) -> str:
        """Return what ports do not read, in words."""
        said = ((name, not_read(self.plane.read_counters(name))) for name in list(self.plane.attached))
        return " ".join(f"{name}: {' '.join(sentences)}" for name, sentences in said if sentences)

    def _look_after_pairs(self) -> None:
        while not self._stop.wait(_LOOK_S):
            try:
                self.plane.look()
            except Exception:
                log.exception("the inline pairs were not looked after")

    def _publish_imsis(self, now_s: float) -> None:
        """Say who is who, where the operator wants that: whom an interval named, and now and then all of them."""
        again = now_s - self._all_named_s >= _ALL_NAMED_S
        names = self.pseudonymiser.named(again=again)
        if again:
            self._all_named_s = now_s
        if self.settings.privacy.export_imsi:
            self.publisher.publish_imsis(names, self.clock.label_s(now_s))

    def _due_s(self, swept_s: float) -> float:
        return interval_end_s(swept_s, self.settings.export.interval_ms)

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()

    def close(self) -> None:
        """Detach, publish what is left, free everything."""
        self.stop()
        self.interfaces.close()
        self._keeper.close(self._kept())
        with self._pipeline_lock:
            if self.plane.attached:
                self.pipeline.sweep(self.clock.now_s())
            self.publisher.stop()
            self.pipeline.close()
            self.plane.close()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
