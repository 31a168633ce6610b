"""A capture of mixed mobile traffic through GTP-U, the same for the same seed; made in columns, in seconds.

The parts that a protocol shows are real: ClientHellos by OpenSSL, a TLS 1.3 first flight of a server by OpenSSL, QUIC
Initials by aioquic, DNS queries and their answers, HTTP, RTP in sequence. The encrypted rest is random.
Hosts are those of the signature file, and one in eight of none. `MIX` says the rest.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from numpy.typing import NDArray

from bench.columns import PACKET, Packets, write_pcap

__all__ = ["MIX", "UES", "Blob", "build", "describe", "hash_of", "make_flows", "packets_of"]

SEED, SECONDS, UES, FLOWS = 29281, 5.0, 600, 3400
MIX = {  # share of flows, and packets of one (a mean; the script below adds handshakes and acknowledgements)
    "dns": (0.41, 2),
    "tls web": (0.25, 44),
    "quic web": (0.14, 52),
    "tls video": (0.065, 480),
    "quic video": (0.05, 560),
    "http": (0.035, 40),
    "rtp": (0.03, 300),
    "unnamed udp": (0.02, 20),
}
WEB = ["www.instagram.com", "scontent-ams2-1.cdninstagram.com", "www.google.com", "static.xx.fbcdn.net",
       "web.whatsapp.com",
       "api.twitter.com", "www.amazon.com", "i.redd.it", "www.linkedin.com", "outlook.office365.com",
       "www.wikipedia.org", "telegram.org", "cdn.discordapp.com", "open.spotify.com"]  # fmt: skip
VIDEO = ["rr4---sn-5hne6nsz.googlevideo.com", "ipv4-c012-ams001-ix.1.oca.nflxvideo.net", "v16-webapp.tiktokcdn.com",
         "vod-akc-eu-west.media.dssott.com", "video-weaver.ams03.hls.ttvnw.net"]  # fmt: skip
MSS, QUIC_BYTES = 1348, 1250  # bytes that fit into 1500 with the tunnel around them
SYN, ACK, PUSH, FIN = 0x02, 0x10, 0x18, 0x11


class Blob:
    """All bytes that packets carry, one after the other; a packet is a place and a length in it."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        random = rng.integers(0, 256, (64, 2048), np.uint8)
        tls, quic = random.copy(), random.copy()
        tls[:, :5] = np.frombuffer(b"\x17\x03\x03\x05\x3f", np.uint8)  # a record of application data
        quic[:, 0] = 0x40 | quic[:, 0] & 0x3F  # a short header
        self.tls, self.quic = self.add(tls.tobytes()), self.add(quic.tobytes())
        self.noise = self.add(random.tobytes())

    def add(self, data: bytes) -> int:
        """Return the place of *data*."""
        self._parts.append(data)
        self._size += len(data)
        return self._size - len(data)

    def take(self) -> bytes:
        """Return everything."""
        return b"".join(self._parts)


@dataclass(slots=True)
class Script:
    """One flow as it is played: time, direction, place and length of the payload, TCP flags."""

    rng: np.random.Generator
    blob: Blob
    rtt_s: float
    most_pps: float = math.inf  # of what is streamed
    at_s: float = 0.0
    rows: list[tuple[float, bool, int, int, int]] = field(default_factory=list)

    def say(self, up: bool, data: bytes, flags: int = PUSH, wait_s: float | None = None) -> None:
        """Send *data* as one packet, half a round trip after the packet before."""
        self.at_s += self.rtt_s / 2 if wait_s is None else wait_s
        self.rows.append((self.at_s, up, self.blob.add(data) if data else 0, len(data), flags))

    def stream(self, packets: int, pool: int, size: int, rate_pps: float) -> None:
        """Send *packets*, two of three down and full, the third up and short: data and acknowledgements."""
        places = pool + 2048 * self.rng.integers(0, 64, packets)
        gaps = self.rng.exponential(1 / min(rate_pps, self.most_pps), packets)
        quiet = 0 if pool == self.blob.tls else 30  # QUIC acknowledges with a packet that has a payload
        for i in range(packets):
            self.at_s += gaps[i]
            up = i % 3 == 2
            self.rows.append((self.at_s, up, int(places[i]), quiet if up else size, ACK if up else PUSH))


def _open_tcp(s: Script) -> None:
    s.say(True, b"", SYN, 0.0)
    s.say(False, b"", SYN | ACK)
    s.say(True, b"", ACK)


def _close_tcp(s: Script) -> None:
    s.say(True, b"", FIN)
    s.say(False, b"", FIN)
    s.say(True, b"", ACK)


def _tls_head(s: Script, host: str) -> None:
    _open_tcp(s)
    s.say(True, client_hello(host), wait_s=0.001)
    answer = server_flight()
    for i in range(0, len(answer), MSS):
        s.say(False, answer[i : i + MSS], wait_s=s.rtt_s / 2 if i == 0 else 0.0005)
    s.say(True, b"\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x35" + bytes(53))


def _chunks(s: Script, packets: int, pool: int, size: int) -> None:
    """Play video: a chunk every few seconds, asked for by a request."""
    left = packets
    while left > 0:
        n = min(left, int(s.rng.integers(300, 600)))
        s.at_s += s.rng.uniform(1.0, 3.0)
        s.rows.append((s.at_s, True, pool, 600, PUSH))
        s.at_s += s.rtt_s
        s.stream(n, pool, size, 2000)
        left -= n


def _tls_web(s: Script, host: str, packets: int) -> None:
    _tls_head(s, host)
    s.stream(packets - 13, s.blob.tls, MSS, 400)
    _close_tcp(s)


def _tls_video(s: Script, host: str, packets: int) -> None:
    _tls_head(s, host)
    _chunks(s, packets, s.blob.tls, MSS)


def _quic_head(s: Script, host: str) -> None:
    for i, datagram in enumerate(quic_flight(host)):
        s.say(True, datagram, wait_s=0.0002 if i else 0.0)
    long = b"\xe0\x00\x00\x00\x01\x08" + bytes(8) + b"\x08" + bytes(8) + b"\x44\x96"  # a Handshake packet
    for i in range(3):
        s.say(False, long + s.rng.bytes(1190), wait_s=s.rtt_s if i == 0 else 0.0004)


def _quic_web(s: Script, host: str, packets: int) -> None:
    _quic_head(s, host)
    s.stream(packets - 4, s.blob.quic, QUIC_BYTES, 400)


def _quic_video(s: Script, host: str, packets: int) -> None:
    _quic_head(s, host)
    _chunks(s, packets, s.blob.quic, QUIC_BYTES)


def _http(s: Script, host: str, packets: int) -> None:
    _open_tcp(s)
    s.say(True, f"GET /index.html HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n".encode())
    s.say(False, b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 40000\r\n\r\n" + bytes(1200))
    s.stream(packets - 8, s.blob.noise, MSS, 300)
    _close_tcp(s)


def _rtp(s: Script, host: str, packets: int) -> None:
    """Play two directions of Opus, 50 packets a second each (RFC 3550, 5.1)."""
    ssrc = s.rng.integers(1, 2**31, 2)
    data = s.rng.bytes(148)
    for i in range(packets):
        seq, up = i // 2, i % 2 == 0
        head = struct.pack("!BBHII", 0x80, 111, seq & 0xFFFF, seq * 960, int(ssrc[int(up)]))
        s.say(up, head + data, wait_s=0.01 + float(s.rng.uniform(-0.001, 0.001)))


def _unnamed(s: Script, host: str, packets: int) -> None:
    for i in range(packets):
        s.rows.append((s.at_s + 0.1 * i, i % 2 == 0, s.blob.noise + 2048 * (i % 64), 200, PUSH))


SCRIPTS: dict[str, Callable[[Script, str, int], None]] = {
    "tls web": _tls_web,
    "tls video": _tls_video,
    "quic web": _quic_web,
    "quic video": _quic_video,
    "http": _http,
    "rtp": _rtp,
    "unnamed udp": _unnamed,
}
_TCP_KINDS = {"tls web", "tls video", "http"}
_PORT = {"http": 80, "rtp": 16_384, "unnamed udp": 40_123}


@cache
def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def client_hello(host: str) -> bytes:
    """Return OpenSSL's ClientHello for *host*."""
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        _context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=host).do_handshake()
    return out.read()


@cache
def server_flight() -> bytes:
    """Return an OpenSSL server's answer to a ClientHello: ServerHello to Finished, with a certificate."""
    from bench.certificate import server_context

    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    into.write(client_hello("www.example.org"))
    with contextlib.suppress(ssl.SSLWantReadError):
        server_context().wrap_bio(into, out, server_side=True).do_handshake()
    return out.read()


def quic_flight(host: str) -> list[bytes]:
    """Return aioquic's first datagrams to *host*."""
    client = QuicConnection(
        configuration=QuicConfiguration(
            is_client=True, server_name=host, alpn_protocols=["h3"], max_datagram_size=QUIC_BYTES
        )
    )
    client.connect(("198.18.0.1", 443), now=0.0)
    return [data for data, _ in client.datagrams_to_send(now=0.0)]


def dns_pair(host: str, address: int, number: int) -> tuple[bytes, bytes]:
    """Return a query for the address of *host* and its answer (RFC 1035, 4)."""
    name = b"".join(bytes([len(p)]) + p.encode() for p in host.split(".")) + b"\0"
    question = name + struct.pack("!HH", 1, 1)
    query = struct.pack("!HHHHHH", number & 0xFFFF, 0x0100, 1, 0, 0, 0) + question
    record = b"\xc0\x0c" + struct.pack("!HHIHI", 1, 1, 300, 4, address)
    return query, struct.pack("!HHHHHH", number & 0xFFFF, 0x8180, 1, 1, 0, 0) + question + record


def _host(rng: np.random.Generator, kind: str, number: int) -> str:
    if number % 8 == 7:
        return f"host{number}.example{number % 50}.net"  # of no application
    names = VIDEO if "video" in kind else WEB
    return names[int(rng.integers(len(names)))]


@dataclass(frozen=True, slots=True)
class Flow:
    """Ends, kind and begin of a flow."""

    kind: str
    ue: int
    server: int  # IPv4 address
    sport: int
    dport: int
    tcp: bool
    start_s: float
    script: Script


def make_flows(
    rng: np.random.Generator,
    blob: Blob,
    flows: int,
    begin_s: tuple[float, float] = (0.2, SECONDS),
    stay_s: float = 0.0,
) -> list[Flow]:
    """Return flows that begin in a span of time; with *stay_s* each streams evenly over so many seconds."""
    kinds = [k for k in MIX if k != "dns"]
    weight = np.array([MIX[k][0] for k in kinds])
    named = round(flows * weight.sum())
    out = []
    for number, choice in enumerate(rng.choice(len(kinds), named, p=weight / weight.sum())):
        kind = kinds[choice]
        host, ue, start_s = _host(rng, kind, number), int(rng.integers(UES)), float(rng.uniform(*begin_s))
        server = int(ipaddress.IPv4Address("198.18.0.0")) + (hash_of(host) & 0x1FFFF)  # RFC 2544: for benchmarks
        sport = 20_000 + number % 40_000
        packets = max(14, int(MIX[kind][1] * min(3.0, rng.lognormal(-0.18, 0.6))))  # the mean of this lognormal is 1
        script = Script(rng, blob, float(rng.uniform(0.02, 0.08)), packets / stay_s if stay_s else math.inf)
        SCRIPTS[kind](script, host, packets)
        tcp = kind in _TCP_KINDS
        out.append(Flow(kind, ue, server, sport, _PORT.get(kind, 443), tcp, start_s, script))
        if kind not in ("rtp", "unnamed udp") and number % 20:
            ask = Script(rng, blob, 0.02)
            query, answer = dns_pair(host, server, number)
            ask.say(True, query)
            ask.say(False, answer)
            resolver = int(ipaddress.IPv4Address("10.20.0.53"))
            out.append(Flow("dns", ue, resolver, sport, 53, False, start_s - 0.05, ask))
    return out


def hash_of(text: str) -> int:
    """Return a number of *text* that is the same in every process."""
    value = 2166136261  # FNV-1a
    for byte in text.encode():
        value = (value ^ byte) * 16777619 & 0xFFFF_FFFF
    return value


def packets_of(flow: Flow, rng: np.random.Generator) -> NDArray[np.void]:
    """Return a flow as rows of PACKET."""
    rows = np.zeros(len(flow.script.rows), PACKET)
    t, up, at, length, flags = (np.array(c) for c in zip(*flow.script.rows, strict=True))
    rows["at_us"], rows["up"], rows["at"], rows["length"] = (t + flow.start_s) * 1e6, up, at, length
    rows["tcp"], rows["flags"], rows["ue"], rows["server"] = flow.tcp, flags, flow.ue, flow.server
    rows["sport"], rows["dport"] = flow.sport, flow.dport
    if flow.tcp:
        sent = length + ((flags == SYN) | (flags == SYN | ACK) | (flags == FIN))
        before_up, before_down = np.cumsum(sent * up) - sent * up, np.cumsum(sent * ~up) - sent * ~up
        isn_up, isn_down = rng.integers(0, 2**32, 2)
        rows["seq"] = np.where(up, isn_up + before_up, isn_down + before_down) & 0xFFFF_FFFF
        rows["ack"] = np.where(up, isn_down + before_down, isn_up + before_up) & 0xFFFF_FFFF
        rows["ack"][0] = 0
        rows["tsval"] = 1000 + (t * 1000).astype(np.int64)
        index = np.arange(len(t))
        last_up = np.maximum.accumulate(np.where(up, index, -1))
        last_down = np.maximum.accumulate(np.where(up, -1, index))
        other = np.where(up, last_down, last_up)
        rows["tsecr"] = np.where(other >= 0, rows["tsval"][other], 0)
    return rows


def build(path: Path, *, flows: int = FLOWS, seed: int = SEED) -> dict[str, int]:
    """Write the capture and return packets by kind of flow."""
    rng = np.random.default_rng(seed)
    blob = Blob(rng)
    made = make_flows(rng, blob, flows)
    parts = [packets_of(flow, rng) for flow in made]
    rows = np.concatenate(parts)
    rows = rows[np.argsort(rows["at_us"], kind="stable")]
    write_pcap(path, Packets(rows, blob.take()))
    count: dict[str, int] = {}
    for flow, part in zip(made, parts, strict=True):
        count[flow.kind] = count.get(flow.kind, 0) + len(part)
    return count | {"flows": len(made)}


def describe(count: dict[str, int]) -> str:
    """Return the protocol mix in words."""
    packets = sum(v for k, v in count.items() if k != "flows")
    mix = ", ".join(f"{kind} {100 * n / packets:.0f} %" for kind, n in count.items() if kind != "flows")
    return f"{packets} packets, {count['flows']} flows, {packets / count['flows']:.0f} packets a flow; packets: {mix}"
