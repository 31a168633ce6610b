"""Explanation of a flow's application: the finding of each ground, with the deciding one marked."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nf.apps.basis import Basis
from nf.apps.signatures import Signatures
from nf.flows.book import FlowBook
from nf.kernel.addresses import address_text
from nf.naming.class_model import CLASSES
from nf.naming.doubts import Doubt
from nf.naming.inference import Inference, client_is_b

__all__ = ["Ground", "Question", "explain", "find"]

_PROTOCOLS = {6: "tcp", 17: "udp"}
_DOUBTS = {
    Doubt.PREFIX: "its address belongs to {}",
    Doubt.LEARNED: "the named flows of many clients to its server were all of {}",
    Doubt.RESOLVER: "the subscriber was told its address for the name of {}, a VPN",
    Doubt.TUNNEL: "it fills its packets in both directions at once, as tunnels do",
}


@dataclass(frozen=True, slots=True)
class Ground:
    """The finding of one ground about a flow."""

    ground: str  # text of nf.apps.basis.Basis
    finding: str  # part of a sentence: the thing looked at, and the result
    application: str  # "": none by this ground
    confidence: int  # percent
    decides: bool

    def __str__(self) -> str:
        mark = "* " if self.decides else ""
        return f"{mark}{self.ground}: {self.finding}"


@dataclass(frozen=True, slots=True)
class Question:
    """A flow by its ends, in any order. `ends` raises ValueError for a text that is no address."""

    proto: int
    address: str
    port: int
    other_address: str
    other_port: int

    def ends(self) -> tuple[tuple[bytes, int], tuple[bytes, int]]:
        """Return the two ends as (16 bytes, port)."""
        return (_packed(self.address), self.port), (_packed(self.other_address), self.other_port)


def _packed(text: str) -> bytes:
    address = ipaddress.ip_address(text)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def find(book: FlowBook, question: Question) -> list[int]:
    """Return the numbers of the flows between two ends, the latest last."""
    rows = book.rows
    one, two = question.ends()
    hit = np.zeros(len(rows), np.bool_)
    for (a, port_a), (b, port_b) in ((one, two), (two, one)):
        of_port = np.flatnonzero(
            (rows["port"][:, 0] == port_a) & (rows["port"][:, 1] == port_b) & (rows["proto"] == question.proto)
        )
        for i in of_port.tolist():  # few flows share both ports
            hit[i] |= rows["address_a"][i].tobytes() == a and rows["address_b"][i].tobytes() == b
    found: list[int] = rows["number"][hit].tolist()
    return found


def explain(book: FlowBook, inference: Inference, signatures: Signatures, number: int, at_s: float) -> list[Ground]:
    """Return the findings about a flow, the strongest ground first; none for a flow that is not in the book."""
    row = book.get(number)
    return [] if row is None else list(_Flow(book, inference, signatures, row, at_s).grounds())


class _Flow:
    """One flow, with the sources of findings about it."""

    def __init__(self, book: FlowBook, inference: Inference, signatures: Signatures, row: Any, at_s: float) -> None:
        self.inference, self.signatures, self.row, self.at_s = inference, signatures, row, at_s
        self.number, self.basis = int(row["number"]), Basis(int(row["basis"]))
        self.name = book.host(self.number)
        end = 0 if client_is_b(np.array([row]))[0] else 1
        self.server = address_text(row["address_b" if end else "address_a"].tobytes())
        self.port, self.proto = int(row["port"][end]), int(row["proto"])
        self.book = book

    def grounds(self) -> Iterator[Ground]:
        """Yield the finding of each ground."""
        if self.row["doubt"]:
            whose = _DOUBTS[Doubt(int(self.row["doubt"]))].format(self._app(int(self.row["doubt_app"])) or "another")
            yield self._ground(Basis.CONTRADICTED, f"it says {self.name}, but {whose}", 0)
        yield from self._packets()
        yield self._told()
        yield self._learned()
        yield self._address()
        if self.basis is Basis.BEHAVIOUR:
            yield self._ground(Basis.BEHAVIOUR, "a protocol in its bytes, or its port", int(self.row["app"]))
        yield self._model()

    def _app(self, app: int) -> str:
        return self.signatures.name(app) if app else ""

    def _ground(self, basis: Basis, finding: str, app: int, confidence: int | None = None) -> Ground:
        decides = basis is self.basis
        sure = int(self.row["confidence"]) if decides else confidence or 0
        return Ground(basis.text, finding, self._app(app), sure, decides)

    def _of(self, name: str) -> tuple[str, int]:
        suffix, app = self.signatures.suffix_of(name)
        return (f"{name}, of {self._app(app)} by {suffix}" if app else f"{name}, of no application"), app

    def _packets(self) -> Iterator[Ground]:
        """Yield the finding of the name in the packets, if there is one."""
        spoken = {Basis.SNI, Basis.HTTP_HOST, Basis.CONTRADICTED}
        if self.basis in spoken and self.name:
            text, app = self._of(self.name)
            basis = Basis.HTTP_HOST if Basis.HTTP_HOST in (self.basis, int(self.row["prior_basis"])) else Basis.SNI
            yield self._ground(basis, f"it says {text}", app)

    def _told(self) -> Ground:
        if self.basis is Basis.DNS_ANSWER or (self.name and self.basis in (Basis.ADDRESS, Basis.BEHAVIOUR)):
            text, app = self._of(self.name)
            return self._ground(Basis.DNS_ANSWER, f"the subscriber asked for {text}", app)
        if told := int(self.row["told"]):
            return self._ground(Basis.DNS_ANSWER, f"the subscriber was told the address for {self._app(told)}", told)
        return self._ground(Basis.DNS_ANSWER, "no answer to the subscriber is used", 0)

    def _learned(self) -> Ground:
        where = f"{self.server} port {self.port} {_PROTOCOLS.get(self.proto, self.proto)}"
        server = self.inference.server(self.book, self.number, self.at_s) if self.proto in _PROTOCOLS else None
        if server is None:
            return self._ground(Basis.LEARNED, f"nothing named went to {where} lately", 0)
        app = self._app(server.app) or "no application"
        if server.shared:
            both = f"{app} and {self._app(server.other) or 'no application'}"
            return self._ground(Basis.LEARNED, f"{where} served {both}, so it names neither", 0)
        text = f"{where} served {app} alone: {server.evidence} pieces of evidence, the last {server.name}"
        if server.neighbours_shared:
            text += "; addresses beside it are shared"
        return self._ground(Basis.LEARNED, text, server.app)

    def _address(self) -> Ground:
        prefix, app = self.signatures.prefix_of(self.server)
        text = f"{self.server} is in {prefix}" if app else f"{self.server} is in no prefix of the list"
        return self._ground(Basis.ADDRESS, text, app)

    def _model(self) -> Ground:
        rows = self.inference.patterns.rows  # sorted
        at = int(np.searchsorted(rows["number"], np.uint64(self.number)))
        mine = rows[at : at + 1][rows["number"][at : at + 1] == self.number]
        if not len(mine):
            return self._ground(Basis.MODEL, "what it does is not watched", 0)
        seen = f"over {int(mine['intervals'][0])} intervals"
        if self.basis is not Basis.MODEL:
            return self._ground(Basis.MODEL, f"{seen} it is like no class", 0)
        of_class = self.signatures.app_class(int(self.row["app"]))
        return self._ground(Basis.MODEL, f"{seen} it looks like {of_class}, one of {len(CLASSES)} classes", 0)
