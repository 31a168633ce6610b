"""From payload records to verdicts: the state between the packets of a flow, and the answers of DNS.

A flow without a name hands a few payload packets of each direction over, and more where a hello begins. Each is
tried as DNS, TLS, QUIC, DTLS and HTTP; a split hello waits for its rest. A flow without a name in its packets is named
by its server: this subscriber's own DNS answers, then the owner of the address; then by the protocol that its
bytes show, then by its port. A better ground replaces a weaker one until a name in the packets ends the search.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from nf.abi import SNF_HANDOFF, SNF_HELLO, SNF_HELLOS
from nf.apps.basis import Basis
from nf.apps.parsers import dns, http, http2, quic, tls
from nf.apps.parsers.cursor import Pieces
from nf.apps.parsers.errors import Malformed, NeedMore, NotThis
from nf.apps.parsers.first_bytes import Watcher
from nf.apps.signatures import TCP, UDP, Signatures
from nf.naming.dns_answers import Answers

__all__ = ["NAME_SERVICES", "PUBLIC_NAMES", "Namer", "Payload", "Verdict"]

_MOST_PAYLOADS = 2 * (SNF_HANDOFF + SNF_HELLO * SNF_HELLOS)  # of a flow, but for DNS; the kernel hands no more over
_MOST_SEGMENTS = 8  # of a direction that wait for others: a hello and what comes between
_MAX_FLOWS = 32_768  # flows whose state is kept; the one that was quiet for the longest leaves first
_DNS, _MDNS, _LLMNR = 53, 5353, 5355  # RFC 1035, 6762, 4795
NAME_SERVICES = frozenset((_DNS, _MDNS, _LLMNR))
# The outer name of every encrypted ClientHello to Cloudflare: it names no application
# (draft-ietf-tls-esni, 4: public_name).
PUBLIC_NAMES = frozenset(("cloudflare-ech.com",))


@dataclass(frozen=True, slots=True)
class Payload:
    """The start of a transport payload. ``session`` is 0 when the subscriber is not known."""

    flow_id: int
    session: int
    proto: int  # IP protocol: 6 or 17
    src: str  # canonical text
    sport: int
    dst: str
    dport: int
    data: bytes
    seq: int  # TCP: sequence number of the first byte
    at_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The application of a flow, with its ground. ``final``: no later packet will change it."""

    flow_id: int
    app: int  # 0: no application owns the name, or there is none
    basis: Basis
    name: str
    final: bool


_Sender = tuple[str, int]  # address and port
_Found = tuple[int, Basis, str]  # application, ground, name
_NOTHING: _Found = (0, Basis.NONE, "")


@dataclass(slots=True)
class _Flow:
    packets: int = 0
    done: bool = False  # packets that were on their way at the final verdict change nothing
    given: _Found = _NOTHING
    waits: bool = False  # the last payload is the beginning of something
    proxied: bool = False  # its name is the one that a proxy was asked for
    heard: Counter[_Sender] = field(default_factory=Counter)  # TCP: segments since there was a beginning
    streams: dict[_Sender, tuple[int, Pieces]] = field(default_factory=dict)  # TCP: first sequence number seen
    messages: dict[_Sender, dns.Stream] = field(default_factory=dict)  # DNS over TCP
    crypto: dict[_Sender, quic.CryptoStream] = field(default_factory=dict)  # QUIC
    dtls: dict[_Sender, tls.DtlsHello] = field(default_factory=dict)  # hellos that came in fragments
    watcher: Watcher = field(default_factory=Watcher)


def _sender(p: Payload) -> _Sender:
    return p.src, p.sport


def _tls_name(stream: bytes) -> str:
    return tls.tls_hello(stream).name


def _http_name(stream: bytes, rest: bytes) -> str:
    """Return the host of a request in *stream*, or behind a gap in *rest*, its latest part."""
    try:
        return http.host(stream)
    except NeedMore:
        if rest is stream:
            raise
        return http.host_in_rest(rest)


def _better(new: _Found, old: _Found) -> bool:
    """Say whether *new* beats *old*: one with an application beats one without; else the stronger ground wins."""
    return bool(new[0]) if bool(new[0]) != bool(old[0]) else new[1].beats(old[1])


class Namer:
    """Finder of names of flows. ``counters`` has the names found, and the attempts in vain.

    A change of ``signatures`` is in force with the next packet.
    """

    def __init__(self, signatures: Signatures) -> None:
        self.signatures = signatures
        self.counters: Counter[str] = Counter()
        self._flows: OrderedDict[int, _Flow] = OrderedDict()
        self._answers = Answers()

    def feed(self, p: Payload) -> Verdict | None:
        """Take a payload; return the new verdict about its flow, or None when it adds nothing."""
        flow = self._flow(p.flow_id)
        if flow.done or not p.data:
            return None
        flow.packets += 1
        self.counters["payloads"] += 1
        if p.proto not in (TCP, UDP):
            return None
        if NAME_SERVICES & {p.sport, p.dport}:
            return self._name_service(p, flow)
        if flow.packets > _MOST_PAYLOADS:
            return None
        flow.waits = False
        found = self._named(p, flow)
        final = found is not None and not flow.proxied
        if found is None:
            found = self._unnamed(p, flow)
            if not _better(found, flow.given):
                found = flow.given
        if found == flow.given and not final:
            return None
        flow.given = found
        if final:
            self.counters[f"basis_{flow.given[1].text}"] += 1
            self._flows[p.flow_id] = _Flow(done=True)
        return Verdict(p.flow_id, *flow.given, final=final)

    def forget(self, flow_id: int) -> None:
        """Drop the state of a flow."""
        self._flows.pop(flow_id, None)

    def dns_name(self, session: int, client: str, server: str, at_s: float) -> tuple[int, str] | None:
        """Return (application, name) that DNS told this subscriber of an address, while it holds.

        An address with names of several applications names none.
        """
        names = self._answers.names(session, client, server, at_s)
        if not names:
            return None
        apps = {self.signatures.match(name) for name in names}
        if len(apps) > 1:
            self.counters["dns_ambiguous"] += 1
            return None
        return apps.pop(), names[0]

    def by_server(self, flow_id: int, session: int, src: str, dst: str, at_s: float) -> Verdict | None:
        """Name a flow that handed nothing over, or nothing with a name, by present knowledge of its server.

        This is for flows seen from the middle: their DNS answer, or session, may come after their last payload.
        """
        found = self._by_server(session, src, dst, at_s)
        return Verdict(flow_id, *found, final=False) if found[1] is not Basis.NONE else None

    def _flow(self, flow_id: int) -> _Flow:
        flow = self._flows.get(flow_id)
        if flow is None:
            flow = self._flows[flow_id] = _Flow()
            if len(self._flows) > _MAX_FLOWS:
                self._flows.popitem(last=False)
                self.counters["flows_evicted"] += 1
        else:
            self._flows.move_to_end(flow_id)
        return flow

    # -- names in the packets ------------------------------------------------

    def _named(self, p: Payload, flow: _Flow) -> _Found | None:
        if p.proto == UDP:
            found = (
                self._try("quic", Basis.SNI, lambda: self._quic(p, flow), flow)
                or self._try("gquic", Basis.SNI, lambda: quic.gquic_name(p.data), flow)
                or self._try("dtls", Basis.SNI, lambda: self._dtls(p, flow), flow)
                or self._try("http", Basis.HTTP_HOST, lambda: http.host(p.data), flow)
            )
        else:
            found = self._of_stream(p, flow)
        if found and found[2] in PUBLIC_NAMES:
            self.counters["ech"] += 1
            told = self._by_server(p.session, p.src, p.dst, p.at_s)
            return told if told[0] else found
        return found

    def _of_stream(self, p: Payload, flow: _Flow) -> _Found | None:
        sender = _sender(p)
        new = p.seq, Pieces(most=_MOST_SEGMENTS, rolling=True)
        first, pieces = flow.streams.setdefault(sender, new)
        distance = (p.seq - first) & 0xFFFF_FFFF  # RFC 9293, 3.4: modulo 2**32
        pieces.add(distance if distance < 1 << 31 else distance - (1 << 32), p.data)
        for stream in (streams := list(pieces.starts())):
            found = (
                self._try("tls", Basis.SNI, partial(_tls_name, stream), flow)
                or self._try("http", Basis.HTTP_HOST, partial(_http_name, stream, streams[-1]), flow)
                or self._try("http2", Basis.HTTP_HOST, partial(http2.authority, stream), flow)
            )
            if found and found[1] is Basis.HTTP_HOST and http.is_tunnel(stream):
                flow.proxied = True  # the server behind the proxy may still be named
                del flow.streams[sender]
                return found
            if found:
                flow.proxied = False
                return found
        flow.heard[sender] = 0 if flow.waits else flow.heard[sender] + 1
        if flow.heard[sender] >= SNF_HANDOFF:
            del flow.streams[sender]  # nothing begins in it, and a later hello needs none of it
        return None

    @staticmethod
    def _dtls(p: Payload, flow: _Flow) -> str:
        hello = flow.dtls.get(_sender(p)) or tls.DtlsHello()
        try:
            return hello.feed(p.data).name
        except NeedMore:
            flow.dtls[_sender(p)] = hello
            raise

    @staticmethod
    def _quic(p: Payload, flow: _Flow) -> str:
        crypto = flow.crypto.get(_sender(p)) or quic.CryptoStream()
        if not quic.open_initials(p.data, crypto):
            raise NotThis
        flow.crypto[_sender(p)] = crypto
        return crypto.hello().name

    def _try(self, what: str, basis: Basis, parse: Callable[[], str], flow: _Flow) -> _Found | None:
        try:
            name = parse()
        except NotThis:
            return None
        except NeedMore:
            self.counters[f"{what}_incomplete"] += 1
            flow.waits = True
            return None
        except Malformed:
            self.counters[f"{what}_malformed"] += 1
            return None
        self.counters[f"{what}_named" if name else f"{what}_without_name"] += 1
        return (self.signatures.match(name), basis, name) if name else None

    # -- without a name ------------------------------------------------------

    def _unnamed(self, p: Payload, flow: _Flow) -> _Found:
        kind = flow.watcher.udp(p.data, _sender(p)) if p.proto == UDP else flow.watcher.tcp(p.data)
        told = self._by_server(p.session, p.src, p.dst, p.at_s)
        if told[0]:
            return told
        shown = self.signatures.match_behaviour(kind) if kind else 0
        port = 0
        if flow.packets == 1:
            port = self.signatures.match_port(p.proto, p.dport) or self.signatures.match_port(p.proto, p.sport)
        # A port says more than a protocol that many applications speak, unless the two contradict.
        app = port if port and (not shown or self._same_class(port, shown)) else shown
        return (app, Basis.BEHAVIOUR, told[2]) if app else told

    def _same_class(self, a: int, b: int) -> bool:
        return bool(self.signatures.class_of[a] == self.signatures.class_of[b])

    def _by_server(self, session: int, a: str, b: str, at_s: float) -> _Found:
        """Return the application, ground and name of the server, whichever end it is."""
        name = ""
        for client, server in ((a, b), (b, a)):
            if known := self.dns_name(session, client, server, at_s):
                if known[0]:
                    return known[0], Basis.DNS_ANSWER, known[1]
                name = name or known[1]
        for server in (b, a):
            if app := self.signatures.match_address(server):
                return app, Basis.ADDRESS, name
        return (0, Basis.DNS_ANSWER, name) if name else _NOTHING

    # -- DNS itself ----------------------------------------------------------

    def _name_service(self, p: Payload, flow: _Flow) -> Verdict | None:
        """Learn from answers. The flow itself gets the first name that it asked for; more names may follow in it."""
        given = flow.given
        try:
            if p.proto == UDP:
                self._message(p, flow, dns.parse(p.data))
            else:
                for message in flow.messages.setdefault(_sender(p), dns.Stream()).feed(p.seq, p.data):
                    self._message(p, flow, message)
        except NotThis:
            return None
        except Malformed:
            self.counters["dns_malformed"] += 1
            return None
        return Verdict(p.flow_id, *flow.given, final=False) if flow.given != given else None

    def _message(self, p: Payload, flow: _Flow, message: dns.Message) -> None:
        self.counters["dns_answers" if message.response else "dns_queries"] += 1
        if p.sport == _DNS:
            for address, ttl_s in message.addresses:
                self._answers.learn(p.session, p.dst, address, message.names[0], ttl_s, p.at_s)
            self.counters["dns_answers_evicted"] = self._answers.evicted
        basis = Basis.DNS_ANSWER if message.response and message.names[0] else Basis.NONE
        found = next(
            ((app, basis, name) for name in message.names if (app := self.signatures.match(name))),
            (0, basis, message.names[0]),
        )
        # The first name stays, unless an application owns the new one, or the new one is the answer to it.
        if flow.given == _NOTHING or _better(found, flow.given):
            flow.given = found
