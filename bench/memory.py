"""Kernel memory of all maps with a million flows and a million subscribers in them: memlock of /proc/self/fdinfo."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path

from bench import rig
from bench.figure import Figure
from gtp.events import Side
from nf.kernel.changes import PutTunnel
from nf.kernel.dataplane import DataPlane
from nf.settings import Limits

MILLION, STEP = 1_000_000, 50_000
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


def measure() -> list[Figure]:
    """Return the figure of kernel memory."""
    rig.one_cpu()
    before = set(maps())
    table = rig.Table(MILLION, room=MILLION, sessions=MILLION)
    try:
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
    total = sum(size for _, size in full.values()) / 1e6
    note = "memlock of every map of a data plane with 1,000,000 flows and subscribers of two tunnels and one N6 address"
    return [Figure("kernel memory, 1 M flows and 1 M subscribers", total, "MB", 350, cases, note)]


__all__ = ["Limits", "maps", "measure"]
