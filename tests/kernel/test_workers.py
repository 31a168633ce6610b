"""Payloads read by processes of their own: nothing waits for them, and one that ends is replaced."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lab.wait import comes_true
from nf.apps.basis import Basis
from nf.apps.signatures import Signatures
from nf.kernel.dataplane import address_bytes
from nf.naming.workers import Workers
from tests.apps.hellos import openssl_hello
from tests.kernel.packets import SERVER
from tests.kernel.rig import Rig

PATIENCE_S = 20.0
SUBSCRIBERS = 24
FLOWS = 3  # of each
TCP = 6
CUT = 60  # of a ClientHello: within its list of cipher suites
FUNCTION = """
import multiprocessing
import time
from nf.apps.signatures import Signatures
from nf.naming.workers import Workers
if __name__ == "__main__":
    workers = Workers(2, Signatures.load(), 0.0)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    time.sleep(99)
"""


@pytest.fixture
def two() -> Iterator[Workers]:
    with contextlib.closing(Workers(2, Signatures.load(), 0.0)) as workers:
        yield workers


def host(flow: int) -> str:
    return f"host-{flow}.example.org"


def records(rig: Rig, flows: range) -> NDArray[np.void]:
    """Return the payload records of flows, *FLOWS* a subscriber, whose ClientHellos take two segments each."""
    out = np.zeros(2 * len(flows), rig.plane.record_types["payload"])
    hellos = [openssl_hello(host(flow)) for flow in flows]
    for i, row in enumerate(out):  # the first segment of each, then the second of each
        flow, part = flows[i % len(flows)], i // len(flows)
        hello = hellos[i % len(flows)]
        data = hello[CUT:] if part else hello[:CUT]
        row["number"], row["session"], row["at_ns"] = flow, 1 + flow // FLOWS, i
        row["seq"] = 1 + part * CUT
        row["address_a"], row["address_b"] = (np.frombuffer(address_bytes(a), np.uint8) for a in ("10.0.0.1", SERVER))
        row["key"]["proto"], row["key"]["port_b"] = TCP, np.uint16(443).byteswap()
        row["length"], row["data"][: len(data)] = len(data), np.frombuffer(data, np.uint8)
    return out


def heard(workers: Workers, wanted: int) -> dict[int, tuple[str, int]]:
    """Return (host name, ground) by flow number, when *wanted* of them have come."""
    names: dict[int, tuple[str, int]] = {}

    def all_came() -> bool:
        for found in workers.found():
            for number, name, basis in zip(found.number.tolist(), found.name, found.basis.tolist(), strict=True):
                if name:
                    names[number] = name, basis
        return len(names) >= wanted and not workers.status()["waiting"]

    comes_true(all_came, PATIENCE_S)
    return names


def named(flows: range) -> Mapping[int, tuple[str, int]]:
    return {flow: (host(flow), int(Basis.SNI)) for flow in flows}


def running(number: str) -> bool:
    """Say whether a process lives; one that ended and that nobody has waited for does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


class TestSharing:
    """Records go by subscriber, so that what belongs together is read together."""

    def test_hellos_in_two_packets_are_all_named(self, rig: Rig, two: Workers) -> None:
        flows = range(SUBSCRIBERS * FLOWS)
        for row in records(rig, flows):  # a batch each, in order
            two.read(row.reshape(1))

        assert heard(two, len(flows)) == named(flows)
        assert two.status() == {"waiting": 0, "lost": 0, "restarts": 0}

    def test_both_processes_work(self, rig: Rig, two: Workers) -> None:
        two.read(records(rig, range(SUBSCRIBERS)))

        assert all(worker.waiting for worker in two._workers)

    def test_other_signatures_hold_for_the_next_record(self, rig: Rig, two: Workers) -> None:
        flows = range(SUBSCRIBERS)
        two.use(Signatures.load())
        two.read(records(rig, flows))

        assert heard(two, len(flows)) == named(flows)


class TestTrouble:
    """The function goes on whatever happens to a worker."""

    def test_one_that_ends_is_replaced_and_what_it_had_is_counted(self, rig: Rig, two: Workers) -> None:
        os.kill(two._workers[0].process.pid, signal.SIGSTOP)
        two.read(records(rig, range(SUBSCRIBERS)))
        held = two._workers[0].waiting
        os.kill(two._workers[0].process.pid, signal.SIGKILL)
        two._workers[0].process.join()
        heard(two, SUBSCRIBERS - held // 2)

        assert two.status()["restarts"] == 1
        assert two.status()["lost"] == held > 0
        later = range(SUBSCRIBERS, 2 * SUBSCRIBERS)
        two.read(records(rig, later))
        assert heard(two, len(later)) == named(later)

    def test_one_that_hangs_makes_nobody_wait(self, rig: Rig, two: Workers) -> None:
        batch = records(rig, range(SUBSCRIBERS))
        stopped = two._workers[0].process.pid
        os.kill(stopped, signal.SIGSTOP)
        try:
            for _ in range(800):  # a reader that waited would wait for ever: the time-out of the test would tell
                two.read(batch)
            assert two.status()["lost"] > 0
        finally:
            os.kill(stopped, signal.SIGCONT)

    def test_they_end_with_the_function(self) -> None:
        workers = Workers(2, Signatures.load(), 0.0)
        numbers = [worker.process.pid for worker in workers._workers]
        workers.close()

        assert not any(os.path.exists(f"/proc/{number}") for number in numbers)

    def test_they_end_when_it_is_killed(self) -> None:
        with subprocess.Popen([sys.executable, "-c", FUNCTION], stdout=subprocess.PIPE, text=True) as function:
            assert function.stdout is not None
            numbers = function.stdout.readline().split()
            function.kill()

        assert len(numbers) == 2
        assert comes_true(lambda: not any(running(number) for number in numbers), PATIENCE_S)
