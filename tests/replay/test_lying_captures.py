"""Captures that lie: what they do not hold is not measurable, and no number of theirs is out of range."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.truth import generated, waits
from bench.truth.waits import Capture
from nf.qoe.models import MODELS
from tests.replay import situations
from tests.replay.situations import Told, call_of, player

SECONDS = 8
_UE = bytes((10, 45, 0, 2))
BOUNDS = {"confidence": (0, 1), "mos": (1, 5), "mos_session": (1, 5), "stall_ratio": (0, 1), "tick_loss": (0, 1)}
LEAST_0 = (
    "page_s",
    "answer_ms",
    "speed_bps",
    "lag_ms",
    "fps",
    "frozen_s",
    "startup_s",
    "stalled_s",
    "buffer_s",
    "spikes",
)

TRUE = {
    "voice": lambda: call_of(
        "voice", generated.talkers(SECONDS)[0], server="198.51.100.20", trip_s=0.04, seconds=SECONDS
    ),
    "conferencing": lambda: call_of(
        "conferencing", generated.video(SECONDS, fps=20, kbps=300, split="rtp").packets, server="198.51.100.21"
    ),
    "gaming": lambda: call_of(
        "gaming", generated.game(SECONDS, tick_hz=20, core_ms=20, access_ms=15).packets, server="198.51.100.22"
    ),
    "web": waits.CASES["page-1s"],
    "messaging": waits.CASES["chat-20ms"],
    "download": waits.CASES["download-30ms"],
    "video": lambda: player(300, 15),
}


def _only(made: Capture, *, down: bool) -> Capture:
    made.frames = [(at_s, frame) for at_s, frame in made.frames if (frame[30:34] == _UE) == down]
    return made


def _with_gap(made: Capture) -> Capture:
    """Return what a capture holds whose file stands still from 3 s on, until 9 s later or for good."""
    made.frames = [(at_s, frame) for at_s, frame in made.frames if not 3 <= at_s < 12]
    return made


def _stepped(made: Capture, by_s: float) -> Capture:
    """Return a capture whose clock was stepped after 3 s; the file is in the order of its packets."""
    made.frames = [(at_s + (by_s if at_s >= 3 else 0), frame) for at_s, frame in sorted(made.frames)]
    return made


def _empty() -> Capture:
    """Return flows without a payload: datagrams of no bytes, and connections that are never answered."""
    capture = Capture()
    packets = [generated.Packet(0.02 * n, bool(n % 2), b"") for n in range(200)]
    capture = call_of("voice", packets, server="198.51.100.20")
    for n in range(5):
        capture.ports += 1
        capture.add(n, waits._tcp(capture.ue, capture.server, (capture.ports, 443), (0, 0), 2, b""))
    return capture


LIES = {
    **{f"{name} up": lambda made=made: _only(made(), down=False) for name, made in TRUE.items()},
    **{f"{name} down": lambda made=made: _only(made(), down=True) for name, made in TRUE.items()},
    **{f"{name} gap": lambda made=made: _with_gap(made()) for name, made in TRUE.items()},
    "empty": _empty,
}


def all_in_range(told: dict[str, Told]) -> None:
    rows = [row for of in told.values() for row in of.rows]
    assert rows
    for row in rows:
        for name, value in row.items():
            if isinstance(value, (float, np.floating)):
                assert not math.isinf(value), (name, row)
        for name, (least, most) in BOUNDS.items():
            value = float(row.get(name, math.nan))
            assert math.isnan(value) or least <= value <= most, (name, row)
        for name in LEAST_0:
            value = float(row.get(name, math.nan))
            assert math.isnan(value) or value >= 0, (name, row)
        if row.get("unmeasured"):
            assert math.isnan(row["mos"]), row


@pytest.fixture(scope="module")
def told(replay, tmp_path_factory):
    return situations.replayed(LIES, tmp_path_factory.mktemp("lies"), replay)


class TestWhatIsNotThere:
    """One direction only, a gap in the file, flows without a byte."""

    def test_is_in_no_number_out_of_range(self, told):
        all_in_range(told)

    @pytest.mark.parametrize("name", ["voice", "gaming"])
    def test_of_one_direction_what_needs_both_is_not_measurable(self, told, name):
        """In a downlink alone the one that speaks is taken for the UE."""
        both = [*told[f"{name} up"].of(name), *told[f"{name} down"].of(name), *told[situations.NOBODY].of(name)]

        assert len(both) > 5
        assert all(math.isnan(row["mos"]) for row in both)

    def test_of_one_direction_of_all_nothing_is(self, replay, tmp_path):
        made = {name: LIES[f"{name} up"] for name in TRUE}
        rows = [row for of in situations.replayed(made, tmp_path, replay).values() for row in of.rows]

        assert {row["class"] for row in rows} >= {"voice", "gaming", "web", "messaging", "download"}
        assert all(math.isnan(row["mos"]) for row in rows)
        assert {row["unmeasured"] for row in rows if row["class"] in MODELS} == {"one direction only"}

    def test_of_flows_without_a_byte_nothing_is(self, told):
        assert all(math.isnan(row["mos"]) for row in told["empty"].rows)


class TestCut:
    """Captures of which each packet was cut behind its headers."""

    def test_at_72_bytes(self, replay, tmp_path):
        told = situations.replayed(TRUE, tmp_path, replay, snap=72)

        all_in_range(told)
        assert {row["class"] for of in told.values() for row in of.rows} >= {"unknown"}


class TestClock:
    """A clock that jumps in the middle of the file."""

    @pytest.mark.parametrize("by_s", [-3600.0, -2.0, 5.0, 7200.0])
    def test_by(self, replay, tmp_path, by_s):
        small = {name: TRUE[name] for name in ("voice", "gaming", "web", "messaging", "video")}
        made = {name: lambda make=make: _stepped(make(), by_s) for name, make in small.items()}

        all_in_range(situations.replayed(made, tmp_path, replay))
