"""Round trips and retransmissions of TCP in real captures, ours and tshark's side by side.

A side of a flow is one sender of data: its samples are the acknowledgements that come back to it. tshark takes one of
each acknowledgement that names the end of a segment; we take one probe a turn (bpf/tcp.h). So the means may
differ where receivers delay some acknowledgements; but none of ours may lie above tshark's highest sample or below its
lowest. tshark's numbers are heuristics as well: each side that is out of bounds is listed with the frames that say why.

python -m bench.roundtrips prints the table; it ends with 1 when a side is out of bounds for no reason in `REASONS`.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench import rig
from bench.captures import SHARED
from nf.abi import NO_RTT
from nf.apps.signatures import Signatures
from nf.kernel.addresses import address_text
from nf.kernel.dataplane import DataPlane
from nf.privacy import Pseudonymiser
from nf.replay.records import Collector
from nf.replay.run import Replay
from nf.settings import Limits

__all__ = ["Side", "main", "sides"]

End = tuple[str, int]
Key = tuple[str, End, End]  # file, sender of the data, receiver

_TCP = 6
_FIELDS = (
    *("frame.number", "ip.src", "ipv6.src", "tcp.srcport", "ip.dst", "ipv6.dst", "tcp.dstport"),
    *("tcp.analysis.ack_rtt", "tcp.analysis.acks_frame", "tcp.analysis.retransmission"),
)
_CLOSE_SHARE, _CLOSE_MS = 0.25, 5.0  # a mean that is farther from tshark's than both is listed
_ABOVE, _BELOW = "mean above tshark's highest", "minimum below tshark's lowest"
_FAR, _RETRANS = "mean far from tshark's", "retransmissions differ by more than one"
_SHOWN = 4  # frames of a cause
_TICK_MS = 0.002  # two clocks of a microsecond


@dataclass
class Side:
    """Both results for one sender. ``samples``: tshark's, each with its frame and the frame that it answers."""

    n: int = 0
    mean_ms: float = 0.0
    min_ms: float = 0.0
    retrans: int = 0
    legs: set[int] = field(default_factory=set)
    samples: list[tuple[float, int, int]] = field(default_factory=list)
    tshark_retrans: list[int] = field(default_factory=list)

    @property
    def both(self) -> bool:
        return bool(self.n and self.samples)

    def _ms(self) -> list[float]:
        return [ms for ms, _, _ in self.samples]

    def verdicts(self) -> list[str]:
        """Return the values out of bounds; nothing for a side that passes in several tunnels."""
        out: list[str] = []
        if len(self.legs) > 1:
            return out
        if self.both:
            mine, their = self.mean_ms, sum(self._ms()) / len(self.samples)
            if mine > max(self._ms()) + _TICK_MS:
                out.append(_ABOVE)
            if self.min_ms < min(self._ms()) - _TICK_MS:
                out.append(_BELOW)
            if abs(mine - their) > max(_CLOSE_SHARE * their, _CLOSE_MS):
                out.append(_FAR)
        if abs(self.retrans - len(self.tshark_retrans)) > 1:
            out.append(_RETRANS)
        return out

    def cause(self) -> str:
        """Return the frames that show the reason why a mean is far from tshark's, "" when none does."""
        low, why = min(self._ms()), []
        late = [x for x in self.samples if x[0] > low + max(low * _CLOSE_SHARE, _CLOSE_MS)]
        if late:
            why.append(
                "held back: " + ", ".join(f"frame {frame} for {of} ({ms:.0f} ms)" for ms, frame, of in late[:_SHOWN])
            )
        if self.tshark_retrans:
            why.append("sent again: " + ", ".join(f"frame {frame}" for frame in self.tshark_retrans[:_SHOWN]))
        return "; ".join(why)


def sides(plane: DataPlane, signatures: Signatures, path: Path) -> dict[Key, Side]:
    """Return the sides of a capture."""
    found: dict[Key, Side] = defaultdict(Side)
    _ours(found, plane, signatures, path)
    _tshark(found, path)
    return found


def _ours(found: dict[Key, Side], plane: DataPlane, signatures: Signatures, path: Path) -> None:
    plane.sessions.clear()
    rig.drop_all(plane)
    for read in (plane.read_events, plane.read_payloads, plane.read_names, plane.read_ended):
        read()
    replay = Replay(signatures, Pseudonymiser(b"key of the round trips ........", 1), Collector(), plane=plane)
    replay.run([path], [None])
    book = replay.pipeline.book
    for key, flow in (*replay.ended.flows(), *zip(*plane.read_flows(), strict=True)):
        known = book.get(int(flow["number"]))
        if key["proto"] != _TCP or known is None:
            continue
        ends = [
            (address_text(known["address_a"].tobytes()), int(key["port_a"].byteswap())),
            (address_text(known["address_b"].tobytes()), int(key["port_b"].byteswap())),
        ]
        for d in (0, 1):
            side = found[path.name, ends[d], ends[1 - d]]
            n, least = int(flow["rtt_n"][d]), int(known["rtt_min_us"][d])
            total = side.mean_ms * side.n + int(flow["rtt_sum_us"][d]) / 1e3
            side.n += n
            side.mean_ms = total / side.n if side.n else 0.0
            if least != NO_RTT and n:
                side.min_ms = min(side.min_ms or least / 1e3, least / 1e3)
            side.retrans += int(flow["rare"]["tcp"]["retrans"][d])
            if flow["packets"][d]:
                side.legs.add(int(key["leg"]))


def _tshark(found: dict[Key, Side], path: Path) -> None:
    command = ["tshark", "-n", "-r", str(path), "-Y", "tcp", "-T", "fields", "-E", "occurrence=l"]
    for name in _FIELDS:
        command += ["-e", name]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for row in csv.reader(text.splitlines(), delimiter="\t"):
        f = dict(zip(_FIELDS, row, strict=True))
        src = (f["ip.src"] or f["ipv6.src"], int(f["tcp.srcport"]))
        dst = (f["ip.dst"] or f["ipv6.dst"], int(f["tcp.dstport"]))
        if f["tcp.analysis.acks_frame"]:  # no time at all has no field
            sample = float(f["tcp.analysis.ack_rtt"] or 0) * 1e3
            found[path.name, dst, src].samples.append(
                (sample, int(f["frame.number"]), int(f["tcp.analysis.acks_frame"]))
            )
        if f["tcp.analysis.retransmission"]:
            found[path.name, src, dst].tshark_retrans.append(int(f["frame.number"]))


def _text(key: Key, side: Side, verdicts: list[str]) -> Iterator[str]:
    file, (src, sport), (dst, dport) = key
    yield f"{file} {src}:{sport} > {dst}:{dport}: {', '.join(verdicts)}"
    yield f"    ours   {side.n} samples, mean {side.mean_ms:.3f} ms, least {side.min_ms:.3f}, {side.retrans} sent again"
    if not side.samples:
        return
    low, high = min(side.samples), max(side.samples)
    mean = sum(ms for ms, _, _ in side.samples) / len(side.samples)
    theirs = f"{len(side.samples)} samples, mean {mean:.3f} ms, {len(side.tshark_retrans)} sent again"
    low_of, high_of = (f"{x[0]:.3f} (frame {x[1]} for {x[2]})" for x in (low, high))
    yield f"    tshark {theirs}, least {low_of}, most {high_of}"
    yield f"    {side.cause()}"


def _print(found: dict[Key, Side]) -> int:
    """Print the sides that are out of bounds, and how many there are; return those that no frame explains."""
    counts, unexplained = Counter[str](), 0
    for key, side in found.items():
        verdicts = side.verdicts()
        counts.update(verdicts)
        if verdicts:
            print("\n".join(_text(key, side, verdicts)))
            unexplained += verdicts != [_FAR] or not side.cause()
    both = [side for side in found.values() if side.both and len(side.legs) < 2]
    several = sum(side.both and len(side.legs) > 1 for side in found.values())
    ours, theirs = sum(side.n for side in both), sum(len(side.samples) for side in both)
    alone = sum(bool(side.samples) and not side.n for side in found.values())
    print(f"{len(both)} sides with {ours} samples of ours and {theirs} of tshark's;")
    print(f"{several} more in several tunnels, {alone} with tshark's alone")
    for verdict in (_ABOVE, _BELOW, _FAR, _RETRANS):
        print(f"{counts[verdict]:5d} {verdict}")
    print(f"{unexplained:5d} of them without a frame that says why")
    return unexplained


def main() -> int:
    """Print how both compare on all captures; return 1 when a side is out of bounds and no frame says why."""
    if not SHARED.is_dir():
        print(f"The captures are not at {SHARED}: set SNF_SHARED to the folder that holds captures/.", file=sys.stderr)
        return 2
    plane, signatures = DataPlane(Limits(flows=65_536, sessions=4096), replay=True, split_legs=True), Signatures.load()
    found: dict[Key, Side] = {}
    try:
        for path in sorted(SHARED.iterdir()):
            rig.progress(path.name)
            found |= sides(plane, signatures, path)
    finally:
        rig.progress("")
        plane.close()
    return 1 if _print(found) else 0


if __name__ == "__main__":
    sys.exit(main())
