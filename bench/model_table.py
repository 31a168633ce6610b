"""The model of docs/scaling.md: the needs of a rate of traffic, computed from the figures of the bench."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["MACHINE_CORES", "cores", "inputs", "table"]

RATES_GBPS = (10, 40, 100, 400)
INTERVAL_S, KEPT_S = 10.0, 60.0
MACHINE_CORES = 16
_ONE_PROCESS = 2.0  # no figure of shards: as if they cost nothing
_FILE = ("nDPI / ours, dense capture", "nDPI / ours, mixed capture")  # figures with a packet's costs in their cases


def inputs(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the inputs of the model; raises KeyError when a figure is not in the file."""
    case = {(row["bench"], name): value for row in rows for name, value in row["cases"].items()}
    file = next(row["cases"] for row in rows if row["name"] in _FILE)
    packets = case.get(("share", "packets on the wire"), file["frames"])
    flows = case.get(("share", "flows on the wire"), file["flow_new"])
    return {
        "bytes a packet": case["share", "bytes on the wire"] / packets,
        "packets a flow": packets / flows,
        "ns a packet in the kernel, live frames, 65 k flows": case["live", "65k flows"],
        "us a new flow in user space": file["ours, drain, ns a packet"] * file["frames"] / file["flow_new"] / 1e3,
        "ns a packet in user space for scores and messages": (
            file["ours, sweep, ns a packet"] + file["ours, records, ns a packet"]
        ),
        "s to read 1 M flows and take differences": case["drain", "read and deltas, s"],
        "MB of kernel memory for 1 M flows and subscribers": case.get(
            ("memory", "kernel, MB"), next(row["value"] for row in rows if row["bench"] == "memory")
        ),
        "two shards / one, active flows a second": next(
            (row["value"] for row in rows if row["bench"] == "shards"), _ONE_PROCESS
        ),
        "published share, %": next(row["value"] for row in rows if row["name"].startswith("telemetry")),
    }


def _needs(gbps: float, given: dict[str, float]) -> dict[str, float]:
    """Return packets, new flows and kept flows (in millions) a second of a rate."""
    packets = gbps * 1e9 / 8 / given["bytes a packet"]
    births = packets / given["packets a flow"]
    return {"packets": packets, "births": births, "kept": births * KEPT_S / 1e6}


def cores(gbps: float, given: dict[str, float]) -> dict[str, float]:
    """Return the cores that a rate takes, by what they do, and in all: user space spread over shards."""
    needs = _needs(gbps, given)
    found = {
        "XDP": needs["packets"] * given["ns a packet in the kernel, live frames, 65 k flows"] / 1e9,
        "names": needs["births"] * given["us a new flow in user space"] / 1e6,
        "scores": needs["packets"] * given["ns a packet in user space for scores and messages"] / 1e9,
        "table": needs["kept"] * given["s to read 1 M flows and take differences"] / INTERVAL_S,
    }
    of_shards = 2 / given["two shards / one, active flows a second"]  # what each costs of what one process did
    return found | {"in all": found["XDP"] + (found["names"] + found["scores"] + found["table"]) * of_shards}


def _row(gbps: float, given: dict[str, float]) -> list[str]:
    needs, of = _needs(gbps, given), cores(gbps, given)
    return [
        f"{gbps:g}",
        f"{needs['packets'] / 1e6:.1f}",
        f"{of['XDP']:.1f}",
        f"{needs['births'] / 1e3:.0f}",
        f"{of['names']:.1f}",
        f"{of['scores']:.1f}",
        f"{needs['kept']:.1f}",
        f"{of['table']:.2f}",
        f"{needs['kept'] * given['MB of kernel memory for 1 M flows and subscribers'] / 1e3:.1f}",
        f"{gbps * 1e3 * given['published share, %'] / 100:.1f}",
        f"{math.ceil(of['in all'])}",
        f"{math.ceil(of['in all'] / MACHINE_CORES)}",
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """Return the inputs and the table in Markdown."""
    given = inputs(rows)
    head = [
        "Gbit/s", "M packets/s", "cores: XDP", "k new flows/s", "cores: names", "cores: scores",
        f"M flows in {KEPT_S:.0f} s",
        f"cores: table each {INTERVAL_S:.0f} s", "GB in the kernel", "Mbit/s published", "cores in all",
        f"machines of {MACHINE_CORES} cores",
    ]  # fmt: skip
    lines = ["| it rests on | |", "|---|---|", *(f"| {name} | {value:.3g} |" for name, value in given.items()), ""]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_row(rate, given)) + " |" for rate in RATES_GBPS]
    return "\n".join(lines)
