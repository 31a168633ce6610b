"""Records of subscribers over several intervals: pauses, bad radio, borrowed delays, suspects."""

from __future__ import annotations

import math

import numpy as np
import pytest

from feed.records import APP_CLASSES
from nf.flows.batch import ACCESS, CORE, DOWNLINK, UPLINK
from nf.flows.media import NEVER
from nf.settings import QoeProfile
from nf.subscribers.estimators import Estimators
from nf.subscribers.lately import APP_BITS
from tests.subscribers.probe import APPS, CLASS_OF, FILE, GAME, TALK, TUBE, UDP, Flow, Probe, bulk, call, talk


class TestDownload:
    """The faster direction of a transfer counts."""

    def test_acknowledgements_of_an_upload_are_no_slow_download(self):
        acks = Flow(
            "file", packets=(800, 400), octets=(800 * 1400, 400 * 52), gap_n=(800, 400), gap_sum_us=(10**6, 10**6)
        )

        row = Probe().second(acks)[FILE]

        assert row["mos"] == pytest.approx(1 + 4 * math.log(8.96 / 0.1) / math.log(20 / 0.1), abs=1e-4)


class TestProfiles:
    """Constants that an operator changes hold from the next interval on, and nothing is forgotten."""

    def test_a_transfer_that_paused_is_told_by_another_plan(self):
        probe = Probe()
        for _ in range(5):
            before = probe.second(bulk("file", 2))[FILE]
        probe.subscribers.use_profiles([QoeProfile("download", (("plan_bps", 200e6),))])
        pause = Flow("file", packets=(1, 1), octets=(52, 52))

        row = probe.second(pause)[FILE]  # the speed is that of the seconds before

        assert row["speed_bps"] == pytest.approx(before["speed_bps"], rel=0.05)
        assert row["mos"] == pytest.approx(1 + 4 * math.log(row["speed_bps"] / 1e5) / math.log(200e6 / 1e5), abs=1e-3)
        assert (before["model"], row["model"]) == ("snf-speed v1", "snf-speed v1*")


class TestApplicationsByBytes:
    """Players that fetch parts of files are judged by their bytes where an operator names their applications."""

    def test_the_named_one_is_judged_so_and_the_others_as_before(self):
        probe = Probe()
        probe.subscribers.use_profiles([QoeProfile("video", by_bytes=("tube",))])
        probe.class_of = np.where(np.array(APPS) == "site", APP_CLASSES.index("video"), CLASS_OF).astype(np.uint8)

        rows = probe.second(asks("tube", 900_000), asks("site", 900_000), talk("game"))

        assert rows[TUBE]["model"] == "snf-stream v2 by bytes"
        assert rows["anna", "site"]["model"] == "snf-stream v2"
        # 0.85 MB are enough for such a player; another one waits for two answers
        assert 0 < rows[TUBE]["startup_s"] <= 1
        assert math.isnan(rows["anna", "site"]["startup_s"])

    def test_a_name_counts_as_soon_as_an_application_has_it(self):
        probe = Probe()
        probe.subscribers.use_profiles([QoeProfile("video", by_bytes=("other",))])

        assert probe.second(asks("tube", 900_000))[TUBE]["model"] == "snf-stream v2"

    def test_constants_of_the_class_hold_for_it_as_well(self):
        probe = Probe()
        probe.subscribers.use_profiles([QoeProfile("video", (("startup_octets", 5e6),), ("tube",))])

        row = probe.second(asks("tube", 900_000))[TUBE]

        assert row["model"] == "snf-stream v2 by bytes*"
        assert math.isnan(row["startup_s"])

    def test_rows_that_stand_still_stay_with_their_models_in_their_order(self):
        estimators = Estimators(16)
        estimators.use([QoeProfile("video", by_bytes=("tube",))])
        estimators.name_apps(APPS)
        tube, site = APPS.index("tube"), APPS.index("site")
        keys = np.array([1 << APP_BITS | tube, 1 << APP_BITS | site, 2 << APP_BITS | tube])

        judged = estimators.stand("video", keys, (1_700_000_000.0, 1_700_000_001.0))

        of_bytes, counted = "snf-stream v2 by bytes", "snf-stream v2"
        assert judged.columns["model"].tolist() == [of_bytes, counted, of_bytes]
        assert len(judged.mos) == 3


def asks(app: str, octets: int) -> Flow:
    """Return a flow whose request has been answered with so many bytes within a second."""
    ages = {"open_request_us": 900_000, "open_unanswered_us": NEVER, "open_waiting_us": NEVER, "open_first_us": 850_000}
    chunk = {"open_last_us": 1, "open_octets": octets, "open_packets": octets // 1400, "open_requests": 1}
    media = {**ages, **chunk, "open_request_length": 500}
    packets = octets // 1400
    sizes = {"packets": (400, packets), "octets": (20_800, octets), "payload_packets": (1, packets)}
    return Flow(app, proto=UDP, media=media, **sizes)


def echoing(core_ms: float) -> dict[str, tuple[int, int]]:
    """Return the detail of a game whose server sends back what it gets, within so many milliseconds."""
    return {"echo_n": (10, 0), "echo_sum_us": (round(10_000 * core_ms), 0), "echo_min_us": (round(1000 * core_ms), 0)}


class TestBorrowedDelay:
    """A game without TCP has the access delay of the subscriber's other flows in its QoS flow."""

    def test_a_far_radio_costs_the_game_and_the_record_does_not_claim_a_measurement(self):
        near, far = Probe(), Probe()
        game = talk("game", rtp=False, media=echoing(10))

        good = near.second(bulk("chat", 0.1, rtt_ms=(10, 20)), game)[GAME]
        row = far.second(bulk("chat", 0.1, rtt_ms=(10, 200)), game)[GAME]

        assert (good["lag_ms"], row["lag_ms"]) == pytest.approx((30, 210))
        assert row["mos"] < good["mos"] - 0.5
        assert math.isnan(row["rtt_access_ms"])
        assert row["suspect"] == "access"

    def test_half_of_a_way_is_no_lag(self):
        row = Probe().second(talk("game", rtp=False, media=echoing(10)))[GAME]

        assert math.isnan(row["lag_ms"])
        assert math.isnan(row["mos"])
        assert row["unmeasured"] == "lag not known"

    def test_it_lasts_some_seconds_and_no_longer(self):
        """An old measurement says nothing of now, however often it was made."""
        probe, game = Probe(), talk("game", rtp=False, media=echoing(10))
        for _ in range(60):
            probe.second(bulk("chat", 0.1, rtt_ms=(10, 200)), game)
        lags = [probe.second(game)[GAME] for _ in range(15)]

        assert lags[1]["lag_ms"] == pytest.approx(210)
        assert lags[8]["confidence"] < 0.6 * lags[0]["confidence"]
        assert math.isnan(lags[-1]["lag_ms"])

    def test_another_qos_flow_has_a_queue_of_its_own(self):
        game = talk("game", rtp=False, qfi=(2, 2), media=echoing(10))

        row = Probe().second(bulk("chat", 0.1, rtt_ms=(10, 900), qfi=(1, 1)), game)[GAME]

        assert math.isnan(row["lag_ms"])

    def test_nobody_borrows_from_another_subscriber(self):
        game = talk("game", rtp=False, media=echoing(10))

        row = Probe().second(bulk("chat", 0.1, rtt_ms=(10, 900), who="bert"), game)[GAME]

        assert math.isnan(row["lag_ms"])


class TestRoundTrips:
    """A round trip that waited for an application is not the network's."""

    SLOW = Flow(
        "site", packets=(9, 9), octets=(900, 900), rtt_n=(0, 1), rtt_sum_us=(0, 3_000_000), rtt_min_us=(0, 3_000_000)
    )

    def test_a_delayed_acknowledgement_among_others_is_not_believed(self):
        probe, game = Probe(), talk("game", rtp=False, media=echoing(10))
        probe.second(bulk("site", 1.0), game)

        seen = probe.second(self.SLOW, game)

        assert seen["anna", "site"]["rtt_access_ms"] == 3000
        assert seen[GAME]["lag_ms"] == pytest.approx(35)

    def test_one_sample_alone_says_nothing(self):
        assert math.isnan(Probe().second(self.SLOW, talk("game", rtp=False, media=echoing(10)))[GAME]["lag_ms"])

    def test_a_radio_that_got_slow_shows_within_eight_seconds(self):
        probe, game = Probe(), talk("game", rtp=False, media=echoing(10))
        for _ in range(10):
            before = probe.second(bulk("chat", 0.1, rtt_ms=(10, 20)), game)[GAME]
        for _ in range(8):
            after = probe.second(bulk("chat", 0.1, rtt_ms=(10, 600)), game)[GAME]

        assert before["lag_ms"] == pytest.approx(30)
        assert after["lag_ms"] == pytest.approx(610)
        assert after["mos"] < before["mos"] - 1


class TestSuspect:
    """The suspect of a bad score: us, the radio, or the application."""

    @pytest.mark.parametrize(
        ("flow", "suspect"),
        [
            (bulk("file", 1.0, rtt_ms=(10, 300)), "access"),
            (bulk("file", 1.0, rtt_ms=(300, 10)), "core"),
            (bulk("file", 1.0, rtt_ms=(10, 20), loss=0.2), "access"),  # 18 segments of 89 passed the probe twice,
            (bulk("file", 1.0, rtt_ms=(10, 20), loss=0.2, filled=(0, 18)), "core"),  # or filled gaps,
            (bulk("file", 1.0, rtt_ms=(10, 20), loss=0.2, filled=(0, 9)), "loss"),  # or half of them did
            (bulk("file", 1.0, rtt_ms=(10, 150), loss=0.2, filled=(0, 18)), "core"),
            (
                bulk("file", 1.0, rtt_ms=(300, 20), loss=0.02),
                "core",
            ),  # a delay of three times its limit, and a loss of two
            (bulk("file", 1.0, rtt_ms=(10, 20)), "app"),
            (bulk("file", 20.0, rtt_ms=(300, 300), loss=0.1), ""),
            (call((10, 0)), "access"),
            (call((0, 10)), "core"),
            (call(), ""),
        ],
    )
    def test_the_larger_excess_is_named(self, flow, suspect):
        row = Probe().second(flow)[("anna", flow["app"])]

        assert row["suspect"] == suspect
        assert (row["mos"] >= 4) == (suspect == "")


class TestPolicy:
    """A counted application has volumes only; a suppressed one has no record."""

    def test_count_and_suppress(self):
        flows = bulk("tube", 20.0, busy_s=0.2, pause_s=0.8), talk("talk", lost=(5, 5)), bulk("file", 5.0)

        seen = Probe().second(*flows, action={"tube": 1, "talk": 3})

        assert set(seen) == {TUBE, FILE}
        assert seen[TUBE]["dl_bytes"] == 357 * 1400
        assert seen[TUBE]["rtt_samples"] == 0
        assert seen[TUBE]["suspect"] == ""
        for name in ("mos", "rtt_access_ms", "rtt_min_core_ms", "loss_dl", "gap_max_dl_ms"):
            assert math.isnan(seen[TUBE][name])
        assert not math.isnan(seen[FILE]["mos"])


class TestVoice:
    """Loss of either direction is heard."""

    def test_one_in_ten_lost_on_the_uplink(self):
        row = Probe().second(call((5, 0)))[TALK]

        assert row["loss_ul"] == pytest.approx(0.1)
        assert row["loss_dl"] == 0
        # G.107 with G.711 and concealment: R = 93.2 - 95 * 10 / (10 + 25.1) = 66.13
        assert row["mos"] == pytest.approx(3.41, abs=0.01)

    def test_loss_fades_in_seconds(self):
        probe = Probe()
        lossy = probe.second(call((5, 5)))[TALK]["mos"]
        for _ in range(40):
            clean = probe.second(call())[TALK]["mos"]

        assert lossy < 3.5
        assert clean == pytest.approx(Probe().second(call())[TALK]["mos"], abs=0.01)


class TestBound:
    """Memory of the past is bounded, and forgetting costs history, not records."""

    def test_more_subscribers_than_room(self):
        probe = Probe(capacity=10)
        for start in range(0, 100, 20):
            seen = probe.second(*(bulk("tube", 5.0, who=f"{start + k:03}") for k in range(20)))
            assert len(seen) == 20

        assert probe.subscribers.forgotten > 0
        assert len(probe.subscribers._lately._recent) <= 10
        assert probe.subscribers.labels.numbered <= 40


class TestDirections:
    """The axes of the flow columns are those of the record's names."""

    def test_uplink_is_not_downlink_and_core_is_not_access(self):
        row = Probe().second(
            Flow(
                "site",
                packets=(10, 30),
                octets=(1000, 30000),
                payload_packets=(10, 20),
                retrans=(1, 4),
                rtt_n=(1, 2),
                rtt_sum_us=(11_000, 44_000),
                rtt_min_us=(11_000, 20_000),
            )
        )[("anna", "site")]

        assert (UPLINK, DOWNLINK, CORE, ACCESS) == (0, 1, 0, 1)
        assert (row["ul_packets"], row["dl_packets"]) == (10, 30)
        assert (row["loss_ul"], row["loss_dl"]) == pytest.approx((0.1, 0.2))
        assert (row["rtt_core_ms"], row["rtt_access_ms"], row["rtt_min_access_ms"]) == pytest.approx((11, 22, 20))
        assert row["ul_bps"] == pytest.approx(8000)


class TestLagOfABearer:
    """The lag of a game without echoes is that of TCP in its QoS flow, and follows a queue within a second or two."""

    def second(self, probe, access_ms: int, samples: int = 4):
        core = {"echo_n": (30, 0), "echo_sum_us": (300_000, 0), "echo_min_us": (10_000, 0)}
        beside = bulk("file", 0.2, rtt_ms=(10, access_ms))
        beside["rtt_n"], beside["rtt_sum_us"] = (3, samples), (30_000, samples * access_ms * 1000)
        return probe.second(talk("game", rate=30, rtp=False, media=core), beside)[GAME]["lag_ms"]

    def test_a_queue_that_fills(self):
        probe = Probe()
        before = [self.second(probe, 20) for _ in range(7)]
        after = [self.second(probe, 320) for _ in range(3)]

        assert before[-1] == pytest.approx(30)
        assert after == pytest.approx([330] * 3)

    def test_a_single_sample_may_be_a_delayed_acknowledgement(self):
        probe = Probe()
        before = [self.second(probe, 20) for _ in range(7)]

        assert before[-1] == self.second(probe, 60, samples=1)
