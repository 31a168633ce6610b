"""Round trips that the function publishes, and their excess over the ones that the clients measured themselves.

A record's round trip is its two sides together, both means of the interval; where one side alone had samples, that
side. The clients' measurement is the largest of all readings (`lab.tcpinfo`) that one subscriber's clients took in
that interval. A reading of a sender is its smoothed round trip and four deviations, SRTT + K * RTTVAR of RFC 6298, 2.3:
no sample that went into it is above that, so it is the most that the kernel of the client saw. One of a receiver is
its estimate alone. An application over QUIC, of which the kernel knows nothing, has the client's own readings as well,
and a further one that those leave out: the longest time that the client was late itself, because a late answer is late
at the probe. An interval without a reading is not judged.

The two are not the same by nature: a receiver may hold back an acknowledgement for 40 ms (TCP_DELACK_MIN of
include/net/tcp.h), which the probe in the middle sees of both ends and a client of the other end only. That is why
`ABOVE_MS` is allowed. Both sides see the same host: where it lets the parts of the lab wait, clients measure that too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lab.plan import SERVICES
from lab.tcpinfo import EVERY_S
from nf.apps.signatures import Signatures

__all__ = ["ABOVE_MS", "Judged", "apps_over_quic", "judge", "round_trip_ms"]

ABOVE_MS = 50.0
_DEVIATIONS = 4  # K of RFC 6298, 2.3
_TCP = ("tcp", "tcp-receiver")  # lines of `lab.tcpinfo`

Record = Mapping[str, Any]
Reading = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Judged:
    """A record beside what the clients of its subscriber measured in its interval."""

    subscriber: str
    app: str
    t_ms: int  # end of the interval, since the epoch
    said_ms: float
    measured_ms: float

    @property
    def above_ms(self) -> float:
        """Excess of the published round trip, negative when it is the lower one."""
        return self.said_ms - self.measured_ms


def apps_over_quic() -> frozenset[str]:
    """Return the names of the applications that the lab's clients use over QUIC."""
    signatures = Signatures.load()
    return frozenset(signatures.name(signatures.match(name)) for name in SERVICES["web3"].names)


def round_trip_ms(record: Record) -> float:
    """Return the round trip between UE and server that a record says, NaN when it has none."""
    sides = [v for v in (record["rtt_access_ms"], record["rtt_core_ms"]) if v is not None and not math.isnan(v)]
    return float(sum(sides)) if sides else math.nan


def judge(
    records: Iterable[Record], measured: Mapping[str, Iterable[Reading]], over_quic: frozenset[str]
) -> Iterator[Judged]:
    """Yield each record that has a round trip and, in its interval, a reading; *measured* is by subscriber."""
    readings = {
        who: [(r["t"], r["transport"], r["rtt_ms"] + _DEVIATIONS * r["deviation_ms"]) for r in of]
        for who, of in measured.items()
    }
    for record in records:
        said_ms = round_trip_ms(record)
        end_s = record["t_ms"] / 1e3
        begin_s, read_s = end_s - record["interval_ms"] / 1e3, end_s + EVERY_S  # a reading is of the time before it
        now = [r[1:] for r in readings.get(record["subscriber"], ()) if begin_s <= r[0] < read_s]
        is_quic = record["app"] in over_quic
        found = [ms for transport, ms in now if transport in _TCP or (is_quic and transport == "quic")]
        late = [ms for transport, ms in now if is_quic and transport == "process"]
        if found and not math.isnan(said_ms):
            measured_ms = max(found) + max(late, default=0.0)
            yield Judged(record["subscriber"], record["app"] or "?", record["t_ms"], said_ms, measured_ms)
