"""The stage from flows to published records, with a little memory between intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feed.records import SUBSCRIBER_COLUMNS, RecordBatch
from nf.flows.batch import DOWNLINK, UPLINK, FlowBatch
from nf.flows.echoes import NO_ECHOES, Echoes
from nf.qoe.inputs import Array
from nf.qoe.models import MODELS
from nf.settings import Action, QoeProfile
from nf.subscribers.blame import Blame
from nf.subscribers.estimators import HALF_SEEN, PAUSED, Estimators, Judged, paused
from nf.subscribers.labels import PLACES, Labels, SubscriberNames, Teller
from nf.subscribers.lately import APP_BITS, Lately
from nf.subscribers.n3 import Bases
from nf.subscribers.records import columns_of_rows, judged_by_inputs, missing_where_unseen, parts_of, records
from nf.subscribers.silent import Silent
from nf.subscribers.sums import group
from nf.subscribers.views import Interval

__all__ = ["Subscribers"]

Peers = Callable[[NDArray[np.intp]], NDArray[np.object_]]
_ACTIONS = tuple(Action)
_COUNT, _SUPPRESS = _ACTIONS.index(Action.COUNT), _ACTIONS.index(Action.SUPPRESS)


class Subscribers:
    """Maker of the records of each interval, with a memory of the last seconds per (subscriber, application).

    A subscriber with two data networks counts as two. ``capacity`` bounds the memory; beyond it the keys
    not seen for longest are forgotten (``forgotten`` counts them), which costs their history only.
    """

    def __init__(self, capacity: int = 262_144) -> None:
        self.capacity = capacity
        self._lately = Lately(capacity)
        self._estimators = Estimators(capacity)
        self._blame, self._bases = Blame(capacity), Bases(capacity)
        self._silent = Silent(self._estimators, self._blame, capacity)
        self.labels = Labels()

    @property
    def forgotten(self) -> int:
        """Keys that lost their history because the memory was full."""
        return self._lately.evicted

    def use_profiles(self, profiles: Iterable[QoeProfile]) -> None:
        """Judge under other constants from the next interval on; nothing is forgotten."""
        profiles = tuple(profiles)
        self._estimators.use(profiles)
        self._bases.use(profiles)

    def forget_subscriber(self, subscriber: str) -> None:
        """Forget whose the memory of a subscriber is; it fades with the next seconds."""
        self.labels.forget_subscriber(subscriber)
        self._silent.forget_subscriber(subscriber)

    def waits(self, now_s: float) -> bool:
        """Say whether there are records to tell although no flow has a packet."""
        return self._estimators.waits(now_s)

    def update(
        self,
        flows: FlowBatch,
        *,
        subject: NDArray[np.int64],
        names: SubscriberNames,
        class_of_app: NDArray[np.uint8],
        app_names: Sequence[str],
        action: NDArray[np.uint8],
        delays: Mapping[str, NDArray[np.float32]] | None = None,
        seen: Sequence[bool] | NDArray[np.bool_] = (True, True),
        both: bool = True,
        teller: Teller | None = None,
        begun_s: Array | None = None,
        clock_s: float = 0.0,
        peers: Peers | None = None,
        echoes: Echoes = NO_ECHOES,
    ) -> list[RecordBatch]:
        """Return the records of one interval, a batch for each application class that has any, and perhaps another one.

        *seen* says whether uplink and downlink can be seen; the volume of a direction that cannot is missing. Without
        both, or while one of them never came (not *both*), nothing is judged.

        *delays* are further columns by subject: of the radio network, of N3 and of the UPF, and DNS, VPN and tethering.

        *subject* (n,) indexes *names*; *class_of_app*, *app_names* and *action* (numbers of
        `Action` in order of declaration) are indexed by application number, 0 is no application;
        *action* may have a row for each group of subscribers.
        Suppressed applications and flows without a packet make no record; counted ones get their
        volumes and nothing else. What stands still (a call, a game, a player) has a record without a packet, in a batch
        of its own; *teller* says whose it is now. *begun_s* (n,) says when each flow began, NaN or None unknown, and
        *clock_s* what the epoch is ahead of the kernel's clock. *peers* says of rows of *flows* where their tunnels go
        to on the access side, for subscribers of whom *names* does not. *echoes* are of the paths there.
        """
        self._silent.use(class_of_app)
        self._estimators.name_apps(app_names)
        app = np.where(flows.app < len(class_of_app), flows.app, 0).astype(np.int64)
        of_group = np.zeros(len(names.subscriber), np.intp)
        of_group[: len(names.group)] = names.group
        due = np.atleast_2d(action)[of_group[subject] if of_group.any() else 0, app]
        used = np.flatnonzero((flows.packets[:, UPLINK] | flows.packets[:, DOWNLINK] > 0) & (due != _SUPPRESS))
        span_s = flows.t_start_s, flows.t_end_s
        whole = both and all(seen)
        if not len(used):
            none = np.zeros(0, np.int64)
            return self._silent.records(span_s, none, class_of_app, app_names, self.labels, teller) if whole else []
        interval_s = max(flows.t_end_s - flows.t_start_s, 1e-3)
        who = self._numbers(names)[subject]
        taken, key = _take(flows, used), (who[used] << APP_BITS) | app[used]
        keys, rows = group(taken, key, interval_s)
        of_app, first = keys & ((1 << APP_BITS) - 1), used[rows.first]
        inputs, sides = self._lately.inputs(keys, rows, taken, who[used], interval_s)
        columns = missing_where_unseen(columns_of_rows(span_s, rows), seen) | self._whose(names, subject[first], delays)
        columns["gnb"] = _far_ends(names, subject[first], used[rows.largest], peers)
        columns["app"] = np.array(app_names, object)[of_app]
        self._forget()
        interval = Interval(taken, key, keys, rows, inputs, _begun(begun_s, used), clock_s)
        self._estimators.load_pages(interval, class_of_app[app[used]])
        ways = self._bases.ways(interval, sides, columns["gnb"], echoes, clock_s)
        dark = PAUSED * paused(taken, who[used], interval_s) if whole else HALF_SEEN
        out = records(
            span_s,
            parts_of(class_of_app[of_app]),
            columns,
            lambda name, part: self._judge(name, interval, part, dark, whole),
            due[first] != _COUNT,
            lambda mos, parts: self._blame.of(interval, sides, columns, class_of_app[of_app], seen, mos, parts, ways),
        )
        self._silent.note(keys, columns, np.asarray(names.session)[subject[first]] if len(names.session) else None)
        return out + (self._silent.records(span_s, keys, class_of_app, app_names, self.labels, teller) if whole else [])

    def _judge(self, name: str, interval: Interval, part: NDArray[np.intp], dark: int, whole: bool) -> Judged:
        """Return estimates and scores of rows of a class; *dark* says why there are none, and *whole* if there may."""
        if name in MODELS:
            return self._estimators.judge(name, interval, part, dark=dark)
        permitted = judged_by_inputs(name, interval.inputs, part)
        return permitted if whole else replace(permitted, mos=np.full(len(part), np.nan))

    @staticmethod
    def _whose(
        names: SubscriberNames, subject: NDArray[np.int64], delays: Mapping[str, NDArray[np.float32]] | None
    ) -> dict[str, NDArray[Any]]:
        """Return the columns of the whole subscriber of each row."""
        out: dict[str, NDArray[Any]] = {
            "subscriber": np.asarray(names.subscriber, object)[subject],
            "identity_source": np.asarray(names.identity_source, object)[subject],
            "dnn": np.asarray(names.dnn, object)[subject],
        }
        for name in PLACES:
            if name != "gnb":  # which packets may tell as well
                out[name] = _words(getattr(names, name), len(names.subscriber))[subject]
        for name in SUBSCRIBER_COLUMNS:
            told = delays.get(name) if delays else None
            out[name] = told[subject] if told is not None else np.full(len(subject), np.nan, np.float32)
        return out

    def _numbers(self, names: SubscriberNames) -> NDArray[np.int64]:
        """Return a number for each subject that stays the same from interval to interval."""
        return self.labels.numbers(names.subscriber, names.dnn) if names.number is None else names.number

    def _forget(self) -> None:
        """Drop the numbers of subscribers without any other memory, when there are many."""
        if self.labels.numbered > 2 * self.capacity:
            self.labels.keep(self._lately.people())


def _words(given: Sequence[str] | NDArray[np.object_], n: int) -> NDArray[np.object_]:
    """Return a column of *n* words; one that is too short has none."""
    return np.asarray(given, object) if len(given) == n else np.full(n, "", object)


def _far_ends(
    names: SubscriberNames, subject: NDArray[np.int64], largest: NDArray[np.intp], peers: Peers | None
) -> NDArray[np.object_]:
    """Return the far end of each row on the access side: as signalling says, else of the row's *largest* flow."""
    told = _words(names.gnb, len(names.subscriber))
    out: NDArray[np.object_] = told[subject]
    asked = np.flatnonzero((told == "")[subject]) if peers is not None else ()
    if peers is not None and len(asked):
        out[asked] = peers(largest[asked])
    return out


def _begun(begun_s: Array | None, used: NDArray[np.intp]) -> Array:
    return np.full(len(used), np.nan) if begun_s is None else begun_s[used]


def _take(flows: FlowBatch, used: NDArray[np.intp]) -> FlowBatch:
    if len(used) == len(flows):
        return flows
    values = {name: getattr(flows, name) for name in flows.__slots__}
    taken: dict[str, Any] = {
        name: np.take(value, used, axis=0) for name, value in values.items() if isinstance(value, np.ndarray)
    }
    return replace(flows, **taken)
