"""Memory with a million flows and a million subscribers: of the kernel's maps, and of user space, as one figure.

The kernel's is memlock of /proc/self/fdinfo. Of user space it is what a book of all flows, and sweeps of the table
while they begin, add to the resident memory of this process; and what tracker and store have, which takes minutes to
fill, so it is the latest figure of bench/identity.py.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import results, rig
from bench.figure import Figure
from bench.identity import resident_mb
from bench.scale import Counted
from gtp.events import Side
from nf.apps.signatures import Signatures
from nf.kernel.changes import PutTunnel
from nf.kernel.dataplane import DataPlane
from nf.pipeline import Pipeline
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore
from nf.settings import Limits

MILLION, STEP = 1_000_000, 50_000
_AN_INTERVAL = 60_000  # flows that begin in an interval
KERNEL, SESSIONS = "kernel, MB", "user space, 1 M sessions"
_TYPES = {"1": "hash", "2": "array", "3": "program array", "6": "per-CPU array", "9": "LRU hash", "27": "ring"}


def maps() -> dict[int, tuple[str, int]]:
    """Return the maps that this process holds: identifier to (type and sizes in words, bytes locked)."""
    found: dict[int, tuple[str, int]] = {}
    for fd in os.listdir("/proc/self/fdinfo"):
        try:
            text = Path(f"/proc/self/fdinfo/{fd}").read_text()
        except OSError:
            continue  # the folder's own descriptor
        field = dict(re.findall(r"^(\w+):\s*(\d+)$", text, re.MULTILINE))
        if "map_id" in field:
            kind = _TYPES.get(field["map_type"], f"type {field['map_type']}")
            words = f"{kind} {field['key_size']}+{field['value_size']} x {field['max_entries']}"
            found[int(field["map_id"])] = (words, int(field["memlock"]))
    return found


def _sessions(plane: DataPlane, count: int) -> None:
    """Bind an uplink and a downlink tunnel and an N6 address for each of *count* subscribers."""
    for first in range(0, count, STEP):
        rig.progress(f"subscribers {first} of {count}")
        tunnels, ues = [], []
        for i in range(first, min(first + STEP, count)):
            ue = str(ipaddress.IPv4Address(0x0A40_0000 + i))
            tunnels.append(PutTunnel("10.10.0.2", 0x10000 + i, Side.UPLINK, i + 1, ue))
            tunnels.append(PutTunnel("10.10.0.1", 0x10000 + i, Side.DOWNLINK, i + 1, ue))
            ues.append(("", ue, i + 1))
        plane.put_tunnels(tunnels)
        plane.put_ues(ues)
    rig.progress("")


def _fill(table: rig.Table) -> float:
    """Begin a million flows, some an interval; return the megabytes that book and sweeps of user space take."""
    before = resident_mb()
    signatures, store = Signatures.load(), BindingStore(1)
    pipeline = Pipeline(table.plane, signatures, store, Pseudonymiser(b"a key of the bench", 1), Counted())
    waiting = 0

    def sweep() -> None:
        pipeline.sweep(table.plane.now_ns() / 1e9)

    def each(events: NDArray[np.void]) -> None:
        nonlocal waiting
        pipeline.book.add(events)
        waiting += len(events)
        if waiting >= _AN_INTERVAL:
            waiting = 0
            sweep()

    try:
        table.fill(MILLION, each)
        return resident_mb() - before
    finally:
        pipeline.close()


def _sessions_mb() -> float:
    """Return the megabytes of tracker and store by the latest run of bench/identity.py; raises RuntimeError."""
    for row in results.rows(results.FILE):
        if row["name"] == SESSIONS:
            return float(row["value"])
    raise RuntimeError("The memory of the session store is not measured yet. Run: python -m bench identity memory")


def measure() -> list[Figure]:
    """Return the figure of memory."""
    rig.one_cpu()
    sessions_mb = _sessions_mb()
    before = set(maps())
    table = rig.Table(1, room=MILLION, sessions=MILLION)
    try:
        flows_mb = _fill(table)
        empty = {n: v for n, v in maps().items() if n not in before}
        _sessions(table.plane, MILLION)
        if table.plane.refused_entries:
            raise RuntimeError(f"{table.plane.refused_entries} table entries found no room.")
        full = {n: v for n, v in maps().items() if n in empty}
        flows = len(table.plane.read_flows()[0])
    finally:
        table.close()
    largest = sorted(full.values(), key=lambda v: -v[1])[:8]
    cases = {f"{words}, MB": size / 1e6 for words, size in largest if size > 500_000}
    cases["flows in the table"] = flows
    kernel_mb = sum(size for _, size in full.values()) / 1e6
    cases |= {KERNEL: kernel_mb, "user space, flows, MB": flows_mb, "user space, sessions, MB": sessions_mb}
    note = (
        "memlock of every map of a data plane with 1,000,000 flows and subscribers of two tunnels and one N6 address; "
        "resident memory that a book of the flows, and sweeps while they begin, add; that of tracker and session store "
        "by `identity`"
    )
    whole = kernel_mb + flows_mb + sessions_mb
    return [Figure("kernel and user memory, 1 M flows and 1 M subscribers", whole, "MB", 900, cases, note)]


__all__ = ["Limits", "maps", "measure"]
