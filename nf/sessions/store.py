"""The binding store: session events and configured sessions in, entries of the kernel's tables out.

Each session has a number, the only thing of it that a BPF map holds. A number is not used again for
`REUSE_S` after its session ended, so that a flow that still carries it is never told to another.

Several sources, and several segments of one source, speak of one PDU session: they are parts of one binding.
`nf.sessions.binding` says when two are one; otherwise they contend. A configured session goes before a
signalled one, and takes only what it names; what N2 alone says goes after both. Among signalled ones the newer
claim wins whatever its source: who loses is closed as superseded, since its end was not seen. Only a tunnel
that a part sends into stays with the session that receives there. Every such conflict is counted. A session
that was closed so and then moves is alive after all: it comes back with what nobody else has claimed since.

At rest a binding is a record of bytes (`nf.sessions.compact`); what an event touches is thawed for it and frozen
again at its end. Maps lead to numbers, never to bindings.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Sequence
from typing import Any

from gtp.events import EndReason, Session, SessionDown, SessionEvent, SessionMoved, SessionUp, Tunnel
from nf.privacy import Pseudonymiser
from nf.sessions.binding import (
    CONFIGURED,
    JOIN_S,
    RADIO,
    Binding,
    TunnelKey,
    UeKey,
    configured,
    is_configured,
    is_of_ue,
    keys,
    one_session,
    other_end,
    rank,
    receives,
    together,
    ues,
    without,
)
from nf.sessions.changes import DropTunnel, PutTunnel, TableChange, UeEntries
from nf.sessions.compact import CompactMap, Freezer, KeyPacker, Label, SubscriberMap, UePacker, pack_tunnel
from nf.sessions.past import PastHolders
from nf.settings import StaticSession

__all__ = ["Binding", "BindingStore", "is_of_ue"]

REUSE_S = 60.0  # longer than the slowest look at the flow table
_WARM = 4096  # bindings that are kept thawed, because who was asked for is asked for again
GONE_S = 2.0  # a tunnel that was left keeps its session so long, for late packets (TS 23.502, 4.9.1.3: end markers)


class BindingStore:
    """All bindings; of those that ended, the last *history*. May be asked while another thread changes it."""

    def __init__(
        self, capacity: int, first: int = 1, history: int = 10_000, pseudonymiser: Pseudonymiser | None = None
    ) -> None:
        """Hold at most *capacity* sessions, numbered from *first*. *pseudonymiser* is the one of `use`."""
        self._lock = threading.RLock()
        self.counters: Counter[str] = Counter()
        self.freed: list[int] = []  # numbers that nobody has any more; whoever reads them empties the list
        self._capacity = capacity
        self.freezer = Freezer()
        self._records: dict[int, bytes] = {}  # of bindings that hold, by number
        self._over: dict[int, bytes] = {}  # of those that ended lately
        self._other_names: dict[int, int] = {}  # numbers of bindings that others continue
        self._warm: dict[int, Binding] = {}
        self._touched: dict[int, tuple[Binding, str]] = {}  # in this event, with the source before it
        self._sources: Counter[str] = Counter()
        self._wanting: set[int] = set()  # those that lost a claim to a configured session
        self._by_key: CompactMap[str] = CompactMap(KeyPacker())  # of each part
        self._tunnels: CompactMap[TunnelKey] = CompactMap(pack_tunnel)
        self._ue_packer = UePacker()
        self._ues: CompactMap[UeKey] = CompactMap(self._ue_packer)
        self._past = PastHolders(2 * capacity)  # what is asked about the past is recent
        self._entries = UeEntries()
        self._lost: OrderedDict[str, Session] = OrderedDict()  # superseded ones by key, with what they claimed
        self._by_imsi = SubscriberMap(pseudonymiser or Pseudonymiser(b"", 0))
        self._gone: deque[tuple[float, TunnelKey, int]] = deque()
        self._ended: deque[tuple[float, int]] = deque()
        self._history: deque[tuple[int, bytes]] = deque(maxlen=max(1, history))
        self._next = first

    # -- changes -------------------------------------------------------------

    def apply(self, event: SessionEvent) -> list[TableChange]:
        """Take an event and return what the kernel's tables must change."""
        with self._lock:
            match event:
                case SessionUp():
                    changes = self._up(event.session, event.at_s)
                case SessionMoved():
                    changes = self._moved(event)
                case SessionDown():
                    changes = self._ended_part(event)
            self._settle()
            return changes

    def _ended_part(self, event: SessionDown) -> list[TableChange]:
        binding = self._of_key(event.session.key)
        if binding is not None:
            return self._part_down(binding, event)
        lost = self._lost.pop(event.session.key, None)
        self.counters["down_unknown" if lost is None else "down_superseded"] += 1
        return []

    def configure(self, old: Sequence[StaticSession], new: Sequence[StaticSession], at_s: float) -> list[TableChange]:
        """Change the configured sessions; equal ones stay untouched."""
        with self._lock:
            changes = self._configure(old, new, at_s)
            self._settle()
            return changes

    def _configure(self, old: Sequence[StaticSession], new: Sequence[StaticSession], at_s: float) -> list[TableChange]:
        was, will = {s.name: s for s in old}, {s.name: s for s in new}
        changes: list[TableChange] = []
        for name, session in was.items():
            binding = self._of_key(f"{CONFIGURED}-{name}")
            if will.get(name) != session and binding is not None:
                changes += self._down(binding, at_s, EndReason.REMOVED.value)
        freed = bool(changes)
        for name, session in will.items():
            if was.get(name) != session:
                changes += self._up(configured(session), at_s)
        for number in list(self._wanting) if freed else ():  # what was kept from a signalled session may be free now
            wanting = self._at(number) if number in self._records else None
            if wanting is None:
                self._wanting.discard(number)
            else:
                changes += self._hold(wanting, at_s, wanting.session)
        return changes

    def expire(self, at_s: float) -> list[TableChange]:
        """Drop tunnels that were left long enough ago, and free the numbers of sessions long ended."""
        with self._lock:
            return self._expire(at_s)

    def _expire(self, at_s: float) -> list[TableChange]:
        changes: list[TableChange] = []
        while self._gone and at_s - self._gone[0][0] >= GONE_S:
            _, key, number = self._gone.popleft()
            binding = self._at(number) if self._tunnels.get(key) == number else None
            if binding is not None and key not in keys(binding.session.tunnels):
                changes += self._release_tunnel(key, binding, at_s)
        while self._ended and at_s - self._ended[0][0] >= REUSE_S:
            number = self._ended.popleft()[1]
            for name in (number, *[other for other, into in self._other_names.items() if into == number]):
                self._other_names.pop(name, None)
                self.freed.append(name)
            self._over.pop(number, None)
            self._warm.pop(number, None)
        self._past.forget_before(at_s - REUSE_S)
        return changes

    # -- over a restart --------------------------------------------------------

    def dump(self) -> tuple[list[Any], list[bytes]]:
        """Return (constants, records) of the sessions that hold, for `nf.sessions.restore`. They hold IMSIs."""
        with self._lock:
            return self.freezer.packer.dump(), list(self._records.values())

    def changing(self) -> threading.RLock:
        """Return what keeps others out while sessions are taken back."""
        return self._lock

    def take_back(self, record: bytes, keys: Sequence[str], source: str, imsi: str) -> int:
        """Know the session of a record of `freezer` again; return its number, 0 when it is known or finds no room."""
        number = self._number()
        if len(self) >= self._capacity or self._by_key.claim(keys[0], number):
            return 0
        for key in keys[1:]:
            self._by_key[key] = number
        self._records[number] = record
        self._sources[source] += 1
        if imsi:
            self._by_imsi.add(imsi, number)
        return number

    def take_back_tunnel(self, key: TunnelKey, number: int, since_s: float) -> bool:
        """Let a session that was taken back have a tunnel, unless another got it later."""
        if not self._tunnels.claim(key, number):
            return True
        holder = self._holder(key)
        if holder is not None:
            got_s = (at_s for t, at_s in holder.held.items() if (t.address, t.teid) == key)
            if next(got_s, since_s) >= since_s:
                return False
        self._tunnels[key] = number
        return True

    def take_back_ue(self, ue: UeKey, number: int, since_s: float) -> list[TableChange]:
        """Let a session that was taken back have a UE address, unless another got it later."""
        if not self._ues.claim(ue, number):
            return self._entries.put(*ue, number)
        holder = self._ue_holder(ue)
        if holder is not None and holder.ue_s >= since_s:
            return []
        self._ues[ue] = number
        return [*self._entries.drop(*ue), *self._entries.put(*ue, number)]

    # -- records -------------------------------------------------------------

    def _at(self, number: int) -> Binding | None:
        """Return the binding of a number, as one object for as long as it is warm."""
        binding = self._warm.get(number)
        if binding is None:
            record = self._records.get(number) or self._over.get(number)
            if record is None:
                into = self._other_names.get(number)
                return None if into is None else self._at(into)
            binding = self._warm[number] = self.freezer.thaw(number, record)
        return binding

    def _of_key(self, key: str) -> Binding | None:
        number = self._by_key.get(key)
        return self._at(number) if number else None

    def _holder(self, key: TunnelKey) -> Binding | None:
        number = self._tunnels.get(key)
        return self._at(number) if number else None

    def _ue_holder(self, key: UeKey) -> Binding | None:
        number = self._ues.get(key)
        return self._at(number) if number else None

    def _touch(self, binding: Binding) -> None:
        """Note that a binding is about to change."""
        if binding.index not in self._touched:
            self._touched[binding.index] = binding, binding.session.source

    def _settle(self) -> None:
        """Freeze what the event changed."""
        for number, (binding, source) in self._touched.items():
            if self._records.get(number):
                self._sources[source] -= 1
            if binding.last_s is not None:
                self._over[number] = record = self.freezer.freeze(binding)
                self._history.append((number, record))
                self._records.pop(number, None)
            elif number in self._records:
                self._records[number] = self.freezer.freeze(binding)
                self._sources[binding.session.source] += 1
        self._touched.clear()
        self._cool()

    def _cool(self) -> None:
        if len(self._warm) > _WARM and not self._touched:
            self._warm.clear()

    def _up(self, session: Session, at_s: float, before: Session | None = None) -> list[TableChange]:
        changes: list[TableChange] = []
        if (known := self._of_key(session.key)) is not None:
            changes += self._down(known, at_s, EndReason.SUPERSEDED.value)
        self._lost.pop(session.key, None)
        binding = self._joined(session, at_s, before)
        claimed = before
        if binding is None:
            if len(self) >= self._capacity:
                self.counters["full"] += 1
                return changes
            binding = Binding(self._number(), session, at_s)
            self._records[binding.index] = b""  # until the event is over
            self._warm[binding.index] = binding
        else:
            self.counters["joined"] += 1
            claimed = without(binding.session, session)
        self._by_key[session.key] = binding.index
        self._set_part(binding, session)
        return [*changes, *self._hold(binding, at_s, claimed)]

    def _moved(self, event: SessionMoved) -> list[TableChange]:
        binding = self._of_key(event.session.key)
        if binding is None:
            self.counters["moved_unknown"] += 1
            return self._up(event.session, event.at_s, self._lost.pop(event.session.key, None))
        before, part = binding.session, binding.parts[event.session.key]
        self._set_part(binding, event.session)
        changes: list[TableChange] = []
        other = self._joined(event.session, event.at_s, part, binding)
        if other is not None:
            self.counters["joined"] += 1
            changes += self._join(binding, other)
            binding, before = other, without(other.session, event.session)
        for ue in ues(before):
            if ue not in ues(binding.session) and self._ues.get(ue) == binding.index:
                self._ues.pop(ue)
                changes += self._entries.drop(*ue)
        for tunnel in event.gone:
            self._gone.append((event.at_s, (tunnel.address, tunnel.teid), binding.index))
        return [*changes, *self._hold(binding, event.at_s, before)]

    def _part_down(self, binding: Binding, event: SessionDown) -> list[TableChange]:
        """End one part; the session ends with its last, or with the last that is not a radio's word for it."""
        others = [p for p in binding.parts.values() if p.key != event.session.key]
        if not others or (event.session.source != RADIO and all(p.source == RADIO for p in others)):
            return self._down(binding, event.at_s, event.reason.value)
        self._touch(binding)
        part = binding.parts.pop(event.session.key)
        self._by_key.pop(part.key)
        before, binding.session = binding.session, together(binding.parts)
        changes: list[TableChange] = []
        for ue in ues(before):
            if ue not in ues(binding.session) and self._ues.get(ue) == binding.index:
                self._ues.pop(ue)
                changes += self._entries.drop(*ue)
        for left in keys(part.tunnels) - keys(binding.session.tunnels):
            if self._tunnels.get(left) == binding.index:
                changes += self._release_tunnel(left, binding, event.at_s)
        return changes

    def _set_part(self, binding: Binding, session: Session) -> None:
        self._touch(binding)
        binding.parts[session.key] = binding.said[session.key] = session
        binding.session = together(binding.parts)
        if imsi := binding.session.identity.imsi:
            self._by_imsi.add(imsi, binding.index)

    def _joined(
        self, session: Session, at_s: float, before: Session | None, but: Binding | None = None
    ) -> Binding | None:
        """Return the binding that *session* is a part of; *before* is what the part claimed until now."""
        if session.source == CONFIGURED:
            return None
        old = keys(before.tunnels) if before else set()
        for tunnel in session.tunnels:
            key = (tunnel.address, tunnel.teid)
            holder = self._holder(key)
            if holder is None or holder is but or not other_end(holder, tunnel, session.source):
                continue
            if one_session(holder, session, key not in old and at_s - holder.held[tunnel] <= JOIN_S):
                return holder
        old_ues = ues(before) if before else []
        for ue in ues(session):
            holder = self._ue_holder(ue)
            if holder is None or holder is but or is_configured(holder):
                continue
            if one_session(holder, session, ue not in old_ues and at_s - holder.ue_s <= JOIN_S):
                return holder
        return None

    def _join(self, binding: Binding, into: Binding) -> list[TableChange]:
        """Let *binding* continue as part of *into*; its number stays another name of it for flows that carry it."""
        changes: list[TableChange] = []
        self._touch(binding)
        self._touch(into)
        into.said = {**binding.said, **into.said}
        for part in binding.parts.values():
            self._by_key[part.key] = into.index
            self._set_part(into, part)
        for tunnel, since_s in binding.held.items():
            into.held[tunnel] = since_s
            key = (tunnel.address, tunnel.teid)
            if self._tunnels.get(key) == binding.index:
                self._tunnels[key] = into.index
                changes.append(_put(tunnel, into))
        for ue in ues(binding.session):
            if self._ues.get(ue) == binding.index:
                self._ues[ue], into.ue_s = into.index, binding.ue_s
                changes += self._entries.put(*ue, into.index)
        into.first_s = min(into.first_s, binding.first_s)
        self._continued_by(binding, into)
        return changes

    def _continued_by(self, binding: Binding, into: Binding) -> None:
        number = binding.index
        if self._records.pop(number, None):
            self._sources[self._touched[number][1]] -= 1
        del self._touched[number]
        self._warm.pop(number, None)
        self._other_names[number] = into.index
        self._forget_imsi(binding)

    def _forget_imsi(self, binding: Binding) -> None:
        if imsi := binding.whole.identity.imsi:
            self._by_imsi.discard(imsi, binding.index)

    def _down(self, binding: Binding, at_s: float, reason: str) -> list[TableChange]:
        self._touch(binding)
        binding.last_s, binding.ended_by = at_s, reason
        for part in binding.parts.values():
            self._by_key.pop(part.key)
            if reason == EndReason.SUPERSEDED.value:
                self._lost[part.key] = part
        while len(self._lost) > self._capacity:
            self._lost.popitem(last=False)
        self._ended.append((at_s, binding.index))
        self._wanting.discard(binding.index)
        self._forget_imsi(binding)
        changes: list[TableChange] = []
        for key in list(keys(binding.held)):
            if self._tunnels.get(key) == binding.index:
                changes += self._release_tunnel(key, binding, at_s)
        for ue in ues(binding.session):
            if self._ues.get(ue) == binding.index:
                self._ues.pop(ue)
                changes += self._entries.drop(*ue)
        return changes

    def _hold(self, binding: Binding, at_s: float, before: Session | None = None) -> list[TableChange]:
        """Give the session's tunnels and UE addresses to it, as far as it may have them.

        What it claimed *before* already, and another has by now, stays with the other: that claim is newer.
        """
        self._touch(binding)
        claimed = set(before.tunnels) if before else set()
        claimed_ues = ues(before) if before else []
        changes: list[TableChange] = []
        addresses = (binding.session.ue_ipv4, binding.session.ue_ipv6)
        new_addresses, binding.checked = addresses != binding.checked, addresses
        for tunnel in binding.session.tunnels:
            key = (tunnel.address, tunnel.teid)
            holder = self._holder(key)
            if holder is not None and holder is not binding:
                if tunnel in claimed or rank(binding) < rank(holder) or receives(holder, tunnel, binding):
                    self.counters["conflict_tunnel_kept"] += 1
                    self._wanting.add(binding.index)
                    continue
                changes += self._take_tunnel(key, binding, holder, at_s)
            if holder is not binding or new_addresses:
                self._tunnels[key] = binding.index
                changes.append(_put(tunnel, binding))
            if holder is not binding:
                binding.held[tunnel] = at_s
        for ue in ues(binding.session):
            other = self._ue_holder(ue)
            if other is not None and other is not binding:
                if ue in claimed_ues or rank(binding) < rank(other):
                    self.counters["conflict_ue_kept"] += 1
                    self._wanting.add(binding.index)
                    continue
                self.counters["conflict_ue_taken"] += 1
                self._wanting.add(other.index)
                if rank(other) == rank(binding):
                    changes += self._down(other, at_s, EndReason.SUPERSEDED.value)
            if other is not binding:
                self._ues[ue], binding.ue_s = binding.index, at_s
                changes += self._entries.put(*ue, binding.index)
        return changes

    def _take_tunnel(self, key: TunnelKey, binding: Binding, holder: Binding, at_s: float) -> list[TableChange]:
        if key not in keys(holder.session.tunnels):  # it had left the tunnel and kept it for late packets only
            return self._release_tunnel(key, holder, at_s)
        self.counters["conflict_tunnel_taken"] += 1
        if rank(holder) == rank(binding):
            return self._down(holder, at_s, EndReason.SUPERSEDED.value)
        self._wanting.add(holder.index)
        return self._release_tunnel(key, holder, at_s)

    def _release_tunnel(self, key: TunnelKey, binding: Binding, at_s: float) -> list[TableChange]:
        self._tunnels.pop(key)
        self._past.add(key, binding.index, binding.first_s, at_s)
        return [DropTunnel(*key)]

    def _number(self) -> int:
        while self._next in self._records or self._next in self._over or self._next in self._other_names:
            self._next = self._next % 0xFFFF_FFFE + 1
        number, self._next = self._next, self._next % 0xFFFF_FFFE + 1
        return number

    # -- questions -----------------------------------------------------------

    def by_index(self, index: int) -> Binding | None:
        """Return the binding of a number, also for a while after its end. It is not to be changed."""
        with self._lock:
            self._cool()
            return self._at(index)

    def by_tunnel(self, address: str, teid: int, at_s: float | None = None) -> Binding | None:
        """Return who holds a tunnel now, or who held it at *at_s*."""
        key = (address, teid)
        with self._lock:
            self._cool()
            now = self._holder(key)
            if at_s is None or (now is not None and now.first_s <= at_s):
                return now
            if number := self._past.at(key, at_s):
                return self._at(number)
            # The first packets may precede the response that bound them: they are nobody else's.
            return now if key not in self._past else None

    def number_of_tunnel(self, address: str, teid: int) -> int:
        """Return the number of who holds a tunnel now, 0 when that is nobody."""
        return self._tunnels.get((address, teid))

    def by_ue(self, instance: str, address: str) -> Binding | None:
        """Return who has a UE address in a network instance; of IPv6 also by its /64, if one has that alone."""
        with self._lock:
            self._cool()
            binding = self._ue_holder((instance, address))
            if binding is None and (index := self._entries.only(instance, address)) is not None:
                binding = self._at(index)
            return binding

    def by_imsi(self, imsi: str) -> list[Binding]:
        """Return the sessions that a subscriber has now."""
        with self._lock:
            self._cool()
            found = (self._at(number) for number in self._by_imsi.get(imsi))
            return [b for b in found if b is not None and b.whole.identity.imsi == imsi]

    def numbers_by_pseudonym(self, digits: str, most: int = 1000) -> list[int]:
        """Return sessions, at most *most*, of subscribers whose pseudonym begins so; a few may be of others."""
        with self._lock:
            return self._by_imsi.beginning_with(digits, most)

    def instances(self) -> list[str]:
        """Return the network instances that UE addresses were ever of."""
        with self._lock:
            return list(dict.fromkeys([*self._ue_packer.instances, *self._entries.instances()]))

    def use(self, pseudonymiser: Pseudonymiser) -> None:
        """Let sessions be found by the names that *pseudonymiser* gives, from now on."""
        with self._lock:
            by_imsi = SubscriberMap(pseudonymiser)
            for number in self._records:
                label = self.label(number)
                if label is not None and label.imsi:
                    by_imsi.add(label.imsi, number)
            self._by_imsi = by_imsi

    def label(self, index: int) -> Label | None:
        """Return what is published of a session, also for a while after its end."""
        record = self._records.get(index) or self._over.get(index)
        if record is None:
            into = self._other_names.get(index)
            return None if into is None else self.label(into)
        return self.freezer.label(index, record)

    def subscriber(self, index: int, pseudonymiser: Pseudonymiser) -> str:
        """Return the published name of a session's subscriber: a pseudonym, or its address while unknown."""
        found = self.label(index)
        return found.published(pseudonymiser) if found else "unknown"

    def history(self) -> Iterator[Binding]:
        """Yield the bindings that ended (the latest of them), then those that hold."""
        for number, record in (*self._history, *self._records.items()):
            yield self.freezer.thaw(number, record)

    def numbers(self) -> list[int]:
        """Return the numbers of the sessions that hold."""
        return list(self._records)

    def count_by_source(self) -> Counter[str]:
        """Return how many sessions hold, by source."""
        return +self._sources

    def __len__(self) -> int:
        return len(self._records)


def _put(tunnel: Tunnel, binding: Binding) -> PutTunnel:
    session = binding.session
    return PutTunnel(tunnel.address, tunnel.teid, tunnel.side, binding.index, session.ue_ipv4, session.ue_ipv6)
