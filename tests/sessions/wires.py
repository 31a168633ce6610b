"""Devices of the tests that listen."""

from __future__ import annotations

import time
from pathlib import Path

WAIT_S = 10.0


def wait_for_carrier(*devices: str) -> None:
    """Wait until devices send: the kernel tells their queues of the carrier a moment later, and drops until then."""
    deadline = time.monotonic() + WAIT_S
    for device in devices:
        while Path(f"/sys/class/net/{device}/operstate").read_text() != "up\n":
            assert time.monotonic() < deadline, f"{device} has no carrier"
            time.sleep(0.005)
