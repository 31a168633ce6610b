"""Access, core, loss or the application: one word for a bad score."""

from __future__ import annotations

import numpy as np
import pytest

from nf.qoe.inputs import Inputs
from nf.subscribers.suspect import SUSPECTS, suspect

NAN = float("nan")
LONG, SHORT = 130.0, 20.0  # ms of one side; from 100 on it is long
BAD = 2.5


def word(
    *, access_ms: float = NAN, core_ms: float = NAN, loss: tuple[float, float] = (NAN, NAN),
    jitter_ms: tuple[float, float] = (NAN, NAN), rtp: bool = False, mos: float = BAD,
) -> str:  # fmt: skip
    """Return the word for one row; losses and jitter are those of uplink and downlink."""
    nothing = np.full((1, 2), NAN)
    inputs = Inputs(
        1.0, nothing, nothing, np.array([access_ms]), np.array([core_ms]), np.array([access_ms]), np.array([core_ms]),
        np.array([loss]), np.array([jitter_ms]), *(nothing,) * 6,
    )  # fmt: skip
    return str(SUSPECTS[suspect(inputs, np.array([mos]), np.array([[rtp, rtp]]))][0])


class TestScore:
    """A good score needs no suspect, and one that is not known has none."""

    @pytest.mark.parametrize(("mos", "expected"), [(4.0, ""), (4.4, ""), (3.99, "access"), (NAN, "")])
    def test_below_four(self, mos: float, expected: str) -> None:
        assert word(access_ms=LONG, mos=mos) == expected

    def test_with_nothing_amiss_it_is_the_application(self) -> None:
        assert word(access_ms=SHORT, core_ms=SHORT, loss=(0.0, 0.001), jitter_ms=(5, 5)) == "app"
        assert word() == "app"


class TestRoundTrips:
    """The side whose round trip is long; of two long ones the longer."""

    @pytest.mark.parametrize(
        ("access_ms", "core_ms", "expected"),
        [(LONG, SHORT, "access"), (SHORT, LONG, "core"), (150, 300, "core"), (300, 150, "access"), (100, 20, "access"),
         (99, 99, "app"), (NAN, LONG, "core"), (LONG, NAN, "access")],
    )  # fmt: skip
    def test_which(self, access_ms: float, core_ms: float, expected: str) -> None:
        assert word(access_ms=access_ms, core_ms=core_ms) == expected


class TestLossOfTcp:
    """A segment that is sent again tells nothing of the place: a side is named when it alone has a long round trip."""

    @pytest.mark.parametrize(
        ("access_ms", "core_ms", "expected"),
        [(SHORT, SHORT, "loss"), (LONG, SHORT, "access"), (SHORT, LONG, "core"), (LONG, LONG, "loss"),
         (NAN, NAN, "loss"), (LONG, NAN, "access"), (NAN, LONG, "core")],
    )  # fmt: skip
    def test_five_percent(self, access_ms: float, core_ms: float, expected: str) -> None:
        assert word(loss=(0.0, 0.05), access_ms=access_ms, core_ms=core_ms) == expected

    def test_less_than_one_percent_is_fine(self) -> None:
        assert word(loss=(0.0, 0.009)) == "app"


class TestLossAndJitterOfMedia:
    """Numbers of RTP say on which side of the probe packets are missing: before it, uplink, is the access."""

    def test_of_the_uplink(self) -> None:
        assert word(loss=(0.02, 0.0), rtp=True) == "access"
        assert word(jitter_ms=(45, 0)) == "access"

    def test_of_the_downlink(self) -> None:
        assert word(loss=(0.0, 0.02), rtp=True) == "core"
        assert word(jitter_ms=(0, 45)) == "core"

    def test_the_largest_multiple_of_what_is_fine_is_named(self) -> None:
        assert word(loss=(0.02, 0.0), jitter_ms=(0, 90), rtp=True) == "core"  # two times 1 %, three times 30 ms
        assert word(loss=(0.04, 0.0), jitter_ms=(0, 90), rtp=True) == "access"
