"""Columns of calls and games by construction: what the kernel would count of a stream that is told in plain words."""

from __future__ import annotations

import dataclasses

import numpy as np

from nf.abi import SNF_GAP_TICK_US as TICK_US
from nf.qoe.realtime import Seen, nothing

UP, DOWN = 0, 1


def both(up: float, down: float | None = None) -> np.ndarray:
    return np.array([[up, up if down is None else down]], float)


def silence(now_s: float, interval_s: float = 1.0) -> Seen:
    """Return an interval of one call in which nothing passed."""
    return nothing(1, now_s, interval_s)


UNKNOWN = (np.nan, np.nan)


def voice(now_s: float, *, lost=(0, 0), runs=None, rtt=UNKNOWN, jitter_ms=0.0, pps=50, stop=(), **columns) -> Seen:
    """Return a second of a G.711 talker each way; directions in *stop* are silent, *rtt* is of access and core."""
    flows = np.array([[0 if d in stop else pps for d in (UP, DOWN)]], float)
    missing = np.array([lost], float)
    return dataclasses.replace(
        nothing(1, now_s, 1.0),
        packets=flows - missing,
        octets=200 * (flows - missing),
        rtp_expected=flows,
        rtp_received=flows - missing,
        # Of the access what is missing of the uplink, of the core what is missing of the downlink.
        side_lost=missing[:, None, :] * np.eye(2)[None, ::-1],
        side_sent=flows[:, None, :] * np.eye(2)[None, ::-1],
        loss_runs=np.array([lost if runs is None else runs], float),
        rtp_jitter_us=both(1000 * jitter_ms),
        rtp_clock=both(8000),
        rtt_access_ms=np.array([float(rtt[0])]),
        rtt_core_ms=np.array([float(rtt[1])]),
        last_payload_us=both(10_000),
        tick_us=both(20_000),
        **columns,
    )


def video(now_s: float, *, fps=30, kbps=800.0, rule="rtp", frozen_ms=0, stop=(), pps=None, **columns) -> Seen:
    """Return a second of a video call: frames of one size at regular distances downlink, 50 packets of sound uplink."""
    down = 0 if DOWN in stop else (pps or max(fps * 4, 50))
    frames = np.zeros((1, 3))
    at = ("equal", "filled", "rtp").index(rule)
    frames[0, at] = 0 if DOWN in stop else fps
    gap = 1e6 / max(fps, 1) / TICK_US
    packets = np.array([[0 if UP in stop else 50, down]], float)
    return dataclasses.replace(
        nothing(1, now_s, 1.0),
        packets=packets,
        octets=packets * 200,
        rtp_expected=packets if rule == "rtp" else packets * 0,
        rtp_received=packets if rule == "rtp" else packets * 0,
        rtp_pt=both(96),
        last_payload_us=both(5000),
        frames_equal=frames[:, 0],
        frames_filled=frames[:, 1],
        frames_rtp=frames[:, 2],
        frame_gap_ticks=frames * gap,
        frame_gap_ticks2=frames * gap**2,
        frame_octets=np.where(frames > 0, 1000 * kbps / 8, 0),
        frozen_ms=np.array([float(frozen_ms)]),
        **columns,
    )


def run(module, intervals, state=None):
    """Advance one row through *intervals*; return the state, and the estimates and MOS of each."""
    state = np.zeros(1, module.STATE) if state is None else state
    estimates = []
    for seen in intervals:
        state, estimate = module.advance(state, seen)
        estimates.append(estimate)
    return state, estimates, [float(module.score(e)[0]) for e in estimates]


def game(now_s: float, *, came=20, tick_ms=50.0, rtt=UNKNOWN, echo=None, spike_ms=0.0, stop=(), **columns) -> Seen:
    """Return a second of a tick game: *came* packets down, 30 up; *echo* is (core, access) in ms, 30 of each."""
    down, up = (0 if d in stop else n for d, n in ((DOWN, came), (UP, 30)))
    packets = np.array([[up, down]], float)
    regular = np.maximum(packets - 1 - (spike_ms > 0), 0)
    echoes = (
        {}
        if echo is None
        else {"echo_n": both(30), "echo_sum_us": 30_000.0 * both(*echo), "echo_min_us": 1000.0 * both(*echo)}
    )
    return dataclasses.replace(
        nothing(1, now_s, 1.0),
        packets=packets,
        octets=packets * 120,
        last_payload_us=both(5000),
        rtt_access_ms=np.array([float(rtt[0])]),
        rtt_core_ms=np.array([float(rtt[1])]),
        tick_us=both(33_000, 1000 * tick_ms),
        tick_n=regular,
        tick_sum_us=regular * np.array([[33_000, 1000 * tick_ms]]),
        spikes=both(0, float(spike_ms > 0)),
        spike_ms=both(0, spike_ms),
        **echoes,
        **columns,
    )


def cloud(now_s: float, *, fps=60, mbps=20.0, rule="filled", **columns) -> Seen:
    """Return a second of a cloud game: frames of full packets, and input upwards."""
    seen = video(now_s, fps=fps, kbps=1000 * mbps, rule=rule, pps=int(mbps * 100))
    octets = both(10_000, mbps * 1e6 / 8)
    rtt = {"rtt_access_ms": np.array([10.0]), "rtt_core_ms": np.array([20.0])}
    return dataclasses.replace(seen, octets=octets, **rtt | columns)
