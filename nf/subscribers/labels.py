"""Labels of sessions in columns: what is published of each subscriber is asked for once and kept until it may differ.

    sessions of an interval ── `Labels.of` ── columns
                                  │  those not kept
                               `Teller`: a store of sessions, here or in another process

A session whose label may be another is forgotten (`Labels.forget`, from any thread) after it changed, and asked for
again by the next interval. A label that was asked for while its session changed is forgotten with it: changes are
looked at before anything is asked. Published names are kept, never an IMSI.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nf.flows.search import at
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore
from nf.sessions.groups import group_of
from nf.settings import SubscriberGroup

__all__ = ["PLACES", "WORDS", "Labels", "StoreTeller", "SubscriberNames", "Teller", "Told"]

_ANY = ""  # name in a kind
_MOST = 524_288  # labels that are kept: twice the names that `nf.privacy` keeps, for subscribers with two sessions
_MOST_CHANGED = 65_536  # sessions that changed while no interval had a flow; of more, all are asked for again
_GONE = 0xFFFF_FFFF  # kind of a label that is asked for again

# Published name, then the words below, then the number of the group.
Told = tuple[str, str, str, str, str, str, str, str, int]
_NOBODY: Told = ("unknown", "none", "", "", "", "", "", "", 0)
_Words = list[str] | NDArray[np.object_]
WORDS = ("identity_source", "dnn", "slice", "gnb", "rat", "tai", "cell")
"""Columns of the words of a label, beside the name."""
PLACES = WORDS[2:]
"""Those of them that say where a subscriber is; a column of `SubscriberNames` that is too short is empty."""


@dataclass(frozen=True, slots=True, repr=False)
class SubscriberNames:
    """Identity of each subject: parallel columns, indexed by the dense subject number of a flow."""

    subscriber: _Words = field(default_factory=list)
    identity_source: _Words = field(default_factory=list)
    dnn: _Words = field(default_factory=list)
    # Groups of subscribers; a column that is too short means 0 for the rest.
    group: list[int] | NDArray[np.int64] = field(default_factory=list)
    session: list[int] | NDArray[np.int64] = field(default_factory=list)  # number in the kernel; 0: unknown
    number: NDArray[np.int64] | None = None  # of (subscriber, data network), as `Labels.numbers`; None: to be asked for
    # S-NSSAI, far end of the tunnels on the access side, radio access technology, tracking area and cell; empty where
    # signalling does not say it, as are all of a column that is too short.
    slice: _Words = field(default_factory=list)
    gnb: _Words = field(default_factory=list)
    rat: _Words = field(default_factory=list)
    tai: _Words = field(default_factory=list)
    cell: _Words = field(default_factory=list)


def _names(
    subscriber: NDArray[np.object_],
    words: NDArray[np.object_],
    group: NDArray[np.int64],
    sessions: NDArray[np.int64],
    number: NDArray[np.int64],
) -> SubscriberNames:
    """Return names of sessions, of *words* (len(WORDS), n)."""
    source, dnn, *where = words
    return SubscriberNames(subscriber, source, dnn, group, sessions, number, *where)


class Teller(Protocol):
    """The one who knows labels. Equal ones tell the same of a session that did not change."""

    def __call__(self, sessions: NDArray[np.int64], /) -> Sequence[Told | None]:
        """Return the label of each session, None for one that is not known."""

    def unknown(self, names: Sequence[str], /) -> Sequence[str]:
        """Return the published name of each of who is known by an address or a tunnel (`Pseudonymiser.unknown`)."""


@dataclass(frozen=True, slots=True, repr=False)
class StoreTeller:
    """A store with the names and groups that are in force."""

    store: BindingStore
    pseudonymiser: Pseudonymiser
    groups: tuple[SubscriberGroup, ...]
    # The names that the pseudonymiser remembers are those of all active subscribers (`Pseudonymiser.named`), so that
    # all are asked for again once it forgot them.
    turn: int

    @classmethod
    def now(cls, store: BindingStore, pseudonymiser: Pseudonymiser, groups: Sequence[SubscriberGroup]) -> StoreTeller:
        """Return the teller of this moment."""
        return cls(store, pseudonymiser, tuple(groups), pseudonymiser.turn)

    def __call__(self, sessions: NDArray[np.int64], /) -> list[Told | None]:
        """Return the label of each session, None for one that is not known."""
        return [self._told(number) if number else None for number in sessions.tolist()]

    def unknown(self, names: Sequence[str], /) -> list[str]:
        """Return the published name of each of who is known by an address or a tunnel."""
        return [self.pseudonymiser.unknown(name) for name in names]

    def _told(self, number: int) -> Told | None:
        label = self.store.label(number)
        if label is None:
            return None
        group = group_of(label.dnn, label.imsi, self.groups) if self.groups else 0
        where = label.slice, label.gnb, *label.place
        return label.published(self.pseudonymiser), label.identity_source, label.dnn, *where, group


class Labels:
    """Labels by session, and numbers of (subscriber, data network) that stay the same from interval to interval.

    One thread asks; any may `forget`.
    """

    def __init__(self) -> None:
        self._ids: dict[tuple[str, str], int] = {}
        self._next_id = 0
        self._teller: Teller | None = None
        self._changing = threading.Lock()  # the two below
        self._changed: list[int] = []
        self._all_changed = False
        self._forget_kept()

    def _forget_kept(self) -> None:
        self._session: NDArray[np.int64] = np.zeros(0, np.int64)  # sorted
        self._subscriber: NDArray[np.object_] = np.zeros(0, object)
        self._number: NDArray[np.int64] = np.zeros(0, np.int64)
        self._kind: NDArray[np.uint32] = np.zeros(0, np.uint32)  # index of the two below
        self._kinds: dict[Told, int] = {}  # without names
        self._words: NDArray[np.object_] = np.zeros((len(WORDS), 0), object)
        self._groups: NDArray[np.int64] = np.zeros(0, np.int64)
        self._published: dict[str, str] = {}  # names of the unknown

    # -- changes -------------------------------------------------------------

    def forget(self, sessions: Iterable[int]) -> None:
        """Note that the labels of sessions may be others from now on."""
        with self._changing:
            if self._all_changed:
                return
            self._changed.extend(sessions)
            self._all_changed = len(self._changed) > _MOST_CHANGED
            if self._all_changed:
                self._changed = []

    def _take_changes(self, teller: Teller) -> None:
        with self._changing:
            changed, self._changed = self._changed, []
            every, self._all_changed = self._all_changed, False
        if every or teller != self._teller or max(len(self._session), len(self._kinds)) > _MOST:
            self._teller = teller
            self._forget_kept()
        elif changed:
            row, known = at(self._session, np.array(changed, np.int64))
            self._drop(row[known])

    def _drop(self, rows: NDArray[np.intp]) -> None:
        self._kind[rows] = _GONE
        self._subscriber[rows] = None

    # -- questions -----------------------------------------------------------

    def of(self, sessions: NDArray[np.int64], teller: Teller) -> SubscriberNames:
        """Return the names of distinct *sessions* (n,), each with its number. *teller* is asked for those not kept.

        A session of which nothing is known is "unknown", and asked for each time.
        """
        self._take_changes(teller)
        row, kept = self._rows(sessions)
        if not kept.all():
            self._ask(sessions[~kept], teller)
            row, kept = self._rows(sessions)
        if kept.all():
            kind, number = self._kind[row], self._number[row]
            return _names(self._subscriber[row], self._words[:, kind], self._groups[kind], sessions, number)
        return self._with_nobody(sessions, row[kept], kept)

    def of_unknown(self, names: Sequence[str], teller: Teller) -> list[str]:
        """Return the published name of each of who is known by an address or a tunnel, after `of` for this interval."""
        if len(self._published) > _MOST:
            self._published = {}
        new = [name for name in names if name not in self._published]
        self._published.update(zip(new, teller.unknown(new) if new else (), strict=True))
        return [self._published[name] for name in names]

    def _with_nobody(
        self, sessions: NDArray[np.int64], row: NDArray[np.intp], kept: NDArray[np.bool_]
    ) -> SubscriberNames:
        """Return the names of sessions of which *kept* (n,) ones have a *row*."""
        subscriber = np.full(len(sessions), _NOBODY[0], object)
        words = np.full((len(WORDS), len(sessions)), "", object)
        words[0] = _NOBODY[1]
        group = np.full(len(sessions), _NOBODY[-1], np.int64)
        number = np.repeat(self.numbers([_NOBODY[0]], [_NOBODY[2]]), len(sessions))
        kind = self._kind[row]
        subscriber[kept], words[:, kept] = self._subscriber[row], self._words[:, kind]
        group[kept], number[kept] = self._groups[kind], self._number[row]
        return _names(subscriber, words, group, sessions, number)

    def _rows(self, sessions: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        row, kept = at(self._session, sessions)
        if len(self._session):
            kept &= self._kind[row] != _GONE
        return row, kept

    def _ask(self, sessions: NDArray[np.int64], teller: Teller) -> None:
        told = teller(sessions)
        each = [one or _NOBODY for one in told]
        number = self.numbers([one[0] for one in each], [one[2] for one in each])  # in their order, known or not
        known = np.array([one is not None for one in told], np.bool_)
        found = [one for one in told if one is not None]
        subscriber = np.array([one[0] for one in found], object)
        self._put(sessions[known], subscriber, number[known], self._kinds_of(found))

    def _kinds_of(self, told: Sequence[Told]) -> NDArray[np.uint32]:
        """Return the kind of each label: a number for all of it but the name."""
        kinds = np.array([self._kinds.setdefault((_ANY, *one[1:]), len(self._kinds)) for one in told], np.uint32)
        if len(self._kinds) > len(self._groups):
            # Only the new ones: in a large network there are tens of thousands, by cell, and some more each second.
            _, *words, groups = zip(*islice(self._kinds, len(self._groups), None), strict=True)
            self._words = np.concatenate([self._words, np.array(words, object)], axis=1)
            self._groups = np.concatenate([self._groups, np.array(groups, np.int64)])
        return kinds

    def _put(
        self,
        sessions: NDArray[np.int64],
        subscriber: NDArray[np.object_],
        number: NDArray[np.int64],
        kind: NDArray[np.uint32],
    ) -> None:
        row, there = at(self._session, sessions)
        row = row[there]
        self._subscriber[row], self._number[row], self._kind[row] = subscriber[there], number[there], kind[there]
        new = ~there
        if not new.any():
            return
        stays = self._kind != _GONE
        session = np.concatenate([self._session[stays], sessions[new]])
        order = np.argsort(session, kind="stable")
        self._session = session[order]
        self._subscriber = np.concatenate([self._subscriber[stays], subscriber[new]])[order]
        self._number = np.concatenate([self._number[stays], number[new]])[order]
        self._kind = np.concatenate([self._kind[stays], kind[new]])[order]

    # -- numbers of (subscriber, data network) ---------------------------------

    @property
    def numbered(self) -> int:
        """The (subscriber, data network) that have a number, counted."""
        return len(self._ids)

    def numbers(self, subscribers: Iterable[str], dnns: Iterable[str]) -> NDArray[np.int64]:
        """Return the number of each (subscriber, data network)."""
        keys = list(zip(subscribers, dnns, strict=True))
        known = list(map(self._ids.get, keys))
        for i in [i for i, number in enumerate(known) if number is None] if None in known else ():
            number = known[i] = self._ids.setdefault(keys[i], self._next_id)
            self._next_id += number == self._next_id
        return np.array(known, np.int64)

    def forget_subscriber(self, subscriber: str) -> None:
        """Forget the numbers of a subscriber: what is remembered under them is nobody's."""
        mine = {number for (name, _), number in self._ids.items() if name == subscriber}
        self.keep(set(self._ids.values()) - mine)

    def keep(self, numbers: Collection[int]) -> None:
        """Forget all numbers but these."""
        self._ids = {name: number for name, number in self._ids.items() if number in numbers}
        self._drop(np.flatnonzero(~np.isin(self._number, np.fromiter(numbers, np.int64, len(numbers)))))
