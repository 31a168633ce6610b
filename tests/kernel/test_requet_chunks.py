"""Chunks of real video sessions are those that were derived from the same captures in another way (Requet)."""

from __future__ import annotations

import gzip
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nf.abi import REQUEST_LEAST
from nf.capture import merged, to_ethernet
from nf.flows.media import NEVER, Chunks, Media, MediaInterval
from nf.kernel.dataplane import DataPlane
from nf.settings import Limits, Role
from tests.kernel.rig import drop_all, drop_details

HTTPS = (443).to_bytes(2, "big")
SHARED = Path(os.environ.get("SNF_SHARED") or Path(__file__).resolve().parents[3] / "shared")
SESSIONS = sorted(p.name.split(".")[0] for p in (SHARED / "data" / "qoe" / "requet_youtube").glob("*.pcap.gz"))
Row = tuple[float, ...]  # request, first, last in seconds; bytes, packets


@pytest.fixture(scope="module")
def derived(shared: Path) -> dict[str, list[Row]]:
    """Return the chunks of each session by whoever made the data set's list."""
    with gzip.open(shared / "data" / "qoe" / "requet_youtube" / "chunks.jsonl.gz", "rt") as lines:
        return {one["session"]: [tuple(c[:5]) for c in one["chunks"]] for one in map(json.loads, lines)}


@pytest.fixture(scope="module")
def made() -> Iterator[DataPlane]:
    """Return a data plane in which each flow is one of requests."""
    plane = DataPlane(Limits(flows=4096, sessions=64), replay=True)
    plane.set_policies({}, coarse=[0], detailed=[0])
    yield plane
    plane.close()


@pytest.fixture
def plane(made: DataPlane) -> DataPlane:
    """Return it with empty tables."""
    drop_all(made)
    drop_details(made)
    made.read_chunks()
    return made


def frames(path: Path) -> Iterator[tuple[int, bytes, int]]:
    """Return time in nanoseconds, the beginning, and the bytes on the wire of frames to and from HTTPS over IPv4."""
    for _, at_ns, packet, link, wire in merged([path]):
        frame = to_ethernet(packet, link) or b""
        ports = 14 + 4 * (frame[14] & 15) if len(frame) > 34 and frame[12:14] == b"\x08\x00" else 0
        if ports and HTTPS in (frame[ports : ports + 2], frame[ports + 2 : ports + 4]):
            yield at_ns, frame, wire


def run(plane: DataPlane, path: Path) -> tuple[MediaInterval, float]:
    """Return the whole session as one interval, and its end in seconds after the capture's first packet."""
    begin_ns = next(iter(merged([path])))[1]
    at_ns, known = begin_ns, False
    for at_ns, frame, wire in frames(path):
        if not known and frame[14 + 4 * (frame[14] & 15) + 2 :][:2] == HTTPS:
            plane.put_ues([("", ".".join(map(str, frame[26:30])), 1)])
            plane.new_generation()
            known = True
        plane.run(frame, at_ns, Role.N6, wire)
    flows = np.sort(plane.read_flows()[1]["number"])
    found = Media(len(plane.details)).update(flows, plane.details.moved(), plane.read_chunks(), at_ns // 1000)
    return found, (at_ns // 1000 - begin_ns // 1000) / 1e6


def by_flow(found: MediaInterval) -> dict[int, list[dict[str, int]]]:
    """Return all chunks of each flow, the open one as well, those of short requests joined to the ones before."""
    names = ("request_us", "first_us", "last_us", "octets", "packets", "request_length")
    flows: dict[int, list[dict[str, int]]] = defaultdict(list)
    closed: Chunks = found.closed
    columns: Any = [closed.row, *(getattr(closed, name) for name in names)]
    opened: Any = [np.arange(len(found)), *(getattr(found, f"open_{name}") for name in names)]
    for row, *values in [*zip(*columns, strict=True), *zip(*opened, strict=True)]:
        chunk = dict(zip(names, map(int, values), strict=True))
        if chunk["request_us"] == NEVER:
            continue
        if chunk["request_length"] > REQUEST_LEAST:
            flows[row].append(chunk)
        elif flows[row] and chunk["packets"]:
            before = flows[row][-1]
            before["last_us"] = chunk["last_us"]
            before["first_us"] = chunk["first_us"] if before["first_us"] == NEVER else before["first_us"]
            before["octets"] += chunk["octets"]
            before["packets"] += chunk["packets"]
    return flows


def test_there_are_sessions() -> None:
    """Without the data nothing of the following is tested."""
    assert len(SESSIONS) == 22


@pytest.mark.parametrize("session", SESSIONS)
class TestSession:
    """A request is an uplink payload of more than 300 bytes to port 443, and what comes until the next its answer."""

    def test_each_flow_of_the_list_has_its_chunks(
        self, session: str, shared: Path, plane: DataPlane, derived: dict[str, list[Row]]
    ) -> None:
        found, end = run(plane, shared / "data" / "qoe" / "requet_youtube" / f"{session}.pcap.gz")
        due = {row[3:]: row for row in derived[session]}
        told: list[Row] = []
        for chunks in by_flow(found).values():
            rows = [
                (
                    *(end - chunk[name] / 1e6 for name in ("request_us", "first_us", "last_us")),
                    chunk["octets"],
                    chunk["packets"],
                )
                for chunk in chunks
                if chunk["packets"]
            ]
            if any(row[3:] in due and np.allclose(row, due[row[3:]], rtol=0, atol=0.001) for row in rows):
                told += rows

        assert len(told) == len(derived[session])
        assert np.allclose(sorted(told), sorted(derived[session]), rtol=0, atol=0.001)
