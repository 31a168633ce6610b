"""Figures of causes: applications on a network of arithmetic, with one impairment at a time before or behind the probe.

Each subscriber uses one application and has one impairment, of the radio, of the core or of the server, for a while.
The packets that pass the probe run through the replay; its records must name the side, soon, and nobody else.

python -m bench.truth.causes [WORD] prints the figures and each case; only cases with WORD in their name.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scapy.layers.dns import DNS, DNSQR, DNSRR

from bench.figure import Figure
from bench.truth.paths import START_S, Connection, Net, Ue
from bench.truth.streams import rtp
from lab.impair import Impairment
from lab.rtcp import Receiver, is_rtcp, report
from nf.apps.signatures import Signatures
from nf.privacy import Pseudonymiser
from nf.replay.records import Collector, record_rows
from nf.replay.run import Replay
from nf.subscribers.suspect import GOOD_MOS

__all__ = ["CASES", "Case", "figures", "main", "run"]

BEGIN_S, END_S, LENGTH_S = 20.0, 40.0, 56.0
SETTLED_S = 8.0
_ACCESS, _CORE = Impairment(delay_ms=10, rate_bps=12e6), Impairment(delay_ms=5, rate_bps=100e6)
_PSEUDONYMS = Pseudonymiser(bytes(32), 1)
_RESOLVER = "198.51.100.53"
_NAMES = {  # application classes, and a name whose server is of that class
    "web": "en.wikipedia.org",
    "video": "rr3---sn-4g5e6nez.googlevideo.com",
    "messaging": "chat.signal.org",
    "download": "dl.delivery.mp.microsoft.com",
    "voice": "sip.linphone.org",
    "gaming": "euw1.prod.riotgames.com",
}
_SERVERS = {name: f"198.51.100.{10 + n}" for n, name in enumerate(_NAMES.values())}


def _worse(how: Impairment, **more: float) -> Impairment:
    columns = {"delay_ms": how.delay_ms, "jitter_ms": 0.0, "loss": 0.0, "rate_bps": how.rate_bps, "queue_ms": 300.0}
    return Impairment(**(columns | more))


_HARM: Mapping[str, dict[str, float]] = {
    "delay": {"delay_ms": 150.0},
    "variation": {"jitter_ms": 250.0},
    "loss": {"loss": 0.06},
    "rate": {"rate_bps": 0.5e6},
}


@dataclass(frozen=True)
class Case:
    """An application and what is done to it: *side* is access, core or server, *harm* one of _HARM or ``wait``."""

    app_class: str
    side: str
    harm: str

    def __str__(self) -> str:
        return f"{self.app_class} {self.harm} {self.side}".strip()

    @property
    def paged(self) -> bool:
        """Say whether pages are loaded beside: a call alone does not fill a narrow link."""
        return self.app_class == "voice" and self.harm == "rate"

    def begin(self, ue: Ue) -> None:
        if self.side == "server":
            ue.wait_s = 1.5
        elif self.side:
            harm = _HARM[self.harm] if not self.paged else {"rate_bps": 0.25e6}  # that of the lab
            ue.impair(self.side, _worse(_ACCESS if self.side == "access" else _CORE, **harm))

    def end(self, ue: Ue) -> None:
        ue.wait_s = 0.02
        ue.impair("access", _ACCESS)
        ue.impair("core", _CORE)


def _cases() -> Iterable[Case]:
    for app_class in _NAMES:
        yield Case(app_class, "", "")
        for harm, side in itertools.product(_HARM, ("access", "core")):
            if harm != "rate" or app_class not in ("gaming", "messaging"):  # these need little
                yield Case(app_class, side, harm)
        if app_class in ("web", "messaging"):
            yield Case(app_class, "server", "wait")


CASES = tuple(_cases())


# -- applications --------------------------------------------------------------


def _resolved(ue: Ue, name: str, then: Callable[[], None]) -> None:
    ue.ports += 1
    port = ue.ports
    known: list[bool] = []
    ask = bytes(DNS(id=port, qd=DNSQR(qname=name)))
    tell = bytes(DNS(id=port, qr=1, qd=DNSQR(qname=name), an=DNSRR(rrname=name, rdata=_SERVERS[name], ttl=60)))

    def came() -> None:
        if not known:
            known.append(True)
            then()

    def attempt() -> None:
        if not known:
            ue.datagram(False, _RESOLVER, (port, 53), ask, lambda: ue.datagram(True, _RESOLVER, (port, 53), tell, came))
            ue.net.after(1.0, attempt)

    attempt()


def _connected(ue: Ue, name: str, then: Callable[[Connection], None]) -> None:
    made: list[Connection] = []
    _resolved(ue, name, lambda: made.append(Connection(ue, _SERVERS[name], name, lambda: then(made[0]))))


def _page(ue: Ue) -> None:
    """Load a page of eight objects on two connections; three seconds later the next one."""
    left = [8]

    def more(connection: Connection) -> None:
        if not left[0]:
            return
        left[0] -= 1
        if left[0] == 1:
            ue.net.after(3.5, lambda: _page(ue))
        connection.fetch(25_000, lambda: more(connection))

    for _ in range(2):
        _connected(ue, _NAMES["web"], more)


def _video(ue: Ue) -> None:
    """Play segments of 2 s at 4.5 Mbit/s with a buffer of 4 s."""
    played = {"content": 0.0, "begun": -1.0}

    def more(connection: Connection) -> None:
        def came() -> None:
            played["content"] += 2.0
            if played["begun"] < 0:
                played["begun"] = ue.net.now_s
            ahead = played["content"] - (ue.net.now_s - played["begun"])
            if ahead < 0:  # it stood still meanwhile
                played["begun"] = ue.net.now_s - played["content"] + 2.0
            ue.net.after(max(ahead - 4.0, 0.0), lambda: more(connection))

        connection.fetch(1_125_000, came)

    _connected(ue, _NAMES["video"], more)


def _chat(ue: Ue) -> None:
    def more(connection: Connection) -> None:
        connection.fetch(120, lambda: ue.net.after(0.8, lambda: more(connection)), request=_MESSAGE)

    _connected(ue, _NAMES["messaging"], more)


_MESSAGE = b"\x17\x03\x03\x00\xaf" + bytes(175)


def _download(ue: Ue) -> None:
    def more(connection: Connection) -> None:
        connection.fetch(4_000_000, lambda: more(connection))

    _connected(ue, _NAMES["download"], more)


def _voice(ue: Ue) -> None:
    """Two G.711 talkers with receiver reports in clear (RFC 3550, 6.4); a chat beside them in the same QoS flow."""
    name = _NAMES["voice"]
    ears = {False: Receiver(8000), True: Receiver(8000)}  # by the direction of what they hear

    def send(down: bool, packet: bytes) -> None:
        ear = ears[down]

        def came() -> None:
            (ear.rtcp if is_rtcp(packet) else ear.rtp)(packet, START_S + ue.net.now_s)

        ue.datagram(down, _SERVERS[name], (20_000, 20_000), packet, came)

    def talk(number: int) -> None:
        for down in (False, True)[: 1 + (number > 5)]:  # who speaks first is the UE
            send(down, rtp(100 + number, 160 * number, pt=0, ssrc=7 + down, size=160))
            if number % 250 == (150 if down else 50):  # each five seconds (RFC 3550, 6.2), not both at once
                told, now_s = (number, 160 * number), START_S + ue.net.now_s
                send(down, report(7 + down, 160 * number, told, ears[not down], now_s))
        ue.net.after(0.02, lambda: talk(number + 1))

    _resolved(ue, name, lambda: talk(0))
    _chat(ue)


def _game(ue: Ue) -> None:
    """30 inputs a second, each with an answer of the server, whose stamp the player sends back; and a chat beside."""
    name = _NAMES["gaming"]

    def stamp(number: int) -> bytes:
        return (0x10000000 + number).to_bytes(4, "big") + (number * 2_654_435_761 & 0xFFFFFFFF).to_bytes(4, "big")

    def there(number: int) -> Callable[[], None]:
        return lambda: ue.datagram(True, _SERVERS[name], (30_000, 5_000), stamp(number) + bytes(120), back(number))

    def back(number: int) -> Callable[[], None]:
        return lambda: ue.datagram(False, _SERVERS[name], (30_000, 5_000), stamp(number), lambda: None)

    def tick(number: int) -> None:
        ue.datagram(False, _SERVERS[name], (30_000, 5_000), stamp(number) + bytes(40), there(number))
        ue.net.after(1 / 30, lambda: tick(number + 1))

    _resolved(ue, name, lambda: tick(0))
    _chat(ue)


_USES: Mapping[str, Callable[[Ue], None]] = {
    "web": _page, "video": _video, "messaging": _chat, "download": _download, "voice": _voice, "gaming": _game,
}  # fmt: skip


# -- records --------------------------------------------------------------------


@dataclass
class Told:
    """A case with the rows of its class by second: (score, suspect, measure, value)."""

    case: Case
    seconds: dict[int, tuple[float, str, str, float]] = field(default_factory=dict)

    def of(self, begin_s: float, end_s: float) -> list[tuple[float, str, str, float]]:
        return [row for second, row in sorted(self.seconds.items()) if begin_s < second <= end_s]

    @property
    def bad(self) -> list[tuple[float, str, str, float]]:
        """Return the intervals with a bad score while the impairment lasted."""
        return [row for row in self.of(BEGIN_S, END_S) if row[0] < GOOD_MOS]

    @property
    def right(self) -> int:
        return sum(row[1] == self.case.side for row in self.bad)

    @property
    def found_s(self) -> float:
        """Return after how long the side was named with a bad score."""
        hits = [s for s, row in self.seconds.items() if s > BEGIN_S and row[0] < GOOD_MOS and row[1] == self.case.side]
        return min(hits) - BEGIN_S if hits else np.inf

    @property
    def back_s(self) -> float:
        """Return how long after the impairment the last bad score with a suspect came."""
        late = [s for s, row in self.seconds.items() if s > END_S and row[0] < GOOD_MOS and row[1]]
        return max(late, default=END_S) - END_S


def run(cases: Iterable[Case]) -> list[Told]:
    """Play the cases side by side, a subscriber each, and return what was told of them."""
    net, told, keys = Net(), [], {}
    for number, case in enumerate(cases):
        ue = Ue.make(net, number, _ACCESS, _CORE)
        ue.wait_s = 0.02
        net.at(0.1 + 0.013 * number, lambda case=case, ue=ue: _USES[case.app_class](ue))  # type: ignore[misc]
        if case.paged:
            net.at(0.2 + 0.013 * number, lambda ue=ue: _page(ue))  # type: ignore[misc]
        net.at(BEGIN_S, lambda case=case, ue=ue: case.begin(ue))  # type: ignore[misc]
        net.at(END_S, lambda case=case, ue=ue: case.end(ue))  # type: ignore[misc]
        told.append(Told(case))
        keys[_PSEUDONYMS.unknown(f"ue::{ue.address}")] = told[-1]
    net.run(LENGTH_S)
    for row in _records(net):
        mine = keys.get(str(row["subscriber"]))
        if mine is not None and row["class"] == mine.case.app_class:
            second = round(row["t_ms"] / 1000 - START_S)
            mine.seconds[second] = row["mos"], row["suspect"], row["suspect_by"], row["suspect_value"]
    return told


def _records(net: Net) -> list[dict[str, Any]]:
    sink = Collector()
    with tempfile.TemporaryDirectory() as folder:
        net.write(Path(folder) / "causes.pcap")
        replay = Replay(Signatures.load(), _PSEUDONYMS, sink)
        try:
            replay.run([Path(folder) / "causes.pcap"], [None])
        finally:
            replay.close()
    return list(record_rows(sink.batches))


def figures() -> list[Figure]:
    """Return the figures of causes; takes about two minutes."""
    return _figures(run(CASES))


_GENERATED = "generated: a TCP of arithmetic on links with one impairment at a time, through the kernel program"


_SOON = (
    "from the begin of the impairment; the delay of the core is not seen in a download until its next request, "
    "and the speed is a mean over five seconds"
)
_GONE = (
    "reports of calls, five seconds apart, are over with the loss that is seen on the same side; a page is told for "
    "three seconds after its end"
)


def _figures(told: list[Told]) -> list[Figure]:
    harmed = [t for t in told if t.case.side]
    bad, right = sum(len(t.bad) for t in harmed), sum(t.right for t in harmed)
    shares = {"bad intervals": float(bad), "cases": float(len(harmed))}
    for side in ("access", "core", "server"):
        mine = [t for t in harmed if t.case.side == side and t.bad]
        shares[f"{side} %"] = 100 * sum(t.right for t in mine) / max(sum(len(t.bad) for t in mine), 1)
    noticed = [t for t in harmed if len(t.bad) >= 3]
    before = [row for t in told for row in t.of(SETTLED_S, BEGIN_S)]
    calm = 100 * sum(not row[1] for row in before) / max(len(before), 1)
    found = 100 * sum(t.found_s <= 10 for t in noticed) / max(len(noticed), 1)
    back = 100 * sum(t.back_s <= 5 for t in noticed) / max(len(noticed), 1)
    cases = {"cases": float(len(noticed))}
    return [
        Figure("cause: right segment", 100 * right / max(bad, 1), "%", 90, shares, _GENERATED, more=True),
        Figure("cause: named within 10 s", found, "%", 100, cases, f"{_GENERATED}; {_SOON}", more=True),
        Figure("cause: gone within 5 s", back, "%", 100, cases, f"{_GENERATED}; {_GONE}", more=True),
        Figure(
            "no suspect without impairment", calm, "%", 99, {"intervals": float(len(before))}, _GENERATED, more=True
        ),
    ]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def main() -> int:
    """Print the figures and the cases; return 0."""
    chosen = [case for case in CASES if len(sys.argv) < 2 or sys.argv[1] in str(case)]
    told = run(chosen)
    for t in told:
        words: dict[str, int] = {}
        for _, word, by, _ in t.bad:
            words[f"{word} {by}"] = words.get(f"{word} {by}", 0) + 1
        before = [row[0] for row in t.of(SETTLED_S, BEGIN_S) if row[0] == row[0]]
        during = [row[0] for row in t.of(BEGIN_S, END_S) if row[0] == row[0]]
        print(
            f"{t.case!s:28} {_mean(before):5.2f} to {min(during, default=np.nan):5.2f}  "
            f"right {t.right:2}/{len(t.bad):2}  found {t.found_s:4.0f} s, back {t.back_s:3.0f} s  {words}"
        )
    for f in _figures(told):
        told_of = ", ".join(f"{name} {value:.4g}" for name, value in f.cases.items())
        print(f"{f.name:40}{f.value:8.1f} {f.unit:4} goal {f.goal:4} {'met' if f.met else 'NOT MET':8} {told_of}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
