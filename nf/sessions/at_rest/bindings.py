"""Bindings by number: at rest a record each, thawed on demand, frozen again after a change."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from gtp.events import Session
from gtp.packing import Shape, forms_of
from nf.sessions.at_rest.held import Held
from nf.sessions.at_rest.records import NOBODY, Freezer, Label
from nf.sessions.binding import LEARNED, Binding, is_partial

__all__ = ["Bindings"]

_WARM = 4096  # thawed bindings that are kept, because the same ones are asked for again


class Bindings:
    """The bindings that hold, and those that ended lately. The latest *history* that ended are remembered, too.

    Between `touch` and `settle` a binding may be changed, and is one object for all who ask.
    """

    def __init__(self, history: int) -> None:
        self.freezer = Freezer()
        self.sources: Counter[str] = Counter()  # of those that hold
        self.on_relabelled: list[Callable[[list[int]], None]] = []  # called after labels changed, with their numbers
        self.partial: set[int] = set()  # of those, sessions of which neither subscriber nor UE address is known
        self._held = Held(self.freezer.packer)
        self._begun: set[int] = set()  # those that hold and are no records yet
        self._over: dict[int, bytes] = {}
        self._other_names: dict[int, int] = {}  # numbers of bindings that others continue
        self._continues: dict[int, list[int]] = {}  # the same from the other end
        self._warm: dict[int, Binding] = {}
        self._touched: dict[int, tuple[Binding, str]] = {}  # with the source before
        self._history: deque[tuple[int, bytes]] = deque(maxlen=max(1, history))

    def __len__(self) -> int:
        return len(self._held) + len(self._begun)

    def holds(self, number: int) -> bool:
        """Say whether a number is of a binding that holds."""
        return number in self._held or number in self._begun

    def is_used(self, number: int) -> bool:
        """Say whether a number is of any binding, also of one that ended or is continued by another."""
        return self.holds(number) or number in self._over or number in self._other_names

    def numbers(self) -> list[int]:
        """Return the numbers of those that hold."""
        return [*self._held.numbers(), *self._begun]

    def columns(self) -> tuple[list[tuple[Shape, bytes]], list[bytes]]:
        """Return the records of those that hold, as `Rows.columns`."""
        return self._held.rows.columns()

    def used(self, numbers: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Say which of many numbers `is_used`."""
        if not (len(self) or self._over or self._other_names):
            return np.zeros(len(numbers), np.bool_)
        others = [self._held.numbers(), [*self._begun], [*self._over], [*self._other_names]]
        return np.isin(numbers, np.concatenate([np.array(some, np.uint32) for some in others]))

    def at(self, number: int) -> Binding | None:
        """Return the binding of a number, as one object for as long as it is warm."""
        binding = self._warm.get(number)
        if binding is None:
            record = self._held.get(number) or self._over.get(number)
            if record is None:
                into = self._other_names.get(number)
                return None if into is None else self.at(into)
            binding = self._warm[number] = self.freezer.thaw(number, record)
        return binding

    def label(self, number: int) -> Label | None:
        """Return what is published of a session, without thawing it. Safe from any thread."""
        found = self.freezer.label_in(self._held, number)
        if found is not None:
            return found
        record = self._over.get(number)
        if record is None:
            into = self._other_names.get(number)
            return None if into is None else self.label(into)
        return self.freezer.label(number, record)

    def history(self) -> Iterator[Binding]:
        """Yield those that ended (the latest of them), then those that hold."""
        for number, record in (*self._history, *self._held.items()):
            yield self.freezer.thaw(number, record)

    # -- changes -------------------------------------------------------------

    def begin(self, binding: Binding) -> None:
        """Hold a new binding."""
        self._begun.add(binding.index)  # until it settles
        self._warm[binding.index] = binding

    def take_all(self, shape: Shape, rows: NDArray[np.void], numbers: NDArray[np.uint32], source: str) -> None:
        """Hold the bindings of rows of a shape of `freezer`; each row has its number."""
        if not len(rows):
            return
        self._held.extend(shape, rows, numbers)
        self.sources[source] += len(rows)
        first = int(numbers[0])
        if self.freezer.label(first, self._held.get(first) or b"").identity_source == NOBODY:  # of one, so of all
            self.partial.update(numbers.tolist())
        self._relabelled(numbers.tolist())

    def take(self, number: int, record: bytes, source: str) -> None:
        """Hold the binding of a record."""
        self._held.put(number, record)
        self.sources[source] += 1
        if self.freezer.label(number, record).identity_source == NOBODY:
            self.partial.add(number)
        self._relabelled([number])

    def touch(self, binding: Binding) -> None:
        """Note that a binding is about to change."""
        if binding.index not in self._touched:
            self._touched[binding.index] = binding, binding.session.source

    def continued(self, number: int, into: int) -> None:
        """Make a number that was touched another name of *into*."""
        self._begun.discard(number)
        if self._held.pop(number):
            self.sources[self._touched[number][1]] -= 1
        del self._touched[number]
        self.partial.discard(number)
        self._warm.pop(number, None)
        self._other_names[number] = into
        self._continues.setdefault(into, []).append(number)

    def settle(self) -> None:
        """Freeze what was touched."""
        for number, (binding, source) in self._touched.items():
            if number in self._held:
                self.sources[source] -= 1
            if binding.last_s is not None:
                self._over[number] = record = self.freezer.freeze(binding)
                self._history.append((number, record))
                self._held.pop(number)
                self._begun.discard(number)
                self.partial.discard(number)
            elif self.holds(number):
                self._held.put(number, self.freezer.freeze(binding))
                self._begun.discard(number)
                told = (p for p in binding.parts.values() if p.source != LEARNED)
                (self.partial.add if all(map(is_partial, told)) else self.partial.discard)(number)
                self.sources[binding.session.source] += 1
        self._relabelled(self._touched)
        self._touched.clear()
        self.cool()

    def _relabelled(self, numbers: Iterable[int]) -> None:
        """Tell those who keep labels that these, and those of their other names, may be others."""
        if not self.on_relabelled:
            return
        found = list(numbers)
        for number in found:  # which grows meanwhile: other names have other names
            found += self._continues.get(number, ())
        for tell in self.on_relabelled:
            tell(found)

    def blank(self, imsi: str) -> None:
        """Forget of the sessions of a subscriber that ended all but that their numbers are taken."""
        forms = forms_of(imsi)

        def is_of(number: int, record: bytes) -> bool:
            # Labels take ten times as long, and there may be a hundred thousand.
            return any(form in record for form in forms) and self.freezer.label(number, record).imsi == imsi

        self._history = deque((each for each in self._history if not is_of(*each)), self._history.maxlen)
        mine = [number for number, record in self._over.items() if is_of(number, record)]
        for number in mine:
            before = self.freezer.thaw(number, self._over[number])
            nothing = Session("", NOBODY)
            said = {nothing.key: nothing}
            blank = Binding(number, nothing, before.first_s, dict(said), said, before.last_s, before.ended_by)
            self._over[number] = self.freezer.freeze(blank)
            self._warm.pop(number, None)
        self._relabelled(mine)

    def cool(self) -> None:
        """Free thawed bindings when there are many."""
        if len(self._warm) > _WARM and not self._touched:
            self._warm.clear()

    def forget(self, number: int) -> Iterator[int]:
        """Forget a binding that ended; yield the numbers that are free now."""
        self._over.pop(number, None)
        self._warm.pop(number, None)
        self._relabelled([number])  # it has none any more, and the next one that gets the number another
        yield number
        for other in self._continues.pop(number, ()):
            self._other_names.pop(other, None)
            yield from self.forget(other)
