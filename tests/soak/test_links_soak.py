"""Ports are deleted and made again for minutes, under traffic: attached within two seconds each time."""

from __future__ import annotations

import os
import time

import pytest

from nf.settings import Interface, Mode, Role
from tests.live.frames import sender
from tests.live.switchboard import FRAME, Switchboard, switchboard

SECONDS = float(os.environ.get("SNF_LINKS_S", "120"))
MOST_S = 2.0
MODES = {
    "mirror": (Interface("n3", Role.N3), Interface("n6", Role.N6)),
    "local": (Interface("n3", Role.N3, Mode.LOCAL), Interface("n6", Role.N6, Mode.LOCAL)),
    "inline": (Interface("n3", Role.N3, Mode.INLINE, peer="n6"), Interface("n6", Role.N6, Mode.INLINE, peer="n3")),
    "generic": (Interface("n3", Role.N3), Interface("n6", Role.N6)),
}


def again(board: Switchboard, name: str, queues: int, attached: str) -> float:
    """Delete a port and make it again; return how long that took to be attached."""
    counted = board.state(name)["packets"]
    board.unplug(name)
    board.until(name, "not-present", None)
    board.plug(name, queues=queues)
    took_s = board.until(name, "up", attached)
    assert board.state(name)["packets"] >= counted
    return took_s


class TestPorts:
    """Half a minute in each mode, and in generic mode after native was refused."""

    @pytest.mark.timeout(600)
    def test_they_are_attached_within_two_seconds_each_time(self):
        took_s: dict[str, list[float]] = {}
        with switchboard() as board:
            for mode, interfaces in MODES.items():
                queues, attached = (2, "generic") if mode == "generic" else (1, "native")
                for device in ("n3", "n6"):
                    board.plug(device, queues=queues)
                board.use(*interfaces)
                took_s[mode] = []
                end_s = time.monotonic() + SECONDS / len(MODES)
                with sender("gnb", [FRAME], 0.005):
                    while time.monotonic() < end_s or not took_s[mode]:
                        for name in ("n3", "n6"):
                            took_s[mode].append(again(board, name, queues, attached))
                        board.count_on("n3")
                        if mode == "inline":
                            board.arrives("dn", FRAME)
                board.use()
                for device in ("n3", "n6"):
                    board.unplug(device)

        for mode, times in took_s.items():
            print(f"\n{mode}: {len(times)} times attached again, {max(times):.2f} s at most", end="")
        assert max(max(times) for times in took_s.values()) < MOST_S
