"""The clock of a live data plane: exact where it is asked, else the kernel's last tick."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from nf.kernel import syscall
from nf.kernel.dataplane import DataPlane
from nf.settings import Limits, Mode, Role
from tests.kernel.packets import SERVER, UE, ether
from tests.kernel.rig import LOOPBACK

TICK_US = round(time.clock_getres(6) * 1e6)  # CLOCK_MONOTONIC_COARSE, include/uapi/linux/time.h
FRAME = ether(IP(src=UE, dst=SERVER) / UDP(sport=40000, dport=40001) / Raw(bytes(100)))
APP = 7


def now_us() -> int:
    return time.monotonic_ns() // 1000


class Live:
    """A live build of the programs, run on single frames."""

    def __init__(self) -> None:
        self.plane = DataPlane(Limits(flows=1024, sessions=256))
        self.plane._set_port(LOOPBACK, slot=0, mode=Mode.MIRROR, instance="")
        self.run = syscall.TestRun(self.plane.program(Role.N6), 400)

    def flow(self) -> Any:
        (flow,) = self.plane.read_flows()[1]
        return flow

    def last_us(self) -> int:
        return int(self.flow()["last_us"].max())


@pytest.fixture
def live() -> Iterator[Live]:
    it = Live()
    yield it
    it.plane.close()


def low(us: int) -> int:
    return us % (1 << 32)


class TestClock:
    """The low half of a microsecond clock."""

    def test_an_unnamed_flow_is_timed_exactly(self, live: Live) -> None:
        live.run(FRAME)
        before = now_us()
        live.run(FRAME)
        after = now_us()

        assert low(live.last_us() - before) <= after - before + 1

    def test_a_coarse_application_is_timed_to_the_tick(self, live: Live) -> None:
        live.plane.set_policies({}, coarse=[APP])
        live.run(FRAME)
        keys, flows = live.plane.read_flows()
        live.plane.put_verdicts(keys, flows["number"], np.array([APP], np.uint16), np.ones(1, np.bool_))
        for _ in range(20):
            time.sleep(TICK_US * 2.3e-6)
            before = now_us()
            live.run(FRAME)
            after = now_us()
            # The time of a tick: of the last one before the packet at the earliest, and not of the future.
            assert low(live.last_us() - before + 2 * TICK_US) <= after - before + 2 * TICK_US

        assert live.flow()["app"] == APP
