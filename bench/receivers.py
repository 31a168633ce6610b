"""The receivers of a port: nDPI, nfstream, our function; each is a process that tells how many packets it saw.

Both peers have 64 MB for packets that wait. ndpiReader opens its device with `pcap_open_live`, whose 2 MB a burst
overruns, so bench/large_ring.c stands before that.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench import peers
from bench.cc import library
from bench.port import CPUS, DEVICE, Port, Sent, run_ns, tree
from lab.wait import comes_true, wait_until

__all__ = ["Ours", "Process", "Receiver", "Run", "at", "ndpi_packets", "nfstream_packets", "run", "run_dropping"]

_END_S = 10.0  # for a process that was asked to end: ours takes its program off and frees its tables
_TICKS_PPS = 0.8  # of nfstream's clock, which is that of its packets and goes by whole seconds
_STILL_S = 0.7  # longer than 500 ms, after which ndpiReader gets a block of its ring that is not full
RING_BYTES = 64 << 20
_LARGE_RING = Path(__file__).with_name("large_ring.c")
_STREAM = f"""
import os, signal, sys
from nfstream import NFStreamer
if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))  # its meters would go on
    for flow in NFStreamer(source=sys.argv[1], decode_tunnels=True, n_meters=1, performance_report=1,
                           socket_buffer_size={RING_BYTES}):
        pass
"""
_OF_NDPI = re.compile(r"IP packets:\s+\d+\s+of (\d+) packets total")


class Process:
    """A process on the port's two CPUs, in the namespace of the thread that starts it, that ends with the bench.

    Its output is kept in *folder*; ``close`` ends it with all of its children.
    """

    def __init__(
        self, name: str, folder: Path, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self.name, self._output = name, folder / name
        cpus = ",".join(map(str, CPUS))
        with self._output.open("wb") as out:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", cpus, *command],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._seen = (time.monotonic(), 0)  # time and processor time when it was looked at

    def said(self) -> str:
        """Return everything that it has printed."""
        return self._output.read_text(errors="replace")

    def check(self) -> None:
        """Raise RuntimeError with its last words when it has ended."""
        if self._process.poll() is not None:
            last = " ".join(self.said().strip().splitlines()[-1:])
            raise RuntimeError(f"{self.name} ended with {self._process.returncode}: {last}")

    def ask(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def cpu_ns(self) -> int:
        """Return the processor time of the process and of all its descendants that live."""
        return sum(map(run_ns, tree(self.pid)))

    def look(self) -> None:
        """Begin to look whether it is still."""
        self._seen = time.monotonic(), self.cpu_ns()

    def is_still(self) -> bool:
        """Say whether it used less than a twentieth of a CPU since it was looked at, a while ago."""
        now, used = time.monotonic(), self.cpu_ns()
        since, before = self._seen
        if now - since < _STILL_S:
            return False
        self._seen = now, used
        return used - before < 0.05 * (now - since) * 1e9

    def signal(self, number: int) -> None:
        """Send it, and nobody else, a signal."""
        self._process.send_signal(number)

    @property
    def status(self) -> int:
        """The status that it ended with; 0 while it runs."""
        return self._process.poll() or 0

    def ended(self) -> bool:
        """Say whether it has ended."""
        return self._process.poll() is not None

    def close(self, *, gently: bool = False) -> None:
        """End it and its children; *gently*: after it had time to end by itself."""
        if gently and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGTERM)
            comes_true(self.ended, _END_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()


def ndpi_packets(text: str, status: int = 0) -> int:
    """Return how many packets ndpiReader read, by the results that it prints; raises RuntimeError without them.

    *status* is what it ended with.
    """
    found = _OF_NDPI.findall(text)
    if not found:
        last = " ".join(text.strip().splitlines()[-1:])
        raise RuntimeError(f"ndpiReader ended with {status} and printed no results: {last}")
    return int(found[-1])


def nfstream_packets(text: str) -> list[int]:
    """Return how many packets nfstream had read, by each line of its performance report."""
    told = []
    for line in text.splitlines():
        if line.startswith("{") and line.endswith("}"):
            report = json.loads(line)
            told.append(int(report["packets_processed"]) + int(report["packets_ignored"]))
    return told


class Receiver(Protocol):
    """A tool at the port. It is ready when it is made."""

    def begin(self) -> None:
        """Begin a span of traffic."""

    def settle(self) -> int:
        """Wait until all that arrived is worked off; return the nanoseconds of its processes since `begin`."""

    def pace(self) -> float:
        """Return the intervals a second from `begin` to `settle`; 1 for a tool without intervals."""

    def end(self) -> int:
        """Return the packets that the tool saw in its life, which may end with that."""

    def close(self) -> None:
        """End the tool."""


class _Peer:
    """A tool that reads a packet socket."""

    def __init__(self, process: Process, port: Port) -> None:
        self.process, self._from, self._port = process, 0, port
        try:
            wait_until(port.listens, f"{process.name} listens", check=process.check, last_words=process.said)
            process.look()
            wait_until(process.is_still, f"{process.name} is ready", check=process.check)
        except BaseException:
            process.close()
            raise

    def begin(self) -> None:
        self._from = self.process.cpu_ns()

    def settle(self) -> int:
        self.process.look()
        self.process.check()
        wait_until(self.process.is_still, f"{self.process.name} has read its ring", check=self.process.check)
        return self.process.cpu_ns() - self._from

    def pace(self) -> float:
        return 1.0

    def close(self) -> None:
        self.process.close()
        comes_true(lambda: not self._port.listens(), _END_S)  # or the next one would be taken for ready


class Ndpi(_Peer):
    """ndpiReader, told to open GTP-U, with a ring of 64 MB."""

    def __init__(self, port: Port, folder: Path) -> None:
        reader, environment, _ = peers.install()
        command = [word for word in reader if word != "-q"]
        environment["LD_PRELOAD"] = str(library(_LARGE_RING))
        super().__init__(Process("nDPI", folder, [*command, DEVICE], environment), port)
        if f"large_ring: {RING_BYTES} bytes" not in self.process.said():
            self.close()
            raise RuntimeError("ndpiReader did not open the port with the large ring.")

    def end(self) -> int:
        self.process.signal(signal.SIGINT)
        wait_until(self.process.ended, "nDPI prints its results")
        return ndpi_packets(self.process.said(), self.process.status)


class Nfstream(_Peer):
    """nfstream, told to open GTP-U, with a ring of 64 MB. It tells its counts each second."""

    def __init__(self, port: Port, folder: Path) -> None:
        _, _, (python, _) = peers.install()
        super().__init__(Process("nfstream", folder, [python, "-u", "-c", _STREAM, DEVICE]), port)

    def end(self) -> int:
        """Return its count. It brings that up to date with a packet that comes a second or more after the last time."""
        for _ in range(2):
            self._port.send(1, _TICKS_PPS)
        before = len(nfstream_packets(self.process.said()))

        def told() -> bool:
            counts = nfstream_packets(self.process.said())
            return len(counts) > before + 1 and counts[-1] == counts[-2]

        wait_until(told, "nfstream tells its counts", check=self.process.check)
        return nfstream_packets(self.process.said())[-1]


class Ours:
    """Our function, and a consumer of what it publishes, which is not in its time."""

    def __init__(self, port: Port, folder: Path) -> None:
        script = [sys.executable, "-m", "bench.port_ours"]
        self.process = Process("ours", folder, [*script, DEVICE, str(port.copies)])
        self._consumer = Process("consumer", folder, [*script, "--consume"])
        self._from, self._first, self._begun_s, self._pace = 0, 0, 0.0, 0.0
        try:
            wait_until(
                lambda: "ready\n" in self.process.said(), "ours is ready", check=self.process.check,
                last_words=self.process.said,
            )  # fmt: skip
            self._interval()
        except BaseException:
            self.close()
            raise

    def ask(self) -> dict[str, int]:
        """Return its counters, and the intervals that have ended."""
        before = len(self._answers())
        self.process.ask("counters")
        wait_until(lambda: len(self._answers()) > before, "ours answers", check=self.process.check)
        answer: dict[str, int] = json.loads(self._answers()[-1])
        return answer

    def _answers(self) -> list[str]:
        whole, _, _ = self.process.said().rpartition("\n")
        return [line for line in whole.splitlines() if line.startswith("{")]

    def _interval(self) -> dict[str, int]:
        """Wait until an interval ends, and return the counters after it."""
        last = self.ask()["intervals"]
        wait_until(lambda: self.ask()["intervals"] > last, "an interval of ours ends", check=self.process.check)
        return self.ask()

    def begin(self) -> None:
        self._first, self._begun_s = self.ask()["intervals"], time.monotonic()
        self._from = self.process.cpu_ns()

    def settle(self) -> int:
        ended = self._interval()["intervals"] - self._first
        self._pace = ended / (time.monotonic() - self._begun_s)
        return self.process.cpu_ns() - self._from

    def pace(self) -> float:
        return self._pace

    def end(self) -> int:
        return self.ask()["counted"]

    def close(self) -> None:
        self._consumer.close()
        self.process.close(gently=True)


_KINDS: dict[str, Callable[[Port, Path], Receiver]] = {"nDPI": Ndpi, "nfstream": Nfstream, "ours": Ours}


@contextlib.contextmanager
def at(port: Port, kind: str) -> Iterator[Receiver]:
    """Have a tool (nDPI, nfstream or ours) at the port."""
    with tempfile.TemporaryDirectory(prefix="snf-bench-") as folder:
        tool = _KINDS[kind](port, Path(folder))
        try:
            yield tool
        finally:
            tool.close()


@dataclass(frozen=True, slots=True)
class Run:
    """One tool's span of traffic."""

    sent: Sent
    lost: int  # packets that arrived and that it did not see, those before the span included
    process_ns: int  # of its processes, for the span
    pace: float = 1.0  # intervals that ended in a second, where a tool has some of a second

    @property
    def ns(self) -> tuple[float, float]:
        """Nanoseconds a packet: of sender and softirq, of its processes."""
        return self.sent.cpu_ns / self.sent.packets, self.process_ns / self.sent.packets


def run(
    port: Port, kind: str, ahead: int, frames: int, pps: float, copies: int = 1, ahead_pps: float | None = None
) -> Run:
    """Start a tool, send the capture's first *ahead* frames, and measure the *frames* after them.

    Those ahead, which begin most flows, come at *ahead_pps*, or at half the rate.
    """
    port.rewind(copies)
    before = port.arrived()
    with at(port, kind) as tool:
        port.send(ahead, ahead_pps or pps / 2)
        tool.settle()
        tool.begin()
        sent = port.send(frames, pps)
        process_ns = tool.settle()
        seen = tool.end()
    arrived = port.arrived() - before
    if seen > arrived:
        raise RuntimeError(f"{kind} saw {seen} packets of {arrived}.")
    return Run(sent, arrived - seen, process_ns, tool.pace())


def run_dropping(port: Port, ahead: int, frames: int, pps: float, copies: int = 1) -> Sent:
    """Send the same to a program that drops it; return the span."""
    port.rewind(copies)
    with port.dropping():
        port.send(ahead, pps / 2)
        return port.send(frames, pps)
