"""Figures of calls and games: generated streams through the kernel program and the estimators, and WebRTC by aiortc.

The truth of a generated stream is by construction; expected scores are those of G.107 and G.1072 by hand. Figures of
browsers come from sets of `make truth`, where there are any.

python -m bench.truth.realtime prints them.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from bench.figure import Figure
from bench.truth import browsers, generated, webrtc
from bench.truth.streams import Packet, Wire, wire
from nf.qoe import conferencing, gaming, voice
from nf.qoe.inputs import DOWNLINK
from nf.qoe.realtime import Seen

__all__ = ["figures", "main"]

_VOICE, _CALL, _GAME = "TeamSpeak", "Zoom", "Roblox"  # applications of the classes voice, conferencing, gaming
_GENERATED = "generated, through the kernel program; truth by construction"
_SETTLED_S = 5


def _advance(model: Any, seconds: Iterable[Seen]) -> tuple[list[Any], list[float]]:
    """Return the estimates and the scores of each interval; one without packets has a row where the model is due."""
    state = np.zeros(1, model.STATE)
    estimates: list[Any] = []
    scores: list[float] = []
    for seen in seconds:
        if not seen.packets.any() and not model.due(state, seen.now_s)[0]:
            estimates.append(None)
            scores.append(math.nan)
            continue
        state, estimate = model.advance(state, seen)
        estimates.append(estimate)
        scores.append(float(model.score(estimate)[0]))
    return estimates, scores


def _g107(trip_ms: float, loss_percent: float, burst: float) -> float:
    """Return the MOS of G.107 by hand: G.711 with concealment, a frame of 20 ms and 5 ms of look-ahead."""
    x = math.log2(max(trip_ms / 2 + 25, 100) / 100)
    idd: float = 25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2)
    r: float = 93.2 - idd - 95 * loss_percent / (loss_percent / burst + 25.1)
    return 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6


def _speech(line: Wire) -> list[Figure]:
    off, missing, gone = [], 0, 0.0
    seconds = 120
    cases: list[tuple[float, int, int, float]] = [(p, 1, 0, trip) for p in (0, 0.01, 0.02, 0.05) for trip in (40, 400)]
    cases += [(0.0, run, every, 40) for run, every in ((25, 1000), (10, 400), (5, 200))]
    for loss, run, every, trip in cases:
        packets, lost = generated.talkers(seconds, loss=loss, run=run, every=every, seed=11)
        told = list(line.run(packets, _VOICE, rtt_ms=(trip / 2, trip / 2)))
        counted = sum(int(s.rtp_expected.sum()) - int(s.rtp_received.sum()) for s in told)
        gone = max(gone, abs(counted - sum(lost)))
        scores = _advance(voice, told)[1][_SETTLED_S:]
        missing += sum(math.isnan(s) for s in scores)
        worse = max(lost) / (seconds * 50)
        burst = run * (1 - worse) if every else 1.0
        off.append(abs(float(np.nanmean(scores)) - _g107(trip, 100 * worse, max(burst, 1.0))))
    unmeasured = 100 * missing / (len(cases) * (seconds - _SETTLED_S))
    shares = {"streams": float(len(cases)), "not measurable %": unmeasured}
    return [
        Figure("voice MOS against G.107", max(off), "MOS", 0.05, shares, f"{_GENERATED}; means of 120 s, the worst"),
        Figure("RTP loss", gone, "packets", 0, {"streams": float(len(cases))}, _GENERATED),
        _jitter(line),
    ]


def _jitter(line: Wire) -> Figure:
    """Compare with RFC 3550, A.8, in floating point, after the last packet of each second."""
    off: list[float] = []
    for jitter_ms in (1.0, 5.0, 20.0, 60.0):
        packets, _ = generated.talkers(40, jitter_ms=jitter_ms, seed=3)
        told = list(line.run(packets, _VOICE))
        truth = _a8([p for p in sorted(packets, key=lambda p: p.at_s) if p.down], len(told))
        seen = [float(s.rtp_jitter_us[0, DOWNLINK]) / 1000 for s in told]
        off += [abs(a - b) for a, b in list(zip(seen, truth, strict=True))[_SETTLED_S:-1]]
    return Figure("RTP jitter, p99", float(np.percentile(off, 99)), "ms", 1, {"seconds": float(len(off))}, _GENERATED)


def _a8(packets: Sequence[Packet], seconds: int) -> list[float]:
    jitter, before, out, at = 0.0, None, [], 0
    for second in range(1, seconds + 1):
        while at < len(packets) and packets[at].at_s < second:
            transit = packets[at].at_s * 1000 - int.from_bytes(packets[at].payload[4:8], "big") / 8
            if before is not None:
                jitter += (abs(transit - before) - jitter) / 16
            before, at = transit, at + 1
        out.append(jitter)
    return out


def _g1072(lag_ms: float, loss: float) -> float:
    """Return the MOS of G.1072 by hand: the high class, 60 frames a second, 0.3 Mbit/s, no coding."""
    harm = (0.08526 + 0.00073 * 60 + 1.425e-4 * 0.3 * 60) * max(0.09656 * lag_ms - 1.5, 0)
    frames = math.log(100 * (1 - math.exp(-harm * loss)) + 1)
    i_tvq = max(47.03 + 0.01747 * 3600 - 1.823 * 60 + 10.7 * frames, 0)
    i_iqf = max(54.71 + 0.02589 * 3600 - 2.485 * 60 + 9.306 * frames, 0)
    i_inp = max(90 / (1 + math.exp(1.191 - 0.009775 * lag_ms)) - 18.73, 0)
    r = 100 - 0.227 * i_tvq - 0.625 * i_iqf - 0.848 * i_inp
    return min(1.3 + 0.0334 * r + r * (r - 60) * (100 - r) * 7e-6, 4.64)


# Core and access in ms, loss of ticks, and a spike of 0.3 s each so many seconds.
_PLAYED = (
    *((20.0, 10.0, 0.0, 0.0), (100.0, 50.0, 0.0, 0.0)),
    *((20.0, 15.0, 0.05, 0.0), (20.0, 15.0, 0.02, 0.0)),
    (30.0, 20.0, 0.0, 10.0),
)


def _games(line: Wire) -> list[Figure]:
    lag_off, tick_off, mos_off, found, right, wanted, dark = [], [], [], 0, 0, 0, 0
    seconds = 60
    for tick_hz, (core, access, loss, each) in itertools.product((20.0, 30.0, 64.0, 128.0), _PLAYED):
        how: dict[str, Any] = {
            "core_ms": core,
            "access_ms": access,
            "loss": loss,
            "spike": (each, 0.3 if each else 0.0),
        }
        made = generated.game(seconds, tick_hz=tick_hz, jitter_ms=1.0, seed=5, **how)
        estimates, scores = _advance(gaming, line.run(made.packets, _GAME))
        estimates, scores = estimates[_SETTLED_S:], scores[_SETTLED_S:]
        dark += sum(math.isnan(s) for s in scores)
        truth = core + access + 2 * math.sqrt(2 / math.pi)  # the mean of both delays that vary by 1 ms
        lag_off += [abs(float(e.lag_ms[0]) - truth) for e in estimates if e is not None]
        if not each:
            ticks = [float(e.tick_loss[0]) for e in estimates if e is not None]
            tick_off.append(100 * abs(float(np.nanmean(ticks)) - made.lost / made.sent))
            mos_off.append(abs(float(np.nanmean(scores)) - _g1072(truth, made.lost / made.sent)))
            continue
        told = [(i + _SETTLED_S, round(float(e.spikes[0]))) for i, e in enumerate(estimates) if e is not None]
        ends = [second for second in (int(begin + length) for begin, length in made.spikes) if second >= _SETTLED_S]
        found += sum(n for _, n in told)
        right += sum(min(n, ends.count(i)) for i, n in told)
        wanted += len(ends)
    f1 = 2 * right / max(found + wanted, 1)
    games = {"games": 20.0, "not measurable %": 100 * dark / (20 * (seconds - _SETTLED_S))}
    return [
        Figure("game lag, p95", float(np.percentile(lag_off, 95)), "ms", 5, games, _GENERATED),
        Figure("lost ticks", max(tick_off), "points", 0.5, {"games": 16.0}, f"{_GENERATED}; means, the worst game"),
        Figure("game MOS against G.1072", max(mos_off), "MOS", 0.1, games, f"{_GENERATED}; means, the worst game"),
        Figure("spikes of a game, F1", f1, "", 0.95, {"spikes": float(wanted)}, _GENERATED, more=True),
    ]


def _by_second(estimates: Sequence[Any], truth: dict[int, int], skip: int) -> list[float]:
    """Return the error of the frame rate in each second."""
    return [
        abs(float(np.nan_to_num(e.fps[0])) - truth.get(i, 0))
        for i, e in enumerate(estimates[:-1])
        if i >= skip and e is not None
    ]


def _pictures(line: Wire) -> list[Figure]:
    out = []
    # Equal packets near the largest size are of one length in each tenth frame: two frames run together then.
    for splits in (("rtp", "filled"), ("equal",)):
        cloud: list[float] = []
        for (fps, kbps), split in itertools.product(((30, 8000), (60, 15_000), (60, 30_000), (120, 30_000)), splits):
            how: dict[str, Any] = {"jitter_ms": 1.0, "full": 1372, "pace_us": 20.0, "seed": 9}
            made = generated.video(12, fps=fps, kbps=kbps, split=split, **how)
            cloud += _by_second(_advance(gaming, line.run(made.packets, _GAME))[0], made.frames, _SETTLED_S)
        share = 100 * float(np.mean(np.array(cloud) <= 1))
        name = f"cloud gaming within 1 fps, {'/'.join(splits)}"
        out.append(Figure(name, share, "%", 95, {"seconds": float(len(cloud))}, _GENERATED, more=True))
    for split in ("rtp", "equal", "filled"):
        off: list[float] = []
        for fps in (7, 15, 24, 30):
            made = generated.video(30, fps=fps, kbps=900, split=split, jitter_ms=4.0, seed=fps)
            off += _by_second(_advance(conferencing, line.run(made.packets, _CALL))[0], made.frames, _SETTLED_S)
        note = f"{_GENERATED}; packets {split}"
        goal = 0.2 if split == "rtp" else 0.3
        cases = {"seconds": float(len(off))}
        out.append(Figure(f"call fps, {split}, mean error", float(np.mean(off)), "1/s", goal, cases, note))
    return [*out, *_call_scores(line)]


def _call_scores(line: Wire) -> list[Figure]:
    def settled(fps: float = 30, kbps: float = 900) -> float:
        scores = _advance(conferencing, line.run(generated.video(20, fps=fps, kbps=kbps, split="rtp").packets, _CALL))[
            1
        ]
        return float(np.nanmean(scores[_SETTLED_S:]))

    good = settled()
    frozen = generated.video(20, fps=30, kbps=900, split="rtp", frozen=(10.0, 13.0))
    stood = _advance(conferencing, line.run(frozen.packets, _CALL))[1][10:13]
    return [
        Figure("call: 7 fps below 30", good - settled(fps=7), "MOS", 1.0, {}, _GENERATED, more=True),
        Figure("call: 100 kbit/s below 900", good - settled(kbps=100), "MOS", 0.7, {}, _GENERATED, more=True),
        Figure("call: worst frozen second", max(stood), "MOS", 2.5, {"seconds": 3.0}, _GENERATED),
    ]


def _webrtc(line: Wire) -> list[Figure]:
    out = []
    for name, condition, goals in webrtc.CONDITIONS:
        call = webrtc.in_time(condition)
        if call is None:
            continue
        for rule, packets, goal in (
            ("RTP", call.packets, goals[0]),
            ("lengths", webrtc.without_headers(call), goals[1]),
        ):
            estimates, _ = _advance(conferencing, line.run(packets, _CALL))
            off = _by_second(estimates, call.arrived, _SETTLED_S)
            near = 100 * float(np.mean(np.array(off) <= 2))
            cases = {"seconds": float(len(off)), "within 2 fps %": near, "host late ms": call.late_ms}
            note = "lab truth: frames at the probe; aiortc, VP8, 30 fps; the host was never late by more than a frame"
            out.append(Figure(f"{webrtc.FIGURES[0]} by {rule}, {name}", float(np.mean(off)), "1/s", goal, cases, note))
            if rule == "lengths":
                out.append(
                    Figure(f"{webrtc.FIGURES[1]} by {rule} within 2 fps, {name}", near, "%", 90, cases, note, more=True)
                )
    return out


def _browsers(line: Wire) -> list[Figure]:
    return browsers.figures(line, _CALL, _advance)


def figures() -> list[Figure]:
    """Return the figures of calls and games; takes about two minutes, one of which is a call in real time."""
    parts: tuple[Callable[[Wire], list[Figure]], ...] = (_speech, _games, _pictures, _webrtc, _browsers)
    with wire() as line:
        return [figure for part in parts for figure in part(line)]


def main() -> int:
    """Print the figures; return 0."""
    for f in figures():
        cases = ", ".join(f"{name} {value:.4g}" for name, value in f.cases.items())
        print(f"{f.name:40}{f.value:10.3f} {f.unit:8} goal {f.goal:6} {'met' if f.met else 'NOT MET':8} {cases}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
