"""Runs by the package's own Python, in the machine: a start as `snf run` does it, processor time by its parts.

With ports and a state of its own, in a network namespace of its own. Each part is the least of three starts.
"""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PARTS = ("interpreter", "imports", "tables and programs", "configuration, verifier, port", "NETCONF and names")
_CLONE_NEWNET = 0x4000_0000  # include/uapi/linux/sched.h
_STARTUP = b"""<config><interfaces xmlns="urn:ietf:params:xml:ns:yang:ietf-interfaces"><interface><name>p3</name>
<type xmlns:i="urn:ietf:params:xml:ns:yang:iana-if-type">i:ethernetCsmacd</type>
<capture xmlns="urn:supernetflow:yang:snf-interfaces"><role>n3</role></capture>
</interface></interfaces></config>"""


class _Told(logging.Handler):
    """Notes the time when a port is attached, and when the configuration begins to be put in force."""

    def __init__(self) -> None:
        super().__init__()
        self.times = dict[str, float]()

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        for mark in ("putting the configuration", ", XDP "):
            if mark in said:
                self.times.setdefault(mark, time.process_time())


def once() -> None:
    """Start and stop the function; print the processor time of each part."""
    marks = [time.process_time()]
    ctypes.CDLL(None).unshare(_CLONE_NEWNET)
    for words in ("link add p3 type veth peer name far", "link set far up", "link set lo up"):
        subprocess.run(["ip", *words.split()], check=True)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    told = _Told()
    logging.getLogger().addHandler(told)
    logging.getLogger().setLevel(logging.INFO)
    begun = time.process_time()
    from mgmt.cli import main  # noqa: F401
    from mgmt.cli.run import Options, serve

    marks.append(marks[0] + time.process_time() - begun)
    imported, stop, ready = time.process_time(), threading.Event(), list[float]()

    def answers(_: str) -> None:
        ready.append(time.process_time())
        stop.set()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "state").mkdir(mode=0o700)
        (folder / "users").write_text("")
        serve(Options(folder / "state", folder / "users", None, _STARTUP, "127.0.0.1", 0), stop, answers)
    for at in (told.times["putting the configuration"], told.times[", XDP "], ready[0]):
        marks.append(marks[1] + at - imported)
    print(*(f"{after - before:.3f}" for before, after in zip([0.0, *marks], marks, strict=False)))


def main() -> None:
    """Print the table."""
    rows = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-I", __file__, "once"], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr[-1000:])
        rows.append([float(each) for each in done.stdout.split()])
    least = [min(column) for column in zip(*rows, strict=True)]
    for part, seconds in zip(PARTS, least, strict=True):
        print(f"{seconds:.2f} s {part}")


if __name__ == "__main__":
    once() if sys.argv[1:] == ["once"] else main()
