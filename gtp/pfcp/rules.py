"""The rules of one session, their tunnels and addresses, and the record in which they are kept at rest."""

from __future__ import annotations

import ipaddress
import struct
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from gtp.events import Identity, Session, Side, Tunnel
from gtp.packing import DIGITS, FIELDS, Constant, Packer, Shape, forms_of
from gtp.pfcp.ie import FTeid, Interface, OuterHeader, UeAddress
from gtp.pfcp.message import Body, Far, Pdr
from gtp.rows import Rows

__all__ = ["Name", "Rules", "RulesPacker", "peers_of"]

_NOT_ACCESS = (Interface.CORE, Interface.N6_LAN, Interface.CP_FUNCTION)  # the SMF answers router solicitations

Name = tuple[str, str, int]  # ("up" or "cp", address, SEID)


@dataclass(slots=True)
class Rules:
    """The rules of one session."""

    number: int
    smf: str
    upf: str
    identity: Identity = field(default_factory=Identity)
    dnn: str = ""
    snssai: str = ""
    csids: set[bytes] = field(default_factory=set)
    pdrs: dict[int, Pdr] = field(default_factory=dict)
    fars: dict[int, Far] = field(default_factory=dict)
    endpoints: dict[int, Pdr] = field(default_factory=dict)
    names: set[Name] = field(default_factory=set)
    place: int = 0  # of the record that it was read of

    def change(self, request: Body, response: Body) -> None:
        """Apply what an accepted request, and what the response chose.

        The standard does not lay down the order of elements. Removed rules go first, then created ones come,
        then what is updated changes, so that a rule which is removed and created in one message is the new one.
        """
        if request.identity:
            self.identity = request.identity
        self.dnn, self.snssai = request.dnn or self.dnn, request.snssai or self.snssai
        self.csids |= request.csids
        removed = self._remove(request)
        for pdr in request.create_pdrs:
            self.pdrs[pdr.pdr_id] = pdr
        for endpoint in request.endpoints:
            if endpoint.endpoint is not None:
                _merge_pdr(self.endpoints.setdefault(endpoint.endpoint, Pdr()), endpoint)
        for far in request.create_fars:
            self.fars[far.far_id] = far
        for pdr in request.update_pdrs:
            _merge_pdr(self.pdrs.setdefault(pdr.pdr_id, Pdr(pdr.pdr_id)), pdr)
        for far in request.update_fars:
            _merge_far(self.fars.setdefault(far.far_id, Far(far.far_id)), far)
        self._chosen(request, response, removed)

    def _remove(self, request: Body) -> dict[int, Pdr]:
        """Remove the rules that a request removes; return the detection rules among them."""
        removed = {number: self.pdrs.pop(number) for number in request.remove_pdrs if number in self.pdrs}
        for number in request.remove_endpoints:
            self.endpoints.pop(number, None)
        for number in request.remove_fars:
            self.fars.pop(number, None)
        return removed

    def _chosen(self, request: Body, response: Body, removed: dict[int, Pdr]) -> None:
        """Fill in F-TEIDs and addresses that the UPF chose; rules with one CHOOSE ID share one (5.5.1).

        A rule that an accepted response lists exists, whatever the request said of it.
        """
        asked = {p.pdr_id: p.fteid for p in (*request.create_pdrs, *request.update_pdrs) if p.fteid is not None}
        by_choose_id: dict[int | None, FTeid] = {}
        for answer in response.created_pdrs:
            pdr = self.pdrs.setdefault(answer.pdr_id, removed.get(answer.pdr_id) or Pdr(answer.pdr_id))
            if answer.fteid is not None:
                if answer.pdr_id in asked:
                    by_choose_id[asked[answer.pdr_id].choose_id] = answer.fteid
                pdr.fteid = answer.fteid
            pdr.ue.extend(ue for ue in answer.ue if ue not in pdr.ue)
        for endpoint in response.endpoints:
            if endpoint.endpoint is not None:
                _merge_pdr(self.endpoints.setdefault(endpoint.endpoint, Pdr()), endpoint)
        by_choose_id.pop(None, None)
        listed = {answer.pdr_id for answer in response.created_pdrs}
        for number, fteid in asked.items() if by_choose_id else ():
            if fteid.choose and number not in listed and (chosen := by_choose_id.get(fteid.choose_id)) is not None:
                self.pdrs[number].fteid = chosen

    def value(self) -> Session:
        """Return the session as the rules say it now."""
        tunnels: dict[tuple[str, int], Tunnel] = {}
        ipv4 = ipv6 = instance = ""
        prefixes: dict[str, None] = {}
        for pdr in self.pdrs.values():
            said = self.endpoints.get(pdr.endpoint, _NOTHING) if pdr.endpoint is not None else _NOTHING
            source = pdr.source if pdr.source is not None else said.source
            fteid = pdr.fteid or said.fteid
            for ue in (*pdr.ue, *said.ue) if said.ue else pdr.ue:
                ipv4, ipv6 = ipv4 or ue.ipv4, ipv6 or ue.ipv6
                prefixes |= dict.fromkeys(_as_prefix(a) for a in (ue.ipv4, ue.ipv6) if a and a not in (ipv4, ipv6))
            prefixes |= dict.fromkeys((*pdr.routes, *said.routes))
            if source == 0 or not instance:  # access
                instance = pdr.instance or said.instance or instance
            side = _side_of_source(source)
            if fteid is not None and not fteid.choose and side is not None:
                _add_tunnels(tunnels, fteid, side, True)
        for first in filter(None, (ipv4, ipv6)):
            prefixes.pop(_as_prefix(first), None)
        for far in self.fars.values():
            if far.header is None or not far.forwards:
                continue  # the UE is idle: nothing is sent to its radio tunnel (TS 23.502, 4.2.6)
            if (side := _side_of_destination(far.destination)) is not None:
                _add_tunnels(tunnels, far.header, side, False)
        return Session(
            f"pfcp-{self.number}",
            "pfcp",
            self.identity,
            ipv4,
            ipv6,
            self.dnn or instance,
            self.snssai,
            self.dnn or instance,
            tuple(tunnels.values()),
            tuple(prefixes),
        )


_NOTHING = Pdr()


def _as_prefix(address: str) -> str:
    """Return an address beyond the first as a prefix: of IPv6 its /64, which is the UE's (TS 23.501, 5.8.2.2.3)."""
    if "/" in address:
        return address
    return str(ipaddress.ip_network(f"{address}/{64 if ':' in address else 32}", strict=False))


def _add_tunnels(tunnels: dict[tuple[str, int], Tunnel], end: FTeid | OuterHeader, side: Side, local: bool) -> None:
    for address in (end.ipv4, end.ipv6):
        if address and (address, end.teid) not in tunnels:
            tunnels[address, end.teid] = Tunnel(address, end.teid, side, local)


def _side_of_source(source: int | None) -> Side | None:
    """Return the direction of traffic that the UPF receives on an interface."""
    if source == 0:
        return Side.UPLINK
    return Side.DOWNLINK if source in _NOT_ACCESS else None


def _side_of_destination(destination: int | None) -> Side | None:
    """Return the direction of traffic that the UPF sends out of an interface."""
    if destination == 0:
        return Side.DOWNLINK
    return Side.UPLINK if destination in _NOT_ACCESS else None


def _merge_pdr(into: Pdr, new: Pdr) -> None:
    for name in ("far_id", "source", "instance", "endpoint"):
        if getattr(new, name) is not None:
            setattr(into, name, getattr(new, name))
    if new.fteid is not None and not (new.fteid.choose and into.fteid is not None):
        into.fteid = new.fteid
    if new.ue:
        into.ue = list(new.ue)
    if new.routes:
        into.routes = new.routes


def _merge_far(into: Far, new: Far) -> None:
    if new.action is not None:
        into.action = new.action
    if new.destination is not None:
        into.destination = new.destination
    if new.header is not None:
        into.header = new.header


# -- at rest -------------------------------------------------------------------


class RulesPacker:
    """Makes records of rules, and rules of records."""

    def __init__(self) -> None:
        self.packer = Packer()

    def pack(self, rules: Rules) -> bytes:
        """Return the rules as bytes."""
        i = rules.identity
        values: list[Any] = [rules.number, i.imsi, i.imei, i.msisdn, i.nai, i.msin]
        names = []
        for side, address, seid in sorted(rules.names):  # in one order, so that they are of one shape
            of_peer = address == (rules.smf if side == "cp" else rules.upf)
            names.append((side, of_peer))
            values += (seid,) if of_peer else (seid, address)
        pdrs = tuple([_split_pdr(p, values) for p in rules.pdrs.values()])
        fars = tuple([_split_far(f, values) for f in rules.fars.values()])
        endpoints = tuple([_split_pdr(e, values) for e in rules.endpoints.values()])
        values += rules.endpoints
        csids = tuple(sorted(rules.csids))
        network = (rules.smf, rules.upf, rules.dnn, rules.snssai)
        return self.packer.pack((network, tuple(names), pdrs, fars, endpoints, csids), values)

    def places_of(self, rows: Rows, imsi: str, keys: Collection[str]) -> list[int]:
        """Return the places of the sessions of a subscriber, and of those that have *keys*."""
        numbers = {int(key.rpartition("-")[2]) for key in keys if key.startswith("pfcp-")}
        digits, _ = forms_of(imsi)

        def looks(shape: Shape) -> list[bytes]:
            code = "<" + FIELDS[shape.kinds[0]]
            most = 1 << 8 * struct.calcsize(code)
            fields = [struct.pack(code, number) for number in numbers if number < most]
            return [digits, *fields] if shape.kinds[1] == DIGITS else fields

        found = []
        for place in rows.holding(looks):
            _, (number, of, *_) = self.packer.unpack(rows.get(place))
            if of == imsi or number in numbers:
                found.append(place)
        return found

    def between(self, rows: Rows) -> Counter[tuple[str, str]]:
        """Return how many sessions each SMF and UPF have; rows of one shape are all between the same two."""
        found: Counter[tuple[str, str]] = Counter()
        for shape, sessions in rows.sizes():
            found[peers_of(shape.constant)] += sessions
        found.update(peers_of(self.packer.constant(record)) for record in rows.odd)
        return found

    def unpack(self, record: bytes, place: int) -> Rules:
        """Return the rules that `pack` made *record* of; *place* is where it is kept."""
        (network, named, pdrs, fars, endpoints, csids), values = self.packer.unpack(record)
        each = iter(values)
        number, identity = next(each), Identity(*islice(each, 5))
        smf, upf, dnn, snssai = network
        names = _joined_names(network, named, each)
        return Rules(
            number,
            smf,
            upf,
            identity,
            dnn,
            snssai,
            set(csids),
            {p.pdr_id: p for p in [_joined_pdr(shape, each) for shape in pdrs]},
            {f.far_id: f for f in [_joined_far(shape, each) for shape in fars]},
            {next(each): e for e in [_joined_pdr(shape, each) for shape in endpoints]},
            names,
            place,
        )


def peers_of(constant: Constant) -> tuple[str, str]:
    """Return SMF and UPF of all records with this constant."""
    network = constant[0]
    return network[0], network[1]


def _joined_names(network: tuple[str, ...], named: Iterable[tuple[str, bool]], each: Iterator[Any]) -> set[Name]:
    names = set()
    for side, of_peer in named:
        seid = next(each)
        names.add((side, network[0 if side == "cp" else 1] if of_peer else next(each), seid))
    return names


def _split_pdr(p: Pdr, values: list[Any]) -> tuple[Any, ...]:
    """Append the varying part of a rule to *values*; return the rest."""
    values += (p.pdr_id, p.far_id)
    f = p.fteid
    if f is not None:
        values += (f.teid, f.ipv4, f.ipv6, f.choose_id)
    for ue in p.ue:
        values += (ue.ipv4, ue.ipv6)
    destinations = bytes([u.destination for u in p.ue])
    shape = (p.source, p.instance, p.endpoint, None if f is None else f.choose, destinations)
    if not p.routes:
        return shape
    values += p.routes
    return (*shape, len(p.routes))


def _joined_pdr(shape: tuple[Any, ...], each: Iterator[Any]) -> Pdr:
    source, instance, endpoint, choose, destinations, *more = shape
    pdr_id, far_id = next(each), next(each)
    fteid = None
    if choose is not None:
        teid, ipv4, ipv6, choose_id = islice(each, 4)
        fteid = FTeid(teid, ipv4, ipv6, choose, choose_id)
    ue = [UeAddress(next(each), next(each), d == 1) for d in destinations]
    routes = tuple(islice(each, more[0])) if more else ()
    return Pdr(pdr_id, far_id, source, fteid, ue, instance, endpoint, routes)


def _split_far(f: Far, values: list[Any]) -> tuple[Any, ...]:
    values.append(f.far_id)
    if f.header is not None:
        values += (f.header.teid, f.header.ipv4, f.header.ipv6)
    return (f.action, f.destination, f.header is not None)


def _joined_far(shape: tuple[Any, ...], each: Iterator[Any]) -> Far:
    action, destination, header = shape
    return Far(next(each), action, destination, OuterHeader(next(each), next(each), next(each)) if header else None)
