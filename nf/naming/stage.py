"""Names of flows: by the kernel, by payloads, and for the rest by their server.

The kernel names most flows alone and reports the name in a small record; `nf.naming.readers` reads the
payloads that it hands over, and the verdicts go back. Columns go in and out; Python loops are over new host names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nf.abi import SNF_BY_DNS, SNF_FLOW_NEW
from nf.apps.basis import RANK, Basis
from nf.apps.signatures import LOCAL, Signatures
from nf.flows.agree import Agree, alone
from nf.flows.book import FlowBook
from nf.flows.search import at, one_of
from nf.kernel.addresses import address_text
from nf.kernel.rows import joined, rows_at
from nf.naming.inference import Inference
from nf.naming.payloads import PUBLIC_NAMES
from nf.naming.readers import Found, Reading

__all__ = ["Kernel", "Naming", "tell_suffixes"]

_SPOKEN = one_of((Basis.SNI, Basis.HTTP_HOST, Basis.DNS_ANSWER))  # grounds that are a name in the packets
_MOST_TOLD = 262_144  # host names of DNS responses that flows may still be named by


class Kernel(Protocol):
    """The part of a data plane that naming uses (`nf.kernel.dataplane.DataPlane` describes each method)."""

    def read_events(self) -> NDArray[np.void]:
        """Return the flow events since the last call (``struct flow_event``)."""

    def read_payloads(self) -> NDArray[np.void]:
        """Return the payload records since the last call (``struct payload``)."""

    def read_names(self) -> NDArray[np.void]:
        """Return the names that the programs found since the last call (``struct named``)."""

    def read_flows(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Return (keys, flows) of all flows in the table."""

    def now_ns(self) -> int:
        """Return the time of the programs' clock."""

    def set_suffixes(self, apps: Mapping[str, int], ask: Iterable[str] = (), networks: Iterable[int] = ()) -> None:
        """Make the programs name flows by these suffixes."""

    def put_verdicts(
        self, keys: NDArray[np.void], numbers: NDArray[np.uint64], apps: NDArray[np.uint16], final: NDArray[np.bool_]
    ) -> None:
        """Answer about flows."""

    def new_generation(self) -> None:
        """Make each flow ask once again."""


class Naming:
    """The way from the rings of a data plane to names in *book*; *reading* reads the payloads.

    *agree*: as `Inference` has it.
    """

    def __init__(
        self, plane: Kernel, signatures: Signatures, book: FlowBook, reading: Reading, agree: Agree = alone
    ) -> None:
        self.plane, self.book, self.reading = plane, book, reading
        self.inference = Inference(signatures, agree=agree)
        self._told: dict[int, str] = {}  # names of DNS responses by their hash
        self._new: list[NDArray[np.void]] = []  # flow events since the last `name_by_server`
        self._use(signatures)

    def use(self, signatures: Signatures) -> None:
        """Name by other signatures from now on, in the kernel as well, and name running flows anew."""
        self._use(signatures)
        self._rename()

    def _use(self, signatures: Signatures) -> None:
        self.signatures = signatures
        self._of_several = one_of(signatures.networks_of_several, 0xFFFF)
        self.reading.use(signatures)
        self.inference.use(signatures)
        tell_suffixes(self.plane, signatures)

    def _rename(self) -> None:
        """Give running flows the application of the signatures in force; the kernel knows it with their next packet.
        Flows with a ground other than a name or an address stay as they are."""
        rows = self.book.rows
        named, hosts = self.book.named()
        spoken = _SPOKEN[rows["basis"]] & named
        apps, bases = rows["app"].copy(), rows["basis"].copy()
        number, which = np.unique(rows["name"][spoken], return_inverse=True)
        apps[spoken] = np.array([self.signatures.match(hosts[n]) for n in number.tolist()], np.uint16)[which]
        by_address = np.isin(bases, (int(Basis.NONE), int(Basis.ADDRESS))) | (named & (apps == 0))
        owner = self.inference.doubts.owners
        found = owner.of(rows["address_b"])
        found = np.where(found > 0, found, owner.of(rows["address_a"]))
        lost = by_address & (bases == int(Basis.ADDRESS)) & (found == 0)
        apps[lost], bases[lost] = 0, int(Basis.NONE)
        gained = by_address & (found > 0)
        apps[gained], bases[gained] = found[gained], int(Basis.ADDRESS)
        changed = np.flatnonzero(apps != rows["app"])
        if not len(changed):
            return
        numbers, apps = rows["number"][changed], apps[changed]
        self._write(numbers, apps, bases[changed], self.book.hosts(changed))
        keys, flows = self.plane.read_flows()
        place, mine = at(numbers, flows["number"])
        again = np.zeros(int(mine.sum()), np.bool_)
        self.plane.put_verdicts(rows_at(keys, mine), flows["number"][mine], apps[place[mine]], again)
        self.plane.new_generation()

    def drain(self, on_events: Callable[[NDArray[np.void]], None] | None = None) -> None:
        """Take events, names and payloads from the rings, and tell the kernel; *on_events* sees the events."""
        payloads = self.plane.read_payloads()
        events = self.plane.read_events()  # after the payloads: then it holds the beginning of each of their flows
        named = self.plane.read_names()  # after the events: then it holds each name that a flow was born with
        if len(events):
            self.book.add(events)
            self._new.append(rows_at(events, events["kind"] == SNF_FLOW_NEW))
            if on_events is not None:
                on_events(events)
        if len(named):
            self.hear(named)
        if len(events):
            self._answered(events)
        if len(named):
            self._named(named)
        if len(payloads):
            self.reading.read(payloads)
        self._take()

    # -- names by the kernel -----------------------------------------------

    def hear(self, named: NDArray[np.void]) -> None:
        """Remember the names of DNS responses: flows named by an answer come with the hash alone."""
        dns = rows_at(named, named["basis"] == SNF_BY_DNS)
        self._told.update(zip(dns["hash"].tolist(), _texts(dns), strict=True))
        while len(self._told) > _MOST_TOLD:
            del self._told[next(iter(self._told))]

    def _answered(self, events: NDArray[np.void]) -> None:
        born = rows_at(events, (events["kind"] == SNF_FLOW_NEW) & (events["name"] > 0))
        if not len(born):
            return
        self.book.tell(born["number"], born["app"])
        nameless = self.book.apps(born["number"])[1] == int(Basis.NONE)  # else its ClientHello came before
        born = rows_at(born, nameless)
        if len(born):
            names = [self._told.get(h, "") for h in born["name"].tolist()]
            basis = np.full(len(born), int(Basis.DNS_ANSWER), np.uint8)
            self._write(born["number"], self._better(born, names), basis, names)

    def _named(self, named: NDArray[np.void]) -> None:
        names = _texts(named)
        self._write(named["number"], self._better(named, names), named["basis"], names)

    def _better(self, records: NDArray[np.void], names: list[str]) -> NDArray[np.uint16]:
        """Return the applications of names: the kernel knows suffixes alone, brands and labels are matched here.

        The kernel gets the applications that differ from its own. *records* have ``key``, ``number`` and ``app``.
        """
        apps = records["app"].copy()
        ask = np.flatnonzero((apps == 0) | self._of_several[apps])
        apps[ask] = [self.signatures.match(names[i]) or int(apps[i]) for i in ask.tolist()]
        new = np.flatnonzero(apps != records["app"])
        if len(new):
            self.plane.put_verdicts(records["key"][new], records["number"][new], apps[new], np.ones(len(new), np.bool_))
        return apps

    # -- names by payloads and by servers -------------------------------------

    def _take(self) -> None:
        """Record the names that *reading* found, and tell the kernel those of payloads."""
        for found in self.reading.found():
            if found.key is None:
                better = RANK[found.basis] < RANK[self.book.apps(found.number)[1]]  # than the present ground
                self._record(found.rows(better))
                continue
            apps, stays = self._weigh(found)
            self._record(found.rows(~stays))
            self.plane.put_verdicts(found.key, found.number, apps, found.final)

    def _weigh(self, found: Found) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
        """Return each flow's application, and whether it is the one the kernel gave it.

        The namer does not know the names that the kernel found: only a name in the packets beats a DNS answer, and
        nothing beats the name of a ClientHello, which may be later than the payload that was read.
        """
        old_apps, old_bases, _ = self.book.apps(found.number)
        stays = (old_apps > 0) & (old_bases == int(Basis.DNS_ANSWER)) & ~_SPOKEN[found.basis]
        stays |= (old_bases == int(Basis.SNI)) & (found.basis != int(Basis.SNI))
        return np.where(stays, old_apps, found.app).astype(np.uint16), stays

    def _record(self, found: Found) -> None:
        if len(found):
            self._write(found.number, found.app, found.basis, found.name)

    def _write(
        self, numbers: NDArray[np.uint64], apps: NDArray[np.uint16], bases: NDArray[np.uint8], names: list[str]
    ) -> None:
        self.book.name(numbers, apps, bases, names, self.signatures.trust(apps, bases))

    def name_by_server(self) -> None:
        """Name the unnamed flows by their server: DNS answers first, then lessons of other subscribers' flows, then
        address lists.

        Their payload may have come before the answer that names them, or there was none.
        """
        if self._new:
            self._name_new()
        self.inference.update(self.book, self._now_s())

    def finish(self) -> None:
        """Look up all flows once more, as the knowledge of their servers may have changed."""
        self.inference.update(self.book, self._now_s(), everything=True)

    def _now_s(self) -> float:
        return self.plane.now_ns() / 1e9  # only differences are used

    def _name_new(self) -> None:
        new = joined(self._new)
        self._new.clear()
        apps, bases, _ = self.book.apps(new["number"])
        self._by_address(rows_at(new, (new["name"] > 0) & (apps == 0) & (bases == int(Basis.DNS_ANSWER))))
        unnamed = rows_at(new, bases == int(Basis.NONE))
        if len(unnamed):
            self.reading.servers(unnamed)
            self._take()

    def _by_address(self, born: NDArray[np.void]) -> None:
        """Name flows to which a DNS answer gave a name, but no application, by the owner of their server's address."""
        for e in born:
            number = int(e["number"])
            for end in ("address_b", "address_a"):
                app = self.signatures.match_address(address_text(e[end].tobytes()))
                if app:
                    basis = np.array([int(Basis.ADDRESS)], np.uint8)
                    self.book.name(
                        np.array([number], np.uint64), np.array([app], np.uint16), basis, [self.book.host(number)]
                    )
                    break


def tell_suffixes(plane: Kernel, signatures: Signatures) -> None:
    """Make the programs name flows by signatures."""
    ask = [local.lstrip(".") for local in LOCAL] + sorted(PUBLIC_NAMES)
    plane.set_suffixes(signatures.suffixes, ask, signatures.networks_of_several)


def _texts(named: NDArray[np.void]) -> list[str]:
    """Return the host names of records (``struct named``), which hold the bytes [a-z0-9._-] only."""
    raw, size = named["name"].tobytes(), named.dtype["name"].itemsize
    return [raw[size * i : size * i + n].decode("ascii") for i, n in enumerate(named["length"].tolist())]
