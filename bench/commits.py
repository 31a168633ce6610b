"""Edit and commit of one static session among many, and of a thousand at once: processor time of the server, and waits.

``python -m bench.commits 1000 10000`` puts a real function into a namespace of its own and changes its configuration
as a session of the server does, without the wire: edit, NACM without rules, validation, data plane, journal, disk.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lxml import etree

from lab.net import Net, inside
from mgmt.netconf.store.datastore import Datastore
from nf.service import Service

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
SUBSCRIBERS = "urn:supernetflow:yang:snf-subscribers"
TIMES = 100
GOALS_MS = {1_000: 50, 10_000: 300}  # p99 of one entry, by static sessions
TOGETHER = 1_000


def session(number: int, dnn: str) -> str:
    tunnels = "".join(
        f"<{way}><address>192.0.2.{end}</address><teid>{number + 1}</teid></{way}>"
        for way, end in (("uplink", 1), ("downlink", 2))
    )
    return (
        f"<static-session><name>s{number}</name><imsi>00101{number:010d}</imsi>"
        f"<ue-ipv4>10.0.{number >> 8}.{number & 255}</ue-ipv4><dnn>{dnn}</dnn>{tunnels}</static-session>"
    )


def config(inner: str) -> etree._Element:
    return etree.fromstring(f'<config xmlns="{BASE}"><subscribers xmlns="{SUBSCRIBERS}">{inner}</subscribers></config>')


def timed(change: Callable[[], None]) -> tuple[float, float]:
    """Return (processor, wall) milliseconds."""
    began = time.process_time(), time.perf_counter()
    change()
    return (time.process_time() - began[0]) * 1e3, (time.perf_counter() - began[1]) * 1e3


def said(what: str, measured: list[tuple[float, float]], goal_ms: int) -> str:
    cpu, wall = (sorted(column) for column in zip(*measured, strict=True))
    last = min(len(cpu) - 1, int(len(cpu) * 0.99))
    return (
        f"{what}: processor p50 {statistics.median(cpu):.1f} ms, p99 {cpu[last]:.1f} ms (goal {goal_ms}); "
        f"wall p50 {statistics.median(wall):.1f}, p99 {wall[last]:.1f} ms"
    )


def measure(sessions: int) -> list[str]:
    with tempfile.TemporaryDirectory() as folder, Service() as service:
        startup = etree.tostring(config("".join(session(n, "internet") for n in range(sessions))))
        datastore = Datastore(Path(folder) / "state", service, startup)
        owner = datastore.open_session("bench")

        def change(numbers: range, dnn: str) -> None:
            datastore.edit(owner, config("".join(session(n, dnn) for n in numbers)))
            datastore.commit(owner)

        middle = sessions // 2
        change(range(middle, middle + 1), "first")
        one = [timed(lambda n=n: change(range(middle, middle + 1), f"one{n}")) for n in range(TIMES)]  # type: ignore[misc]
        many = [timed(lambda n=n: change(range(TOGETHER), f"many{n}")) for n in range(max(1, TIMES // 20))]  # type: ignore[misc]
        lines = [said(f"one entry of {sessions:,}", one, GOALS_MS.get(sessions, 0))]
        return [*lines, said(f"{TOGETHER:,} entries of {sessions:,} in one edit", many, 400)]


def main() -> None:
    with Net() as net:
        net.add("host")
        with inside(net.path("host")):
            for sessions in map(int, sys.argv[1:] or ("1000", "10000")):
                for line in measure(sessions):
                    print(line, flush=True)


if __name__ == "__main__":
    main()
