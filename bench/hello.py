"""A ClientHello becomes an application in the kernel: what it costs beside a hot packet, and how many do.

Every domain of the signature file is said by OpenSSL in a ClientHello of one segment, each on a flow of its own. Three
passes over the same flows, user space silent between them: the SYNs, the ClientHellos, one data packet each. Named is
a flow that has the application of its domain after the second pass.
"""

from __future__ import annotations

import math
import time
import tomllib
from typing import Any

import numpy as np

from bench import rig
from bench.columns import PACKET, frames_of
from bench.feed import Feed
from bench.figure import Figure
from bench.ours import Messages
from bench.traffic import client_hello
from nf.apps.signatures import FILE, Signatures
from nf.kernel import syscall
from nf.kernel.dataplane import DataPlane
from nf.pipeline import Pipeline
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore
from nf.settings import Limits, Role

ROUNDS, MOST = 9, 512
SYN, ACK, PUSH = 0x02, 0x10, 0x18
_PREFIXES = ("", "www.", "rr4---sn-5hne6nsz.")


def _hosts(signatures: Signatures) -> list[str]:
    """Return names of servers, one of each domain of the signature file, with labels before it or without."""
    table = tomllib.loads(FILE.read_text())
    domains = [domain for entry in table.values() for domain in entry.get("domains", ())]
    names = [_PREFIXES[i % len(_PREFIXES)] + domain for i, domain in enumerate(domains)]
    return [name for name in names if signatures.match(name)][:MOST]


def _frames(hellos: list[bytes]) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Return the SYN, the ClientHello and a data packet of each flow."""
    rows = np.zeros(len(hellos), PACKET)
    lengths = np.array([len(h) for h in hellos])
    rows["up"], rows["tcp"], rows["dport"] = True, True, 443
    rows["ue"], rows["sport"] = np.arange(len(hellos)) // 8, 20_000 + np.arange(len(hellos)) % 8
    rows["server"] = 0xC612_0001 + np.arange(len(hellos))  # RFC 2544
    rows["tsval"], rows["flags"] = 1000, SYN
    rows["seq"] = 1000
    syn = frames_of(rows, b"")
    rows["seq"], rows["flags"] = 1001, PUSH
    rows["length"], rows["at"] = lengths, np.cumsum(lengths) - lengths
    hello = frames_of(rows, b"".join(hellos))
    rows["seq"] = 1001 + lengths
    rows["length"], rows["at"], rows["tsval"] = 300, 0, 1001
    return syn, hello, frames_of(rows, b"\x17\x03\x03\x01\x27" + bytes(295))


class _Passes:
    """The three passes over fresh flows, again and again."""

    def __init__(self, plane: DataPlane, signatures: Signatures, hosts: list[str]) -> None:
        self.plane, self.program = plane, plane.program(Role.N3)
        self.expected = np.array([signatures.match(host) for host in hosts])
        parts = _frames([client_hello(host) for host in hosts])
        self.n = len(hosts)
        frames = [frame for part in parts for frame in part]
        self.feed = Feed(frames, np.array([len(f) for f in frames], np.int64))
        self.named = 0.0

    def _pass(self, part: int, program: int) -> float:
        self.feed.aim(program, part * self.n)
        return self.feed.run(self.n) / self.n

    def once(self) -> dict[str, float]:
        """Return nanoseconds a packet by pass, that of the feed taken off."""
        took = []
        for part in range(3):
            feed = self._pass(part, self.feed.empty)
            took.append(self._pass(part, self.program) - feed)
            if part == 1:
                self.named = self._named()
        self._clear()
        return {"birth by SYN": took[0], "ClientHello": took[1], "packet after it": took[2]}

    def _named(self) -> float:
        """Return the share of flows that have the application of their server."""
        keys, flows = self.plane.read_flows()
        server = np.maximum(keys["a"].byteswap(), keys["b"].byteswap())  # the UEs are in 10.0.0.0/8, the servers above
        return float((flows["app"] == self.expected[server - 0xC612_0001]).sum()) / self.n

    def _clear(self) -> None:
        self.plane.drop_flows(self.plane.read_flows()[0])
        self.plane.read_events()
        self.plane.read_payloads()


def measure() -> list[Figure]:
    """Return the figures of naming in the kernel."""
    rig.one_cpu()
    signatures = Signatures.load(())
    plane = DataPlane(Limits(flows=8192, sessions=1024))
    plane.take_test_runs()
    sink: Any = Messages()
    Pipeline(plane, signatures, BindingStore(1024), Pseudonymiser(bytes(32), 1), sink, idle_s=math.inf)
    plane.new_generation()
    passes = _Passes(plane, signatures, _hosts(signatures))
    loop = syscall.TestRun(passes.feed.empty, 512)
    try:
        begun = time.monotonic()
        seen = [passes.once() for _ in range(ROUNDS)]
        empty = min(loop.repeat(rig.tcp_frame(), 200_000) for _ in range(ROUNDS))
        rig.progress(f"{time.monotonic() - begun:.0f} s")
    finally:
        plane.close()
        passes.feed.close()
    ns = {name: min(one[name] for one in seen) + empty for name in seen[0]}
    ns["empty"] = float(empty)
    ns["flows"] = float(passes.n)
    note = (
        f"ns a packet, loop included and feed taken off, minimum of {ROUNDS} passes over {passes.n} flows, one for each of "
        "as many domains of the signature file; user space answers nothing"
    )
    return [
        Figure("ClientHello / packet of a named flow", ns["ClientHello"] / ns["packet after it"], "ratio", 3, ns, note),
        Figure("ClientHellos named in the kernel", 100 * passes.named, "%", 95, ns, note, more=True),
    ]
