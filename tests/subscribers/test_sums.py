"""Flows to published rows, against a slow twin in plain Python."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.records import APP_CLASSES, columns_of
from nf.apps.basis import Basis
from nf.flows.batch import FlowBatch
from nf.subscribers import SubscriberNames, Subscribers
from nf.subscribers.sums import group

APPS = ["", "tube", "talk", "game", "chat", "site", "hidden", "tally"]
CLASSES = ["unknown", "video", "voice", "gaming", "messaging", "web", "social", "web"]
ACTIONS = [0, 0, 0, 2, 0, 0, 3, 1]  # "hidden" is suppressed, "tally" only counted, "game" cut
# docs/feed.md, "Grounds", from the strongest
STRENGTH = [Basis.CONTRADICTED, Basis.SNI, Basis.HTTP_HOST, Basis.DNS_ANSWER, Basis.LEARNED, Basis.ADDRESS,
            Basis.BEHAVIOUR, Basis.MODEL]  # fmt: skip
DNS = ("queries", "answers", "failed", "again", "timed", "sum_us")
CLASS_OF = np.array([APP_CLASSES.index(c) for c in CLASSES], np.uint8)


def random_batch(seed: int, n: int, length_s: float = 1.0) -> FlowBatch:
    """Return a batch as the kernel may give it: every combination of empty, idle and busy flows."""
    rng = np.random.default_rng(seed)

    def two(low, high, dtype):
        return rng.integers(low, high, (n, 2)).astype(dtype)

    packets = two(0, 60, np.uint64) * (rng.random((n, 2)) < 0.8).astype(np.uint64)
    gap_n = np.where(packets > 0, packets - np.uint64(1), 0).astype(np.uint32)
    mean_us = two(100, 40_000, np.uint64)
    rtt_n = two(0, 4, np.uint32)
    rtt_min = two(1_000, 300_000, np.uint32) * (rtt_n > 0)
    expected = two(0, 50, np.uint32) * (rng.random((n, 1)) < 0.3)
    return FlowBatch(
        t_start_s=1_700_000_000.0,
        t_end_s=1_700_000_000.0 + length_s,
        flow_id=np.arange(n, dtype=np.uint64),
        session=np.zeros(n, np.uint32),
        app=rng.integers(0, len(APPS), n).astype(np.uint16),
        basis=rng.integers(0, len(Basis), n).astype(np.uint8),
        confidence=rng.integers(0, 100, n).astype(np.uint8),
        proto=rng.choice([6, 17, 1], n).astype(np.uint8),
        qfi=np.ones((n, 2), np.uint8),
        octets=packets * two(40, 1500, np.uint64),
        packets=packets,
        payload_packets=packets // np.uint64(2),
        retrans=two(0, 5, np.uint32),
        spurious=np.zeros((n, 2), np.uint32),
        filled=two(0, 5, np.uint32),
        rtt_n=rtt_n,
        rtt_sum_us=rtt_n * (rtt_min + two(0, 50_000, np.uint64)),
        rtt_min_us=rtt_min.astype(np.uint32),
        rtt_high_us=((rtt_min + 50_000) * (rtt_n > 0)).astype(np.uint32),
        gap_n=gap_n,
        gap_sum_us=gap_n * mean_us,
        gap_sq_us2=(gap_n * mean_us * mean_us * rng.uniform(1, 3, (n, 2))).astype(np.uint64),
        gap_max_us=two(0, 2_000_000, np.uint32),
        **{f"dns_{name}": np.zeros(n, np.uint32) for name in DNS},
        rtp_expected=expected.astype(np.uint32),
        rtp_received=np.maximum(expected.astype(np.int64) - two(-2, 6, np.int64), 0).astype(np.uint32),
    )


def people(count: int) -> SubscriberNames:
    return SubscriberNames(
        subscriber=[f"{i:04x}" for i in range(count)],
        identity_source=["pfcp" if i % 2 else "none" for i in range(count)],
        dnn=["internet" if i % 3 else "" for i in range(count)],
    )


def share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def twin(b: FlowBatch, subject: np.ndarray, names: SubscriberNames) -> dict[tuple[str, str], dict[str, object]]:
    """Return the records without score, one flow and one direction at a time."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i in range(len(b)):
        if b.packets[i].sum() and ACTIONS[b.app[i]] != 3:
            groups[int(subject[i]), int(b.app[i])].append(i)
    seconds = b.t_end_s - b.t_start_s
    out = {}
    for (who, app), flows in groups.items():
        row: dict[str, object] = {
            "t_ms": round(b.t_end_s * 1000),
            "interval_ms": round(seconds * 1000),
            "subscriber": names.subscriber[who],
            "identity_source": names.identity_source[who],
            "dnn": names.dnn[who],
            "app": APPS[app],
            "flows": len(flows),
        }
        grounds = [Basis(int(b.basis[i])) for i in flows if b.basis[i]]
        if not app:  # a record does not tell the name that a ground without an application rests on
            grounds = [g for g in grounds if g is Basis.CONTRADICTED]
        row["app_basis"] = next((g.text for g in STRENGTH if g in grounds), "none")
        weights = [int(b.octets[i].sum()) for i in flows]
        trust = sum(w * int(b.confidence[i]) for w, i in zip(weights, flows, strict=True))
        row["app_confidence"] = round(trust / sum(weights)) if sum(weights) else 0
        for d, way in enumerate(("ul", "dl")):
            octets = sum(int(b.octets[i, d]) for i in flows)
            row |= {f"{way}_bytes": octets, f"{way}_packets": sum(int(b.packets[i, d]) for i in flows)}
            row[f"{way}_bps"] = 8 * octets / seconds
            expected = sum(int(b.rtp_expected[i, d]) for i in flows)
            if expected:
                lost = sum(max(int(b.rtp_expected[i, d]) - int(b.rtp_received[i, d]), 0) for i in flows)
                row[f"loss_{way}"] = lost / expected
            else:
                tcp = [i for i in flows if b.proto[i] == 6]
                resent = {i: int(b.retrans[i, d]) for i in tcp}
                sent = [max(int(b.payload_packets[i, d]), n + 1 if n else 0) for i, n in resent.items()]
                row[f"loss_{way}"] = share(sum(resent.values()), sum(sent))
        for side, name in enumerate(("core", "access")):
            samples = [i for i in flows if b.rtt_n[i, side]]
            count = sum(int(b.rtt_n[i, side]) for i in samples)
            row[f"rtt_{name}_ms"] = share(sum(int(b.rtt_sum_us[i, side]) for i in samples) / 1000, count)
            row[f"rtt_min_{name}_ms"] = min((int(b.rtt_min_us[i, side]) / 1000 for i in samples), default=math.nan)
        row["rtt_samples"] = sum(int(b.rtt_n[i].sum()) for i in flows)
        media = [i for i in flows if b.proto[i] == 17 and b.gap_n[i, 1] >= 10 * seconds]
        squares = sum(
            b.gap_n[i, 1] * max(b.gap_sq_us2[i, 1] / b.gap_n[i, 1] - (b.gap_sum_us[i, 1] / b.gap_n[i, 1]) ** 2, 0)
            for i in media
        )
        jitter = math.sqrt(squares / sum(int(b.gap_n[i, 1]) for i in media)) / 1000 if media else math.nan
        row["jitter_dl_ms"] = jitter if CLASSES[app] in {"voice", "gaming", "conferencing"} else math.nan
        row["gap_max_dl_ms"] = max((int(b.gap_max_us[i, 1]) / 1000 for i in flows if b.gap_n[i, 1]), default=math.nan)
        if ACTIONS[app] == 1:
            row |= {k: math.nan for k in row if k.startswith(("loss", "rtt", "jitter", "gap"))} | {"rtt_samples": 0}
        out[names.subscriber[who], APPS[app]] = row
    return out


def records(batch: FlowBatch, subject: np.ndarray, names: SubscriberNames) -> dict[tuple[str, str], dict[str, object]]:
    got = {}
    for part in Subscribers().update(
        batch, subject=subject, names=names, class_of_app=CLASS_OF, app_names=APPS, action=np.array(ACTIONS, np.uint8)
    ):
        for i in range(len(part)):
            row = {k: v[i] for k, v in part.columns.items()}
            assert CLASSES[APPS.index(row["app"])] == part.app_class
            key = row["subscriber"], row["app"]
            assert key not in got, "one row per subscriber and application"
            got[key] = row
    return got


class TestAgainstTheTwin:
    """Every published column but the score equals what a slow loop finds."""

    @pytest.mark.parametrize("seed", range(12))
    def test_random_batches(self, seed):
        n = [1, 2, 7, 40, 150, 600][seed % 6]
        batch, names = random_batch(seed, n, length_s=[1.0, 2.5][seed % 2]), people(25)
        subject = np.random.default_rng(seed + 1).integers(0, 25, n)

        got, expected = records(batch, subject, names), twin(batch, subject, names)

        assert got.keys() == expected.keys()
        for key, row in expected.items():
            for name, value in row.items():
                if isinstance(value, str):
                    assert got[key][name] == value, (key, name)
                else:
                    assert got[key][name] == pytest.approx(value, rel=2e-6, nan_ok=True), (key, name)


def busy_of(gaps_us: list[int], rtt_us: tuple[int, int] = (20_000, 20_000)) -> float:
    """Return the busy time in s of a flow of full packets with these downlink gaps; its round trip has two parts."""
    flow = random_batch(0, 1)
    flow.packets[:] = flow.payload_packets[:] = (0, len(gaps_us))
    flow.octets[:] = (0, 1400 * len(gaps_us))
    flow.rtt_n[:], flow.rtt_min_us[:] = 1, rtt_us
    cut = [min(g, 1_000_000) for g in gaps_us]
    flow.gap_n[:] = (0, len(gaps_us))
    flow.gap_sum_us[:] = (0, sum(cut))
    flow.gap_sq_us2[:] = (0, sum(g * g for g in cut))
    flow.gap_max_us[:] = (0, max(gaps_us))
    _, rows = group(flow, np.zeros(1, np.int64), 100.0)
    return float(rows.busy_s[0, 1])


class TestLoss:
    """Segments that were sent again, over all that were sent: those before them too, which may have no payload."""

    @pytest.mark.parametrize(
        ("payload", "again", "loss"),
        [
            (1, 1, 1 / 2),  # a SYN twice, then a segment; or a segment of the interval before
            (0, 1, 1 / 2),  # a SYN twice
            (0, 2, 2 / 3),  # a SYN three times
            (100, 5, 0.05),
            (3, 0, 0.0),
        ],
    )
    def test_of_one_flow(self, payload, again, loss):
        flow = replace(
            random_batch(1, 1),
            proto=np.array([6], np.uint8),
            app=np.array([1], np.uint16),
            packets=np.full((1, 2), 200, np.uint64),
            payload_packets=np.full((1, 2), payload, np.uint64),
            retrans=np.full((1, 2), again, np.uint32),
            rtp_expected=np.zeros((1, 2), np.uint32),
            rtp_received=np.zeros((1, 2), np.uint32),
        )
        (row,) = records(flow, np.zeros(1, np.int64), people(1)).values()

        assert row["loss_ul"] == row["loss_dl"] == pytest.approx(loss)


class TestBusyTime:
    """Pauses are taken off the time of a flow, and never more than there are."""

    def test_a_burst_after_a_pause(self):
        assert busy_of([5_000_000] + [1_000] * 200) == pytest.approx(0.2)

    def test_a_slow_link_never_rests(self):
        assert busy_of([28_000] * 35) == pytest.approx(0.98)

    def test_three_equal_pauses(self):
        assert busy_of([800_000] * 3 + [1_000] * 200) == pytest.approx(0.2, abs=0.1)

    @pytest.mark.parametrize(("gap_us", "busy_s"), [(490_000, 0.69), (510_000, 0.2)])
    def test_a_gap_of_more_than_two_round_trips_is_a_pause(self, gap_us, busy_s):
        """Two round trips of 100 + 150 ms are half a second: one such gap, and 0.2 s of small ones."""
        assert busy_of([gap_us] + [1_000] * 200, (100_000, 150_000)) == pytest.approx(busy_s)

    def test_a_burst_takes_at_least_the_time_of_a_gigabit(self):
        assert busy_of([1] * 100) == pytest.approx(100 * 1400 * 8 / 1e9)

    @given(st.lists(st.integers(50, 3_000_000), min_size=1, max_size=60))
    def test_between_the_time_without_pauses_and_all_time(self, gaps_us):
        cut = [min(g, 1_000_000) for g in gaps_us]

        busy_us = 1e6 * busy_of(gaps_us)

        assert sum(g for g in cut if g <= 200_000) - 1 <= busy_us <= sum(cut) + 1


class TestShape:
    """A batch has exactly the published columns, in their types, one batch a class."""

    def test_columns_and_types(self):
        batch, names = random_batch(3, 300), people(9)

        out = Subscribers().update(
            batch,
            subject=np.arange(300) % 9,
            names=names,
            class_of_app=CLASS_OF,
            app_names=APPS,
            action=np.zeros(len(APPS), np.uint8),
        )

        assert len({b.app_class for b in out}) == len(out) == len(set(CLASSES))
        for part in out:
            assert list(part.columns) == list(columns_of(part.app_class))
            for name, column in columns_of(part.app_class).items():
                values = part.columns[name]
                assert len(values) == len(part)
                if column.dtype == "str":
                    assert isinstance(values, list)
                else:
                    assert values.dtype == np.dtype(column.dtype)

    def test_equal_input_gives_equal_output(self):
        batch, names, subject = random_batch(4, 200), people(7), np.arange(200) % 7

        first, second = records(batch, subject, names), records(batch, subject, names)

        assert list(first) == list(second)
        assert all(str(first[k]) == str(second[k]) for k in first)

    def test_flows_without_a_packet_make_no_record(self):
        batch = random_batch(5, 20)
        batch.packets[:] = 0

        assert records(batch, np.zeros(20, np.int64), people(1)) == {}

    def test_two_subjects_of_one_subscriber_and_network_are_one_record(self):
        batch = random_batch(6, 30)
        names = SubscriberNames(["a", "a", "a"], ["pfcp"] * 3, ["internet", "internet", "ims"])

        out = Subscribers().update(
            batch,
            subject=np.arange(30) % 3,
            names=names,
            class_of_app=CLASS_OF,
            app_names=APPS,
            action=np.zeros(len(APPS), np.uint8),
        )

        rows = [(part.columns["dnn"][i], part.columns["app"][i]) for part in out for i in range(len(part))]
        assert len(rows) == len(set(rows))

    def test_a_group_of_subscribers_has_actions_of_its_own(self):
        batch = random_batch(8, 40)
        batch.packets[:] = 5
        names, subject = people(2), np.arange(40) % 2
        names.group.extend([0, 1])
        actions = np.array([[0] * len(APPS), [3] * len(APPS)], np.uint8)  # suppress whatever group 1 does

        out = Subscribers().update(
            batch, subject=subject, names=names, class_of_app=CLASS_OF, app_names=APPS, action=actions
        )

        assert {who for part in out for who in part.columns["subscriber"]} == {names.subscriber[0]}

    def test_an_application_beyond_the_table_is_no_application(self):
        batch = random_batch(7, 4)
        batch.app[:] = 60_000
        batch.packets[:] = 5

        assert {app for _, app in records(batch, np.zeros(4, np.int64), people(1))} == {""}

    def test_names_do_not_show_in_a_repr(self):
        assert "00101" not in repr(SubscriberNames(["001010000000001"], ["pfcp"], ["internet"]))
