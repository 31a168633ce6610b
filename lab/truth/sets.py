"""Making sets: one, or those of a list of `sets.toml`, each a folder with capture, truth and conditions."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import time
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab.truth.choice import Conditions, choose
from lab.truth.meter import void
from lab.truth.network import Network

__all__ = ["FORMAT", "LISTS", "described", "listed", "make", "make_all"]

FORMAT = 1
LISTS = ("fit", "judge")
_NICE = -10  # of the lab beside other work of the host; its packet path is above that (`lab.truth.network`)
_MODULES = {"rtp": "datagrams", "game": "datagrams", "cloud": "datagrams"}  # of a kind whose name is not its module's
_FILE = Path(__file__).resolve().parent / "sets.toml"


def described(conditions: Conditions, applied: list[dict[str, Any]], load: Mapping[str, Any]) -> dict[str, Any]:
    """Return the conditions of a set as its file has them; *applied* are the steps with the times of the clock."""
    is_void = void(dict(load))
    return {
        "format": FORMAT,
        "kind": conditions.kind,
        "seed": conditions.seed,
        "void": is_void,
        "seconds": conditions.seconds,
        "options": conditions.options,
        "radio": {"downlink": asdict(conditions.downlink), "uplink": asdict(conditions.uplink)},
        "applied": applied,
        "load": dict(load),
    }


def make(kind: str, seed: int, given: Mapping[str, Any], out: Path, cache: Path) -> bool:
    """Make a set and say if it counts; it does not when the host was short of time."""
    conditions = choose(kind, seed, given)
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    run = importlib.import_module(f"lab.truth.{_MODULES.get(kind, kind)}").run
    begun = time.time()
    truth: dict[str, Any]
    network: Network
    truth, network = run(conditions, cache, out)
    about = described(conditions, network.applied, network.load)
    head = {"format": FORMAT, "kind": kind, "seed": seed, "void": about["void"], "begin": begun, "end": time.time()}
    (out / "truth.json").write_text(json.dumps({**head, **truth}), encoding="utf-8")
    (out / "conditions.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    words = "void: the host was short of time" if about["void"] else "made"
    delays = ", ".join(f"{who} {load['worst_ms']:.1f} ms" for who, load in network.load.items())
    print(f"{out.name}: {words}; largest delays: {delays or 'not measured'}", flush=True)
    return not about["void"]


def listed(which: str, file: Path = _FILE) -> list[dict[str, Any]]:
    """Return the sets of a list: kind, seed and the choices that are given."""
    return list(tomllib.loads(file.read_text("utf-8"))[which])


def make_all(which: str, out: Path, cache: Path, *, only: str = "") -> None:
    """Make the sets of a list that are not there yet, or are void."""
    sets = [s for s in listed(which) if only in name(s)]
    for number, wanted in enumerate(sets, 1):
        folder = out / name(wanted)
        there = folder / "conditions.json"
        if there.exists() and not json.loads(there.read_text("utf-8"))["void"]:
            continue
        print(f"{number} of {len(sets)}: {name(wanted)}", flush=True)
        given = {k: v for k, v in wanted.items() if k not in ("kind", "seed")}
        make(wanted["kind"], wanted["seed"], given, folder, cache)


def name(wanted: Mapping[str, Any]) -> str:
    """Return the folder of a set: kind, seed and the choices that tell it from others."""
    words = [str(wanted[k]) for k in ("player", "codec", "http", "ladder", "limit", "network", "impair") if k in wanted]
    return "-".join([str(wanted["kind"]), str(wanted["seed"]), *words]).translate(str.maketrans(" :", "--", "."))
