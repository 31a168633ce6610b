"""Requests as the models see them: a moment has one time, in whichever interval it is read."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from nf.flows.batch import FlowBatch
from nf.flows.media import NO_MEDIA, MediaInterval
from nf.subscribers.lately import Lately
from nf.subscribers.sums import group
from nf.subscribers.views import Interval

CLOCK_S = 1_795_950_000.123_456  # the epoch ahead of the kernel's clock
REQUEST_US = 8_797_650_001  # by the kernel's clock, since its boot


def interval(end_s: float, request_us: int) -> Interval:
    """Return an interval with one flow over TCP whose request has no answer yet; *end_s* by the kernel's clock."""
    media = {
        f.name: np.zeros((1, *getattr(NO_MEDIA, f.name).shape[1:]), getattr(NO_MEDIA, f.name).dtype)
        for f in fields(MediaInterval)
        if f.name != "closed"
    }
    age = max(round((CLOCK_S + end_s - CLOCK_S) * 1e6) - request_us, 0)
    ages = {"open_request_us": age, "open_unanswered_us": age, "open_waiting_us": age, "open_requests": 1}
    for name, value in ages.items():
        media[name][0] = value
    columns = {name: np.zeros((1, 2), np.uint64) for name in FlowBatch.__dataclass_fields__}
    columns |= {name: column[:, 0] for name, column in columns.items() if name.startswith("dns_")}
    columns |= {name: np.zeros(1, np.uint64) for name in ("flow_id", "session", "basis", "confidence", "app", "proto")}
    columns |= {"media": replace(NO_MEDIA, **media), "t_start_s": CLOCK_S + end_s - 1, "t_end_s": CLOCK_S + end_s}
    flows = FlowBatch(**columns)
    keys, rows = group(flows, np.zeros(1, np.int64), 1.0)
    inputs, _ = Lately(64).inputs(keys, rows, flows, np.zeros(1, np.int64), 1.0)
    return Interval(flows, np.zeros(1, np.int64), keys, rows, inputs, np.full(1, np.nan), CLOCK_S)


class TestMoments:
    """A player's request is counted once, however often it is read; its time is that of the kernel."""

    @pytest.mark.parametrize("end_s", [8_797.7, 8_798.333_333_3, 8_799.000_000_49, 8_800.999_999_51, 8_812.123_456_789])
    def test_a_request_has_the_same_time_in_each_interval(self, end_s):
        _, under_way = interval(end_s, REQUEST_US).answers(np.zeros(1, np.intp))

        assert under_way.request_s.tolist() == [CLOCK_S + REQUEST_US / 1e6]

    def test_a_request_that_came_while_the_interval_was_read_is_of_the_next(self):
        _, under_way = interval(8_797.65, REQUEST_US).answers(np.zeros(1, np.intp))

        assert len(under_way.row) == 0
