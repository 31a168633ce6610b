"""Labels of sessions, asked for without a lock while another thread changes these sessions and others."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gtp.events import EndReason, Identity, Session, SessionDown, SessionMoved, SessionUp, Side, Tunnel
from nf.sessions import BindingStore

ROUNDS, MINE = 1000, 20


def session(n: int, imsi: str) -> Session:
    tunnels = Tunnel("192.0.2.10", n), Tunnel("192.0.2.20", n, Side.DOWNLINK, local=False)
    return Session(f"pfcp-{n}", "pfcp", Identity(imsi), f"10.45.{n >> 8}.{n & 255}", dnn="internet", tunnels=tunnels)


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hurried")
class TestBesideChanges:
    """A session that holds has its label at any moment, and never another's."""

    def test_sessions_that_move_between_shapes_while_others_come_and_go(self) -> None:
        store, done = BindingStore(10_000), threading.Event()
        mine = [session(1000 + n, f"00101{n:010d}") for n in range(MINE)]
        for s in mine:
            store.apply(SessionUp(1.0, s))
        numbers = {store.number_of_tunnel("192.0.2.10", 1000 + n): f"00101{n:010d}" for n in range(MINE)}

        def change() -> None:
            for turn in range(ROUNDS):
                n = turn % MINE
                address = "192.0.2.21" if turn // MINE % 2 else "2001:db8::21"
                moved = replace(
                    mine[n], tunnels=(mine[n].tunnels[0], Tunnel(address, turn, Side.DOWNLINK, local=False))
                )
                store.apply(SessionMoved(2.0, moved))
                other = session(3000 + turn, f"00102{turn:010d}")
                store.apply(SessionUp(3.0, other))
                store.apply(SessionDown(4.0, other, EndReason.DELETED))
            done.set()

        thread = threading.Thread(target=change)
        thread.start()
        wrong, asked = [], 0
        while not done.is_set() and thread.is_alive():
            for number, imsi in numbers.items():
                label = store.label(number)
                asked += 1
                if label is None or label.imsi != imsi:
                    wrong.append((number, label))
        thread.join()
        assert done.is_set()
        assert asked > 0
        assert wrong == []
