"""A ClientHello becomes an application in the kernel: its cost beside a hot packet, and the share that does.

Every domain of the signature file is said by OpenSSL in a ClientHello of one segment, each on a flow of its own. Passes
over the same flows: the SYNs, the ClientHellos, and data packets once all flows are named. A flow is named in the
kernel if it has the application of its domain after the ClientHellos, before user space has looked.
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
from nf.apps.signatures import Signatures, files
from nf.kernel import syscall
from nf.kernel.dataplane import DataPlane
from nf.pipeline import Pipeline
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore
from nf.settings import Limits, Role

ROUNDS, MOST, AGAIN = 9, 512, 8
SYN, ACK, PUSH = 0x02, 0x10, 0x18
_PREFIXES = ("", "www.", "rr4---sn-5hne6nsz.")


def _hosts(signatures: Signatures) -> list[str]:
    """Return names of servers, one of each domain of the signature file, with labels before it or without."""
    tables = [tomllib.loads(path.read_text()) for path in files()]
    domains = [domain for table in tables for entry in table.values() for domain in entry.get("domains", ())]
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
    """The passes over fresh flows, again and again."""

    def __init__(self, plane: DataPlane, signatures: Signatures, hosts: list[str]) -> None:
        self.plane, self.program = plane, plane.program(Role.N3)
        self.expected = np.array([signatures.match(host) for host in hosts])
        syn, hello, data = _frames([client_hello(host) for host in hosts])
        self.n = len(hosts)
        frames = [*syn, *hello, *data * AGAIN]
        self.feed = Feed(frames, np.array([len(f) for f in frames], np.int64))
        self.named = 0.0

    def _run(self, first: int, packets: int) -> float:
        """Return the nanoseconds of so many packets from the one numbered *first* on, those of the feed taken off."""
        took = []
        for program in (self.feed.empty, self.program):
            self.feed.aim(program, first)
            took.append(float(self.feed.run(packets)))
        return took[1] - took[0]

    def once(self) -> dict[str, float]:
        """Return nanoseconds by run: the SYNs, the SYNs and ClientHellos, and the data of named flows."""
        births = self._run(0, self.n)
        self._clear()
        both = self._run(0, 2 * self.n)
        self.named = self._named()
        self._answer()
        self._run(2 * self.n, self.n)
        data = self._run(2 * self.n, AGAIN * self.n) / AGAIN
        self._clear()
        return {"births": births / self.n, "both": both / self.n, "packet of a named flow": data / self.n}

    def _answer(self) -> None:
        """Name the flows that the kernel left without a name, so that the last pass is over named flows in any case."""
        keys, flows = self.plane.read_flows()
        self.plane.put_verdicts(keys, flows["number"], np.full(len(keys), rig.APP), np.ones(len(keys), bool))

    def _named(self) -> float:
        """Return the share of flows that have the application of their server."""
        keys, flows = self.plane.read_flows()
        server = np.maximum(keys["a"].byteswap(), keys["b"].byteswap())  # the UEs are in 10.0.0.0/8, the servers above
        return float((flows["app"] == self.expected[server - 0xC612_0001]).sum()) / self.n

    def _clear(self) -> None:
        rig.drop_all(self.plane)
        self.plane.read_events()
        self.plane.read_payloads()


def measure() -> list[Figure]:
    """Return the figures of naming in the kernel."""
    rig.one_cpu()
    signatures = Signatures.load(())
    plane = DataPlane(Limits(8192, 1024, unknown_flows_per_s=rig.UNKNOWN))
    plane.take_test_runs()
    sink: Any = Messages()
    Pipeline(plane, signatures, BindingStore(1024), Pseudonymiser(bytes(32), 1), sink, idle_s=math.inf)
    plane.economy = True  # as the service runs
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
    least = {name: min(one[name] for one in seen) for name in seen[0]}
    ns = {
        "birth by SYN": least["births"] + empty,
        "ClientHello": least["both"] - least["births"] + empty,
        "packet of a named flow": least["packet of a named flow"] + empty,
    }
    ns["empty"] = float(empty)
    ns["flows"] = float(passes.n)
    note = (
        f"ns a packet, loop included and feed taken off, minimum of {ROUNDS} passes over {passes.n} flows, each of "
        "another domain of the signature file; the ClientHello is the difference of SYNs with it and SYNs alone"
    )
    return [
        Figure(
            "ClientHello / packet of a named flow",
            ns["ClientHello"] / ns["packet of a named flow"],
            "ratio",
            3,
            ns,
            note,
        ),
        Figure("ClientHellos named in the kernel", 100 * passes.named, "%", 95, ns, note, more=True),
    ]
