"""The flows of a followed subscriber, one row each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from feed.records import FLOW_COLUMNS
from nf.apps.basis import Basis
from nf.apps.signatures import Signatures
from nf.flows.book import FlowBook
from nf.flows.delays import DelayInterval, qos_flow
from nf.flows.media import NO_MEDIA
from nf.settings import Application
from nf.subscribers.followed import flow_columns
from tests.flows.records import FIRST_B, SERVER, TCP, UDP, UE, UNKNOWN, A, B, batch, event, flows, key

SIGNATURES = Signatures.load([Application(name="Example Video", app_class="video", domains=("video.example",))])
VIDEO = SIGNATURES.number("Example Video")
SESSION = 5
IPV6 = "2001:db8::7"


def one_each(dtype: type, value: float) -> np.ndarray:
    return np.array([value], dtype)


MEDIA = replace(
    NO_MEDIA,
    number=one_each(np.uint64, 1),
    peak_bps=one_each(np.float32, 8e6),
    frames=one_each(np.uint32, 30),
    frozen_ms=one_each(np.uint32, 120),
    chunks=one_each(np.uint32, 2),
    chunk_octets=one_each(np.uint64, 9000),
)
DELAYS = DelayInterval(
    one_each(np.uint64, SESSION), {n: one_each(np.float32, 4) for n in ("ran_ul_ms", "upf_ul_ms")},
    qos_flow(np.array([SESSION]), np.array([9])), {"ran_ul_ms": one_each(np.float32, 7)})  # fmt: skip


@pytest.fixture
def book() -> FlowBook:
    book = FlowBook()
    book.add(np.concatenate([event(1), event(2, IPV6, 50_000, "2001:db8::1", 3478, UDP), event(3, port_a=40_003)]))
    numbers, apps = np.array([1, 2], np.uint64), np.array([VIDEO, 0], np.uint16)
    bases = np.array([Basis.SNI, Basis.SNI], np.uint8)
    book.name(numbers, apps, bases, ["edge7.cdn.video.example", "a.b.example.co.uk"])
    return book


def columns(book: FlowBook, *rows: int, ue_end: int = A, flags: int = 0, **measured: object) -> dict:
    """Return the columns of some *rows* of an interval of the flows 1, 2 and 3."""
    keys = np.concatenate([key(), key(IPV6, 50_000, "2001:db8::1", 3478, UDP), key(port_a=40_003)])
    app, basis, confidence = book.apps(np.array([1, 2, 3], np.uint64))
    interval = batch(3, t_end_s=1_700_000_001.25, session=[SESSION, SESSION, 0], app=app, basis=basis,
                     confidence=confidence, proto=[TCP, UDP, TCP], **measured)  # fmt: skip
    interval = replace(interval, media=MEDIA)
    seen = flows(3, ue_end=ue_end, flags=flags)
    return dict(flow_columns(interval, keys, seen, np.array(rows, np.intp), book, DELAYS, SIGNATURES))


class TestColumns:
    """The columns are those of the feed, in their order, each with a value a flow."""

    def test_names_and_lengths(self, book: FlowBook) -> None:
        found = columns(book, 0, 2)

        assert list(found) == list(FLOW_COLUMNS)
        assert {len(values) for values in found.values()} == {2}

    def test_the_time_of_the_interval(self, book: FlowBook) -> None:
        found = columns(book, 0)

        assert (found["t_ms"].tolist(), found["interval_ms"].tolist()) == ([1_700_000_001_250], [1000])


class TestEnds:
    """The UE's end and the other one, addresses of IPv6 in brackets."""

    @pytest.mark.parametrize(
        ("ue_end", "flags", "ue_first"),
        [(A, FIRST_B, True), (B, 0, False), (UNKNOWN, 0, True), (UNKNOWN, FIRST_B, False)],
        ids=["a", "b", "a spoke first", "b spoke first"],
    )
    def test_which_is_the_ue(self, book: FlowBook, ue_end: int, flags: int, ue_first: bool) -> None:
        found = columns(book, 0, ue_end=ue_end, flags=flags)

        ends = [f"{UE}:40000", f"{SERVER}:443"]
        assert [*found["ue"], *found["remote"]] == (ends if ue_first else ends[::-1])

    def test_ipv6(self, book: FlowBook) -> None:
        found = columns(book, 1)

        assert (found["ue"], found["remote"]) == (["[2001:db8::7]:50000"], ["[2001:db8::1]:3478"])


class TestName:
    """The name is cut to what somebody registered, so that it tells the service and not the page."""

    def test_by_the_public_suffix(self, book: FlowBook) -> None:
        found = columns(book, 0, 1, 2)

        assert found["name"] == ["video.example", "example.co.uk", ""]

    def test_application_ground_and_confidence(self, book: FlowBook) -> None:
        found = columns(book, 0, 1, 2)

        assert found["app"] == ["Example Video", "", ""]
        assert found["app_basis"] == ["sni", "sni", "none"]
        assert found["app_confidence"].tolist() == [99, 0, 0]


class TestMeasured:
    """Counts by direction, means of round trips, and what is known of media and of delays."""

    def test_directions(self, book: FlowBook) -> None:
        found = columns(book, 2, octets=[[0, 0], [0, 0], [700, 90_000]], packets=[[0, 0], [0, 0], [7, 60]],
                        retrans=[[0, 0], [0, 0], [1, 3]])  # fmt: skip

        assert (found["ul_bytes"][0], found["dl_bytes"][0]) == (700, 90_000)
        assert (found["ul_packets"][0], found["dl_packets"][0]) == (7, 60)
        assert (found["retrans_ul"][0], found["retrans_dl"][0]) == (1, 3)

    def test_a_mean_needs_a_sample(self, book: FlowBook) -> None:
        two = [[0, 0], [0, 4], [0, 0]]  # core, access
        found = columns(book, 1, rtt_n=two, rtt_sum_us=[[0, 0], [0, 50_000], [0, 0]])

        assert found["rtt_access_ms"].tolist() == [12.5]  # 50 ms / 4
        assert np.isnan(found["rtt_core_ms"]).all()

    def test_the_longest_gap_is_that_of_the_downlink(self, book: FlowBook) -> None:
        gaps = [[900_000, 40_960], [0, 0], [0, 0]]

        assert columns(book, 0, gap_max_us=gaps)["gap_max_dl_ms"].tolist() == [np.float32(40.96)]

    def test_media_of_the_flow_that_has_it(self, book: FlowBook) -> None:
        found = columns(book, 1, 0)

        assert found["peak_dl_bps"].tolist() == [0, 8e6]
        assert (found["frames_dl"].tolist(), found["frozen_dl_ms"].tolist()) == ([0, 30], [0, 120])
        assert (found["chunks"].tolist(), found["chunk_bytes"].tolist()) == ([0, 2], [0, 9000])

    def test_delays_of_the_qos_flow_that_was_seen_in_either_direction(self, book: FlowBook) -> None:
        found = columns(book, 0, 1, 2, qfi=[[0, 9], [1, 1], [9, 0]])

        assert found["qfi"].tolist() == [9, 1, 9]
        np.testing.assert_array_equal(found["ran_ul_ms"], np.array([7, np.nan, np.nan], np.float32))
        np.testing.assert_array_equal(found["upf_ul_ms"], np.array([4, 4, np.nan], np.float32))
