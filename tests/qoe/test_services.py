"""Services remember how long their segments are, by what sessions of all subscribers told."""

from __future__ import annotations

import numpy as np

from nf.subscribers.lately import APP_BITS
from nf.subscribers.services import Segments

ONE, OTHER = 7, 8  # applications


def rows(*apps: int) -> np.ndarray:
    """Return keys of rows, each of another subscriber."""
    return np.array([((k + 1) << APP_BITS) | app for k, app in enumerate(apps)], np.int64)


class TestSegments:
    """A length is told once sessions agree on it, and replaced when they no longer do."""

    def test_two_sessions_that_agree_tell_the_third(self):
        segments = Segments()
        segments.told(rows(ONE), np.array([4.0]))
        first = segments.of(rows(ONE))
        segments.told(rows(ONE, OTHER), np.array([4.1, np.nan]))

        assert np.isnan(first).all()
        assert segments.of(rows(ONE, OTHER))[0] == 4.0
        assert np.isnan(segments.of(rows(OTHER))).all()

    def test_a_service_that_changes_its_segments_is_learned_anew(self):
        segments = Segments()
        for said in (4.0, 4.0, 4.0, 6.0, 6.0, 6.0, 6.0, 6.0, 6.0):
            segments.told(rows(ONE), np.array([said]))

        assert segments.of(rows(ONE)) == 6.0

    def test_of_many_sessions_at_once_each_service_takes_one(self):
        segments = Segments()
        segments.told(rows(*[ONE] * 5), np.full(5, 2.0))

        assert np.isnan(segments.of(rows(ONE))).all()
