"""From payload records to verdicts: the state between the packets of a flow, and what DNS taught.

A flow without a name hands at most three payload packets over. Each is tried as TLS, QUIC, HTTP and
DNS; a hello that is split waits for its rest. A flow that names nothing is asked by its address:
what this subscriber's own DNS answers said of it; then by the protocol its bytes show.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from nf.apps import dns, http, quic, tls
from nf.apps.basis import Basis
from nf.apps.behaviour import recognise
from nf.apps.errors import Malformed, NeedMore, NotThis
from nf.apps.signatures import Signatures

__all__ = ["Namer", "Payload", "Verdict"]

LAST_PACKET = 3  # SNF_HANDOFF of abi.h: there is none after it
_MAX_FLOWS = 32_768  # flows that wait for more packets
_MAX_LEARNED = 262_144  # (subscriber, address) pairs of DNS answers
_MIN_TTL_S = 300.0  # clients keep connecting to an address for longer than a short-lived record says
_MAX_TTL_S = 86_400.0
_TCP, _UDP = 6, 17
_DNS_PORTS = frozenset((53,))


@dataclass(frozen=True, slots=True)
class Payload:
    """The start of a transport payload. ``session`` is 0 when the subscriber is not known."""

    flow_id: int
    session: int
    proto: int
    src: str
    sport: int
    dst: str
    dport: int
    data: bytes
    seq: int  # TCP: sequence number of the first byte
    at_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a flow is. ``final``: no later packet will say otherwise."""

    flow_id: int
    app: int  # 0: no application owns the name, or there is none
    basis: Basis
    name: str
    final: bool


@dataclass(slots=True)
class _Flow:
    packets: int = 0
    done: bool = False  # packets that were on their way when the last word fell change nothing
    streams: dict[tuple[str, int], dict[int, bytes]] = field(default_factory=dict)  # TCP segments by sender
    crypto: dict[tuple[str, int], quic.CryptoStream] = field(default_factory=dict)
    given: tuple[int, Basis, str] | None = None


def _join(segments: dict[int, bytes]) -> bytes:
    """Return the bytes from the lowest sequence number on, as far as they follow each other."""
    base = min(segments, key=lambda s: (s - next(iter(segments)) + 0x8000_0000) & 0xFFFF_FFFF)
    joined = bytearray()
    for seq in sorted(segments, key=lambda s: (s - base) & 0xFFFF_FFFF):
        at = (seq - base) & 0xFFFF_FFFF
        if at > len(joined):
            break
        joined += segments[seq][len(joined) - at :]
    return bytes(joined)


class Namer:
    """Names flows. ``counters`` says what was tried in vain."""

    def __init__(self, signatures: Signatures) -> None:
        self.signatures = signatures
        self.counters: Counter[str] = Counter()
        self._flows: OrderedDict[int, _Flow] = OrderedDict()
        self._learned: OrderedDict[tuple[int, str, str], tuple[str, float]] = OrderedDict()

    def feed(self, p: Payload) -> Verdict | None:
        """Take a payload; return what it makes known of its flow, or None when more is needed."""
        flow = self._flows.setdefault(p.flow_id, _Flow())
        self._flows.move_to_end(p.flow_id)
        while len(self._flows) > _MAX_FLOWS:
            self._flows.popitem(last=False)
            self.counters["flows_forgotten"] += 1
        if flow.done:
            return None
        flow.packets += 1
        found = self._tcp(p, flow) if p.proto == _TCP else self._udp(p, flow)
        last = flow.packets >= LAST_PACKET
        if found is None:
            found = self._by_address(p) if last or flow.packets == 1 else None
            if found is None and last:
                found = self._by_behaviour(p)
            final = last
        else:
            final = found[1] in (Basis.SNI, Basis.HTTP_HOST) or last
        if final:
            flow.done = True
            flow.streams.clear()
            flow.crypto.clear()
            found = found or flow.given or (0, Basis.NONE, "")
        if found is None or (found == flow.given and not final):
            return None
        flow.given = found
        return Verdict(p.flow_id, *found, final=final)

    def forget(self, flow_id: int) -> None:
        """Drop what is kept of a flow."""
        self._flows.pop(flow_id, None)

    def dns_name(self, session: int, client: str, server: str, at_s: float) -> tuple[int, str] | None:
        """Return (application, name) that DNS told this subscriber of an address, while it holds."""
        learned = self._learned.get((session, "" if session else client, server))
        if learned is None or learned[1] < at_s:
            return None
        return self.signatures.match(learned[0]), learned[0]

    # -- protocols -----------------------------------------------------------

    def _tcp(self, p: Payload, flow: _Flow) -> tuple[int, Basis, str] | None:
        if p.dport in _DNS_PORTS or p.sport in _DNS_PORTS:
            return self._dns(p, tcp=True)
        segments = flow.streams.setdefault((p.src, p.sport), {})
        segments[p.seq] = max(segments.get(p.seq, b""), p.data, key=len)
        stream = _join(segments)
        return self._try(lambda: tls.record_name(stream), Basis.SNI, "tls") or self._try(
            lambda: http.host(stream), Basis.HTTP_HOST, "http"
        )

    def _udp(self, p: Payload, flow: _Flow) -> tuple[int, Basis, str] | None:
        if p.dport in _DNS_PORTS or p.sport in _DNS_PORTS:
            return self._dns(p)
        crypto = flow.crypto.setdefault((p.src, p.sport), quic.CryptoStream())
        return (
            self._try(lambda: self._quic(p.data, crypto), Basis.SNI, "quic")
            or self._try(lambda: quic.gquic_name(p.data), Basis.SNI, "gquic")
            or self._try(lambda: tls.datagram_name(p.data), Basis.SNI, "dtls")
        )

    @staticmethod
    def _quic(datagram: bytes, crypto: quic.CryptoStream) -> str:
        if not quic.open_initials(datagram, crypto):
            raise NotThis
        return crypto.name()

    def _try(self, parse: Callable[[], str], basis: Basis, what: str) -> tuple[int, Basis, str] | None:
        try:
            name = parse()
        except NotThis:
            return None
        except NeedMore:
            self.counters[f"{what}_incomplete"] += 1
            return None
        except Malformed:
            self.counters[f"{what}_malformed"] += 1
            return None
        if not name:
            self.counters[f"{what}_without_name"] += 1
            return None
        self.counters[f"{what}_named"] += 1
        return self.signatures.match(name), basis, name

    def _dns(self, p: Payload, *, tcp: bool = False) -> tuple[int, Basis, str] | None:
        try:
            answer = dns.parse(p.data, tcp=tcp)
        except NotThis:
            return None
        except Malformed:
            self.counters["dns_malformed"] += 1
            return None
        if answer.response:
            client = "" if p.session else p.dst
            until_s = p.at_s + min(_MAX_TTL_S, max(_MIN_TTL_S, answer.ttl_s))
            for address in answer.addresses:
                self._learned[p.session, client, address] = (answer.name, until_s)
                self._learned.move_to_end((p.session, client, address))
            while len(self._learned) > _MAX_LEARNED:
                self._learned.popitem(last=False)
                self.counters["dns_answers_evicted"] += 1
        return self.signatures.match(answer.name), Basis.DNS_ANSWER, answer.name

    def _by_address(self, p: Payload) -> tuple[int, Basis, str] | None:
        for client, server in ((p.src, p.dst), (p.dst, p.src)):
            if known := self.dns_name(p.session, client, server, p.at_s):
                return known[0], Basis.DNS_ANSWER, known[1]
        return None

    def _by_behaviour(self, p: Payload) -> tuple[int, Basis, str] | None:
        app = self.signatures.number(recognise(p.data)) if p.proto == _UDP else 0
        return (app, Basis.BEHAVIOUR, "") if app else None
