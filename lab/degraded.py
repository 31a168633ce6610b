"""One subscriber of ten is degraded, one impairment after the other; the bus must say so, where, and of nobody else.

    python -m lab.degraded [--only WORD] [--seconds N]

Builds the lab, starts ``snf run`` with a batch interval of a second, and reads ``qoe.v1``. Delay, delay that varies,
loss and a low rate come and go, on the radio and behind the UPF. For each, and for each application whose user would
notice, a line: how deep the score fell, after how long it was bad with the right side, how much of the bad intervals
named it, and after how long it was over. A process of the packet path's priority measures how late the host is
(`lab.truth.meter`); seconds in which it was short of time are void and say nothing.
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
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
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

__all__ = ["HARMS", "Harm", "Outcome", "Seen", "main", "play"]

UNLUCKY = "ue1"
USES = (
    ("video", "game", "chat", "voice", "web"),
    *(
        ("video",),
        ("movie",),
        ("live",),
        ("voice", "chat"),
        ("web",),
        ("web3",),
        ("social",),
        ("game", "chat"),
        ("voice",),
    ),
)
WARM_S, CALM_S, HARM_S = 20.0, 15.0, 25.0
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


def _harms() -> Iterator[Harm]:
    for side in ("access", "core"):
        yield Harm("delay", side, Impairment(delay_ms=150), ("gaming", "messaging", "web"))
        yield Harm("variation", side, Impairment(delay_ms=10, jitter_ms=200), ("gaming", "messaging", "web"))
        yield Harm("loss", side, Impairment(delay_ms=10, loss=0.08), ("web",))
        yield Harm("rate", side, Impairment(delay_ms=10, rate_bps=0.3e6, queue_ms=300), ("web", "gaming"))


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
            f"{self.found_s:8.0f} s{share:>8}{self.back_s:7.0f} s{self.memory:8.2f}{self.void:6}  {word}"
        )


HEAD = "harm      side    class          MOS  least     found   right     back session  void"


def outcome(seen: Seen, harm: Harm, app_class: str, span: tuple[float, float], late: dict[int, float]) -> Outcome:
    """Return what was seen of a class of the unlucky one."""
    begin_s, end_s = span
    before = seen.of(UNLUCKY, app_class, begin_s - CALM_S, begin_s)
    during, after = seen.of(UNLUCKY, app_class, begin_s, end_s), seen.of(UNLUCKY, app_class, end_s, end_s + CALM_S)
    usual = median([row[1] for row in before]) if before else math.nan
    limit = min(GOOD, usual - FELL) if before else GOOD
    bad = [row for row in during if row[1] < limit]
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
    )


def others(seen: Seen, begin_s: float, end_s: float, late: dict[int, float]) -> tuple[float, float, int]:
    """Return of the nine others the share of intervals near their median and without a suspect, and their number.

    Seconds in which the host was late, and the one after, are left out.
    """
    void = {second + k for second, ms in late.items() if ms > LIMIT_MS for k in (0, 1)}
    near = calm = total = 0
    for who, app_class in list(seen.rows):
        if who == UNLUCKY:
            continue
        rows = seen.of(who, app_class, begin_s, end_s)
        usual = median([row[1] for row in rows]) if rows else 0.0
        kept = [row for row in rows if int(row[0]) not in void]
        near += sum(abs(row[1] - usual) <= NEAR for row in kept)
        calm += sum(row[2] == "" for row in kept)
        total += len(kept)
    return near / max(total, 1), calm / max(total, 1), total


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
        lab.core(UNLUCKY, uplink=up, downlink=down)
    else:
        up, down = how or (ue.uplink, ue.downlink)
        lab.radio(UNLUCKY, uplink=up, downlink=down)


def play(
    harms: tuple[Harm, ...] = HARMS, harm_s: float = HARM_S, say: Callable[[str], None] = print
) -> tuple[list[Outcome], tuple[float, float, int]]:
    """Build the lab, run the impairments, and return what was seen of the unlucky one and of the others."""
    key, seen, spans = secrets.token_bytes(32), Seen(), []
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(Lab(plan.subscribers(*USES)))
        operator = stack.enter_context(Operator(lab))
        operator.start_function()
        operator.configure(key, batch_ms=1000)
        name_of = Pseudonymiser(key, 1).name
        names = {name_of(ue.imsi): ue.name for ue in lab.subscribers.values()}
        with inside(lab.net.path("ops")):
            bus = stack.enter_context(Subscriber(ENDPOINT, ["qoe.v1/"]))
        lab.announce_all()
        lab.start_clients()
        meter, healthy = _Meter(lab), lab.subscribers[UNLUCKY]

        def watch(seconds: float) -> None:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                message = bus.receive(0.2)
                if message is not None:
                    seen.take(message, names)
                lab.check()

        begun_s = time.time() + WARM_S
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
        ended_s, late = time.time(), meter.stop()
    outcomes = [
        outcome(seen, harm, app_class, span, late)
        for harm, span in zip(harms, spans, strict=True)
        for app_class in sorted(c for who, c in seen.rows if who == UNLUCKY)
    ]
    return [o for o in outcomes if o.bad >= 2 or o.app_class in o.harm.noticed], others(seen, begun_s, ended_s, late)


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
            outcomes, (near, calm, rows) = play(harms, args.seconds, lambda text: print(text, flush=True))
    except KeyboardInterrupt:
        sys.exit(130)
    except (LabError, SnfError) as error:
        sys.exit(f"degraded: {error}")
    print("\n".join(["", HEAD, *(o.line() for o in outcomes)]))
    print(f"the nine others: {near:.1%} within {NEAR} of their median, {calm:.1%} without a suspect, {rows} intervals")
    wrong = [o for o in outcomes if o.app_class in o.harm.noticed and not o.good and o.void <= HARM_S / 4]
    sys.exit(1 if wrong or near < 0.99 or calm < 0.99 else 0)


if __name__ == "__main__":
    main()
