"""Keys of sessions are numbers; listeners share none, neither with each other nor with those of a process before."""

from __future__ import annotations

import logging
import threading

from nf.privacy import Pseudonymiser
from nf.sessions.restart.keeper import Keeper
from nf.sessions.restart.lanes import Lanes
from nf.sessions.store import BindingStore

KEY = b"k" * 32


class TestLanes:
    """A billion numbers for each listener."""

    def test_two_listeners_share_none(self):
        lanes = Lanes()

        assert [lanes.take(name) for name in ("n4", "s11")] == [(0, None), (1_000_000_000, None)]

    def test_a_tracker_of_before_goes_on_where_it_was_and_once(self):
        lanes = Lanes()
        lanes.recall({"n4": "what n4 had"}, 2_000_000_017)

        assert lanes.take("s11") == (3_000_000_000, None)
        assert lanes.take("n4") == (4_000_000_000, "what n4 had")
        assert lanes.take("n4") == (5_000_000_000, None)


class TestKeeper:
    """Sessions are written where there is a file and a key, until the end and no longer."""

    def sessions(self) -> BindingStore:
        return BindingStore(10, pseudonymiser=Pseudonymiser(KEY, 0))

    def test_nothing_is_written_without_a_key(self, tmp_path):
        keeper = Keeper(tmp_path / "sessions", Lanes(), lambda: 0.0)
        keeper.remember((b"", self.sessions(), {}))

        assert not list(tmp_path.iterdir())

    def test_the_last_writing_is_at_the_end(self, tmp_path):
        path = tmp_path / "sessions"
        keeper = Keeper(path, Lanes(), lambda: 0.0)
        keeper.close((KEY, self.sessions(), {}))
        assert path.exists()

        path.unlink()
        keeper.remember((KEY, self.sessions(), {}))
        assert not path.exists()

    def test_a_file_that_cannot_be_written_is_said_and_no_more(self, tmp_path, caplog):
        keeper = Keeper(tmp_path / "no folder" / "sessions", Lanes(), lambda: 0.0)
        with caplog.at_level(logging.WARNING):
            keeper.remember((KEY, self.sessions(), {}))

        assert "cannot be written" in caplog.text

    def test_it_ends_with_the_function(self, tmp_path):
        stop = threading.Event()
        stop.set()
        Keeper(tmp_path / "sessions", Lanes(), lambda: 0.0).remember_often(stop, lambda: (KEY, self.sessions(), {}))

        assert not list(tmp_path.iterdir())
