"""Devices of the tests that listen."""

from __future__ import annotations

from pathlib import Path

from lab.wait import comes_true

WAIT_S = 10.0


def wait_for_carrier(*devices: str) -> None:
    """Wait until devices send: the kernel tells their queues of the carrier a moment later, and drops until then."""
    for device in devices:
        state = Path(f"/sys/class/net/{device}/operstate")
        assert comes_true(lambda state=state: state.read_text() == "up\n", WAIT_S), f"{device} has no carrier"
