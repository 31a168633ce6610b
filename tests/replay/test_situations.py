"""The table of scores that an operator can read: what a user gets, and what the function says of it, from packets."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.truth import generated, waits
from bench.truth.waits import Capture, Connection
from tests.replay import situations
from tests.replay.situations import call_of, player

TALK, MEET, PLAY = "198.51.100.20", "198.51.100.21", "198.51.100.22"
SPEECH_S, PICTURE_S, GAME_S = 60, 20, 60
LEVELS = {"144p": 100, "240p": 250, "480p": 1000, "1080p": 4500}  # usual media rates in kbit/s
NO_FAULT = ("", "app", "server", "device")


def _speech(trip_s: float, **how) -> Capture:
    made = generated.talkers(SPEECH_S, seed=11, **how)[0]
    return call_of("voice", made, server=TALK, trip_s=trip_s, seconds=SPEECH_S)


def _picture(**how) -> Capture:
    how = {"fps": 30, "kbps": 900, **how}
    return call_of("conferencing", generated.video(PICTURE_S, split="rtp", **how).packets, server=MEET)


GAMES = {
    "150 ms": generated.game(GAME_S, tick_hz=20, core_ms=100, access_ms=50, seed=5),
    "ticks lost": generated.game(GAME_S, tick_hz=20, core_ms=20, access_ms=15, loss=0.05, seed=5),
    "spikes": generated.game(GAME_S, tick_hz=20, core_ms=20, access_ms=15, spike=(10.0, 0.3), seed=5),
}


def _page_and_game() -> Capture:
    capture = waits.CASES["page-1s"]()
    capture.frames += call_of("gaming", GAMES["ticks lost"].packets[:400], server=PLAY).frames
    return capture


def _screens() -> Capture:
    """Return a screen of a social network of 0.5 s, and one of maps of 3 s at the same time."""
    capture = Capture()
    for n, (name, wait_s) in enumerate((("i.instagram.com", 0.05), ("www.waze.com", 0.68))):
        capture.server = f"198.51.100.{30 + n}"
        line = Connection(capture, capture.dns(0.0, name, 0.03), name, access_s=0.02, core_s=0.01)
        at_s = line.ready_s
        for _ in range(4):
            at_s = line.fetch(at_s, 60_000, wait_s=wait_s)
    capture.frames += call_of("gaming", GAMES["ticks lost"].packets[:400], server=PLAY).frames
    return capture


STEP_S = 15


def _voice(trip_s: float = 0.04, **how) -> Capture:
    return call_of("voice", generated.talkers(STEP_S, seed=3, **how)[0], server=TALK, trip_s=trip_s, seconds=STEP_S)


def _video(**how) -> Capture:
    how = {"fps": 30, "kbps": 900, **how}
    return call_of("conferencing", generated.video(STEP_S, split="rtp", **how).packets, server=MEET)


def _game(**how) -> Capture:
    how = {"core_ms": 20, "access_ms": 15, **how}
    return call_of("gaming", generated.game(STEP_S, tick_hz=20, seed=5, **how).packets, server=PLAY)


def _load(name: str, wait_s: float = 0.0, bps: float = 20e6) -> Capture:
    """Return a page or a screen of six objects, and a game beside it, so that intervals go on."""
    capture = Capture(bps)
    line = Connection(capture, capture.dns(0.0, name, 0.03), name, access_s=0.02, core_s=0.01)
    at_s = line.ready_s
    for _ in range(6):
        at_s = line.fetch(at_s, 60_000, wait_s=wait_s)
    capture.frames += _game().frames
    return capture


def _chat(trip_s: float) -> Capture:
    capture = Capture()
    name = "chat.signal.org"
    line = Connection(capture, capture.dns(0.0, name, trip_s), name, access_s=trip_s / 2, core_s=trip_s / 2)
    for n in range(12):
        line.fetch(line.ready_s + n, 120, request=180)
    return capture


def _file(bps: float = 8e6, wait_s: float = 0.0) -> Capture:
    """Return a download in two pieces, of which the second one is waited for."""
    capture = Capture(bps)
    name = "dl.delivery.mp.microsoft.com"
    line = Connection(capture, capture.dns(0.0, name, 0.03), name, access_s=0.02, core_s=0.01)
    at_s = line.fetch(line.ready_s, round(bps))  # 8 s
    line.fetch(at_s, round(bps / 4), wait_s=wait_s)
    capture.frames += _game().frames
    return capture


def _later_by(made: Capture, by_s: float) -> Capture:
    made.frames = [(at_s + by_s, frame) for at_s, frame in made.frames]
    return made


LADDERS = {
    "voice": {
        "loss": [lambda loss=loss: _voice(loss=loss) for loss in (0.0, 0.02, 0.08)],
        "delay": [lambda trip=trip: _voice(trip) for trip in (0.04, 0.4, 0.9)],
        "jitter": [lambda ms=ms: _voice(jitter_ms=ms) for ms in (0.0, 20.0, 80.0)],
    },
    "conferencing": {
        "fps": [lambda fps=fps: _video(fps=fps) for fps in (30, 15, 5)],
        "rate": [lambda kbps=kbps: _video(kbps=kbps) for kbps in (900, 300, 80)],
        "freeze": [lambda s=s: _video(frozen=(8.0, 8.0 + s)) for s in (0.0, 2.0, 6.0)],
        "jitter": [lambda ms=ms: _video(jitter_ms=ms) for ms in (0.0, 10.0, 60.0)],
    },
    "gaming": {
        "delay": [lambda ms=ms: _game(core_ms=ms) for ms in (20, 100, 300)],
        "loss": [lambda loss=loss: _game(loss=loss) for loss in (0.0, 0.05, 0.2)],
        "spikes": [lambda s=s: _game(spike=(5.0, s)) for s in (0.0, 0.5, 2.0)],
        "jitter": [lambda ms=ms: _game(jitter_ms=ms) for ms in (0.0, 10.0, 60.0)],
    },
    "web": {
        "wait": [lambda s=s: _load("en.wikipedia.org", s) for s in (0.05, 0.5, 1.4)],
        "speed": [lambda bps=bps: _load("en.wikipedia.org", bps=bps) for bps in (20e6, 2e6, 0.5e6)],
    },
    "social": {"wait": [lambda s=s: _load("i.instagram.com", s) for s in (0.05, 0.3, 0.8)]},
    "navigation": {"wait": [lambda s=s: _load("www.waze.com", s) for s in (0.05, 0.3, 0.8)]},
    "messaging": {"delay": [lambda s=s: _chat(s) for s in (0.02, 0.3, 0.98)]},
    "download": {
        "speed": [lambda bps=bps: _file(bps) for bps in (8e6, 2e6, 0.5e6)],
        "stall": [lambda s=s: _file(2e6, s) for s in (0.0, 3.0, 6.0)],
    },
}
BEGUN_S = {"voice": 5, "conferencing": 5, "gaming": 5, "messaging": 4, "download": 4}
"""Scores are looked at from there on; those of pages where a page is told."""

SITUATIONS = {
    **{
        f"{name} {what} {n}": made
        for name, ladders in LADDERS.items()
        for what, steps in ladders.items()
        for n, made in enumerate(steps)
    },
    **waits.CASES,
    "page-and-game": _page_and_game,
    "screens": _screens,
    **{f"video-{level}": lambda kbps=kbps: player(kbps, 60) for level, kbps in LEVELS.items()},
    **{f"video-cut-{n}": lambda n=n: _later_by(player(100, 40), 0.7 + 0.02 * n) for n in range(15)},
    "video-late": lambda: player(1000, 60, first_s=15.0),
    "video-stalled": lambda: player(1000, 100, outage=(30.0, 68.0)),
    "voice-random": lambda: _speech(0.04, loss=0.02),
    "voice-runs": lambda: _speech(0.04, run=25, every=1000),
    "voice-far": lambda: _speech(0.4),
    "voice-alone": lambda: _speech(0.0),
    **{f"game-{name}": lambda made=made: call_of("gaming", made.packets, server=PLAY) for name, made in GAMES.items()},
    "call-30": _picture,
    "call-7": lambda: _picture(fps=7),
    "call-100k": lambda: _picture(kbps=100),
    "call-frozen": lambda: _picture(frozen=(10.0, 13.0)),
}


@pytest.fixture(scope="module")
def told(replay, tmp_path_factory):
    return situations.replayed(SITUATIONS, tmp_path_factory.mktemp("situations"), replay)


def g107(trip_ms: float, lost_percent: float, burst: float = 1.0) -> float:
    """Return the MOS of G.711 with concealment by G.107: 20 ms on top of half the round trip."""
    delay = math.log2(max(trip_ms / 2 + 20, 100) / 100)
    idd = 25 * ((1 + delay**6) ** (1 / 6) - 3 * (1 + (delay / 3) ** 6) ** (1 / 6) + 2)
    r = 93.2 - max(idd, 0) - 95 * lost_percent / (lost_percent / burst + 25.1)
    return 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6


def g1030(page_s: float) -> float:
    """Return the MOS of a page by G.1030, annex A: logarithmic from 5 at 165 ms to 1 at 15 s."""
    return 5 - 4 * math.log(page_s / 0.165) / math.log(15 / 0.165)


class TestLadders:
    """A score falls with each step of one impairment, and is not taken away by it."""

    @pytest.mark.parametrize(("name", "what"), [(name, what) for name, ladders in LADDERS.items() for what in ladders])
    def test_it_falls(self, told, name, what):
        steps = [self.scores(told[f"{name} {what} {n}"], name) for n in range(3)]
        dark = [float(np.isnan(scores).mean()) for scores in steps]
        means = [float(np.nanmean(scores)) for scores in steps]

        assert max(dark) <= dark[0] + 1e-9
        assert means[1] <= means[0] + 0.01
        assert means[2] <= means[1] + 0.01
        assert means[2] < means[0] - 0.1

    @staticmethod
    def scores(of: situations.Told, name: str) -> np.ndarray:
        if name in BEGUN_S:
            return np.array(of.column(name, "mos", BEGUN_S[name], STEP_S - 1))
        return np.array([row["mos"] for row in of.of(name) if row["pages"] > 0])


class TestVideo:
    """The level that was played decides, and the network is at no fault."""

    @pytest.mark.parametrize(("level", "mos"), [("144p", 1.3), ("240p", 1.5), ("480p", 3.0), ("1080p", 4.8)])
    def test_a_level_without_a_stall(self, told, level, mos):
        scores = told[f"video-{level}"].column("video", "mos", 20, 60)

        assert np.nanmedian(scores) == pytest.approx(mos, abs=0.4)
        assert {row["suspect"] for row in told[f"video-{level}"].of("video", 20, 60)} <= set(NO_FAULT)

    def test_acknowledgements_alone_in_an_interval_are_no_silence_of_the_far_side(self, told):
        """The end of an interval may part what the UE acknowledges from the last bytes of a segment."""
        rows = [row for n in range(15) for row in told[f"video-cut-{n}"].of("video", 10, 40)]

        assert any(row["dl_packets"] == 0 and row["ul_packets"] >= 10 for row in rows)
        assert {row["suspect"] for row in rows} <= {*NO_FAULT, "unknown"}

    def test_a_late_first_picture_is_remembered(self, told):
        """3.0 without a wait, 2.7 with one of 15 s, by the models fitted to the tests of P.1203."""
        assert told["video-late"].column("video", "mos_session", 50, 60)[-1] == pytest.approx(2.7, abs=0.4)

    def test_a_stall_is_told_while_it_lasts_and_remembered(self, told):
        """20 s of content are ahead when the server falls silent; the next segment comes after 68 s."""
        rows = told["video-stalled"].of("video", 20, 100)
        still = [row for row in rows if row["stalled_s"] > 0.9]

        assert 12 <= len(still) <= 22
        assert max(row["mos"] for row in still) <= 1.5
        assert "app" not in {row["suspect"] for row in still}
        assert rows[-1]["mos_session"] == pytest.approx(2.4, abs=0.4)


class TestVoice:
    """The E-model of G.107 by hand; loss in runs is worse than at random."""

    def mean(self, told, name: str) -> float:
        return float(np.nanmean(told[name].column("voice", "mos", 10, SPEECH_S)))

    def lost(self, **how) -> float:
        return 100 * max(generated.talkers(SPEECH_S, seed=11, **how)[1]) / (50 * SPEECH_S)

    def test_loss_at_random(self, told):
        assert self.mean(told, "voice-random") == pytest.approx(g107(40, self.lost(loss=0.02)), abs=0.05)

    def test_loss_in_runs_is_worse_than_as_much_at_random(self, told):
        lost = self.lost(run=25, every=1000)

        assert self.mean(told, "voice-runs") == pytest.approx(g107(40, lost, 25 * (1 - lost / 100)), abs=0.05)
        assert min(told["voice-runs"].column("voice", "mos", 10, 60)) < g107(40, lost) - 0.2

    def test_a_far_one(self, told):
        assert self.mean(told, "voice-far") == pytest.approx(g107(400, 0), abs=0.05)

    def test_without_a_delay_there_is_no_score(self, told):
        assert set(told["voice-alone"].column("voice", "unmeasured")) == {"delay not known"}
        assert np.isnan(told["voice-alone"].column("voice", "mos")).all()


class TestGames:
    """G.1072 on lag and lost ticks; spikes by number and length."""

    def test_a_far_one(self, told):
        assert np.nanmean(told["game-150 ms"].column("gaming", "mos", 10, 60)) == pytest.approx(3.9, abs=0.1)

    def test_lost_ticks(self, told):
        made = GAMES["ticks lost"]

        assert np.nanmean(told["game-ticks lost"].column("gaming", "tick_loss", 10, 60)) == pytest.approx(
            made.lost / made.sent, abs=0.005
        )
        assert np.nanmean(told["game-ticks lost"].column("gaming", "mos", 10, 60)) == pytest.approx(4.4, abs=0.1)

    def test_spikes(self, told):
        wanted = [length for at_s, length in GAMES["spikes"].spikes if at_s + length > 9.9]
        rows = [row for row in told["game-spikes"].of("gaming", 10, 61) if row["spikes"] > 0]

        assert sum(row["spikes"] for row in rows) == len(wanted)
        assert [row["spike_ms"] for row in rows] == pytest.approx([1000 * length for length in wanted], abs=5)


class TestPages:
    """G.1030 on the time of the page; a slow link is the access, slow servers are not."""

    @pytest.mark.parametrize(("name", "page_s"), [("page-1s", 1), ("page-8s-servers", 8), ("page-8s-link", 8)])
    def test_its_time(self, told, name, page_s):
        (row,) = [row for row in told[name].of("web") if row["pages"] > 0]

        assert row["page_s"] == pytest.approx(page_s, rel=0.12)
        assert row["mos"] == pytest.approx(g1030(page_s), abs=0.3)

    @pytest.mark.parametrize(
        ("name", "causes"), [("page-8s-servers", ("app", "server")), ("page-8s-link", ("access",))]
    )
    def test_its_cause(self, told, name, causes):
        assert {row["suspect"] for row in told[name].of("web", 0, 8) if row["mos"] < 4} <= set(causes)

    def test_it_is_told_though_only_other_classes_have_packets_when_it_ends(self, told):
        told_of = [row for row in told["page-and-game"].of("web") if row["pages"] > 0]

        assert [row["page_s"] for row in told_of] == pytest.approx([1], rel=0.12)
        assert told_of[0]["dl_packets"] == 0

    def test_screens_of_applications_are_apart(self, told):
        social = [row for row in told["screens"].of("social") if row["pages"] > 0]
        maps = [row for row in told["screens"].of("navigation") if row["pages"] > 0]

        assert [row["page_s"] for row in social] == pytest.approx([0.5], abs=0.1)
        assert [row["page_s"] for row in maps] == pytest.approx([3], abs=0.3)
        assert maps[0]["mos"] < social[0]["mos"] - 1


class TestDownloads:
    """As fast, and yet a full queue is told of one of them."""

    def test_a_queue_is_told(self, told):
        short = told["download-30ms"].of("download", 5, 18)
        full = told["download-queue"].of("download", 5, 18)

        assert np.mean([r["speed_bps"] for r in full]) == pytest.approx(2e6, rel=0.1)
        assert {r["limit"] for r in full} == {"network"}
        assert {r["suspect"] for r in full} == {"access"}
        assert "network" not in {r["limit"] for r in short}


class TestChats:
    """Twice the time of an answer by G.1030; pings are no messages."""

    def test_a_far_one_is_bad(self, told):
        scores = np.array(told["chat-982ms"].column("messaging", "mos"))

        assert np.mean(scores <= 2.5) > 0.5
        assert np.isnan(scores).mean() < 0.1

    def test_a_near_one_is_good(self, told):
        assert min(told["chat-20ms"].column("messaging", "mos")) >= 4.8

    def test_keep_alive_only(self, told):
        scores = told["chat-keep-alive"].column("messaging", "mos", 12)  # the handshake was held for ten seconds

        assert np.isnan(scores).all()


class TestCalls:
    """Frames and bits decide, and a picture that stands still is bad in each such second."""

    def median(self, told, name: str) -> float:
        return float(np.nanmedian(told[name].column("conferencing", "mos", 8, PICTURE_S)))

    def test_few_frames(self, told):
        assert self.median(told, "call-30") - self.median(told, "call-7") >= 1.0

    def test_few_bits(self, told):
        assert self.median(told, "call-30") - self.median(told, "call-100k") >= 0.7

    def test_a_freeze(self, told):
        frozen = told["call-frozen"].column("conferencing", "mos", 11, 13)

        assert len(frozen) == 2
        assert max(frozen) <= 2.5
