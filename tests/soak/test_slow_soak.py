"""A start at a tenth of a processor that compiles its programs first: minutes, and no limit of the unit ends it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.live.test_service_manager import PHASES, managed

__all__ = ["managed"]  # the fixture

UNIT = Path(__file__).resolve().parents[2] / "deploy" / "systemd" / "supernetflow.service"


@pytest.mark.timeout(1200)
def test_a_first_start_at_a_tenth(managed, tmp_path):
    minutes = re.search(r"^TimeoutStartSec=(\d+)min$", UNIT.read_text(), re.MULTILINE)
    assert minutes
    cache = tmp_path / "cache"
    cache.mkdir()
    for folder in (cache, *tmp_path.parents[:2]):
        folder.chmod(0o777)

    child = managed.start(percent=10, cache=str(cache))
    try:
        assert managed.manager.heard("STATUS")[:3] == PHASES
        assert managed.manager.silence_s(limit_s=60 * int(minutes[1])) == 0.0
        # Of an even shorter limit as well: each phase asks for a minute, and for more while it goes on.
        assert managed.manager.silence_s(limit_s=60) == 0.0
    finally:
        child.terminate()
        assert child.wait() == 0
