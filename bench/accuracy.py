"""Facts that real captures prove of their flows, and the shares found by us, nDPI 4.2 and nfstream 6.6 side by side.

Ours is `snf replay`: of each capture as it is, and again with every packet in a GTP-U tunnel of its subscriber. The
peers' answers are those of `peer_baseline.csv` beside the captures. Facts are host names that tshark read, and
applications that a name in the packets, or a DNS answer of the same capture, proves.

python -m bench.accuracy writes its figures to bench/accuracy.json, too.
"""

from __future__ import annotations

import csv
import ipaddress
import struct
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import columns, rig, stored
from bench.captures import SHARED, Tunnels, ends_of, inner_packet, session_of
from bench.figure import Figure
from feed.records import Columns, RecordBatch
from nf.apps.signatures import Signatures
from nf.capture import merged
from nf.capture.links import to_ethernet
from nf.errors import SnfError
from nf.kernel.dataplane import DataPlane
from nf.privacy import Pseudonymiser
from nf.replay.run import Replay
from nf.settings import Limits, StaticSession

__all__ = ["FACTS", "Found", "Row", "baseline", "flow_of", "found", "in_tunnels", "strays"]

FACTS = ("sni", "http_host", "dns_answer", "dns_query")  # truth_basis values that the packets themselves prove
_KEY = b"key of the figures of accuracy.."
_WHOLE = 65_535
_OURS = "ours", "ours in GTP-U"
_ENDS = [str(ipaddress.IPv4Address(end)) for end in (columns.GNB, columns.UPF)]
_OUTERS = {f"{_ENDS[0]}>{_ENDS[1]}", f"{_ENDS[1]}>{_ENDS[0]}"}  # of the tunnels that captures are put into

Row = dict[str, str]
Flow = tuple[int, frozenset[tuple[str, int]]]


class _Nobody:
    """Takes records and keeps none."""

    def records(self, batch: RecordBatch) -> None:
        """Take one interval of one application class."""

    def followed(self) -> frozenset[str]:
        """Return nobody."""
        return frozenset()

    def detail(self, subscriber: str, records: Columns, flows: Columns, t_start_s: float, t_end_s: float) -> None:
        """Take one interval of a followed subscriber."""


@dataclass(frozen=True)
class Found:
    """Results of a replay: rows of flows by file and flow, and the subscriber that each UE should be."""

    flows: dict[str, dict[Flow, list[dict[str, Any]]]] = field(default_factory=dict)
    subscribers: dict[str, dict[str, str]] = field(default_factory=dict)  # by file: UE address to pseudonym

    def best(self, row: Row) -> dict[str, Any]:
        """Return the row of a flow: of several legs the one that says most."""
        legs = self.flows.get(row["file"], {}).get(flow_of(row), [])
        return max(legs, key=lambda r: (bool(r["app"]), bool(r["name"])), default={"name": "", "app": ""})


def baseline() -> list[Row]:
    """Return the rows of `peer_baseline.csv`; raises SnfError when it is not there."""
    path = SHARED.parent / "peer_baseline.csv"
    if not path.is_file():
        raise SnfError(
            f"The captures are not at {SHARED.parent}.", "Set SNF_SHARED to the folder that holds captures/."
        )
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def flow_of(row: Row | dict[str, Any]) -> Flow:
    """Return a flow by protocol and ends, the same for both directions."""
    ends = ((str(row[end]), int(row[port])) for end, port in (("src", "sport"), ("dst", "dport")))
    return int(row["proto"]), frozenset(ends)


def found(files: Sequence[str], *, tunnels: bool, plane: DataPlane | None = None) -> Found:
    """Replay each capture, in tunnels or as it is, and return the results."""
    mine = plane or DataPlane(Limits(flows=65_536, sessions=4096), replay=True, split_legs=True)
    out, signatures = Found(), Signatures.load()
    try:
        with tempfile.TemporaryDirectory() as folder:
            for number, name in enumerate(files):
                rig.progress(f"{number} of {len(files)}: {name}")
                _one(mine, signatures, out, name, Path(folder) if tunnels else None)
    finally:
        rig.progress("")
        if plane is None:
            mine.close()
    return out


def _one(plane: DataPlane, signatures: Signatures, out: Found, name: str, folder: Path | None) -> None:
    plane.sessions.clear()
    rig.drop_all(plane)
    for read in (plane.read_events, plane.read_payloads, plane.read_names):
        read()
    pseudonymiser = Pseudonymiser(_KEY, 1)
    replay = Replay(signatures, pseudonymiser, _Nobody(), plane=plane)
    path = SHARED / name
    if folder is not None:
        path, sessions = in_tunnels(path, folder)
        plane.write(replay.store.configure((), sessions, 0.0))
        out.subscribers[name] = {s.ue_ipv4 or s.ue_ipv6: pseudonymiser.name(s.imsi) for s in sessions}
    result = replay.run([path], [None])
    rows: dict[Flow, list[dict[str, Any]]] = defaultdict(list)
    for row in result.flows:
        rows[flow_of(row)].append(row)
    out.flows[name] = rows


def in_tunnels(path: Path, folder: Path) -> tuple[Path, tuple[StaticSession, ...]]:
    """Write a capture with each IP packet in a GTP-U tunnel of its UE with QFI 9; return it and the UEs' sessions.

    A packet that is in a tunnel already stays as it is.
    """
    frames = list(_packets(path))
    pairs = {frozenset(ends_of(packet)) for _, _, packet, _ in frames}
    tunnels = Tunnels(Counter(end for pair in pairs for end in pair))
    made = folder / f"{path.stem}.pcap"
    with made.open("wb") as out:
        out.write(columns.PCAP)
        for at_ns, ethernet, packet, tunnelled in frames:
            frame = ethernet if tunnelled else tunnels.wrap(packet)
            if frame is None:
                continue
            out.write(struct.pack("<IIII", at_ns // 10**9, at_ns % 10**9 // 1000, len(frame), len(frame)) + frame)
    return made, tuple(
        session_of(number, str(ipaddress.ip_address(ue)), teid, imsi=f"00101{number:010d}")
        for number, (ue, teid) in enumerate(tunnels.teids.items())
    )


def _packets(path: Path) -> Iterator[tuple[int, bytes, bytes, bool]]:
    """Yield (time, Ethernet frame, its IP packet, whether that is in a tunnel already)."""
    for _, at_ns, frame, link, _ in merged([path]):
        ethernet = to_ethernet(frame, link, snap=_WHOLE) or b""
        yield at_ns, ethernet, *inner_packet(ethernet)


# -- the comparison ------------------------------------------------------------


@dataclass(frozen=True)
class Peer:
    """One side of the comparison: its host name and its application of a row."""

    title: str
    name: Callable[[Row], str]
    app: Callable[[Row], str]


def _peers(plain: Found, tunnelled: Found) -> list[Peer]:
    def ours(title: str, seen: Found) -> Peer:
        return Peer(title, lambda row: str(seen.best(row)["name"]), lambda row: str(seen.best(row)["app"]))

    return [
        ours(_OURS[0], plain),
        ours(_OURS[1], tunnelled),
        Peer("nDPI 4.2", lambda row: row["ndpi42_sni"], lambda row: _label(row["ndpi42_label"])),
        Peer("nfstream 6.6", lambda row: row["nfstream660_sni"], lambda row: _label(row["nfstream660_label"])),
    ]


def _label(text: str) -> str:
    """Return the application of a peer's label: the part behind the protocol."""
    return text.rpartition(".")[2]


def _table(title: str, rows: list[Row], peers: list[Peer], right: Callable[[Peer, Row], bool]) -> None:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["category"] if title.startswith("host") else row["truth_app"]].append(row)
    print(f"\n{title:34}" + "".join(f"{peer.title:>15}" for peer in peers) + f"{'of':>8}")
    for group, members in sorted(groups.items(), key=lambda item: -len(item[1])):
        print(f"  {group:32}" + "".join(f"{sum(right(p, r) for r in members):15}" for p in peers) + f"{len(members):8}")
    print(f"  {'all':32}" + "".join(f"{sum(right(p, r) for r in rows):15}" for p in peers) + f"{len(rows):8}")


def strays(seen: Found, rows: list[Row]) -> tuple[list[dict[str, Any]], int]:
    """Return the flows in our tunnels that are not of their subscriber, and how many flows there are in them."""
    wrong, total = [], 0
    for row in rows:
        mine = seen.subscribers.get(row["file"], {})
        expected = {mine[end] for end in (row["src"], row["dst"]) if end in mine}
        for leg in seen.flows.get(row["file"], {}).get(flow_of(row), []):
            if leg["outer_fwd"] in _OUTERS:
                total += 1
                wrong += [leg] if leg["subscriber"] not in expected else []
    return wrong, total


def _figures(
    peers: list[Peer], named: list[Row], facts: list[Row], wrong: int, mine: tuple[int, int], captures: int
) -> list[Figure]:
    """Return names and applications found, plain and in tunnels; *mine*: flows of their subscriber, and all."""

    def share(rows: list[Row], right: Callable[[Peer, Row], bool]) -> dict[str, float]:
        return {peer.title: 100 * sum(right(peer, row) for row in rows) / len(rows) for peer in peers}

    names = share(named, lambda p, row: p.name(row).lower() == row["sni_truth"].lower())
    apps = share(facts, lambda p, row: p.app(row) == row["truth_app"])
    note = f"{captures} captures; {len(named)} host names that tshark read, {len(facts)} applications proved by packets"
    subscribers = 100 * mine[0] / mine[1]
    return [
        *(Figure(f"host names, {us}", names[us], "%", 99, names, note, more=True) for us in _OURS),
        *(Figure(f"applications by fact, {us}", apps[us], "%", 100 * 124 / 127, apps, note, more=True) for us in _OURS),
        Figure("applications by fact, wrong", wrong, "", 0, {}, note),
        Figure("flows of their subscriber, ours in GTP-U", subscribers, "%", 100, {"flows": mine[1]}, note, more=True),
    ]


def main() -> int:
    """Print the comparison and write it down; return 0."""
    begun = time.monotonic()
    try:
        rows = baseline()
        files = list(dict.fromkeys(row["file"] for row in rows))
        plain, tunnelled = found(files, tunnels=False), found(files, tunnels=True)
    except SnfError as error:
        print(error, file=sys.stderr)
        return 1
    peers = _peers(plain, tunnelled)
    named = [row for row in rows if row["sni_truth"]]
    _table("host names by category", named, peers, lambda p, row: p.name(row).lower() == row["sni_truth"].lower())
    facts = [row for row in rows if row["truth_basis"] in FACTS and not row["truth_app"].startswith("not-")]
    _table("applications by fact", facts, peers, lambda p, row: p.app(row) == row["truth_app"])
    wrong = [row for row in facts if plain.best(row)["app"] not in ("", row["truth_app"])]
    wrong_tunnels, total = strays(tunnelled, rows)
    mine = total - len(wrong_tunnels), total
    figures = _figures(peers, named, facts, len(wrong), mine, len(files))
    stored.keep(figures)
    print(f"\nours names another application in {len(wrong)} of {len(facts)} facts")
    print(f"in tunnels {total - len(wrong_tunnels)} of {total} flows are of their subscriber")
    print(f"{len(files)} captures, {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
