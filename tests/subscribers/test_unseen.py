"""A direction that no port can see is missing in the records, not zero."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from feed.columns import pack_columns, unpack_columns
from nf.qoe.models import MODELS
from nf.subscribers import SubscriberNames, Subscribers
from tests.subscribers.test_sums import ACTIONS, APPS, CLASS_OF, random_batch

VOLUMES = [f"{way}_{what}" for way in ("ul", "dl") for what in ("bytes", "packets", "bps")]


def records(seen):
    batch = random_batch(7, 50)
    return Subscribers().update(
        batch,
        subject=np.zeros(50, np.int64),
        names=SubscriberNames(["a"], ["pfcp"], ["internet"]),
        class_of_app=CLASS_OF,
        app_names=APPS,
        action=np.array(ACTIONS, np.uint8),
        seen=seen,
    )


class TestUnseen:
    """Volumes of uplink and downlink by what can be seen."""

    @pytest.mark.parametrize("seen", [(True, True), (True, False), (False, True)])
    def test_a_volume_is_missing_where_it_cannot_be_seen_and_nowhere_else(self, seen):
        for batch in records(seen):
            for name in VOLUMES:
                can = seen[0] if name.startswith("ul") else seen[1]
                assert np.isnan(batch.columns[name].astype(float)).all() == (not can), name

    @pytest.mark.parametrize("seen", [(True, False), (False, True)])
    def test_without_one_of_them_nothing_is_judged(self, seen):
        batches = records(seen)
        reasons = {reason for b in batches if b.app_class in MODELS for reason in b.columns["unmeasured"]}

        assert reasons == {"one direction only", ""}  # of those that are counted only
        assert all(np.isnan(batch.columns["mos"]).all() for batch in batches)

    def test_it_is_missing_on_the_wire_as_well(self):
        for batch in records((True, False)):
            rows, packed = pack_columns(batch.columns)
            back = unpack_columns(packed, rows)
            assert all(math.isnan(v) for v in back["dl_bytes"].tolist() + back["dl_bps"].tolist())
            assert back["ul_bytes"].tolist() == batch.columns["ul_bytes"].tolist()
            assert json.dumps(packed["dl_bytes"]) == '["nan"]'
