"""Tools that all tests share: the captures, time-outs that know how busy the machine is, and the cost of the tests."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import FrameType

import pytest
import pytest_timeout

from lab.wait import Patience, slowness

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a script: the commands that are tested would inherit that they ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_BEGUN_S = time.monotonic()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of captures and data beside the checkout; SNF_SHARED names another place."""
    folder = Path(os.environ.get("SNF_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    if not (folder / "captures" / "pcap").is_dir():
        pytest.fail(f"The captures are not at {folder}: set SNF_SHARED to the folder that holds captures/.")
    return folder


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: pytest_timeout.Settings) -> bool:
    """Take a time-out as seconds of a quiet machine: when it is over, the machine is asked before the test fails.

    Processor time would not do as a clock: what hangs uses none, and much of what tests wait for is done by others.
    """
    patience = Patience(settings.timeout)

    def over(_number: int, _frame: FrameType | None) -> None:
        if left_s := patience.left_s():
            signal.setitimer(signal.ITIMER_REAL, left_s)
        else:
            pytest_timeout.timeout_sigalrm(item, settings)

    def cancel() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    item.cancel_timeout = cancel  # type: ignore[attr-defined]  # pytest-timeout calls it
    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, patience.left_s() or settings.timeout)
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the cost of the tests: processor time of this process and of all that it started and waited for."""
    spent = os.times()
    user, system = spent.user + spent.children_user, spent.system + spent.children_system
    terminalreporter.write_line(
        f"processor time: {user + system:.0f} s (user {user:.0f} s, system {system:.0f} s) "
        f"in {time.monotonic() - _BEGUN_S:.0f} s; a CPU is {slowness():.1f} times slower than undisturbed now"
    )
