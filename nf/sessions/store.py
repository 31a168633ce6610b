"""The binding store: session events and configured sessions in, entries of the kernel's tables out.

Each session has a number, the only thing of it that a BPF map holds. A number is not used again for
`REUSE_S` after its session ended, so that a flow that still carries it is never told to another.

Several sources, and several segments of one source, speak of one PDU session: they are parts of one binding.
`nf.sessions.binding` says when two are one; otherwise they contend. A configured session goes before a
signalled one, and takes only what it names; a session that N2 alone tells goes after both. Among signalled ones the
newer claim wins whatever its source: the loser is closed as superseded, since its end was not seen. Two cases differ:
a tunnel that a part only sends into stays with the session that receives there, and one that several only send into,
towards the core (an SMF has one for all its sessions: TS 29.244, 5.3), moves and nothing else. Every such conflict is
counted. A session that was closed so and then moves is alive after all: it comes back with all that nobody else has
claimed since.

At rest a binding is a record (`nf.sessions.at_rest.records`); an event thaws the bindings that it touches,
and they are frozen again at its end. Maps lead to numbers, never to bindings.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gtp.events import EndReason, Session, SessionDown, SessionEvent, SessionMoved, SessionUp
from nf.kernel.changes import DropTunnel, TableChange
from nf.privacy import Pseudonymiser
from nf.sessions.binding import (
    CONFIGURED,
    JOIN_S,
    LEARNED,
    RADIO,
    Binding,
    TunnelKey,
    UeKey,
    addresses_of,
    configured,
    is_configured,
    is_of_ue,
    is_shared_end,
    keys,
    one_session,
    other_end,
    rank,
    receives,
    routes_of,
    together,
    ues,
    without,
)
from nf.sessions.changes import put_tunnel
from nf.sessions.intake import Intake
from nf.sessions.linger import Lingering
from nf.settings import StaticSession

__all__ = ["Binding", "BindingStore", "Forgotten", "is_of_ue"]

REUSE_S = 60.0  # longer than the slowest look at the flow table
_TOGETHER = (EndReason.RESTARTED.value, EndReason.RELEASED.value)  # ends of many sessions in one exchange
GONE_S = 2.0  # a tunnel that was left keeps its session so long, for late packets (TS 23.502, 4.9.1.3: end markers)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The numbers of the sessions that `BindingStore.purge` ended, and the keys of their parts.

    ``configured``: sessions that the configuration has of the subscriber. ``changes`` are those of the kernel's tables.
    """

    numbers: list[int]
    keys: set[str]
    configured: int
    changes: list[TableChange]


class BindingStore(Intake):
    """All bindings; of those that ended, the last *history*. May be asked while another thread changes it."""

    def __init__(
        self, capacity: int, first: int = 1, history: int = 10_000, pseudonymiser: Pseudonymiser | None = None
    ) -> None:
        """Hold at most *capacity* sessions, numbered from *first*. *pseudonymiser* is the one of `use`."""
        super().__init__(capacity, first, history, pseudonymiser)
        self.counters: Counter[str] = Counter()
        self.freed: list[int] = []  # numbers that nobody has any more; the reader empties the list
        self._wanting: set[int] = set()  # those that lost a claim to a configured session
        self._lingering = Lingering()
        self._lost: OrderedDict[str, Session] = OrderedDict()  # superseded ones by key, with what they claimed
        self._gone: deque[tuple[float, TunnelKey, int]] = deque()
        self._ended: deque[tuple[float, int]] = deque()

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
            self._bindings.settle()
            return changes

    def _ended_part(self, event: SessionDown) -> list[TableChange]:
        binding = self._of(self._by_key, event.session.key)
        if binding is not None:
            return self._part_down(binding, event)
        lost = self._lost.pop(event.session.key, None)
        self.counters["down_unknown" if lost is None else "down_superseded"] += 1
        return []

    def configure(self, old: Sequence[StaticSession], new: Sequence[StaticSession], at_s: float) -> list[TableChange]:
        """Change the configured sessions; equal ones stay untouched."""
        with self._lock:
            changes = self._configure(old, new, at_s)
            self._bindings.settle()
            return changes

    def _configure(self, old: Sequence[StaticSession], new: Sequence[StaticSession], at_s: float) -> list[TableChange]:
        was, will = {s.name: s for s in old}, {s.name: s for s in new}
        changes: list[TableChange] = []
        # Most are the same objects as before: equality of ten thousand would be asked field by field.
        ended = [n for n, session in was.items() if (now := will.get(n)) is not session and now != session]
        begun = [s for n, s in will.items() if (before := was.get(n)) is not s and before != s]
        for name in ended:
            binding = self._of(self._by_key, f"{CONFIGURED}-{name}")
            if binding is not None:
                changes += self._down(binding, at_s, EndReason.REMOVED.value)
        freed = bool(changes)
        for session in begun:
            changes += self._up(configured(session), at_s)
        for number in list(self._wanting) if freed else ():  # its claims may be free now
            wanting = self._bindings.at(number) if self._bindings.holds(number) else None
            if wanting is None:
                self._wanting.discard(number)
            else:
                changes += self._hold(wanting, at_s, wanting.session)
        return changes

    def purge(self, imsi: str, at_s: float) -> Forgotten:
        """End the sessions of a subscriber but the configured ones, and forget whose all of them were, ended ones too.

        A number stays taken for as long as flows may carry it.
        """
        with self._lock:
            bindings = [b for b in self.by_imsi(imsi) if b.last_s is None]
            mine = [b for b in bindings if not is_configured(b)]
            keys_of = {key for b in mine for key in b.said}
            changes = [change for b in mine for change in self._down(b, at_s, EndReason.REMOVED.value)]
            self._bindings.settle()
            for key in [key for key, session in self._lost.items() if session.identity.imsi == imsi]:
                del self._lost[key]
            self._bindings.blank(imsi)
            return Forgotten([b.index for b in mine], keys_of, len(bindings) - len(mine), changes)

    def learn(self, seen: Iterable[tuple[int, str]], at_s: float) -> list[TableChange]:
        """Give sessions of which only tunnels are known the (number, UE address) that packets in them show.

        An address that a session has already stays with it: signalling knows it better.
        """
        changes: list[TableChange] = []
        with self._lock:
            for number, address in seen:
                if number in self._bindings.partial and self._bindings.holds(number):
                    changes += self._learn(number, address, at_s)
            self._bindings.settle()
        return changes

    def _learn(self, number: int, address: str, at_s: float) -> list[TableChange]:
        binding = self._bindings.at(number)
        ipv6 = ":" in address
        if binding is None or (binding.session.ue_ipv6 if ipv6 else binding.session.ue_ipv4):
            return []
        if self._ues.get((binding.session.instance, address)) or self._entries.is_shared(
            binding.session.instance, address
        ):
            self.counters["learned_ue_refused"] += 1
            return []
        key = f"{LEARNED}-{number}"
        before = binding.session
        part = binding.parts.get(key) or Session(key, LEARNED, instance=before.instance)
        self._by_key[key] = number
        self._set_part(binding, replace(part, ue_ipv6=address) if ipv6 else replace(part, ue_ipv4=address))
        self.counters["learned_ue"] += 1
        return self._hold(binding, at_s, before)

    def expire(self, at_s: float) -> list[TableChange]:
        """Drop tunnels that were left long enough ago, and free the numbers of sessions long ended."""
        with self._lock:
            return self._expire(at_s)

    def _expire(self, at_s: float) -> list[TableChange]:
        changes: list[TableChange] = []
        while self._gone and at_s - self._gone[0][0] >= GONE_S:
            _, key, number = self._gone.popleft()
            binding = self._bindings.at(number) if self._tunnels.get(key) == number else None
            if binding is not None and key not in keys(binding.session.tunnels):
                changes += self._release_tunnel(key, binding, at_s)
        changes += self._dropped(*self._lingering.over(at_s))
        while self._ended and at_s - self._ended[0][0] >= REUSE_S:
            number = self._ended.popleft()[1]
            self.freed.extend(self._bindings.forget(number))
        self._past.forget_before(at_s - REUSE_S)
        return changes

    # -- claims ----------------------------------------------------------------

    def _up(self, session: Session, at_s: float, before: Session | None = None) -> list[TableChange]:
        changes: list[TableChange] = []
        if (known := self._of(self._by_key, session.key)) is not None:
            changes += self._down(known, at_s, EndReason.SUPERSEDED.value)
        self._lost.pop(session.key, None)
        binding = self._joined(session, at_s, before)
        claimed = before
        if binding is None:
            if len(self) >= self._capacity:
                self.counters["full"] += 1
                return changes
            binding = Binding(self._number(), session, at_s)
            self._bindings.begin(binding)
        else:
            self.counters["joined"] += 1
            claimed = without(binding.session, session)
        self._by_key[session.key] = binding.index
        self._set_part(binding, session)
        return [*changes, *self._hold(binding, at_s, claimed)]

    def _moved(self, event: SessionMoved) -> list[TableChange]:
        binding = self._of(self._by_key, event.session.key)
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
        """End one part; the session ends with its last, or with a core's that leaves only radio's and learned ones."""
        others = [p for p in binding.parts.values() if p.key != event.session.key]
        if not others or (event.session.source != RADIO and all(p.source in (RADIO, LEARNED) for p in others)):
            return self._down(binding, event.at_s, event.reason.value)
        self._bindings.touch(binding)
        part = binding.parts.pop(event.session.key)
        self._by_key.pop(part.key)
        before, binding.session = binding.session, together(binding.parts)
        changes = self._put_routes(binding)
        for ue in ues(before):
            if ue not in ues(binding.session) and self._ues.get(ue) == binding.index:
                self._ues.pop(ue)
                changes += self._entries.drop(*ue)
        for left in keys(part.tunnels) - keys(binding.session.tunnels):
            if self._tunnels.get(left) == binding.index:
                changes += self._release_tunnel(left, binding, event.at_s)
        return changes

    def _set_part(self, binding: Binding, session: Session) -> None:
        self._bindings.touch(binding)
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
            holder = self._of(self._tunnels, key)
            if holder is None or holder is but or not other_end(holder, tunnel, session.source):
                continue
            if one_session(holder, session, key not in old and at_s - holder.held[tunnel] <= JOIN_S):
                return holder
        old_ues = ues(before) if before else []
        for ue in ues(session):
            holder = self._of(self._ues, ue)
            if holder is None or holder is but or is_configured(holder):
                continue
            if one_session(holder, session, ue not in old_ues and at_s - holder.ue_s <= JOIN_S):
                return holder
        return None

    def _join(self, binding: Binding, into: Binding) -> list[TableChange]:
        """Make *binding* a part of *into*; its number stays another name of *into* for flows that carry it."""
        changes: list[TableChange] = []
        self._bindings.touch(binding)
        self._bindings.touch(into)
        into.said = {**binding.said, **into.said}
        for part in binding.parts.values():
            self._by_key[part.key] = into.index
            self._set_part(into, part)
        for tunnel, since_s in binding.held.items():
            into.held[tunnel] = since_s
            key = (tunnel.address, tunnel.teid)
            if self._tunnels.get(key) == binding.index:
                self._tunnels[key] = into.index
                changes.append(put_tunnel(tunnel, into))
        for ue in ues(binding.session):
            if self._ues.get(ue) == binding.index:
                self._ues[ue], into.ue_s = into.index, binding.ue_s
                changes += self._entries.put(*ue, into.index)
        changes += self._routes.put(binding.index, "", ())
        into.first_s = min(into.first_s, binding.first_s)
        self._bindings.continued(binding.index, into.index)
        self._forget_imsi(binding)
        return changes

    def _forget_imsi(self, binding: Binding) -> None:
        if imsi := binding.whole.identity.imsi:
            self._by_imsi.discard(imsi, binding.index)

    def _down(self, binding: Binding, at_s: float, reason: str) -> list[TableChange]:
        self._bindings.touch(binding)
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
        changes = self._routes.put(binding.index, "", ())
        lingers = reason in _TOGETHER
        for key in list(keys(binding.held)):
            if self._tunnels.get(key) == binding.index:
                if lingers:
                    self._lingering.tunnel(key, binding.index, at_s)
                dropped = self._release_tunnel(key, binding, at_s)
                changes += () if lingers else dropped
        for ue in ues(binding.session):
            if self._ues.get(ue) == binding.index:
                self._ues.pop(ue)
                if lingers:
                    self._lingering.ue(ue, binding.index, at_s)
                else:
                    changes += self._entries.drop(*ue)
        return changes

    def _dropped(self, tunnels: list[TunnelKey], addresses: list[UeKey]) -> list[TableChange]:
        """Return the changes by which the kernel forgets tunnels and addresses."""
        drops: list[TableChange] = [DropTunnel(*key) for key in tunnels]
        return drops + [change for ue in addresses for change in self._entries.drop(*ue)]

    def _claimed(self, number: int, binding: Binding) -> list[TableChange]:
        """Drop all that lingers once another subscriber has something of it: numbers are being given again."""
        before = self.label(number) if number else None
        if before is None or (before.imsi and before.imsi == binding.session.identity.imsi):
            return []
        return self._dropped(*self._lingering.all())

    def _put_routes(self, binding: Binding) -> list[TableChange]:
        session = binding.session
        return self._routes.put(binding.index, session.instance, routes_of(session))

    def _hold(self, binding: Binding, at_s: float, before: Session | None = None) -> list[TableChange]:
        """Give a session its tunnels and UE addresses, as far as it may have them.

        A claim of *before*, whose tunnel or address another has by now, stays with the other: its claim is newer.
        """
        self._bindings.touch(binding)
        claimed = set(before.tunnels) if before else set()
        claimed_ues = ues(before) if before else []
        changes = self._put_routes(binding)
        addresses = addresses_of(binding.session)
        new_addresses, binding.checked = addresses != binding.checked, addresses
        for tunnel in binding.session.tunnels:
            key = (tunnel.address, tunnel.teid)
            holder = self._of(self._tunnels, key)
            if holder is not None and holder is not binding:
                if tunnel in claimed or rank(binding) < rank(holder) or receives(holder, tunnel, binding):
                    self.counters["conflict_tunnel_kept"] += 1
                    self._wanting.add(binding.index)
                    continue
                changes += self._take_tunnel(key, binding, holder, at_s)
            if holder is None:
                changes += self._claimed(self._lingering.claimed_tunnel(key), binding)
            if holder is not binding or new_addresses:
                self._tunnels[key] = binding.index
                changes.append(put_tunnel(tunnel, binding))
            if holder is not binding:
                binding.held[tunnel] = at_s
        for ue in ues(binding.session):
            other = self._of(self._ues, ue)
            if other is not None and other is not binding:
                if ue in claimed_ues or rank(binding) < rank(other):
                    self.counters["conflict_ue_kept"] += 1
                    self._wanting.add(binding.index)
                    continue
                self.counters["conflict_ue_taken"] += 1
                self._wanting.add(other.index)
                if rank(other) == rank(binding):
                    changes += self._down(other, at_s, EndReason.SUPERSEDED.value)
            if other is None:
                number, beside = self._lingering.claimed_ue(ue)
                changes += [*self._dropped([], beside), *self._claimed(number, binding)]
            if other is not binding:
                self._ues[ue], binding.ue_s = binding.index, at_s
                changes += self._entries.put(*ue, binding.index)
        return changes

    def _take_tunnel(self, key: TunnelKey, binding: Binding, holder: Binding, at_s: float) -> list[TableChange]:
        if key not in keys(holder.session.tunnels):  # it had left the tunnel and kept it for late packets only
            return self._release_tunnel(key, holder, at_s)
        self.counters["conflict_tunnel_taken"] += 1
        if is_shared_end(holder, key):
            return self._release_tunnel(key, holder, at_s)
        if rank(holder) == rank(binding):
            return self._down(holder, at_s, EndReason.SUPERSEDED.value)
        self._wanting.add(holder.index)
        return self._release_tunnel(key, holder, at_s)

    def _release_tunnel(self, key: TunnelKey, binding: Binding, at_s: float) -> list[TableChange]:
        self._tunnels.pop(key)
        self._past.add(key, binding.index, binding.first_s, at_s)
        return [DropTunnel(*key)]
