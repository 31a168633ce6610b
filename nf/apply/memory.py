"""The memory that the function takes, by its limits: tables of the kernel, and user space.

The kernel charges tables to the service that makes them. Figures of the kernel are what Linux 6.18 on x86-64 charges
(tests/deploy/test_memory.py compares); those of user space are of a full table (docs/performance.md), rounded up.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from pathlib import Path

from nf.abi import SNF_BUCKETS, SNF_DELAYS
from nf.errors import BadSettings
from nf.kernel.source import places
from nf.settings import Limits

__all__ = ["allowed_bytes", "check", "complaint", "service_bytes", "table_bytes", "unit_bytes"]

_MB = 1_000_000
_STEP = 64 << 20  # of the limit of a unit
# Of the kernel: maps of fixed sizes, programs, and the rings of up to eight processors.
_FIXED_BYTES = 48 * _MB
_RINGS_BYTES, _CPUS = 16 * _MB, 8  # rings of each eight processors more
_FLOW_BYTES, _SESSION_BYTES = 392, 82
# Of user space: 157 MB with 50 sessions of NETCONF, four processes of XPath, 100 MB while programs are compiled.
_BASE_BYTES = 300 * _MB
_OF_FLOW_BYTES, _OF_SESSION_BYTES = 520, 400
_SHARD_BYTES = 120 * _MB  # a process beside the function
_SPARE = 1.25  # records that wait for slow subscribers of the bus, pages of files

_UNIT, _ANSWER_S = "supernetflow.service", 5.0
_CGROUPS = Path("/sys/fs/cgroup")
_V1 = re.compile(r"^\d+:(?:[\w=,]*,)?memory(?:,[\w=,]*)?:(/.*)$", re.MULTILINE)
_V2 = re.compile(r"^0::(/.*)$", re.MULTILINE)


def table_bytes(limits: Limits) -> int:
    """Return what the kernel charges for the tables."""
    more = max(0, -(-(os.cpu_count() or 1) // _CPUS) - 1)
    counts = places(limits.sessions) * SNF_DELAYS * SNF_BUCKETS * 4  # of delays
    tables = limits.flows * _FLOW_BYTES + limits.sessions * _SESSION_BYTES + counts
    return _FIXED_BYTES + more * _RINGS_BYTES + tables


def unit_bytes(limits: Limits) -> int:
    """Return the limit of memory that a unit of the function needs, all of its processes and tables in it."""
    shards = limits.shards * _SHARD_BYTES if limits.shards > 1 else 0
    whole = table_bytes(limits) + _BASE_BYTES + shards
    whole += limits.flows * _OF_FLOW_BYTES + limits.sessions * _OF_SESSION_BYTES
    return -(-int(whole * _SPARE) // _STEP) * _STEP


def allowed_bytes() -> int | None:
    """Return the memory that the control groups of this process let it have; None: as much as there is."""
    text = Path("/proc/self/cgroup").read_text(encoding="ascii", errors="replace")
    found = []
    for pattern, root, file in (
        (_V1, _CGROUPS / "memory", "memory.limit_in_bytes"),
        (_V2, _CGROUPS, "memory.max"),
    ):
        path = pattern.search(text)
        if path is None:
            continue
        group = root / path[1].strip("/")
        for folder in (group, *group.parents):
            if folder == root.parent:
                break
            with contextlib.suppress(OSError, ValueError):
                found.append(int((folder / file).read_text()))
    least = min(found, default=None)
    # Version 1 says "no limit" as the largest number of pages.
    return None if least is None or least >= 1 << 62 else least


def complaint(limits: Limits, allowed: int | None) -> str:
    """Return in a sentence that *allowed* bytes are less than a unit with these limits needs; "" when they are not."""
    wanted = unit_bytes(limits)
    if allowed is None or allowed >= wanted:
        return ""
    return (
        f"The memory of this service is limited to {allowed / _MB:,.0f} MB, and {limits.flows:,} flows and "
        f"{limits.sessions:,} sessions may need {wanted / _MB:,.0f} MB; run: snf memory"
    )


def service_bytes() -> int | None:
    """Return the memory that the installed service may have, as systemd says; None: it has no limit, or is not here."""
    words = ["systemctl", "show", "--property=MemoryMax", "--value", _UNIT]
    try:
        said = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_ANSWER_S).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return int(said) if said.isdecimal() and int(said) < 1 << 62 else None


def check(limits: Limits, allowed: int | None = None) -> None:
    """Raise BadSettings when not even the tables have room in *allowed* bytes, by default those of this process."""
    allowed, tables = allowed_bytes() if allowed is None else allowed, table_bytes(limits)
    if allowed is not None and allowed < tables:
        raise BadSettings(
            f"The tables of {limits.flows:,} flows and {limits.sessions:,} sessions take {tables / _MB:,.0f} MB, "
            f"and the memory of this service is limited to {allowed / _MB:,.0f} MB.",
            "/snf-function:network-function/limits",
            "Raise the limit of the unit, as snf memory says, or lower limits of flows and sessions.",
        )
