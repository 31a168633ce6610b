"""Twin and kernel agree on packets that real networks sent."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from nf.capture import merged, to_ethernet
from tests.kernel.rig import TABLES, Rig
from tests.kernel.twin import Truth, observe

SHARED = Path(os.environ.get("SNF_SHARED") or Path(__file__).resolve().parents[3] / "shared")
CATEGORIES = ("core4g", "gtpu", "gtpu-qinq", "gtpc", "malformed", "vlan")


def captures() -> list[Path]:
    """Return the captures of mobile networks and of broken packets."""
    index = SHARED / "captures" / "captures.csv"
    if not index.is_file():
        pytest.fail(f"The captures are not at {SHARED}: set SNF_SHARED to the folder that holds captures/.")
    with index.open() as file:
        return [SHARED / "captures" / "pcap" / r["file"] for r in csv.DictReader(file) if r["category"] in CATEGORIES]


class TestCaptured:
    """Every packet of captures with GTP-U, fragments, tags and damage."""

    def test_both_say_the_same(self, rig: Rig) -> None:
        count, found = 0, []
        for path in captures():
            for _, _, packet, link, _ in merged([path]):
                frame = to_ethernet(packet, link) or b""
                if len(frame) < 14:
                    continue
                count += 1
                outcome, truth = rig.run(frame, "any"), observe(frame, "any")
                if outcome.flow is not None:
                    rig.forget()
                if Truth(outcome.verdict, outcome.why - TABLES, outcome.flow) != truth:
                    found.append(f"{path.name} {frame[:120].hex()}\n  standard {truth}\n  kernel   {outcome}")

        assert count > 5_000
        assert not found, f"{len(found)} of {count}, the first:\n" + "\n".join(found[:5])
