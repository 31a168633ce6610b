"""The flow book: ends, tunnels and name of each flow beside its counters, in columns by flow number.

The kernel reports a flow once, when it begins, and then each new tunnel; names come from user space
or from the kernel. A row stays until `keep` is called without its number. The rows are sorted by
number, so that looking up a whole snapshot of the flow table is one binary search a flow, in C.

The book is closed: everybody reads its rows, and only its methods write them. Application, ground and confidence
change together, and with them the values that they replaced (the columns ``prior_*``) and the reason of a doubt.
The columns ``prior_*`` are valid only where the ground is LEARNED or CONTRADICTED.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.abi import FLOW_GTPU, NO_RTT, SNF_FLOW_NEW
from nf.apps.basis import CONFIDENCE, Basis
from nf.flows.asked import Asked
from nf.flows.search import at
from nf.kernel.addresses import address_text
from nf.kernel.rows import joined, opaque, rows_at

__all__ = ["FlowBook", "Leg", "Moved"]

_BY_NAME = (int(Basis.SNI), int(Basis.HTTP_HOST))  # grounds that are a name in the packets
_SAID = ("app", "basis", "confidence")  # columns of the name of a flow, which change together
_LEAST_ROOM = 1024  # rows
_BEGUN = np.dtype([("session", "u4"), ("ttl", "u4")])

_ROW = np.dtype(
    [
        ("number", "u8"),
        ("first_ns", "u8"),
        ("last_ns", "u8"),
        ("address_a", "u1", 16),
        ("address_b", "u1", 16),
        ("teid", "u4", 2),
        ("outer", "u4", 2),  # pair of tunnel endpoints, 0: none
        ("rtt_min_us", "u4", 2),
        ("name", "u4"),
        ("app", "u2"),
        ("qfi", "u1", 2),
        ("prior_app", "u2"),  # application that a learned server, or a doubt, replaced
        ("told", "u2"),  # application of the name that DNS told the subscriber for the server
        ("doubt_app", "u2"),  # application that the server of a doubted flow belongs to; 0: none
        ("doubt", "u1"),  # nf.naming.doubts.Doubt
        ("port", "u2", 2),  # of ends a and b; 0 for anything but TCP and UDP
        ("basis", "u1"),
        ("confidence", "u1"),  # percent
        ("prior_basis", "u1"),
        ("prior_confidence", "u1"),
        ("proto", "u1"),
        ("ttl", "u1"),  # or hop limit, of the first packet
        ("first_dir", "u1"),
        ("gtpu", "?"),
    ]
)


@dataclass(slots=True)
class Leg:
    """One direction of a flow: the tunnels it was seen in. Sets keep the order of their first sight."""

    teids: dict[int, None] = field(default_factory=dict)
    qfis: dict[int, None] = field(default_factory=dict)
    outers: dict[tuple[str, str], None] = field(default_factory=dict)


class _Interned:
    """Numbered values, from 1; 0 is nothing."""

    def __init__(self, nothing: Any) -> None:
        self.values = [nothing]
        self._numbers = {nothing: 0}

    def __len__(self) -> int:
        return len(self.values)

    def number(self, value: Any) -> int:
        found = self._numbers.get(value)
        if found is None:
            found = self._numbers[value] = len(self.values)
            self.values.append(value)
        return found

    def keep(self, used: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Forget what is not in *used*; return the new number of each old one."""
        alive = np.zeros(len(self.values), np.bool_)
        alive[0], alive[used] = True, True
        self.values = [self.values[i] for i in np.flatnonzero(alive).tolist()]
        self._numbers = {value: i for i, value in enumerate(self.values)}
        return (np.cumsum(alive) - 1).astype(np.uint32)


@dataclass(frozen=True, slots=True)
class Moved:
    """Flows between two books: their rows, the host name of each, and the endpoints and tunnels that they refer to."""

    rows: NDArray[np.void]
    names: list[str]
    outers: dict[int, bytes]
    more: dict[tuple[int, int], list[tuple[int, int, int]]]

    def __len__(self) -> int:
        return len(self.rows)


class FlowBook:
    """The rows of the present flows, sorted by flow number."""

    def __init__(self) -> None:
        self._store, self._numbers = np.zeros(_LEAST_ROOM, _ROW), np.zeros(_LEAST_ROOM, np.uint64)
        self.asked = Asked(_LEAST_ROOM)
        self._count = 0  # rows that the store has; behind them is room
        self.returned = 0  # times that a flow came back to a tunnel it had left
        self._begun: list[NDArray[np.void]] = []  # (session, TTL) of flows that a UE began since `begun` was called
        self._fresh: list[NDArray[np.uint64]] = []  # numbers of flows that got a name since `fresh` was called
        self._names, self._outers = _Interned(""), _Interned(b"")
        self._early: dict[int, tuple[int, int, int, str]] = {}  # names of flows that the kernel did not report yet
        self._more: dict[tuple[int, int], list[tuple[int, int, int]]] = {}  # (number, dir): earlier (teid, qfi, outer)

    def __len__(self) -> int:
        return self._count

    @property
    def _rows(self) -> NDArray[np.void]:
        return self._store[: self._count]

    @property
    def rows(self) -> NDArray[np.void]:
        """The rows, read-only: writing into them raises ValueError. `add` and `keep` may move them."""
        view = self._store[: self._count]
        view.flags.writeable = False
        return view

    def at(self, numbers: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Return the row of each flow number, -1 where there is none."""
        rows, known = at(self._numbers[: self._count], numbers)
        return np.where(known, rows, -1)

    # -- events of the kernel -----------------------------------------------

    def add(self, events: NDArray[np.void]) -> None:
        """Record flow events (``struct flow_event``): new flows, and tunnels of flows."""
        if not len(events):
            return
        self._begin(events)
        tunnelled = rows_at(events, events["gtpu"] > 0)
        if not len(tunnelled):
            return
        ends = np.concatenate([tunnelled["outer_src"], tunnelled["outer_dst"]], axis=1)
        pairs, which = np.unique(ends.view("V32").ravel(), return_inverse=True)
        outer = np.array([self._outers.number(pair.tobytes()) for pair in pairs], np.uint32)[which]
        rows, direction = self.at(tunnelled["number"]), tunnelled["dir"] & 1
        # The first tunnel of a direction goes into the row; later ones are rare and are handled one by one.
        _, first = np.unique(rows * 2 + direction, return_index=True)
        later = np.ones(len(rows), np.bool_)
        later[first[self._rows["outer"][rows[first], direction[first]] == 0]] = False
        once = ~later
        self._rows["teid"][rows[once], direction[once]] = tunnelled["teid"][once]
        self._rows["qfi"][rows[once], direction[once]] = tunnelled["qfi"][once]
        self._rows["outer"][rows[once], direction[once]] = outer[once]
        for i in np.flatnonzero(later).tolist():
            self._move(int(rows[i]), int(direction[i]), tunnelled[i], int(outer[i]))

    def begun(self) -> NDArray[np.void]:
        """Return (session, ttl) of the flows that UEs of known sessions began since the last call."""
        found = np.concatenate([np.zeros(0, _BEGUN), *self._begun])
        self._begun.clear()
        return found

    def _begin(self, events: NDArray[np.void]) -> None:
        by_ue = (events["dir"] == events["ue_end"]) & (events["first_dir"] == events["dir"])
        by_ue = rows_at(events, by_ue & (events["session"] > 0) & (events["kind"] == SNF_FLOW_NEW))
        if len(by_ue):
            self._begun.append(np.stack([by_ue["session"], by_ue["ttl"]], axis=1).astype("u4").view(_BEGUN).ravel())
        numbers, first = np.unique(events["number"], return_index=True)
        new = self.at(numbers) < 0
        if not new.any():
            return
        e = rows_at(events, first[new])
        rows = np.zeros(len(e), _ROW)
        for name in ("number", "address_a", "address_b", "first_dir"):
            rows[name] = e[name]
        rows["gtpu"], rows["proto"], rows["ttl"] = e["gtpu"], e["key"]["proto"], e["ttl"]
        rows["port"] = np.stack([e["key"]["port_a"], e["key"]["port_b"]], axis=1).byteswap()
        rows["first_ns"] = rows["last_ns"] = e["at_ns"]
        rows["rtt_min_us"] = NO_RTT
        for number in self._early.keys() & set(rows["number"].tolist()) if self._early else ():
            row = rows[np.searchsorted(rows["number"], number)]
            row["app"], row["basis"], row["confidence"], name = self._early.pop(number)
            row["name"] = self._names.number(name)
            self._fresh.append(np.array([number], np.uint64))
        self._append(rows)

    def _append(self, rows: NDArray[np.void]) -> None:
        """Add rows that are sorted by number; the work grows with them, and not with the book."""
        # Several processors write at once, or a flow is reported late: rows behind it are sorted again.
        first = int(np.searchsorted(self._numbers[: self._count], rows["number"][0]))
        if first < self._count:
            rows = joined([self._store[first : self._count], rows])
            rows = rows_at(rows, np.argsort(rows["number"], kind="stable"))
        count = first + len(rows)
        if count > len(self._store):
            more = max(2 * len(self._store), count) - len(self._store)
            self._store = joined([self._store, np.zeros(more, _ROW)])
            self._numbers = np.concatenate([self._numbers, np.zeros(more, np.uint64)])
            self.asked.grow(more)
        opaque(self._store)[first:count] = opaque(rows)
        self._numbers[first:count] = rows["number"]
        self.asked.again(slice(first, count))
        self._count = count

    def _move(self, row: int, direction: int, event: Any, outer: int) -> None:
        r = self._rows[row]
        was = int(r["teid"][direction]), int(r["qfi"][direction]), int(r["outer"][direction])
        if was == (int(event["teid"]), int(event["qfi"]), outer):
            return
        now = int(event["teid"]), int(event["qfi"]), outer
        before = self._more.setdefault((int(r["number"]), direction), [])
        if now in before:  # a handover does not come back, so the flow passes in several tunnels
            self.returned += 1
            before.remove(now)
        before.append(was)
        self._rows["teid"][row, direction] = event["teid"]
        self._rows["qfi"][row, direction] = event["qfi"]
        self._rows["outer"][row, direction] = outer

    def seen(self, flows: NDArray[np.void], now_ns: int) -> None:
        """Take last time and least RTT of each flow from its state: the kernel keeps them for an interval only.

        *flows* had packets in the interval that ends at *now_ns* of the kernel's clock; each is there once.
        """
        rows = self.at(flows["number"])
        if len(rows) and rows.min() < 0:
            flows, rows = rows_at(flows, rows >= 0), rows[rows >= 0]
        mine = rows_at(self._rows, rows)  # written back as a whole: each column apart would fetch each row again
        mine["last_ns"] = now_ns - age_us(flows, now_ns).astype(np.int64) * 1000
        mine["gtpu"] |= (flows["flags"] & FLOW_GTPU) > 0
        mine["rtt_min_us"] = np.minimum(mine["rtt_min_us"], flows["rtt_min_us"])
        opaque(self._store)[rows] = opaque(mine)

    # -- names -------------------------------------------------------------

    def name(
        self,
        numbers: NDArray[np.uint64],
        apps: NDArray[np.uint16],
        bases: NDArray[np.uint8],
        names: list[str],
        confidence: NDArray[np.uint8] | None = None,
    ) -> None:
        """Record the latest answer about flows; *confidence* is in percent, that of the ground by default.

        A ground that needs a name (SNI, HTTP_HOST, or DNS_ANSWER without an application) becomes none without it.
        """
        nameless = np.array([not n for n in names], np.bool_)
        empty = nameless & (np.isin(bases, _BY_NAME) | ((bases == int(Basis.DNS_ANSWER)) & (apps == 0)))
        apps, bases = np.where(empty, 0, apps).astype(np.uint16), np.where(empty, 0, bases).astype(np.uint8)
        rows = self.at(numbers)
        known = rows >= 0
        trust = np.where(apps > 0, CONFIDENCE[bases] if confidence is None else confidence, 0)
        for i in np.flatnonzero(~known).tolist():
            self._early[int(numbers[i])] = (int(apps[i]), int(bases[i]), int(trust[i]), names[i])
        rows = rows[known]
        self._say(rows, apps[known], bases[known], trust[known])
        self.asked.again(rows)
        self._rows["name"][rows] = np.array([self._names.number(n) for n in names], np.uint32)[known]
        self._fresh.append(numbers[known])

    def name_by_server(self, rows: NDArray[np.intp], apps: NDArray[np.uint16], confidence: NDArray[np.uint8]) -> None:
        """Give flows the application that their server is known for; one `take_back` undoes any number of calls.

        *rows*, here and below, are indices as `at` and `fresh` return them, each once. *confidence* is in percent.
        """
        self._remember(rows[self._rows["basis"][rows] != int(Basis.LEARNED)])
        self._say(rows, apps, int(Basis.LEARNED), confidence)

    def name_by_class(self, rows: NDArray[np.intp], apps: NDArray[np.uint16], confidence: NDArray[np.uint8]) -> None:
        """Give flows the application that stands for a class, or none where *apps* is 0."""
        self._say(rows, apps, np.where(apps > 0, int(Basis.MODEL), int(Basis.NONE)), np.where(apps > 0, confidence, 0))

    def doubt(self, rows: NDArray[np.intp], why: NDArray[np.uint8], whose: NDArray[np.uint16]) -> None:
        """Take the application from flows whose name is not believed; `take_back` gives it back.

        *why* is a `nf.naming.doubts.Doubt`, *whose* the application that their server belongs to, 0 for none.
        """
        self._remember(rows)
        self._say(rows, 0, int(Basis.CONTRADICTED), 0)
        self._rows["doubt"][rows], self._rows["doubt_app"][rows] = why, whose
        self.asked.again(rows)

    def take_back(self, rows: NDArray[np.intp]) -> None:
        """Restore the name columns that flows had before `name_by_server` or `doubt`."""
        self._say(rows, *(self._rows[f"prior_{column}"][rows] for column in _SAID))
        self.asked.again(rows)

    def unname(self, rows: NDArray[np.intp]) -> None:
        """Take application and ground from flows; the host name stays."""
        self._say(rows, 0, int(Basis.NONE), 0)
        self.asked.again(rows)

    def _say(self, rows: NDArray[np.intp], app: Any, basis: Any, confidence: Any) -> None:
        """Write application, ground and confidence of flows together, and clear their doubt."""
        for column, values in zip(_SAID, (app, basis, confidence), strict=True):
            self._rows[column][rows] = values
        self._rows["doubt"][rows] = 0

    def _remember(self, rows: NDArray[np.intp]) -> None:
        for column in _SAID:
            self._rows[f"prior_{column}"][rows] = self._rows[column][rows]

    def tell(self, numbers: NDArray[np.uint64], apps: NDArray[np.uint16]) -> None:
        """Record the applications of the names that DNS told for the servers of flows."""
        rows = self.at(numbers)
        self._rows["told"][rows[rows >= 0]] = apps[rows >= 0]

    def fresh(self) -> NDArray[np.intp]:
        """Return the rows of the flows that got a name since the last call."""
        if not self._fresh:
            return np.zeros(0, np.intp)
        rows = self.at(np.unique(np.concatenate(self._fresh)))
        self._fresh.clear()
        return rows[rows >= 0]

    def apps(self, numbers: NDArray[np.uint64]) -> tuple[NDArray[np.uint16], NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the columns application, basis and confidence for *numbers*; 0 where nothing is known."""
        if not len(self._rows):
            return np.zeros(len(numbers), np.uint16), np.zeros(len(numbers), np.uint8), np.zeros(len(numbers), np.uint8)
        rows = self.at(numbers)
        known = rows >= 0
        return (
            np.where(known, self._rows["app"][rows], 0).astype(np.uint16),
            np.where(known, self._rows["basis"][rows], 0).astype(np.uint8),
            np.where(known, self._rows["confidence"][rows], 0).astype(np.uint8),
        )

    def host(self, number: int) -> str:
        """Return the host name of one flow, "" when none is known."""
        row = self._row(number)
        return "" if row is None else str(self._names.values[row["name"]])

    def named(self) -> tuple[NDArray[np.bool_], list[str]]:
        """Return which rows have a host name, and the host names by their number in the column ``name``."""
        return self._rows["name"] > 0, self._names.values

    def hosts(self, rows: NDArray[np.intp]) -> list[str]:
        """Return the host names of rows, "" where none is known."""
        values = self._names.values
        return [values[n] for n in self._rows["name"][rows].tolist()]

    def _row(self, number: int) -> Any:
        row = int(self.at(np.array([number], np.uint64))[0])
        return None if row < 0 else self.rows[row]

    def get(self, number: int) -> Any:
        """Return the row of one flow (a numpy structure), None when the book does not have it."""
        return self._row(number)

    def ends(self, number: int) -> tuple[str, str]:
        """Return the addresses of ends a and b, empty when the flow is not in the book."""
        row = self._row(number)
        if row is None:
            return "", ""
        return address_text(row["address_a"].tobytes()), address_text(row["address_b"].tobytes())

    # -- columns of flows --------------------------------------------------

    def tunnels(self, numbers: NDArray[np.uint64]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Return (n, 2) each: number of the endpoints (0: no tunnel) and TEID, the latest of each direction."""
        rows = self.at(numbers)
        if not len(self._rows):
            return np.zeros((len(numbers), 2), np.uint32), np.zeros((len(numbers), 2), np.uint32)
        known = (rows >= 0)[:, None]
        outer, teid = self._rows["outer"][rows], self._rows["teid"][rows]
        return np.where(known, outer, 0).astype(np.uint32), np.where(known, teid, 0).astype(np.uint32)

    def endpoint(self, outer: int, end: int) -> str:
        """Return one address of endpoints by their number, the sender's (0) or the receiver's (1); "" for 0."""
        return address_text(self._outers.values[outer][16 * end : 16 * end + 16]) if outer else ""

    def addresses(self, numbers: NDArray[np.uint64], end: NDArray[np.integer[Any]]) -> NDArray[np.void]:
        """Return the 16 bytes of one end's address (0: a, 1: b) of each flow; zeros where it is not known."""
        rows = self.at(numbers)
        if not len(self._rows):
            return np.zeros(len(numbers), "V16")
        a, b = (np.ascontiguousarray(self._rows[n][rows]).view("V16").ravel() for n in ("address_a", "address_b"))
        return np.where(rows >= 0, np.where(end == 0, a, b), np.zeros((), "V16"))

    @staticmethod
    def text(address: np.void) -> str:
        """Return the text of an address of `addresses`."""
        return address_text(address.tobytes())

    def ttls(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """Return TTL or hop limit of the first packet of each flow, 0 where it is not known."""
        if not len(self._rows):
            return np.zeros(len(numbers), np.uint8)
        rows = self.at(numbers)
        return np.where(rows >= 0, self._rows["ttl"][rows], 0).astype(np.uint8)

    # -- one flow ----------------------------------------------------------

    def _tunnels(self, number: int, direction: int) -> Iterator[tuple[int, int, tuple[str, str]]]:
        """Yield (TEID, QFI, endpoints) of one direction of a flow, in the order they were seen."""
        row = self._row(number)
        if row is None or not row["outer"][direction]:
            return
        now = int(row["teid"][direction]), int(row["qfi"][direction]), int(row["outer"][direction])
        for teid, qfi, outer in (*self._more.get((number, direction), ()), now):
            raw = self._outers.values[outer]
            yield teid, qfi, (address_text(raw[:16]), address_text(raw[16:]))

    def leg(self, number: int, direction: int) -> Leg:
        """Return the tunnels of one direction of a flow."""
        leg = Leg()
        for teid, qfi, outer in self._tunnels(number, direction):
            leg.teids[teid] = None
            leg.outers[outer] = None
            if qfi:
                leg.qfis[qfi] = None
        return leg

    def receivers(self, number: int) -> list[tuple[str, int]]:
        """Return the (receiving address, TEID) pairs of a flow, the latest of each direction."""
        found = []
        for direction in (0, 1):
            tunnels = list(self._tunnels(number, direction))
            if tunnels:
                teid, _, (_, receiver) = tunnels[-1]
                found.append((receiver, teid))
        return found

    def keep(self, numbers: NDArray[np.uint64]) -> None:
        """Forget all flows but *numbers*."""
        rows, stays = self.at(np.sort(numbers)), np.zeros(self._count, np.bool_)
        stays[rows[rows >= 0]] = True
        self._retain(stays)

    def forget(self, numbers: NDArray[np.uint64]) -> None:
        """Forget the flows *numbers*; those that the book does not have are none of its."""
        rows, stays = self.at(numbers), np.ones(self._count, np.bool_)
        stays[rows[rows >= 0]] = False
        self._retain(stays)

    def give(self, numbers: NDArray[np.uint64]) -> Moved:
        """Forget the flows *numbers*, sorted, and return them for the book of another process."""
        rows = self.at(numbers)
        rows = rows[rows >= 0]
        taken, gone = rows_at(self._rows, rows), set(numbers.tolist())
        more = {key: list(past) for key, past in self._more.items() if key[0] in gone} if self._more else {}
        used = {*taken["outer"].ravel().tolist(), *(outer for past in more.values() for _, _, outer in past)}
        moved = Moved(taken, self.hosts(rows), {outer: self._outers.values[outer] for outer in used}, more)
        self.forget(numbers)
        return moved

    def adopt(self, moved: Moved) -> None:
        """Take flows that another book gave."""
        new = self.at(moved.rows["number"]) < 0
        rows = rows_at(moved.rows, new)
        if not len(rows):
            return
        names = np.array([self._names.number(name) for name in moved.names], np.uint32)
        rows["name"] = names[new]
        outers = {old: self._outers.number(pair) for old, pair in moved.outers.items()}
        rows["outer"] = np.array([outers[o] for o in rows["outer"].ravel().tolist()], np.uint32).reshape(-1, 2)
        self._append(rows)
        for key, past in moved.more.items():
            self._more.setdefault(key, [(teid, qfi, outers[o]) for teid, qfi, o in past])

    def _retain(self, stays: NDArray[np.bool_]) -> None:
        """Move the rows that stay together, from the first that goes on."""
        self._early.clear()
        if stays.all():
            return
        gone = set(self._numbers[: self._count][~stays].tolist()) if self._more else ()
        first = int(stays.argmin())
        kept = rows_at(self._rows[first:], stays[first:])
        count = first + len(kept)
        opaque(self._store)[first:count] = opaque(kept)
        self._numbers[first:count] = kept["number"]
        self.asked.keep(first, stays[first:])
        self._count = count
        for key in [key for key in self._more if key[0] in gone]:
            del self._more[key]
        if len(self._names) > 2 * count + _LEAST_ROOM:  # many names of flows that are gone
            self._rows["name"] = self._names.keep(self._rows["name"])[self._rows["name"]]


def age_us(flows: NDArray[np.void], now_ns: int) -> NDArray[np.uint32]:
    """Return how long ago each flow had its last packet, by the low half of the microsecond clock (``abi.h``)."""
    age = np.uint32((now_ns // 1000) & 0xFFFF_FFFF) - flows["last_us"]  # wraps as the clock does
    age[flows["packets"] == 0] = 0xFFFF_FFFF
    return np.minimum(age[:, 0], age[:, 1])
