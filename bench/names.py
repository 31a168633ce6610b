"""Names beside scapy and against the clock: ClientHellos, QUIC Initials, a mix of new flows, and 100,000 suffixes.

The mix of new flows is 60 % TCP whose ClientHello is whole (the kernel names them alone), 20 % whose ClientHello comes
in two segments, 12 % QUIC, and 8 % that show no name in the three packets that user space sees. Kernel and user space
run one after the other on one core.
"""

from __future__ import annotations

import functools
import gc
import math
import time
import tracemalloc
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scapy.layers.tls.all import TLS

from bench import rig
from bench.columns import PACKET, frames_of
from bench.feed import Feed
from bench.figure import Figure
from bench.ours import Messages
from bench.traffic import client_hello, quic_flight
from nf.apps.parsers import quic, tls
from nf.apps.signatures import Signatures
from nf.kernel.dataplane import DataPlane
from nf.pipeline import Pipeline
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore
from nf.settings import Application, Limits, Role

ROUNDS, HELLOS, INITIALS = 7, 200, 300
FLOWS = 2_000
SHARES = {"whole": 0.60, "split": 0.20, "quic": 0.12, "opaque": 0.08}
SUFFIXES, PER_APP = 100_000, 100
_CUT = 60  # bytes of a split ClientHello in its first segment: before its name
_SYN, _PUSH = 0x02, 0x18
_HOST = "www.youtube.com"


def _each_us(values: list[Any], parse: Any) -> float:
    """Return the microseconds that *parse* takes of each value."""
    begun = time.perf_counter_ns()
    for value in values:
        parse(value)
    return (time.perf_counter_ns() - begun) / len(values) / 1e3


def _initial(flight: list[bytes]) -> str:
    stream = quic.CryptoStream()
    for datagram in flight:
        quic.open_initials(datagram, stream)
    return stream.hello().name


def _parsers() -> list[Figure]:
    hellos = [client_hello(f"host{n}.example.org") for n in range(HELLOS)]
    flights = [quic_flight(f"host{n}.example.org") for n in range(INITIALS)]
    if not tls.tls_hello(hellos[7]).name == _initial(flights[7]) == "host7.example.org":
        raise RuntimeError("a hello of the bench has no name")

    def initials() -> float:
        quic.initial_keys.cache_clear()  # each client has keys of its own
        return _each_us(flights, _initial)

    us = rig.interleave(
        {
            "ClientHello, ours": functools.partial(_each_us, hellos, tls.tls_hello),
            "ClientHello, scapy": functools.partial(_each_us, hellos[:50], TLS),
            "QUIC Initial": initials,
        },
        ROUNDS,
    )
    note = (
        f"microseconds each, minimum of {ROUNDS} x {HELLOS} ClientHellos of OpenSSL ({len(hellos[0])} bytes; scapy 50) "
        f"and {INITIALS} flights of aioquic, each with keys of its own: keys, AES-GCM, CRYPTO frames, ClientHello"
    )
    ratio = us["ClientHello, scapy"] / us["ClientHello, ours"]
    return [
        Figure("ClientHello, scapy / ours", ratio, "ratio", 8, us, note, more=True),
        Figure("QUIC Initials opened and read a second", 1e6 / us["QUIC Initial"], "1/s", 4_000, us, note, more=True),
    ]  # fmt: skip


class _Mix:
    """New flows of the mix, again and again, through program and pipeline."""

    def __init__(self, plane: DataPlane, pipeline: Pipeline) -> None:
        self.plane, self.pipeline, self.program = plane, pipeline, plane.program(Role.N3)
        self.counts = {what: round(share * FLOWS) for what, share in SHARES.items()}
        frames = self._frames()
        self.packets = len(frames)
        self.feed = Feed(frames, np.array([len(f) for f in frames], np.int64))
        self.named = self.alone = 0.0

    def _frames(self) -> list[bytes]:
        """Return the packets of all flows: the SYNs, then each flow's payloads, one of each flow in turn."""
        blob, rounds = bytearray(), [[], [], [], []]  # type: ignore[var-annotated]
        hello, rng = client_hello(_HOST), np.random.default_rng(1)
        kinds = [what for what, count in self.counts.items() for _ in range(count)]
        for number, what in enumerate(kinds):
            payloads = {
                "whole": lambda: [hello],
                "split": lambda: [hello[:_CUT], hello[_CUT:]],
                "quic": lambda: quic_flight(_HOST)[:3],
                "opaque": lambda: [rng.bytes(300) for _ in range(3)],
            }[what]()
            seq = 1
            tcp = what != "quic"
            if tcp:
                rounds[0].append((number, tcp, _SYN, 0, 0, 0))
            for turn, payload in enumerate(payloads, 1):
                rounds[turn].append((number, tcp, _PUSH, seq, len(blob), len(payload)))
                blob += payload
                seq += len(payload)
        rows = np.zeros(sum(map(len, rounds)), PACKET)
        columns = np.array([one for turn in rounds for one in turn], np.int64).T
        rows["up"], rows["dport"], rows["tsval"] = True, 443, 1000
        rows["ue"], rows["sport"] = columns[0] // 8, 20_000 + columns[0] % 8
        rows["server"] = 0xC612_0001 + columns[0]  # RFC 2544
        rows["tcp"], rows["flags"], rows["seq"], rows["at"], rows["length"] = columns[1:6]
        return frames_of(rows, bytes(blob))

    def once(self) -> float:
        """Return microseconds a flow."""
        self.feed.aim(self.program)
        begun = time.perf_counter_ns()
        self.feed.run(self.packets)
        kernel = time.perf_counter_ns() - begun
        flows = self.plane.read_flows()[1]
        self.alone = float((flows["app"] > 0).sum()) / FLOWS
        begun = time.perf_counter_ns()
        self.pipeline.drain()
        self.pipeline.naming.name_by_server()
        took = kernel + time.perf_counter_ns() - begun
        self.named = float((self.pipeline.book.apps(flows["number"])[0] > 0).sum()) / FLOWS
        rig.drop_all(self.plane)
        return took / FLOWS / 1e3


def _new_flows() -> Figure:
    signatures = Signatures.load(())
    plane = DataPlane(Limits(8192, 1024, unknown_flows_per_s=rig.UNKNOWN))
    plane.take_test_runs()
    sink: Any = Messages()
    pipeline = Pipeline(plane, signatures, BindingStore(1024), Pseudonymiser(bytes(32), 1), sink, idle_s=math.inf)
    plane.economy = True  # as the service runs
    mix = _Mix(plane, pipeline)
    try:
        us = min(mix.once() for _ in range(ROUNDS))
    finally:
        plane.close()
        mix.feed.close()
    cases = {
        "us a new flow": us,
        "% named by the kernel": 100 * mix.alone,
        "% named": 100 * mix.named,
        "packets a flow": mix.packets / FLOWS,
    }
    note = (
        f"{FLOWS} flows: " + ", ".join(f"{what} {share:.0%}" for what, share in SHARES.items()) + "; program, rings, "
        f"payloads, verdicts, one after the other on one core; minimum of {ROUNDS}"
    )
    return Figure("new flows a second a core", 1e6 / us, "1/s", 80_000, cases, note, more=True)


def _suffixes() -> list[Figure]:
    """Look host names up among many suffixes, half of them to be found."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    apps = [
        Application(f"bench-{n}", "web", tuple(f"s{n * PER_APP + i}.example{n % 7}.net" for i in range(PER_APP)))
        for n in range(SUFFIXES // PER_APP)
    ]
    signatures = Signatures.load(apps)
    del apps
    gc.collect()
    mb = (tracemalloc.get_traced_memory()[0] - before) / 1e6
    tracemalloc.stop()
    rng = np.random.default_rng(2)
    numbers: NDArray[np.int64] = rng.integers(0, 2 * SUFFIXES, 20_000)
    names = [f"cdn-{n % 97}.edge.s{n}.example{n // PER_APP % 7}.net" for n in numbers.tolist()]
    us = min(_each_us(names, signatures.match) for _ in range(ROUNDS))
    found = sum(signatures.match(name) > 0 for name in names) / len(names)
    cases = {"us a name of five labels": us, "% found": 100 * found, "MB": mb}
    note = (
        f"{SUFFIXES} suffixes beside the shipped ones, {len(names)} names, minimum of {ROUNDS}; memory by tracemalloc"
    )
    return [
        Figure("look-up of a name among 100,000 suffixes", us, "us", 2, cases, note),
        Figure("memory of 100,000 suffixes", mb, "MB", 50, cases, note),
    ]


def measure() -> list[Figure]:
    """Return the figures of names."""
    rig.one_cpu()
    return [*_parsers(), _new_flows(), *_suffixes()]
