"""Records as an operator's network makes them, and patience."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import zmq

from feed.records import FLOW_COLUMNS, RECORD_COLUMNS, SPARSE_COLUMNS, RecordBatch
from lab.wait import comes_true

SITES = 300  # gNBs behind a probe
SECTORS = 3  # cells of each
AREAS = 15  # tracking areas
APPS = ("youtube", "netflix", "tiktok", "disney", "primevideo")


def records(rows: int, subscribers: int, seed: int = 1) -> dict[str, Any]:
    """Return *rows* records of one class and second by second: *subscribers* of different radio, path and habit."""
    r = np.random.default_rng(seed)
    who = np.arange(rows) % subscribers
    names = [r.bytes(16).hex() for _ in range(subscribers)]
    app, basis = r.choice(5, subscribers, p=[0.5, 0.2, 0.15, 0.1, 0.05]), r.choice(3, subscribers, p=[0.8, 0.15, 0.05])
    bps = r.lognormal(np.log(3e6), 1, subscribers)[who] * r.lognormal(0, 0.6, rows) * (r.random(rows) < 0.8)
    bps += r.random(rows) * 5000
    down = (bps / 8).astype(np.uint64)
    up = (down * r.uniform(0.02, 0.05, rows) + 200).astype(np.uint64)
    samples = r.poisson(6, rows).astype(np.uint32)
    access = np.where(samples, r.lognormal(np.log(28), 0.5, subscribers)[who] * r.lognormal(0, 0.15, rows), np.nan)
    core = np.where(samples, r.lognormal(np.log(14), 0.6, subscribers)[who] * r.lognormal(0, 0.1, rows), np.nan)
    cells = r.integers(0, SITES * SECTORS, subscribers)[who].tolist()
    mos = np.clip(4.5 - access / 150 - r.exponential(0.2, rows), 1, 5)
    columns: dict[str, Any] = {
        "t_ms": 1_785_000_000_000 + np.arange(rows) // subscribers * 1000,
        "interval_ms": np.full(rows, 1000),
        "subscriber": [names[i] for i in who],
        "identity_source": ["pfcp"] * rows,
        "dnn": ["internet"] * rows,
        "app": [APPS[app[i]] for i in who],
        "app_basis": [("sni", "dns_answer", "address")[basis[i]] for i in who],
        "app_confidence": np.array([99, 95, 90])[basis[who]],
        "flows": r.integers(1, 6, rows),
        "ul_bytes": up,
        "dl_bytes": down,
        "ul_packets": down // 2700 + 1,
        "dl_packets": down // 1250 + 1,
        "ul_bps": up * 8.0,
        "dl_bps": down * 8.0,
        "rtt_access_ms": access,
        "rtt_core_ms": core,
        "rtt_min_access_ms": access * r.uniform(0.7, 1, rows),
        "rtt_min_core_ms": core * r.uniform(0.8, 1, rows),
        "rtt_samples": samples,
        "loss_ul": np.where(r.random(rows) < 0.75, 0, r.beta(1, 60, rows)),
        "loss_dl": np.where(r.random(rows) < 0.75, 0, r.beta(1, 60, rows)),
        "jitter_dl_ms": np.full(rows, np.nan),
        "gap_max_dl_ms": r.lognormal(np.log(80), 0.8, rows),
        **{name: np.full(rows, np.nan) for name in SPARSE_COLUMNS},
        "gnb": [f"172.16.{cell // SECTORS >> 4}.{cell // SECTORS & 15}" for cell in cells],
        "slice": ["1"] * rows,
        "rat": ["NR"] * rows,
        "tai": [f"001-01-{cell // SECTORS % AREAS + 0x1A2B00:06x}" for cell in cells],
        "cell": [f"001-01-{cell // SECTORS + 0x10000 << 12 | cell % SECTORS + 1:09x}" for cell in cells],
        "mos": mos,
        "suspect": np.where(~(mos <= 4), "", r.choice(["access", "core", "loss"], rows)).tolist(),
    }
    return {
        name: columns[name] if c.dtype == "str" else columns[name].astype(c.dtype) for name, c in RECORD_COLUMNS.items()
    }


def flows(rows: int) -> dict[str, Any]:
    """Return *rows* flows of one subscriber."""
    text = {
        "ue": "10.45.0.2:40000",
        "remote": "203.0.113.7:443",
        "app": "youtube",
        "app_basis": "sni",
        "name": "youtube.com",
    }
    return {
        name: [text[name]] * rows if c.dtype == "str" else (np.arange(rows) + 6).astype(c.dtype)
        for name, c in FLOW_COLUMNS.items()
    }


def batch(rows: int = 10, app_class: str = "video", t_s: float = 1_785_000_000.0, seed: int = 1) -> RecordBatch:
    """Return one interval of one class."""
    return RecordBatch(app_class, t_s, t_s + 1, records(rows, rows, seed))


eventually = comes_true


def header(sub: zmq.Socket[bytes]) -> dict[str, Any]:
    """Return the header of the next message."""
    head: dict[str, Any] = msgpack.unpackb(sub.recv_multipart()[1])
    return head
