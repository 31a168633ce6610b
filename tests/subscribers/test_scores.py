"""Records of subscribers over several intervals: pauses, bad radio, borrowed delays, suspects."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest

from feed.records import APP_CLASSES
from nf.flows.batch import ACCESS, CORE, DOWNLINK, UPLINK, FlowBatch
from nf.flows.media import NO_MEDIA, MediaInterval
from nf.subscribers import SubscriberNames, Subscribers

APPS = ["", "tube", "talk", "game", "chat", "site", "file", "live"]
CLASSES = ["unknown", "video", "voice", "gaming", "messaging", "web", "download", "live-video"]
CLASS_OF = np.array([APP_CLASSES.index(c) for c in CLASSES], np.uint8)
TCP, UDP = 6, 17


class Probe:
    """Builds intervals of a second flow by flow and gives them to one `Subscribers`."""

    def __init__(self, **kwargs) -> None:
        self.subscribers, self.now_s = Subscribers(**kwargs), 1_700_000_000.0

    def second(self, *flows: dict, action: dict[str, int] | None = None, skip_s: float = 0.0):
        """Return the records of one second by (subscriber, application)."""
        self.now_s += 1 + skip_s
        who = sorted({f.get("who", "anna") for f in flows})
        columns = {name: np.zeros((len(flows), 2), np.uint64) for name in FlowBatch.__dataclass_fields__}
        columns |= {name: column[:, 0] for name, column in columns.items() if name.startswith("dns_")}
        columns["media"] = media_of(flows)
        app, proto = np.zeros(len(flows), np.uint16), np.zeros(len(flows), np.uint8)
        for i, f in enumerate(flows):
            app[i], proto[i] = APPS.index(f["app"]), f.get("proto", TCP)
            for name, (up, down) in f.items() if f else ():
                columns[name][i] = up, down
        actions = np.zeros(len(APPS), np.uint8)
        for name, number in (action or {}).items():
            actions[APPS.index(name)] = number
        columns |= {
            "t_start_s": self.now_s - 1,
            "t_end_s": self.now_s,
            "flow_id": np.arange(len(flows), dtype=np.uint64),
            "session": np.zeros(len(flows), np.uint32),
            "basis": np.ones(len(flows), np.uint8),
            "confidence": np.full(len(flows), 99, np.uint8),
            "app": app,
            "proto": proto,
        }
        out = self.subscribers.update(
            FlowBatch(**columns),
            subject=np.array([who.index(f.get("who", "anna")) for f in flows], np.int64),
            names=SubscriberNames(who, ["pfcp"] * len(who), ["internet"] * len(who)),
            class_of_app=CLASS_OF,
            app_names=APPS,
            action=actions,
        )
        return {
            (part.columns["subscriber"][i], part.columns["app"][i]): {k: v[i] for k, v in part.columns.items()}
            for part in out
            for i in range(len(part))
        }


def media_of(flows) -> MediaInterval:
    """Return the detail that the kernel keeps of the UDP ones; what a flow does not say is 0."""
    rows = [i for i, f in enumerate(flows) if f.get("proto", TCP) == UDP]
    columns = {
        f.name: np.zeros((len(rows), *getattr(NO_MEDIA, f.name).shape[1:]), getattr(NO_MEDIA, f.name).dtype)
        for f in fields(MediaInterval)
        if f.name != "closed"
    }
    columns["number"] = np.array(rows, np.uint64)
    for at, i in enumerate(rows):
        for name, value in flows[i].get("media", {}).items():
            columns[name][at] = value
    return replace(NO_MEDIA, **columns)


class Flow(dict):
    """A flow: ``app`` and ``proto`` beside columns (uplink, downlink) or (core, access), and those of its *media*."""

    def __init__(self, app: str, *, proto: int = TCP, who: str = "anna", media=(), **columns: tuple[int, int]) -> None:
        super().__init__(columns)
        self.meta = {"app": app, "proto": proto, "who": who, "media": dict(media)}

    def __getitem__(self, name):
        return self.meta[name] if name in self.meta else super().__getitem__(name)

    def get(self, name, default=None):
        return self.meta.get(name, default) if name in self.meta else super().get(name, default)


def bulk(app: str, mbps: float, *, busy_s: float = 1.0, pause_s: float = 0.0, rtt_ms=(10, 25), loss=0.0, **more):
    """Return a TCP download that moves data for *busy_s* at *mbps*, after a pause of *pause_s*."""
    packets = max(int(mbps * 1e6 * busy_s / 8 / 1400), 1)
    pause_us, cut_us = int(pause_s * 1e6), int(min(pause_s, 1.0) * 1e6)
    gap_us = int(busy_s * 1e6 / packets)
    return Flow(
        app,
        octets=(packets * 26, packets * 1400),
        packets=(packets // 2, packets),
        payload_packets=(1, packets),
        retrans=(0, round(loss * packets)),
        rtt_n=(3, 4),
        rtt_sum_us=(3 * rtt_ms[CORE] * 1000, 4 * rtt_ms[ACCESS] * 1000),
        rtt_min_us=(rtt_ms[CORE] * 1000, rtt_ms[ACCESS] * 1000),
        gap_n=(0, packets),
        gap_sum_us=(0, packets * gap_us + cut_us),
        gap_sq_us2=(0, packets * gap_us**2 + cut_us**2),
        gap_max_us=(0, max(pause_us, gap_us)),
        **more,
    )


def talk(app: str, *, rate: int = 50, jitter_ms=(0, 0), lost=(0, 0), rtp: bool = True, **more):
    """Return a UDP stream both ways with *rate* packets a second; jitter and lost packets (uplink, downlink)."""
    gap_us = 1_000_000 // rate

    def both(value) -> tuple[int, int]:
        return (value, value)

    return Flow(
        app,
        proto=UDP,
        octets=both(rate * 100),
        packets=(rate - lost[0], rate - lost[1]),
        payload_packets=(rate - lost[0], rate - lost[1]),
        gap_n=both(rate),
        gap_sum_us=both(rate * gap_us),
        gap_sq_us2=tuple(rate * (gap_us**2 + int(j * 1000) ** 2) for j in jitter_ms),
        gap_max_us=both(gap_us),
        rtp_expected=both(rate if rtp else 0),
        rtp_received=(rate - lost[0], rate - lost[1]) if rtp else (0, 0),
        **more,
    )


def call(lost=(0, 0)):
    """Return a voice call whose ends report that they are 20 ms away, and lose nothing behind the probe."""
    reports = {"rtcp_reports": (1, 1), "rtcp_expected": (50, 50), "rtcp_rtt_us": (20_000, 20_000)}
    return talk("talk", lost=lost, media={**reports, "loss_runs": lost, "rtp_clock": (8000, 8000)})


TUBE, GAME, TALK, FILE = ("anna", "tube"), ("anna", "game"), ("anna", "talk"), ("anna", "file")


class TestVideo:
    """A player fetches in bursts: its pauses are no fault, its bursts tell what the network can do."""

    def test_bursts_are_good_and_pauses_say_nothing(self):
        probe = Probe()
        burst = bulk("tube", 20.0, busy_s=0.2, pause_s=3.0)
        quiet = Flow("tube", packets=(1, 1), octets=(60, 60))

        seen = [probe.second(f)[TUBE] for f in (burst, quiet, quiet, burst)]

        assert seen[0]["mos"] > 4.5
        assert math.isnan(seen[1]["mos"])
        assert math.isnan(seen[2]["mos"])
        assert seen[3]["mos"] > 4.5
        assert all(r["suspect"] == "" for r in seen)

    def test_a_network_that_cannot_keep_up_shows_within_seconds(self):
        probe = Probe()
        for _ in range(10):
            before = probe.second(bulk("tube", 20.0, busy_s=0.2, pause_s=0.8))[TUBE]
        for _ in range(12):
            after = probe.second(bulk("tube", 0.3, rtt_ms=(10, 400)))[TUBE]

        assert before["mos"] > 4.5
        assert after["mos"] < before["mos"] - 1
        assert after["suspect"] == "access"

    def test_a_trickle_that_never_rests_is_a_starved_player(self):
        probe = Probe()

        seen = [probe.second(bulk("tube", 0.06, rtt_ms=(10, 900)))[TUBE]["mos"] for _ in range(12)]

        assert math.isnan(seen[0]), "one slow second is too little to say"
        assert seen[-1] < 1.5

    def test_live_video_falls_at_once(self):
        probe = Probe()
        for _ in range(5):
            probe.second(bulk("live", 6.0), bulk("tube", 6.0))
        seen = probe.second(bulk("live", 0.4), bulk("tube", 0.4))

        assert seen["anna", "live"]["mos"] < seen[TUBE]["mos"] - 1

    def test_acknowledgements_of_an_upload_are_no_slow_download(self):
        acks = Flow(
            "file", packets=(800, 400), octets=(800 * 1400, 400 * 52), gap_n=(800, 400), gap_sum_us=(10**6, 10**6)
        )

        row = Probe().second(acks)[FILE]

        assert row["mos"] == pytest.approx(1 + 4 * math.log(8.96 / 0.1) / math.log(20 / 0.1), abs=1e-4)


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
            (bulk("file", 1.0, rtt_ms=(10, 20), loss=0.2), "loss"),
            (bulk("file", 1.0, rtt_ms=(10, 150), loss=0.2), "access"),
            (bulk("file", 1.0, rtt_ms=(150, 20), loss=0.2), "core"),
            (bulk("file", 1.0, rtt_ms=(150, 150), loss=0.2), "loss"),  # both sides are long: neither is named
            (bulk("file", 1.0, rtt_ms=(120, 150), loss=0.2), "loss"),
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
