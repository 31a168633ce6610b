"""One subscriber of ten is degraded, one impairment after the other; the bus must say so, where, and of nobody else.

    python -m lab.degraded [--only WORD] [--seconds N]

Builds the lab, whose users load pages of one size, starts ``snf run`` with a batch interval of a second, and reads
``qoe.v1``. Delay, delay that varies, loss and a low rate come and go, on the radio and behind the UPF. For each, and
for each application whose user would notice, a line: how deep the score fell, after how long it was bad with the
right side, how much of the bad intervals named it, and after how long it was over. A process of the packet path's
priority measures how late the host is (`lab.truth.meter`); seconds in which it was short of time are void and say
nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import secrets
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from statistics import median
from typing import Any

from feed.consumer import Subscriber
from lab import plan
from lab.impair import Impairment
from lab.lab import Lab
from lab.net import LabError, inside, interruptible
from lab.operator import ENDPOINT, Operator
from lab.truth.meter import LIMIT_MS
from nf.errors import SnfError
from nf.privacy import Pseudonymiser

__all__ = ["HARMS", "Harm", "Others", "Outcome", "Seen", "main", "play"]

USES = (
    ("game", "chat", "voice", "web"),
    ("live",),
    *(("video",), ("movie",), ("voice", "chat"), ("web",), ("web3",), ("social",), ("game", "chat"), ("voice",)),
)
WARM_S, CALM_S, HARM_S = 20.0, 20.0, 25.0
GOOD, FELL = 4.0, 0.3  # on the scale of P.800; less than this below the median is no fall
FOUND_S, BACK_S, NEAR = 10.0, 5.0, 0.2
MEMORY = "mos_session"


@dataclass(frozen=True)
class Harm:
    """An impairment of both directions of a side, and the classes whose users notice it."""

    name: str
    side: str  # access or core, as the records call it
    how: Impairment
    noticed: tuple[str, ...]
    who: str = "ue1"  # its subscriber: a player that fills its buffer again disturbs what else is used beside it


def _harms() -> Iterator[Harm]:
    low = Impairment(delay_ms=10, rate_bps=0.25e6, queue_ms=300)
    for side in ("access", "core"):
        yield Harm("rate", side, low, ("live-video",), "ue2")  # a player with much content notices when that is played
    for side in ("access", "core"):
        yield Harm("delay", side, Impairment(delay_ms=150), ("gaming", "messaging", "web"))
        yield Harm("variation", side, Impairment(delay_ms=10, jitter_ms=200), ("gaming", "messaging", "web"))
        yield Harm("loss", side, Impairment(delay_ms=10, loss=0.08), ("voice", "web"))
        yield Harm("rate", side, low, ("web",))


HARMS = tuple(_harms())


@dataclass
class Seen:
    """Scored rows by (subscriber, class): second since the epoch, score, suspect, measure, session score."""

    rows: dict[tuple[str, str], list[tuple[float, float, str, str, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def take(self, message: Any, names: dict[str, str]) -> None:
        """Note the rows of a batch of known subscribers."""
        app_class, columns = message.topic.split("/")[2], message.columns
        n = message.header.rows
        nothing, blank = [math.nan] * n, [""] * n
        chosen = zip(
            columns["subscriber"], columns["t_ms"], columns["mos"], columns["suspect"],
            columns.get("suspect_by", blank), columns.get(MEMORY, nothing), strict=True,
        )  # fmt: skip
        for who, t_ms, mos, word, by, session in chosen:
            if who in names and not math.isnan(mos):
                self.rows[names[who], app_class].append((t_ms / 1000, float(mos), word, by, float(session)))

    def of(self, who: str, app_class: str, begin_s: float, end_s: float) -> list[tuple[float, float, str, str, float]]:
        """Return the rows whose interval ended in a time."""
        return [row for row in self.rows.get((who, app_class), []) if begin_s < row[0] <= end_s]


@dataclass
class Outcome:
    """One class under one impairment. Times in s from the begin, or from the end, of the impairment; inf: never."""

    harm: Harm
    app_class: str
    before: float
    least: float
    bad: int
    right: int
    found_s: float
    back_s: float
    memory: float  # fall of the session score; NaN for classes without one
    void: int  # seconds in which the host was short of time
    words: str  # what bad intervals said, the most frequent first

    @property
    def good(self) -> bool:
        """Say whether it came, was named and went in time."""
        return self.found_s <= FOUND_S and self.back_s <= BACK_S and self.right >= 0.9 * self.bad

    def line(self) -> str:
        """Return a line of the table."""
        word = "void" if self.void > HARM_S / 4 else "well" if self.good else "not"
        share = f"{self.right}/{self.bad}"
        return (
            f"{self.harm.name:10}{self.harm.side:8}{self.app_class:13}{self.before:5.2f}{self.least:7.2f}"
            f"{self.found_s:8.0f} s{share:>8}{self.back_s:7.0f} s{self.memory:8.2f}{self.void:6}  {word:5} {self.words}"
        )


HEAD = "harm      side    class          MOS  least     found   right     back session  void"


def outcome(seen: Seen, harm: Harm, app_class: str, span: tuple[float, float], late: dict[int, float]) -> Outcome:
    """Return what was seen of a class of who was degraded."""
    begin_s, end_s = span
    before = seen.of(harm.who, app_class, begin_s - CALM_S, begin_s)
    during, after = seen.of(harm.who, app_class, begin_s, end_s), seen.of(harm.who, app_class, end_s, end_s + CALM_S)
    usual = median([row[1] for row in before]) if before else math.nan
    limit, void = min(GOOD, usual - FELL) if before else GOOD, voids(late)
    bad = [row for row in during if row[1] < limit]
    after = [row for row in after if int(row[0]) not in void]
    right = [row for row in bad if row[2] == harm.side]
    sessions = [row[4] for row in before[-1:] + after[-1:] if not math.isnan(row[4])]
    return Outcome(
        harm,
        app_class,
        usual,
        min((row[1] for row in during), default=math.nan),
        len(bad),
        len(right),
        right[0][0] - begin_s if right else math.inf,
        max((row[0] - end_s for row in after if row[1] < limit), default=0.0),
        sessions[0] - sessions[1] if len(sessions) == 2 else math.nan,
        sum(ms > LIMIT_MS for second, ms in late.items() if begin_s <= second <= end_s + BACK_S),
        ", ".join(f"{what} {n}" for what, n in Counter(f"{row[2]} {row[3]}".strip() for row in bad).most_common(3)),
    )


def voids(late: dict[int, float]) -> set[int]:
    """Return the seconds that say nothing: the host was late in them, or in the one before."""
    return {second + k for second, ms in late.items() if ms > LIMIT_MS for k in (0, 1)}


@dataclass
class Others:
    """Intervals of the nine others: how many were judged, near their median, and without a suspect; and the rest."""

    total: int = 0
    near: int = 0
    calm: int = 0
    far: Counter[str] = field(default_factory=Counter)  # by subscriber, class and suspect

    @property
    def good(self) -> bool:
        """Say whether at least 99 of 100 were both."""
        return min(self.near, self.calm) >= 0.99 * self.total

    def line(self) -> str:
        """Return the sentence."""
        some = max(self.total, 1)
        most = ", ".join(f"{what} {n}" for what, n in self.far.most_common(6))
        return (
            f"the nine others: {self.near / some:.1%} within {NEAR} of their median, {self.calm / some:.1%} without a "
            f"suspect, {self.total} intervals" + (f"; most of the rest: {most}" if most else "")
        )


def others(seen: Seen, unlucky: Sequence[str], spans: Sequence[tuple[float, float]], late: dict[int, float]) -> Others:
    """Return the intervals of the nine others while one was degraded, but for void seconds."""
    void, found = voids(late), Others()
    for (who, app_class), (one, (begin_s, end_s)) in product(list(seen.rows), zip(unlucky, spans, strict=True)):
        if who == one:
            continue
        rows = seen.of(who, app_class, begin_s, end_s)
        usual = median([row[1] for row in rows]) if rows else 0.0
        kept = [row for row in rows if int(row[0]) not in void]
        near, calm = [abs(row[1] - usual) <= NEAR for row in kept], [row[2] == "" for row in kept]
        found.near, found.calm, found.total = found.near + sum(near), found.calm + sum(calm), found.total + len(kept)
        found.far.update(
            f"{who} {app_class} {row[2]} {row[3]}".strip()
            for row, is_near, is_calm in zip(kept, near, calm, strict=True)
            if not (is_near and is_calm)
        )
    return found


class _Meter:
    """The process that measures how late the host is; it has the priority of the packet path where that is allowed."""

    def __init__(self, lab: Lab) -> None:
        self._lab, self._file = lab, lab.folder / "path.json"
        lab.start("meter", "-m", "lab.truth.meter", self._file)
        for part in ("gnb", "upf", "meter"):
            with contextlib.suppress(PermissionError):
                os.sched_setscheduler(lab.pid(part), os.SCHED_RR, os.sched_param(1))

    def stop(self) -> dict[int, float]:
        """Return the largest delay in ms of each second."""
        self._lab.stop("meter")
        seconds = json.loads(self._file.read_text("ascii"))["worst_ms_by_second"] if self._file.exists() else {}
        return {int(second): ms for second, ms in seconds.items()}


def _change(lab: Lab, harm: Harm, ue: plan.Subscriber, how: tuple[Impairment, Impairment] | None) -> None:
    if harm.side == "core":
        up, down = how or (Impairment(), Impairment())
        lab.core(harm.who, uplink=up, downlink=down)
    else:
        up, down = how or (ue.uplink, ue.downlink)
        lab.radio(harm.who, uplink=up, downlink=down)


def play(
    harms: tuple[Harm, ...] = HARMS, harm_s: float = HARM_S, say: Callable[[str], None] = print
) -> tuple[list[Outcome], Others]:
    """Build the lab, run the impairments, and return what was seen of who was degraded and of the others."""
    key, seen, spans = secrets.token_bytes(32), Seen(), []
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(Lab(plan.subscribers(*USES), steady=True))
        operator = stack.enter_context(Operator(lab))
        operator.start_function()
        operator.configure(key, batch_ms=1000)
        name_of = Pseudonymiser(key, 1).name
        names = {name_of(ue.imsi): ue.name for ue in lab.subscribers.values()}
        with inside(lab.net.path("ops")):
            bus = stack.enter_context(Subscriber(ENDPOINT, ["qoe.v1/"]))
        lab.announce_all()
        lab.start_clients()
        meter, healthy = _Meter(lab), next(iter(lab.subscribers.values()))  # all radios are alike

        def watch(seconds: float) -> None:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                message = bus.receive(0.2)
                if message is not None:
                    seen.take(message, names)
                lab.check()

        say(f"warming up for {WARM_S:.0f} s, then {len(harms)} impairments of {harm_s:.0f} s")
        watch(WARM_S)
        for number, harm in enumerate(harms, 1):
            say(f"{number} of {len(harms)}: {harm.name} on the {harm.side} side")
            watch(CALM_S)
            begin_s = time.time()
            rate = harm.how.rate_bps
            both = tuple(
                replace(harm.how, rate_bps=rate or way.rate_bps if harm.side == "access" else rate)
                for way in (healthy.uplink, healthy.downlink)
            )
            _change(lab, harm, healthy, (both[0], both[1]))
            watch(harm_s)
            _change(lab, harm, healthy, None)
            spans.append((begin_s, time.time()))
        watch(CALM_S)
        late = meter.stop()
    outcomes = [
        outcome(seen, harm, app_class, span, late)
        for harm, span in zip(harms, spans, strict=True)
        for app_class in sorted(c for who, c in seen.rows if who == harm.who)
    ]
    told = [o for o in outcomes if o.bad >= 2 or o.app_class in o.harm.noticed]
    return told, others(seen, [harm.who for harm in harms], spans, late)


def main() -> None:
    """Print the table; exit 1 when a class whose user notices was not named in time on a host that had time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--only", default="", help="impairments with this word: delay, variation, loss, rate, access, core"
    )
    parser.add_argument("--seconds", type=float, default=HARM_S, help="length of each impairment (15 to 120)")
    args = parser.parse_args()
    if not 15 <= args.seconds <= 120:
        parser.error("an impairment takes 15 to 120 seconds")
    harms = tuple(h for h in HARMS if args.only in f"{h.name} {h.side}")
    try:
        with interruptible():
            outcomes, rest = play(harms, args.seconds, lambda text: print(text, flush=True))
    except KeyboardInterrupt:
        sys.exit(130)
    except (LabError, SnfError) as error:
        sys.exit(f"degraded: {error}")
    print("\n".join(["", HEAD, *(o.line() for o in outcomes)]))
    print(rest.line())
    wrong = [o for o in outcomes if o.app_class in o.harm.noticed and not o.good and o.void <= HARM_S / 4]
    sys.exit(0 if not wrong and rest.good else 1)


if __name__ == "__main__":
    main()
