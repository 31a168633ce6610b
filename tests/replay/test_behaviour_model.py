"""Flows without any name, through the kernel program and the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import behaviour, behaviours
from bench.columns import Packets, write_pcap
from bench.train import patterns_of
from nf.apps.signatures import Signatures
from nf.kernel.dataplane import DataPlane
from nf.naming.class_model import CLASSES, FEATURES, LEAST_INTERVALS, PATTERN, Forest, features
from nf.naming.patterns import Patterns
from nf.privacy import Pseudonymiser
from nf.replay.records import Collector
from nf.replay.run import Replay
from tests.replay.conftest import KEY, empty

NOISE = np.random.default_rng(3).integers(0, 256, 2048, np.uint8)
NOISE[0] = 0x01  # neither RTP nor QUIC nor a record of TLS
SEED = 77


class Seen:
    """Generated flows of each class after a replay of their packets."""

    def __init__(self, plane: DataPlane, folder: Path) -> None:
        kinds = [k for k in CLASSES if k != "download"]  # too many packets for a test
        self.flows = [
            behaviours.make(kind, np.random.default_rng([SEED, i, copy]), longest_s=20)
            for i, kind in enumerate(kinds)
            for copy in range(2)
        ]
        rows = [behaviours.rows_of(f, i, 0xC6130000 + i, 30_000 + i, 40_443) for i, f in enumerate(self.flows)]
        packets = np.concatenate(rows)
        write_pcap(
            folder / "unnamed.pcap", Packets(packets[np.argsort(packets["at_us"], kind="stable")], NOISE.tobytes())
        )
        empty(plane)
        self.sink = Collector()
        replay = Replay(Signatures.load(), Pseudonymiser(KEY, 1), self.sink, plane=plane)
        self.patterns = replay.pipeline.naming.inference.patterns
        self.patterns.everything = True  # and keep them to the end
        found = replay.run([folder / "unnamed.pcap"], [None]).flows
        self.rows = {min(r["sport"], r["dport"]) - 30_000: r for r in found}


@pytest.fixture(scope="module")
def seen(plane: DataPlane, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return Seen(plane, tmp_path_factory.mktemp("unnamed"))


class TestThroughTheKernel:
    """The model sees of a flow what it was trained on, and its word is published as a class without an application."""

    def test_the_columns_are_those_of_the_training(self, seen: Seen) -> None:
        for i, flow in enumerate(seen.flows):
            expected = patterns_of(flow, 1.0)
            if not len(expected):
                continue
            (got,) = seen.patterns.rows[seen.patterns.rows["number"] == seen.rows[i]["number"]]
            assert got["packets"].tolist() == [np.count_nonzero(flow.up), np.count_nonzero(~flow.up)]
            head = 52 if flow.tcp else 28
            assert got["octets"].sum() == flow.length.sum() + head * len(flow.length)
            for side, mine in ((0, flow.up), (1, ~flow.up)):
                gaps = np.minimum(np.diff(flow.at_s[mine]), 1.0)
                assert got["gap_n"][side] == len(gaps)
                assert got["gap_sum_s"][side] == pytest.approx(gaps.sum(), rel=0.02, abs=64e-6 * len(gaps))
                assert got["gap_sq_s2"][side] == pytest.approx((gaps**2).sum(), rel=0.05, abs=1e-3)
            assert bool(got["udp"]) != flow.tcp

    def test_most_flows_get_their_class_and_hardly_any_another(self, seen: Seen) -> None:
        right = wrong = 0
        for i, flow in enumerate(seen.flows):
            row = seen.rows[i]
            if row["app_basis"] == "model":
                assert row["app"] == ""
                assert 0 < row["app_confidence"] <= 100
                right, wrong = right + (row["app_class"] == flow.kind), wrong + (row["app_class"] != flow.kind)
        assert right >= 8
        assert wrong <= 1

    def test_the_records_are_of_the_class(self, seen: Seen) -> None:
        got = {(b.app_class, app, g) for b in seen.sink.batches
               for app, g in zip(b.columns["app"], b.columns["app_basis"], strict=True)}  # fmt: skip
        assert {("voice", "", "model"), ("gaming", "", "model"), ("conferencing", "", "model")} <= got


class TestModel:
    """The figures of bench/behaviour.py are at least the goal."""

    def test_eighty_five_percent_right_of_eighty_percent_told(self) -> None:
        told = behaviour.generated(per_class=14, seed=4711)

        assert told.coverage() >= 0.80
        assert told.accuracy() >= 0.85

    def test_a_flow_like_nothing_gets_none(self) -> None:
        strange = np.zeros(1, PATTERN)
        strange["intervals"], strange["active_s"], strange["last_s"] = 9, 9, 9
        strange["packets"], strange["octets"] = (30, 0), (30 * 60, 0)  # only ever asked

        assert Forest().classify(strange)[0].tolist() == [-1]

    def test_features_have_names_and_are_finite_for_an_empty_flow(self) -> None:
        x = features(np.zeros(2, PATTERN))

        assert x.shape == (2, len(FEATURES))
        assert np.isfinite(x).all()


class TestBounds:
    """No more flows are watched than there is room for."""

    def test_flows_without_room_are_counted(self, seen: Seen) -> None:
        patterns = Patterns(most=3)
        patterns._admit(np.arange(5, dtype=np.uint64), 1.0)

        assert (len(patterns.rows), patterns.refused) == (3, 2)
        assert patterns.rows["due"].tolist() == [LEAST_INTERVALS] * 3
