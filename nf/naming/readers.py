"""Reading payloads: columns of ring records in, columns of names out; in this process or in workers.

A record holds all that is needed of its flow, so that any process can read it. The memory, packets of split hellos
and DNS answers, belongs to the subscriber: one process reads all records of a subscriber.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from nf.apps.signatures import Signatures
from nf.kernel.addresses import address_text
from nf.naming.payloads import Namer, Payload, Verdict

__all__ = ["Found", "Here", "Reader", "Reading", "Status"]


@dataclass(frozen=True, slots=True)
class Found:
    """Names of n flows, as columns. ``key``: (n,) flow keys of payload records; None for flow events."""

    key: NDArray[np.void] | None
    number: NDArray[np.uint64]
    app: NDArray[np.uint16]
    basis: NDArray[np.uint8]
    final: NDArray[np.bool_]
    name: list[str]

    def __len__(self) -> int:
        return len(self.number)

    def rows(self, chosen: NDArray[np.bool_]) -> Found:
        """Return the rows where *chosen* is true."""
        key = None if self.key is None else self.key[chosen]
        names = [name for name, take in zip(self.name, chosen.tolist(), strict=True) if take]
        return Found(key, self.number[chosen], self.app[chosen], self.basis[chosen], self.final[chosen], names)


class Status(TypedDict):
    """Numbers of payloads given and not answered, of payloads never read, and of processes started anew."""

    waiting: int
    lost: int
    restarts: int


class Reading(Protocol):
    """A reader of payloads, which gives the names found later."""

    def read(self, records: NDArray[np.void]) -> None:
        """Take payload records (``struct payload``)."""

    def servers(self, events: NDArray[np.void]) -> None:
        """Take events of new flows (``struct flow_event``) that nothing has named, to name them by their server."""

    def found(self) -> Iterator[Found]:
        """Yield the names found since the last call."""

    def use(self, signatures: Signatures) -> None:
        """Name by other signatures from now on."""

    def status(self) -> Status:
        """Return the numbers of payloads that wait and that are lost, and of restarts."""

    def close(self) -> None:
        """End all processes that were started."""


class Reader:
    """Records in, names out by a `Namer`; the kernel's clock plus ``clock_offset_s`` is the time since the epoch."""

    def __init__(self, signatures: Signatures, clock_offset_s: float) -> None:
        self.namer = Namer(signatures)
        self._clock_offset_s = clock_offset_s

    def read(self, records: NDArray[np.void]) -> Found:
        """Return the names that payload records give."""
        answered, verdicts = [], []
        for i, payload in enumerate(self._payloads(records)):
            verdict = self.namer.feed(payload)
            if verdict is not None:
                answered.append(i)
                verdicts.append(verdict)
        return _found(records["key"][answered].copy(), verdicts)

    def servers(self, events: NDArray[np.void]) -> Found:
        """Return the names of new flows by their servers: DNS answers first, then address lists."""
        verdicts = []
        for e in events:
            ends = address_text(e["address_a"].tobytes()), address_text(e["address_b"].tobytes())
            at_s = int(e["at_ns"]) / 1e9 + self._clock_offset_s
            verdict = self.namer.by_server(int(e["number"]), int(e["session"]), *ends, at_s)
            if verdict is not None:
                verdicts.append(verdict)
        return _found(None, verdicts)

    def _payloads(self, records: NDArray[np.void]) -> Iterator[Payload]:
        """Yield ring records as values; whole columns are converted at once, many times cheaper than cell by cell."""
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


class Here:
    """A `Reading` in this process, at once."""

    def __init__(self, signatures: Signatures, clock_offset_s: float) -> None:
        self.reader = Reader(signatures, clock_offset_s)
        self._found: list[Found] = []

    def read(self, records: NDArray[np.void]) -> None:
        """As `Reading.read`."""
        self._found.append(self.reader.read(records))

    def servers(self, events: NDArray[np.void]) -> None:
        """As `Reading.servers`."""
        self._found.append(self.reader.servers(events))

    def found(self) -> Iterator[Found]:
        """As `Reading.found`."""
        found, self._found = self._found, []
        return (some for some in found if len(some))

    def use(self, signatures: Signatures) -> None:
        """As `Reading.use`."""
        self.reader.namer.signatures = signatures

    def status(self) -> Status:
        """As `Reading.status`."""
        return {"waiting": 0, "lost": 0, "restarts": 0}

    def close(self) -> None:
        """Do nothing: no process was started."""


def _found(keys: NDArray[Any] | None, verdicts: Sequence[Verdict]) -> Found:
    return Found(
        keys,
        np.array([v.flow_id for v in verdicts], np.uint64),
        np.array([v.app for v in verdicts], np.uint16),
        np.array([int(v.basis) for v in verdicts], np.uint8),
        np.array([v.final for v in verdicts], np.bool_),
        [v.name for v in verdicts],
    )
