"""The session table: tunnels and UE addresses with their sessions, as the programs look them up (bpf/session.h).

The table is memory that is shared with the programs: a change is some stores, no call into the kernel. There is one
writer. An entry is complete before its session is written, which makes it one, and one that was left is not used
again until no packet can still be looking at it.
"""

from __future__ import annotations

import mmap
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gtp.packing import ipv4_text
from nf.abi import (
    ENTRY_DOWNLINK,
    ENTRY_GROUP,
    ENTRY_HAS_IPV4,
    ENTRY_HAS_IPV6,
    ENTRY_IPV4,
    ENTRY_IPV6,
    ENTRY_KIND,
    ENTRY_PLACE,
    ENTRY_ROUTED,
    ENTRY_SCOPE,
    ENTRY_SHARED,
    ENTRY_TUNNEL,
    GOLDEN,
    SNF_ENTRIES,
    SNF_RANGE_BITS,
    SNF_SAME_TAGS,
    TAG_FREE,
    TAG_HELD,
)
from nf.kernel.addresses import address_bytes
from nf.kernel.changes import PutTunnel
from nf.kernel.columns import TunnelColumns
from nf.kernel.endpoints import Endpoints
from nf.kernel.holders import Holders
from nf.kernel.maps import Map

__all__ = ["SessionTable"]

Words = NDArray[np.uint32]
Slots = tuple[NDArray[np.intp], NDArray[np.intp]]  # buckets, and places in them

_WORDS = np.arange(SNF_ENTRIES) // 8  # of tags, by entry
_GOLDEN = np.uint32(GOLDEN)

# Rows that look for room at a time: they do not see each other's choice of a bucket, so that they are few beside those.
_STEP, _STEPS = 4096, 16
_ROOM_OF_PLACES = 4  # a place is written while its bucket is filled to four fifths, which leaves 85 % to tunnels
_HOLD_S = 0.1  # a packet is looked at for some microseconds


def _mix(h: Words, v: Any) -> Words:
    """Mix *v* into *h* as mix() of hash.h does."""
    h = (h ^ v) * _GOLDEN
    return h ^ h >> np.uint32(15)


def _words(addresses: Iterable[str]) -> Words:
    """Return the four words of each address as they stand in a packet."""
    return np.frombuffer(b"".join(map(address_bytes, addresses)), np.uint32).reshape(-1, 4)


def _as_in_packets(ipv4: Words) -> Words:
    """Return IPv4 addresses that are numbers as the words that stand in a packet."""
    words: Words = ipv4.astype(">u4").view(np.uint32)
    return words


def _flag(has: NDArray[np.bool_], bit: int) -> Words:
    return np.where(has, np.uint32(bit), np.uint32(0))


def _at(entries: NDArray[np.void], which: NDArray[Any]) -> NDArray[np.void]:
    """Return some entries; numpy would copy them field by field."""
    some: NDArray[np.void] = entries.view(f"V{entries.dtype.itemsize}")[which].view(entries.dtype)
    return some


def _first_of(words: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return a row of each distinct word."""
    return np.unique(words, return_index=True)[1]


def _first_free(there: NDArray[np.uint8], tags: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first place where an entry may be written in each of two buckets (n, 2), and how many there are.

    *there* are (n, 2, 16) tags of the buckets.
    """
    same = there == tags[:, None, None]
    crowded = np.stack([same[:, :, :8].sum(axis=2), same[:, :, 8:].sum(axis=2)], axis=2) >= SNF_SAME_TAGS
    free = np.logical_and(there[:, :, :SNF_ENTRIES] == TAG_FREE, ~crowded[:, :, _WORDS])
    return free.argmax(axis=2), free.sum(axis=2)


class SessionTable:
    """The map ``sessions`` and what belongs to it; ``refused`` counts entries that found no room.

    ``placeless`` counts sessions that found none for their place, which takes none that tunnels may need.

    *control* is the mapped ``struct control``.
    """

    def __init__(self, buckets: Map, endpoints_fd: int, control: NDArray[np.void]) -> None:
        self.refused = self.placeless = 0
        self._map = mmap.mmap(buckets.fd, len(buckets) * buckets.value.itemsize, mmap.MAP_SHARED)
        table = np.frombuffer(self._map, buckets.value)
        self._entries, self._tags = table["entries"], table["tags"].view(np.uint8)
        self._entry = self._entries.dtype  # struct entry
        self._words = self._entries.view(np.uint32).reshape(len(buckets), SNF_ENTRIES, -1)
        self._step = max(_STEP, len(buckets) // _STEPS)
        self._buckets = np.uint64(len(buckets))
        self._control = control
        self._held: deque[tuple[float, Slots]] = deque()
        self._endpoints = Endpoints(endpoints_fd)
        self._holders = Holders()

    # -- rows for the programs ---------------------------------------------

    def put_tunnels(self, rows: Iterable[PutTunnel]) -> None:
        """Bind tunnels to sessions. A row's UE addresses, where given, are checked on each of its flows."""
        self.put_tunnel_columns(TunnelColumns.of(rows))

    def put_tunnel_columns(self, rows: TunnelColumns) -> None:
        """Bind tunnels to sessions, as `put_tunnels` does, a million in a second."""
        if not len(rows):
            return
        numbers = np.array([self._endpoints.number(address) for address in rows.addresses], np.uint32)
        entries = np.zeros(len(rows), self._entry)
        entries["key"], entries["session"] = rows.teid, rows.session
        entries["head"] = np.uint32(ENTRY_TUNNEL) | numbers[rows.address]
        entries["head"] |= _flag(rows.down, ENTRY_DOWNLINK) | _flag(rows.routed, ENTRY_ROUTED)
        self._check_ue(entries, rows)
        known = entries["head"] & ENTRY_SCOPE > 0
        self.refused += len(rows) - int(known.sum())
        entries = _at(entries, known)
        inserted = self._put(entries)
        self._endpoints.use(_scopes(_at(entries, inserted)))

    def drop_tunnels(self, rows: Iterable[tuple[str, int]]) -> None:
        """Delete (receiving address, TEID) rows."""
        entries = self._tunnels(list(dict.fromkeys(rows)), make=False)
        entries = entries[entries["head"] & ENTRY_SCOPE > 0]
        self._endpoints.leave(_scopes(entries[self._drop(entries)]))

    def has_tunnels(self, keys: list[tuple[str, int]]) -> NDArray[np.bool_]:
        """Say of each (receiving address, TEID) whether it is bound to a session."""
        entries = self._tunnels(keys, make=False)
        _, found = self._find(entries, *self._places(entries))
        return found & (entries["head"] & ENTRY_SCOPE > 0)

    def put_ues(self, rows: Iterable[tuple[int, str, int]]) -> None:
        """Write (number of a network instance, UE address or IPv6 prefix, session) rows.

        A port without an instance finds an address as long as one session has it; when two do, it
        could be of either and is of neither.
        """
        data = {(instance, address): session for instance, address, session in rows}
        several: dict[str, set[int]] = {}
        for instance, address in data:
            if others := self._holders.add(address, instance):
                several[address] = others
        self._put(_ue_entries([(*key, session) for key, session in data.items() if key[1] not in several], self._entry))
        self._write_ues([(i, a, data.get((i, a), 0)) for a, instances in several.items() for i in instances])

    def put_ipv4_columns(self, instances: Words, addresses: Words, sessions: Words) -> None:
        """Write IPv4 addresses of UEs, as numbers, no two of one instance, as `put_ues` does."""
        alone = self._holders.add_alone(addresses, instances)
        entries = np.zeros(len(addresses), self._entry)
        entries["key"] = _as_in_packets(addresses)
        entries["head"], entries["session"] = np.uint32(ENTRY_IPV4) | instances, sessions
        self._put(_at(entries, alone))
        several = (column[~alone].tolist() for column in (instances, addresses, sessions))
        self.put_ues([(i, ipv4_text(address), s) for i, address, s in zip(*several, strict=True)])

    def drop_ues(self, rows: Iterable[tuple[int, str]]) -> None:
        """Delete (number of a network instance, UE address or IPv6 prefix) rows."""
        data = list(rows)
        left = {address: self._holders.leave(address, instance) for instance, address in data}
        self._drop(_ue_entries([(i, a, 0) for i, a in data], self._entry))
        self._write_ues([(i, a, 0) for a, instances in left.items() for i in instances])

    def put_groups(self, groups: Mapping[int, int]) -> None:
        """Write the group of each session, by number; 0: none."""
        entries = self._of_sessions(ENTRY_GROUP, groups)
        some = entries["more"] > 0
        if some.any():
            self._control["groups"] = 1
            self._put(entries[some])
        if self._control["groups"][0]:
            self._drop(entries[~some])

    def put_places(self, places: Mapping[int, int]) -> None:
        """Write the place of each session, by number, for which its delays are counted; 0: none."""
        entries = self._of_sessions(ENTRY_PLACE, places)
        some = entries["more"] > 0
        if some.any():
            self._put(entries[some], _ROOM_OF_PLACES)
        self._drop(entries[~some])

    def places(self) -> Words:
        """Return the places that sessions have."""
        placed = (self._entries["head"] & ENTRY_KIND == ENTRY_PLACE) & (self._entries["session"] > 0)
        return np.unique(self._entries["more"][placed])

    def put_echo_place(self, gnb: str, place: int) -> bool:
        """Count echoes that an address answers for a place, 0 for none; return whether it receives tunnels at all."""
        return self._endpoints.put_place(gnb, place)

    def _of_sessions(self, kind: int, words: Mapping[int, int]) -> NDArray[np.void]:
        """Return the entries that give sessions, by number, a word."""
        entries = np.zeros(len(words), self._entry)
        entries["key"] = entries["session"] = list(words)
        entries["head"], entries["more"] = kind, list(words.values())
        return entries

    def largest(self) -> int:
        """Return the largest session number there is, 0 when there is none."""
        return int(self._entries["session"].max(initial=0))

    def clear(self) -> None:
        """Forget all."""
        self._entries["session"] = 0
        self._tags[:] = TAG_FREE
        self._held.clear()
        self._endpoints.clear()
        self._holders = Holders()
        self._control["generation"] += 1

    def close(self) -> None:
        """Unmap the memory that is shared with the kernel."""
        del self._entries, self._words, self._tags, self._control
        self._map.close()

    def __len__(self) -> int:
        """Return how many entries there are."""
        return int(np.count_nonzero(self._entries["session"]))

    # -- rows to entries ---------------------------------------------------

    def _tunnels(self, keys: list[tuple[str, int]], *, make: bool) -> NDArray[np.void]:
        """Return entries of (receiving address, TEID) keys; scope 0 where the address is not known."""
        entries = np.zeros(len(keys), self._entry)
        number = self._endpoints.number if make else self._endpoints.known
        entries["key"] = [teid for _, teid in keys]
        entries["head"] = [ENTRY_TUNNEL | number(address) for address, _ in keys]
        return entries

    @staticmethod
    def _check_ue(entries: NDArray[np.void], rows: TunnelColumns) -> None:
        """Write the hash of the addresses by which a tunnel's UE is known; a shorter prefix than /64 is none."""
        has4, has6 = rows.has_ipv4, rows.has_ipv6 & np.isin(rows.ue_ipv6_length, (0, 64))
        hash4, hash6 = _as_in_packets(rows.ue_ipv4) * _GOLDEN, np.zeros(len(rows), np.uint32)
        if has6.any():
            hash6[has6] = _hash6(np.ascontiguousarray(rows.ue_ipv6[has6]).view(np.uint32))
        both = (hash4 >> np.uint32(16)) | (hash6 & np.uint32(0xFFFF0000))
        entries["more"] = np.select([has4 & has6, has4, has6], [both, hash4, hash6], np.uint32(0))
        entries["head"] |= _flag(has4, ENTRY_HAS_IPV4) | _flag(has6, ENTRY_HAS_IPV6)

    def _write_ues(self, rows: list[tuple[int, str, int]]) -> None:
        """Write the entries of addresses that several instances have; session 0: the one that is there."""
        entries = _ue_entries(rows, self._entry)
        if not len(entries):
            return
        (bucket, place), found = self._find(entries, *self._places(entries))
        there = np.where(found, self._entries["session"][bucket, place], np.uint32(0))
        entries["session"] = np.where(entries["session"] > 0, entries["session"], there)
        sessions: dict[str, set[int]] = {}
        for (_, address, _), session in zip(rows, entries["session"].tolist(), strict=True):
            sessions.setdefault(address, set()).add(session)
        shared = np.array([len(sessions[address] - {0}) > 1 for _, address, _ in rows])
        entries["head"] |= np.where(shared, np.uint32(ENTRY_SHARED), np.uint32(0))
        self._put(entries[entries["session"] > 0])

    # -- entries in buckets ------------------------------------------------

    def _places(self, entries: NDArray[np.void]) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
        """Return the (n, 2) buckets in which each entry may be, and its tags there."""
        head = entries["head"]
        of = np.where(head & ENTRY_KIND == ENTRY_TUNNEL, head & (ENTRY_KIND | ENTRY_SCOPE), head & ENTRY_KIND)
        more = np.where(head & ENTRY_KIND == ENTRY_IPV6, entries["more"], np.uint32(0))
        h = _mix(_mix(_mix(np.zeros(len(entries), np.uint32), entries["key"]), of), more)
        hashes = np.stack([h, _mix(h, _GOLDEN)], axis=1).astype(np.uint64)
        return (hashes * self._buckets >> np.uint64(32)).astype(np.intp), np.clip(
            h & 0xFF, TAG_FREE + 1, TAG_HELD - 1
        ).astype(np.uint8)

    def _find(
        self, entries: NDArray[np.void], buckets: NDArray[np.intp], tags: NDArray[np.uint8]
    ) -> tuple[Slots, NDArray[np.bool_]]:
        """Return the (bucket, place) of each entry, and whether it is there."""
        row, second, place = np.nonzero(self._tags[buckets][:, :, :SNF_ENTRIES] == tags[:, None, None])
        there, wanted = self._read(buckets[row, second], place), _at(entries, row)
        which = np.uint32(ENTRY_KIND | ENTRY_SCOPE)
        same = (there["key"] == wanted["key"]) & ((there["head"] ^ wanted["head"]) & which == 0)
        same &= (wanted["head"] & ENTRY_KIND != ENTRY_IPV6) | (there["more"] == wanted["more"])
        found = np.zeros(len(entries), np.bool_)
        at = np.zeros((2, len(entries)), np.intp)
        row, second, place = row[same], second[same], place[same]
        found[row], at[0, row], at[1, row] = True, buckets[row, second], place
        return (at[0], at[1]), found

    def _read(self, bucket: NDArray[np.intp], place: NDArray[np.intp]) -> NDArray[np.void]:
        """Return copies of entries."""
        copies: NDArray[np.void] = self._words[bucket, place].view(self._entry)[:, 0]
        return copies

    def _put(self, entries: NDArray[np.void], least: int = 1) -> NDArray[np.bool_]:
        """Write entries, each key once, where *least* places are free; return which of them are new in the table."""
        self._release()
        new = np.ones(len(entries), np.bool_)
        may_be_there = len(entries) < self._step or self._has_kind(entries)
        for at in range(0, len(entries), self._step):
            some = entries[at : at + self._step]
            buckets, tags = self._places(some)
            fresh = new[at : at + self._step]
            if may_be_there:
                fresh &= ~self._replace(some, buckets, tags)
            self._insert(some, buckets, tags, fresh, least)
        return new

    def _has_kind(self, entries: NDArray[np.void]) -> bool:
        """Say whether the table has any entry of the kind of these: a start writes those of one kind together."""
        kind = entries["head"][0] & ENTRY_KIND
        there = self._entries["head"] & ENTRY_KIND == kind
        return bool((there & (self._entries["session"] > 0)).any())

    def _replace(
        self, entries: NDArray[np.void], buckets: NDArray[np.intp], tags: NDArray[np.uint8]
    ) -> NDArray[np.bool_]:
        """Write entries of keys that are there; return which are."""
        at, known = self._find(entries, buckets, tags)
        at = at[0][known], at[1][known]
        if len(at[0]):
            self._changed(self._read(*at))  # flows of the old entries ask again as well as those of the new
            for name in ("more", "head", "session"):
                self._entries[name][at] = entries[name][known]
        return known

    def _insert(
        self,
        entries: NDArray[np.void],
        buckets: NDArray[np.intp],
        tags: NDArray[np.uint8],
        new: NDArray[np.bool_],
        least: int,
    ) -> None:
        """Write entries of keys that are *new*, which is made false where there is no room."""
        left = np.flatnonzero(new)
        while len(left):
            mine = buckets[left]
            there = self._tags[mine]
            place, room = _first_free(there, tags[left])
            rows = np.arange(len(left))
            choice = np.where(room[:, 0] >= room[:, 1], 0, 1)
            bucket, place = mine[rows, choice], place[rows, choice]
            fits = room[rows, choice] >= least
            if least == 1:
                self.refused += int((~fits).sum())
            else:
                self.placeless += int((~fits).sum())
            new[left[~fits]] = False
            left, bucket, place = left[fits], bucket[fits], place[fits]
            first = _first_of(2 * bucket + _WORDS[place])  # one of those that chose the same word
            self._publish((bucket[first], place[first]), _at(entries, left[first]), tags[left[first]])
            left = np.delete(left, first)
        self._changed(entries)

    def _publish(self, at: Slots, entries: NDArray[np.void], tags: NDArray[np.uint8]) -> None:
        whole = entries.copy()
        whole["session"] = 0
        self._words[at] = whole.view(np.uint32).reshape(len(whole), self._words.shape[2])
        _barrier()
        self._entries["session"][at] = entries["session"]
        _barrier()
        self._tags[at] = tags

    def _drop(self, entries: NDArray[np.void]) -> NDArray[np.bool_]:
        """Delete entries; return which of them were there."""
        if not len(entries):
            return np.zeros(0, np.bool_)
        (bucket, place), found = self._find(entries, *self._places(entries))
        at = bucket[found], place[found]
        before = self._read(*at)
        self._entries["session"][at] = 0
        self._tags[at] = TAG_HELD
        self._held.append((time.monotonic(), at))
        self._changed(before)
        return found

    def _release(self) -> None:
        """Free the places that were left long enough ago."""
        until = time.monotonic() - _HOLD_S
        while self._held and self._held[0][0] < until:
            self._tags[self._held.popleft()[1]] = TAG_FREE

    def _changed(self, entries: NDArray[np.void]) -> None:
        """Make flows of the UEs of these entries ask for their session with their next packet."""
        _barrier()
        head, more = entries["head"], entries["more"]
        kind = head & ENTRY_KIND
        has4, has6 = head & ENTRY_HAS_IPV4 > 0, head & ENTRY_HAS_IPV6 > 0
        tunnel, group = kind == ENTRY_TUNNEL, bool((kind == ENTRY_GROUP).any())
        # Packets of a family by which the UE is not known pass unchecked, and so do those of link-local addresses.
        # Those of a session with further prefixes may have any address.
        wide = tunnel & (head & ENTRY_ROUTED > 0)
        family = (tunnel & ~has4 | wide).any(), (tunnel & ~has6 | wide).any(), tunnel.any()
        self._control["generation"] += np.array([any_ or group for any_ in family], np.uint32)
        bits = np.uint32(32 - SNF_RANGE_BITS)
        both = more[tunnel & has4 & has6]
        ranges = np.concatenate(
            [
                more[tunnel & (has4 ^ has6)] >> bits,
                (both & 0xFFFF) >> (bits - np.uint32(16)),
                both >> bits,
                entries["key"][kind == ENTRY_IPV4] * _GOLDEN >> bits,
                _mix(entries["key"][kind == ENTRY_IPV6], more[kind == ENTRY_IPV6]) * _GOLDEN >> bits,
            ]
        )
        self._control["ranges"][0][np.unique(ranges)] += 1


def _scopes(entries: NDArray[np.void]) -> Words:
    scopes: Words = entries["head"] & np.uint32(ENTRY_SCOPE)
    return scopes


def _hash6(words: Words) -> Words:
    """Return the hash of IPv6 addresses as ue_hash() of session.h does."""
    return _mix(words[:, 0].copy(), words[:, 1]) * _GOLDEN


def _ue_entries(rows: list[tuple[int, str, int]], entry: np.dtype[np.void]) -> NDArray[np.void]:
    """Return entries (``struct entry``) of (instance, UE address, session) rows; the last word about a key stays."""
    rows = list({(i, a): (i, a, s) for i, a, s in rows}.values())
    entries = np.zeros(len(rows), entry)
    if not rows:
        return entries
    words = _words(address for _, address, _ in rows)
    ipv6 = np.array([":" in address for _, address, _ in rows])
    entries["key"] = np.where(ipv6, words[:, 0], words[:, 3])
    entries["more"] = np.where(ipv6, words[:, 1], np.uint32(0))
    entries["head"] = np.where(ipv6, np.uint32(ENTRY_IPV6), np.uint32(ENTRY_IPV4)) | np.array(
        [i for i, _, _ in rows], np.uint32
    )
    entries["session"] = [s for _, _, s in rows]
    return entries


_fence = threading.Lock()


def _barrier() -> None:
    """Order stores, so that no later one is seen first: taking a lock that was freed is ordered on every processor."""
    for _ in range(2):
        with _fence:
            pass
