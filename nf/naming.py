"""Names of flows: what the kernel found, what payloads say, and for the rest what is known of their server.

The kernel names most flows alone and tells the name in a small record; payloads that it hands over are
read by `nf.apps.namer`, whose verdict goes back. Columns go in and out; Python loops are over payloads,
new host names and flows that nothing has named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from nf.apps.basis import Basis
from nf.apps.namer import PUBLIC_NAMES, Namer, Payload, Verdict
from nf.apps.signatures import LOCAL, Signatures
from nf.flowbook import FlowBook
from nf.inference import Inference
from nf.kernel.dataplane import DataPlane, address_text

__all__ = ["Naming"]

_FLOW_NEW = 1  # SNF_FLOW_NEW of abi.h
_BY_DNS = 3  # SNF_BY_DNS of abi.h
_SPOKEN = (int(Basis.SNI), int(Basis.HTTP_HOST), int(Basis.DNS_ANSWER))  # grounds that are a name in the packets
_MOST_TOLD = 262_144  # host names of DNS responses that flows may still be named by


class Naming:
    """Reads the rings of a data plane and writes names into *book*.

    ``clock_offset_s`` is what the kernel's clock lacks of the time since the epoch.
    """

    def __init__(self, plane: DataPlane, signatures: Signatures, book: FlowBook, clock_offset_s: float) -> None:
        self.plane, self.book = plane, book
        self.namer = Namer(signatures)
        self.inference = Inference()
        self._clock_offset_s = clock_offset_s
        self._told: dict[int, str] = {}  # names of DNS responses by their hash
        self._new: list[NDArray[np.void]] = []  # flow events since the last `name_by_server`
        self.use(signatures)

    def use(self, signatures: Signatures) -> None:
        """Name by other signatures from now on, in the kernel as well."""
        self.namer.signatures = signatures
        ask = [local.lstrip(".") for local in LOCAL] + sorted(PUBLIC_NAMES)
        self.plane.set_suffixes(signatures.suffixes, ask)

    def drain(self, on_events: Callable[[NDArray[np.void]], None] | None = None) -> None:
        """Take events, names and payloads from the rings, and tell the kernel; *on_events* sees the events."""
        payloads = self.plane.read_payloads()
        events = self.plane.read_events()  # after the payloads: then it holds the beginning of each of their flows
        named = self.plane.read_names()  # after the events: then it holds each name that a flow was born with
        if len(events):
            self.book.add(events)
            self._new.append(events[events["kind"] == _FLOW_NEW])
            if on_events is not None:
                on_events(events)
        if len(named):
            self._hear(named)
        if len(events):
            self._answered(events)
        if len(named):
            self._named(named)
        if len(payloads):
            self._read(payloads)

    # -- what the kernel found ---------------------------------------------

    def _hear(self, named: NDArray[np.void]) -> None:
        """Remember the names of DNS responses: flows that an answer names come with the hash alone."""
        dns = named[named["basis"] == _BY_DNS]
        self._told.update(zip(dns["hash"].tolist(), _texts(dns), strict=True))
        while len(self._told) > _MOST_TOLD:
            del self._told[next(iter(self._told))]

    def _answered(self, events: NDArray[np.void]) -> None:
        born = events[(events["kind"] == _FLOW_NEW) & (events["name"] > 0)]
        born = born[self.book.apps(born["number"])[1] == int(Basis.NONE)]  # its ClientHello may have been heard before
        if len(born):
            names = [self._told.get(h, "") for h in born["name"].tolist()]
            self.book.name(born["number"], born["app"], np.full(len(born), int(Basis.DNS_ANSWER), np.uint8), names)

    def _named(self, named: NDArray[np.void]) -> None:
        self.book.name(named["number"], named["app"], named["basis"], _texts(named))

    # -- what payloads say -------------------------------------------------

    def _read(self, payloads: NDArray[np.void]) -> None:
        answered, verdicts = [], []
        for i, payload in enumerate(self._payloads(payloads)):
            verdict = self.namer.feed(payload)
            if verdict is not None:
                answered.append(i)
                verdicts.append(verdict)
        if answered:
            rows = payloads[answered]
            apps, stays = self._weigh(rows["number"], verdicts)
            self._record([v for v, old in zip(verdicts, stays.tolist(), strict=True) if not old])
            self.plane.put_verdicts(rows["key"], rows["number"], apps, np.array([v.final for v in verdicts], np.bool_))

    def _weigh(
        self, numbers: NDArray[np.uint64], verdicts: Sequence[Verdict]
    ) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
        """Return each flow's application, and whether it is the one the kernel gave it.

        A DNS answer that the kernel used is not known to the namer, and only a name in the packets beats it.
        """
        apps, bases = np.array([(v.app, int(v.basis)) for v in verdicts]).T
        old_apps, old_bases, _ = self.book.apps(numbers)
        stays = (old_apps > 0) & (old_bases == int(Basis.DNS_ANSWER)) & ~np.isin(bases, _SPOKEN)
        return np.where(stays, old_apps, apps).astype(np.uint16), stays

    def _record(self, verdicts: Sequence[Verdict]) -> None:
        self.book.name(
            np.array([v.flow_id for v in verdicts], np.uint64),
            np.array([v.app for v in verdicts], np.uint16),
            np.array([int(v.basis) for v in verdicts], np.uint8),
            [v.name for v in verdicts],
        )

    def _payloads(self, records: NDArray[np.void]) -> Iterator[Payload]:
        """Yield ring records as values; whole columns are turned at once, which is many times cheaper than cells."""
        keys, back = records["key"], records["dir"] == 1
        address_a = np.ascontiguousarray(records["address_a"]).view("V16").ravel()
        address_b = np.ascontiguousarray(records["address_b"]).view("V16").ravel()
        port_a, port_b = keys["port_a"].byteswap(), keys["port_b"].byteswap()
        columns = zip(
            records["number"].tolist(),
            records["session"].tolist(),
            keys["proto"].tolist(),
            np.where(back, address_b, address_a).tolist(),
            np.where(back, port_b, port_a).tolist(),
            np.where(back, address_a, address_b).tolist(),
            np.where(back, port_a, port_b).tolist(),
            records["seq"].tolist(),
            (records["at_ns"] / 1e9 + self._clock_offset_s).tolist(),
            records["length"].tolist(),
            records["data"],
            strict=True,
        )
        for number, session, proto, src, sport, dst, dport, seq, at_s, length, data in columns:
            yield Payload(
                flow_id=number,
                session=session,
                proto=proto,
                src=address_text(src),
                sport=sport,
                dst=address_text(dst),
                dport=dport,
                data=data[:length].tobytes(),
                seq=seq,
                at_s=at_s,
            )

    # -- what is known of their servers --------------------------------------

    def name_by_server(self) -> None:
        """Name the flows that nothing has named by their server: DNS answers first, then what other subscribers'
        flows taught of it, then address lists.

        Their payload may have come before the answer that names them, or there was none.
        """
        if self._new:
            self._name_new()
        self.inference.update(self.book, self._now_s())

    def finish(self) -> None:
        """Ask once more for all flows: what their servers are known for may have changed since."""
        self.inference.update(self.book, self._now_s(), everything=True)

    def _now_s(self) -> float:
        return self.plane.now_ns() / 1e9 + self._clock_offset_s

    def _name_new(self) -> None:
        new = np.concatenate(self._new)
        self._new.clear()
        verdicts = []
        apps, bases, _ = self.book.apps(new["number"])
        self._by_address(new[(new["name"] > 0) & (apps == 0) & (bases == int(Basis.DNS_ANSWER))])
        for e in new[bases == int(Basis.NONE)]:
            ends = address_text(e["address_a"].tobytes()), address_text(e["address_b"].tobytes())
            at_s = int(e["at_ns"]) / 1e9 + self._clock_offset_s
            verdict = self.namer.by_server(int(e["number"]), int(e["session"]), *ends, at_s)
            if verdict is not None:
                verdicts.append(verdict)
        if verdicts:
            self._record(verdicts)

    def _by_address(self, born: NDArray[np.void]) -> None:
        """Name flows by the owner of their server's address that a DNS answer gave a name, but no application."""
        for e in born:
            number = int(e["number"])
            for end in ("address_b", "address_a"):
                app = self.namer.signatures.match_address(address_text(e[end].tobytes()))
                if app:
                    self._record([Verdict(number, app, Basis.ADDRESS, self.book.host(number), final=False)])
                    break


def _texts(named: NDArray[np.void]) -> list[str]:
    """Return the host names of records (``struct named``), which hold the bytes [a-z0-9._-] only."""
    raw, size = named["name"].tobytes(), named.dtype["name"].itemsize
    return [raw[size * i : size * i + n].decode("ascii") for i, n in enumerate(named["length"].tolist())]
