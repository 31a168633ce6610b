"""What all tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a script: the commands that are tested would inherit that they ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of captures and data beside the checkout; SNF_SHARED names another place."""
    folder = Path(os.environ.get("SNF_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    if not (folder / "captures" / "pcap").is_dir():
        pytest.fail(f"The captures are not at {folder}: set SNF_SHARED to the folder that holds captures/.")
    return folder
