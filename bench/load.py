"""From nothing to the first port, to names and NETCONF, and to the end of a replay: processor time of a process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from bench import rig
from bench.figure import Figure

ROUNDS = 5
PORT, READY = "first port", "names and NETCONF"
_RUN = """
import logging, pathlib, subprocess, sys, threading, time
for words in ("link add n3 type veth peer name peer", "link set peer up", "link set lo up"):
    subprocess.run(["ip", *words.split()], check=True)
class Told(logging.Handler):
    def emit(self, record):
        if ", XDP " in record.getMessage():
            print(time.process_time(), flush=True)
logging.getLogger().addHandler(Told())
logging.getLogger().setLevel(logging.INFO)
from mgmt.cli.run import Options, serve
folder, stop = pathlib.Path(sys.argv[1]), threading.Event()
def ready(_):
    print(time.process_time(), flush=True)
    stop.set()
(folder / "state").mkdir(mode=0o700)
startup = (folder / "startup.xml").read_bytes()
serve(Options(folder / "state", folder / "users", None, startup, "127.0.0.1", 0), stop, ready)
"""
_STARTUP = """<config><interfaces xmlns="urn:ietf:params:xml:ns:yang:ietf-interfaces"><interface><name>n3</name>
<type xmlns:i="urn:ietf:params:xml:ns:yang:iana-if-type">i:ethernetCsmacd</type>
<capture xmlns="urn:supernetflow:yang:snf-interfaces"><role>n3</role></capture>
</interface></interfaces></config>"""


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="snf-bench-") as name:
        folder = Path(name)
        (folder / "users").write_text("")
        (folder / "startup.xml").write_text(_STARTUP)
        packet = Ether() / IP(src="10.45.0.2", dst="192.0.2.10") / UDP(sport=40000, dport=9999) / bytes(64)
        wrpcap(str(folder / "one.pcap"), packet)
        yield folder


def _start(folder: Path, cache: Path) -> tuple[float, float]:
    """Start the function in a namespace of its own; return processor seconds until its first port and until ready."""
    with tempfile.TemporaryDirectory(dir=folder) as state:
        for name in ("users", "startup.xml"):
            (Path(state) / name).write_text((folder / name).read_text())
        words = ["unshare", "--net", sys.executable, "-c", _RUN, state]
        environment = {**os.environ, "SNF_CACHE": str(cache)}
        run = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    port, ready = map(float, run.stdout.split())
    return port, ready


def _replay(folder: Path, cache: Path) -> float:
    """Replay a capture of one packet; return the processor seconds of the process."""
    words = [sys.executable, "-m", "mgmt.cli.main", "replay", "--quiet", str(folder / "one.pcap")]
    before = os.times()
    subprocess.run(words, env={**os.environ, "SNF_CACHE": str(cache)}, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def _least(rounds: int, once: Callable[[], tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(min(column) for column in zip(*(once() for _ in range(rounds)), strict=True))


def measure() -> list[Figure]:
    """Return the figures of the start, with and without compiled programs at hand, and of the shortest replay."""
    with _folder() as folder:
        cold = {}
        rig.progress("a start that compiles")
        with tempfile.TemporaryDirectory(dir=folder) as empty:
            cold[PORT], cold[READY] = _start(folder, Path(empty))
        cache = folder / "cache"
        _start(folder, cache)
        _replay(folder, cache)
        rig.progress("starts that do not")
        port, ready = _least(ROUNDS, lambda: _start(folder, cache))
        (replay,) = _least(ROUNDS, lambda: (_replay(folder, cache),))
    rig.progress("")
    cases = {"port, warm": port, "ready, warm": ready, "port, cold": cold[PORT], "ready, cold": cold[READY]}
    note = (
        f"processor time of the process; warm: compiled programs at hand, minimum of {ROUNDS}; tables of default size"
    )
    return [
        Figure("start to the first port, warm", port, "s", 1.0, cases, note),
        Figure("start to names and NETCONF, warm", ready, "s", 2.0, cases, note),
        Figure("start to names and NETCONF, cold", cold[READY], "s", 5.9, cases, note),
        Figure("replay of one packet, warm", replay, "s", 2.0, cases | {"replay": replay}, note),
    ]
