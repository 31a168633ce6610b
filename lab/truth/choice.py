"""The conditions of a set, chosen from its kind and seed; every choice can be given instead. Values only."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lab.impair import CLEAN, Impairment
from lab.truth import schedule
from lab.truth.content import LADDERS, SEGMENTS_S
from lab.truth.schedule import Step
from lab.truth.streams import CODECS

__all__ = ["KINDS", "PLAYERS", "TRACES", "Conditions", "choose", "impairment"]

PLAYERS = ("dash.js", "hls.js", "shaka")
_SHARED = Path(os.environ.get("SNF_SHARED", Path(__file__).resolve().parents[3] / "shared"))
TRACES = _SHARED / "data" / "qoe" / "net_traces_5g" / "lumos5g_4g_5g_1s_mbps.tar.gz"
_KBPS = 1000.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """All that makes a set: the choices of its kind, the radio at its begin, and the steps that follow."""

    kind: str
    seed: int
    seconds: float
    options: dict[str, Any]
    downlink: Impairment
    uplink: Impairment
    steps: list[Step] = field(default_factory=list)


def impairment(name: str, amount: float) -> Impairment:
    """Return one impairment by its name: delay and jitter in ms, loss as a share, rate in bit/s."""
    word = {"delay": "delay_ms", "jitter": "jitter_ms", "loss": "loss", "rate": "rate_bps"}[name]
    return Impairment(**{word: amount})


def _radio(pick: random.Random) -> tuple[Impairment, Impairment]:
    """Return a good radio: round trip of 16 to 60 ms, little jitter."""
    delay, jitter = pick.uniform(6, 25), pick.uniform(0, 6)
    return Impairment(delay, jitter, rate_bps=10e6, queue_ms=300), Impairment(delay, jitter, rate_bps=5e6)


def _video(pick: random.Random, seed: int, given: Mapping[str, Any]) -> Conditions:
    player = given.get("player") or pick.choice(PLAYERS)
    options: dict[str, Any] = {
        "player": player,
        "http": int(given.get("http") or pick.choice((1, 1, 2, 3))),
        "ladder": given.get("ladder") or pick.choice(list(LADDERS)),
        "segment_s": int(given.get("segment_s") or pick.choice(SEGMENTS_S)),
        "buffer_s": int(given.get("buffer_s") or pick.choice((12, 20, 30))),
        "service": given.get("service") or pick.choice(("movie", "video")),
        "live": str(given.get("live", False)).lower() in ("true", "1"),  # a playlist that grows; not of dash.js
        "network": given.get("network") or pick.choice(("steady", "steady", "outage", "slow", "fall", "trace")),
    }
    down, up = _radio(pick)
    seconds = float(given.get("seconds") or 75)
    ladder = LADDERS[options["ladder"]]
    low, high = ladder.levels[0].bps, ladder.levels[-1].bps
    network, steps = options["network"], list[Step]()
    if network == "steady":  # any level of the ladder can be what the network carries
        level = pick.choice(ladder.levels).bps
        down = replace(down, rate_bps=float(given.get("rate_bps") or 1.6 * level + ladder.audio_bps + 150 * _KBPS))
    elif network == "outage":
        down = replace(down, rate_bps=float(given.get("rate_bps") or pick.uniform(0.5, 1.3) * high + 500 * _KBPS))
        begin = pick.uniform(18, 28)
        steps = schedule.outage(down, begin, begin + options["buffer_s"] + pick.uniform(6, 16))
    elif network == "slow":  # below the lowest level: the player stands again and again
        begin = pick.uniform(12, 20)
        slow = replace(down, rate_bps=max(60 * _KBPS, pick.uniform(0.5, 0.85) * (low + ladder.audio_bps)))
        steps = [Step(begin, "radio", slow), Step(begin + pick.uniform(28, 40), "radio", down)]
    elif network == "fall":
        steps = schedule.fall_and_rise(down, max(80 * _KBPS, pick.uniform(0.6, 2.0) * low), 12, pick.uniform(45, 55))
    elif network == "trace":
        member = given.get("trace") or "Lumous5G/4G/4g_trace_walking_50192_a"
        options["trace"] = member
        mean = pick.uniform(0.3, 1.2) * high
        steps = schedule.trace(down, schedule.trace_rates(TRACES, member), mean, int(seconds), seed)
    return Conditions("video", seed, seconds, options, down, up, steps)


def _call(pick: random.Random, seed: int, given: Mapping[str, Any]) -> Conditions:
    width, height = pick.choice(((320, 240), (640, 360), (640, 480)))
    options = {
        "width": int(given.get("width") or width),
        "height": int(given.get("height") or height),
        "fps": int(given.get("fps") or pick.choice((30, 30, 20, 15))),
        "codec": given.get("codec", pick.choice(("VP8", "VP8", "H264", "VP9"))),
        "network": given.get("network") or pick.choice(("clean", "fall", "loss", "jitter", "outage")),
    }
    down, up = _radio(pick)
    seconds = float(given.get("seconds") or 60)
    return Conditions("call", seed, seconds, options, down, up, _disturbed(pick, options["network"], down, seconds))


def _rtp(pick: random.Random, seed: int, given: Mapping[str, Any]) -> Conditions:
    """Choose a voice: loss before the probe is exact in both directions, loss behind it is the radio's."""
    seconds = float(given.get("seconds") or 40)
    options: dict[str, Any] = {
        "codec": given.get("codec") or pick.choice(list(CODECS)),
        "network": given.get("network") or pick.choice(("clean", "random", "runs", "jitter", "radio loss", "silence")),
        "loss": 0.0,
        "run": 1,
        "jitter_ms": pick.choice((0, 2, 5)),
    }
    down, up = _radio(pick)
    steps, network = list[Step](), options["network"]
    if network in ("random", "runs"):
        options["loss"] = float(given.get("loss") or pick.choice((0.005, 0.01, 0.02, 0.05)))
        options["run"] = 1 if network == "random" else pick.choice((3, 8, 25))
    elif network == "jitter":
        options["jitter_ms"] = pick.choice((15, 30, 60))
    elif network == "silence":
        options["silence"] = [[seconds / 2, seconds / 2 + pick.choice((0.5, 3.0))]]
    elif network == "radio loss":
        steps = _disturbed(pick, "loss", down, seconds)
    return Conditions("rtp", seed, seconds, options, down, up, steps)


def _game(pick: random.Random, seed: int, given: Mapping[str, Any]) -> Conditions:
    """Choose a game: rates of ticks as servers have them (20 to 128 a second), ticks lost, spikes, or a moved delay."""
    seconds = float(given.get("seconds") or 40)
    options: dict[str, Any] = {
        "tick_ms": float(given.get("tick_ms") or pick.choice((50, 33.333, 16.667, 15.625, 7.8125))),
        "input_ms": pick.choice((33.333, 16.667)),
        "network": given.get("network") or pick.choice(("clean", "ticks lost", "spikes", "delay", "jitter")),
        "loss": 0.0,
    }
    down, up = _radio(pick)
    steps, network = list[Step](), options["network"]
    if network == "ticks lost":
        options["loss"] = pick.choice((0.01, 0.05, 0.1))
    elif network == "spikes":
        length = pick.uniform(0.15, 0.5)
        options["spikes"] = [[t, round(t + length, 3)] for t in range(6, int(seconds) - 2, 7)]
    elif network == "delay":
        steps = schedule.impaired("radio", seconds / 3, seconds * 0.7, Impairment(pick.choice((60, 120, 240))), down)
    elif network == "jitter":
        steps = _disturbed(pick, "jitter", down, seconds)
    return Conditions("game", seed, seconds, options, down, up, steps)


def _cloud(pick: random.Random, seed: int, given: Mapping[str, Any]) -> Conditions:
    """Choose a cloud game: pictures at 30 or 60 a second, cut in two ways, with RTP headers or without."""
    seconds = float(given.get("seconds") or 40)
    options: dict[str, Any] = {
        "fps": int(given.get("fps") or pick.choice((60, 60, 30))),
        "bps": float(given.get("bps") or pick.choice((3e6, 5e6, 8e6))),
        "cutting": given.get("cutting") or pick.choice(("filled", "equal")),
        "rtp": str(given.get("rtp", pick.choice((True, False)))).lower() == "true",
        "network": given.get("network") or pick.choice(("clean", "slow", "loss")),
        "tick_ms": 16.667,
    }
    down, up = _radio(pick)
    down = replace(down, rate_bps=12e6)
    if options["network"] == "slow":
        options["slow"] = [[seconds / 3, seconds * 0.6]]
    steps = _disturbed(pick, "loss", down, seconds) if options["network"] == "loss" else []
    return Conditions("cloud", seed, seconds, options, down, up, steps)


def _page(pick: random.Random, seed: int, given: Mapping[str, Any]) -> Conditions:
    """Choose pages: a link of 0.8 to 10 Mbit/s, a delay that is short, long or moves, servers that think or not."""
    options: dict[str, Any] = {
        "http": int(given.get("http") or pick.choice((1, 2, 2, 3))),
        "pages": int(given.get("pages") or 8),
        "network": given.get("network") or pick.choice(("clean", "far", "jitter", "narrow", "slow servers")),
        "wait_ms": 40.0,
    }
    down, up = _radio(pick)
    network = options["network"]
    if network == "far":
        down, up = replace(down, delay_ms=75), replace(up, delay_ms=75)
    elif network == "jitter":
        down = replace(down, jitter_ms=80)
    elif network == "narrow":
        down = replace(down, rate_bps=pick.uniform(0.8, 2.0) * 1e6)
    elif network == "slow servers":
        options["wait_ms"] = pick.choice((300.0, 800.0))
    return Conditions("page", seed, 60.0, options, down, up)


def _download(pick: random.Random, seed: int, given: Mapping[str, Any]) -> Conditions:
    """Choose a download and its limit; the network's may be a rate, a rate with a long queue, or loss."""
    limit = given.get("limit") or pick.choice(("network", "receiver", "server", "application"))
    options: dict[str, Any] = {"limit": limit, "piece_bytes": 64 << 20}
    down, up = _radio(pick)
    if limit == "network":
        options["network"] = given.get("network") or pick.choice(("rate", "long queue", "loss"))
        rate = pick.choice((1.5e6, 3e6, 6e6))
        queue, loss = (900, 0.0) if options["network"] == "long queue" else (120, 0.0)
        loss = 0.01 if options["network"] == "loss" else loss
        down = replace(down, rate_bps=rate, queue_ms=queue, loss=loss)
    elif limit == "receiver":
        options["reader_bps"] = pick.choice((0.8e6, 1.6e6, 3e6))
    elif limit == "server":
        options["server_bps"] = pick.choice((0.8e6, 1.6e6, 3e6))
    else:
        options["piece_bytes"], options["pause_s"] = pick.choice((200_000, 600_000)), pick.choice((0.7, 1.5))
    return Conditions("download", seed, float(given.get("seconds") or 30), options, down, up)


def _disturbed(pick: random.Random, network: str, down: Impairment, seconds: float) -> list[Step]:
    """Return the steps of a real-time medium's network: good, disturbed from a third of the set on, and good again."""
    begin, end = seconds * 0.3, seconds * 0.65
    if network == "fall":  # rates that a sender of video follows down, and then up by probing
        return schedule.fall_and_rise(down, pick.uniform(200, 600) * _KBPS, begin - 8, end, 2)
    if network == "outage":
        return schedule.outage(down, begin, begin + pick.uniform(1.0, 4.0))
    worse = {
        "loss": replace(down, loss=pick.uniform(0.01, 0.08)),
        "jitter": replace(down, jitter_ms=pick.uniform(30, 90)),
    }
    return [Step(begin, "radio", worse[network]), Step(end, "radio", down)] if network in worse else []


KINDS: dict[str, Callable[[random.Random, int, Mapping[str, Any]], Conditions]] = {
    "video": _video,
    "call": _call,
    "rtp": _rtp,
    "game": _game,
    "cloud": _cloud,
    "page": _page,
    "download": _download,
}


def choose(kind: str, seed: int, given: Mapping[str, Any] | None = None) -> Conditions:
    """Return the conditions of a set; *given* choices take the place of the seed's.

    ``impair=SEGMENT:NAME:AMOUNT`` impairs one segment in the middle third (``core:delay:80``, ``radio:loss:0.03``);
    of the radio's two directions a rate is the downlink's. Raises ValueError for one that the lab does not have.
    """
    given = given or {}
    conditions = KINDS[kind](random.Random(f"{kind}/{seed}"), seed, given)
    if "impair" not in given:
        return conditions
    segment, name, amount = str(given["impair"]).split(":")
    before = conditions.downlink if segment == "radio" else CLEAN
    third = conditions.seconds / 3
    steps = schedule.impaired(segment, third, 2 * third, impairment(name, float(amount)), before)
    return replace(conditions, options={**conditions.options, "impair": given["impair"]}, steps=steps)
