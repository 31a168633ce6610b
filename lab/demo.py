"""The demonstration: an embedded mobile network, the function beside it, and the operator's view of both.

    python -m lab.demo [--seconds N]

Builds the lab, starts ``snf run`` with an empty configuration on mirror ports of N3 and N4, configures it over
NETCONF, subscribes over ZeroMQ. Half-way one subscriber's radio turns bad, another one is handed over to a
new gNB, and a policy goes from inspect to suppress. Exit 0 when all of that was seen, 1 with a sentence if not.
At the end the round trips of healthy subscribers are held beside what their own clients measured (`lab.roundtrips`).

The lab is made of ordinary processes, so on a host that is short of processor time its network is slow for everybody.
The demonstration measures that (`lab.wait.slowness`), says it, and judges the bad radio by its delay then: what the
radio adds stays, while the scores of all have fallen before.
"""

from __future__ import annotations

import argparse
import math
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from feed.consumer import Subscriber
from feed.wire import Message
from lab import plan
from lab.impair import Impairment
from lab.lab import Lab
from lab.net import LabError, inside, interruptible
from lab.operator import ENDPOINT, EXAMPLE, Operator
from lab.roundtrips import ABOVE_MS, Judged, apps_over_quic, judge
from lab.scoreboard import Scoreboard, plain_table, rich_table, short
from lab.wait import Progress, slowness
from nf.errors import SnfError
from nf.privacy import Pseudonymiser

__all__ = ["main"]

USES = (
    ("video", "chat"),
    ("movie",),
    ("live",),
    ("call",),
    ("web", "web3"),
    ("download",),
    ("social", "chat"),
    ("voice",),
    ("game", "web"),
    ("video", "game", "chat"),
)
UNLUCKY, MOVER = "ue10", "ue2"
SUPPRESSED = "download"  # the class whose policy is edited
BAD_UPLINK = Impairment(delay_ms=90, jitter_ms=60, loss=0.03, rate_bps=0.4e6)
BAD_DOWNLINK = Impairment(delay_ms=90, jitter_ms=60, loss=0.04, rate_bps=0.7e6)
SETTLE_S = 8.0  # after a start or a change: not counted in a comparison
FALL = 0.5  # of the mean score: a fall that counts as visible
SHORT = 1.5  # times slower than an undisturbed CPU: from here on the host is short of time, and says so
BATCH_MS = 5000  # half of the default: the table still lives, and takes half of the bytes of 2 s batches
LIVE_EVERY_S, PLAIN_EVERY_S = 0.5, 10.0


@dataclass(slots=True)
class Event:
    """Something that happens at a time of the demonstration; ``does`` returns the words for it."""

    at_s: float
    does: Callable[[float], str]  # told when it happens


class Screen:
    """A live table on a terminal, a table each ten seconds elsewhere."""

    def __init__(self, console: Console, board: Scoreboard, seconds: float) -> None:
        self._console, self._board, self._seconds = console, board, seconds
        self._said: list[str] = []
        self._next_s = 0.0 if console.is_terminal else PLAIN_EVERY_S
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self.marked = ""

    def __enter__(self) -> Screen:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def say(self, now_s: float, sentence: str) -> None:
        """Tell of an event."""
        line = f"{now_s:4.0f} s  {sentence}"
        self._said.append(line)
        if not self._live:
            print(line, flush=True)

    def show(self, now_s: float) -> None:
        """Draw what is known now."""
        if now_s < self._next_s:
            return
        rows = self._board.fresh(now_s)
        self._next_s += LIVE_EVERY_S if self._live else PLAIN_EVERY_S
        if self._live:
            title = f"SuperNetflow  {now_s:3.0f} of {self._seconds:.0f} s  {self._board.records} records"
            table = rich_table(rows, title, self.marked)
            self._live.update(Group(table, Text("\n".join(["", *self._said]))), refresh=True)
        else:
            print(f"\n{now_s:4.0f} s, {self._board.records} records\n{plain_table(rows)}\n", flush=True)

    def finish(self) -> None:
        """Leave the last picture on the terminal."""
        if self._live:
            self._live.stop()
            self._live.transient = False
            self._console.print(rich_table(self._board.fresh(self._seconds), "SuperNetflow", self.marked))
            for line in self._said:
                self._console.print(line, highlight=False)


def records(message: Message) -> Iterator[dict[str, Any]]:
    """Yield the rows of a batch, with the class from its topic."""
    app_class = message.topic.split("/")[2]
    columns = message.columns
    for i in range(message.header.rows):
        yield {name: column[i] for name, column in columns.items()} | {"class": app_class}


class Demo:
    """One demonstration on a lab that is up and a function that is configured."""

    def __init__(self, lab: Lab, operator: Operator, console: Console, seconds: float, key: bytes) -> None:
        self.lab, self.operator, self.seconds = lab, operator, seconds
        name_of = Pseudonymiser(key, 1).name
        self.pseudonyms = {ue.name: name_of(ue.imsi) for ue in lab.subscribers.values()}
        self.board = Scoreboard({p: n for n, p in self.pseudonyms.items()})
        self.screen = Screen(console, self.board, seconds)
        self.bad_s, self.moved_s, self.policy_s = seconds * 0.4, seconds * 0.52, seconds * 0.64
        self.suppressed_s = math.inf  # time of the commit
        self.health: Mapping[str, Any] = {}
        self.healthy: list[dict[str, Any]] = []  # records of subscribers on a good radio
        self.judged: list[Judged] = []  # those of them that their own clients' measurements can judge
        self.slow: list[float] = []  # slowness of the host, now and then

    def play(self) -> None:
        """Run the story to its end; raises LabError when a part of the lab ends before."""
        todo = [
            Event(self.bad_s, self._bad_radio),
            Event(self.moved_s, self._handover),
            Event(self.policy_s, self._policy),
        ]
        with ExitStack() as stack:
            with inside(self.lab.net.path("ops")):  # ZeroMQ's own thread is started here, and stays
                bus = stack.enter_context(Subscriber(ENDPOINT, ["qoe.v1/", "health.v1/"]))
            screen = stack.enter_context(self.screen)
            self.lab.announce_all()
            self.lab.start_clients()
            start, started_at_s = time.monotonic(), time.time()
            screen.say(0, f"{len(self.pseudonyms)} subscribers announced by PFCP, their applications start")
            while (now := time.monotonic() - start) < self.seconds:
                self.slow.append(slowness())
                if todo and now >= todo[0].at_s:
                    screen.say(now, todo.pop(0).does(now))
                    if not todo:
                        self.suppressed_s = min(self.suppressed_s, time.monotonic() - start)
                message = bus.receive(0.5)
                if message is not None and message.topic.startswith("qoe.v1/"):
                    for record in records(message):
                        self._feed(record, record["t_ms"] / 1000 - started_at_s)
                elif message is not None:
                    self.health = {name: column[0] for name, column in message.columns.items()}
                screen.show(now)
                self.lab.check()
            screen.finish()
            measured = {self.pseudonyms[name]: list(self.lab.measured(name)) for name in self.lab.subscribers}
            self.judged = list(judge(self.healthy, measured, apps_over_quic()))

    def _feed(self, record: dict[str, Any], at_s: float) -> None:
        self.board.feed(record, at_s)
        who = record["subscriber"]
        if who in self.board.names and (who != self.pseudonyms[UNLUCKY] or at_s < self.bad_s):
            self.healthy.append(record)

    def _bad_radio(self, now_s: float) -> str:
        self.bad_s = now_s
        self.lab.radio(UNLUCKY, uplink=BAD_UPLINK, downlink=BAD_DOWNLINK)
        self.screen.marked = self.pseudonyms[UNLUCKY]
        return (
            f"the radio of {short(self.pseudonyms[UNLUCKY])} turns bad: +{BAD_DOWNLINK.delay_ms:.0f} ms each way, "
            f"{BAD_DOWNLINK.loss:.0%} loss, {BAD_DOWNLINK.rate_bps / 1e6:.1f} Mbit/s"
        )

    def _handover(self, now_s: float) -> str:
        self.moved_s = now_s
        site = self.lab.handover(MOVER)
        return f"{short(self.pseudonyms[MOVER])} is handed over to the gNB {site}"

    def _policy(self, now_s: float) -> str:
        self.policy_s = now_s
        self.operator.suppress()
        return f"the orchestrator edits the policy of {SUPPRESSED}s from inspect to suppress, and commits"

    # -- the outcome --------------------------------------------------------

    def comparison(self) -> list[tuple[str, str, float, float]]:
        """Return (subscriber, class, mean before, mean after) around the time the radio turned bad."""
        return [
            (
                pseudonym,
                app_class,
                self.board.mean(pseudonym, app_class, SETTLE_S, self.bad_s),
                self.board.mean(pseudonym, app_class, self.bad_s + SETTLE_S, self.seconds),
            )
            for pseudonym in self.pseudonyms.values()
            for app_class in self.board.classes(pseudonym)
        ]

    def falls(self) -> list[tuple[str, float, float]]:
        """Return (class, mean before, mean after) of the subscriber whose radio turned bad, deepest fall first."""
        mine = [
            (app_class, before, after)
            for who, app_class, before, after in self.comparison()
            if who == self.pseudonyms[UNLUCKY] and not math.isnan(before - after)
        ]
        return sorted(mine, key=lambda row: row[2] - row[1])

    def fell(self) -> bool:
        """Say if the bad radio shows in a score."""
        return any(before - after >= FALL for _, before, after in self.falls())

    def delayed(self) -> bool:
        """Say if the bad radio shows in the delay between probe and UE: it adds its own to each direction."""
        who = self.pseudonyms[UNLUCKY]
        before = self.board.access_delay_ms(who, SETTLE_S, self.bad_s)
        after = self.board.access_delay_ms(who, self.bad_s + SETTLE_S, self.seconds)
        return after - before >= BAD_DOWNLINK.delay_ms

    def is_short(self) -> bool:
        """Say if the host was short of processor time."""
        return fmean(self.slow) >= SHORT

    def load(self) -> str:
        """Return a sentence about the host: how slow it was, and how that bears on scores and on the bad radio."""
        text = f"The host: work took {fmean(self.slow):.1f} times as long as on a CPU of its own"
        if not self.is_short():
            return f"{text}."
        text += ", so the network of the lab was slow for everybody; scores are of that network."
        return text if self.fell() else f"{text} The bad radio was judged by the delay that it added."

    def highest(self) -> Judged | None:
        """Return the healthy record that is the most above what its own clients measured, if any could be judged."""
        return max(self.judged, key=lambda j: j.above_ms, default=None)

    def round_trips(self) -> str:
        """Return a sentence about how far healthy records are above what their own clients measured."""
        worst = self.highest()
        if worst is None:
            return "Round trips: no record could be held beside what its clients measured."
        side = "above" if worst.above_ms >= 0 else "below"
        return (
            f"Round trips of healthy subscribers, {len(self.judged)} records beside what their clients measured "
            f"(TCP_INFO, QUIC):\n  the highest is {abs(worst.above_ms):.0f} ms {side} it ({short(worst.subscriber)} "
            f"{worst.app}: {worst.said_ms:.0f} ms, client up to {worst.measured_ms:.0f} ms)"
        )

    def failures(self) -> list[str]:
        """Return a sentence for each thing that should have been seen and was not."""
        failed = [
            f"No scored record came for subscriber {short(p)} ({name})."
            for name, p in self.pseudonyms.items()
            if not self.board.classes(p)
        ]
        classes = {app_class for _, app_class in self.board.scores}
        if len(classes) < 5:
            failed.append(f"Only {len(classes)} application classes were scored: {', '.join(sorted(classes))}.")
        if not (self.fell() or (self.is_short() and self.delayed())):
            failed.append(f"The scores of {short(self.pseudonyms[UNLUCKY])} did not fall by {FALL} on the bad radio.")
        mover = self.pseudonyms[MOVER]
        if not any(t > self.moved_s + SETTLE_S for (p, _), s in self.board.scores.items() if p == mover for t, _ in s):
            failed.append(f"Subscriber {short(mover)} was not seen after its handover.")
        if not SETTLE_S < self.board.last_heard(SUPPRESSED) <= self.suppressed_s + SETTLE_S:
            failed.append(f"A {SUPPRESSED} was not published before its policy became suppress, or still was after it.")
        worst = self.highest()
        if worst is None:
            failed.append("No round trip of a healthy subscriber could be held beside what its clients measured.")
        elif worst.above_ms > ABOVE_MS and not self.is_short():
            failed.append(f"A healthy round trip is more than {ABOVE_MS:.0f} ms above what the clients measured.")
        return failed

    def summary(self) -> str:
        """Return the closing words."""
        lines = [f"{'subscriber':10}  {'class':13}  MOS before  after  change"]
        for subscriber, app_class, before, after in self.comparison():
            change = "" if math.isnan(before + after) else f"{after - before:+.2f}"
            cells = ["-" if math.isnan(v) else f"{v:.2f}" for v in (before, after)]
            mark = "  <- bad radio" if subscriber == self.pseudonyms[UNLUCKY] else ""
            lines.append(
                f"{short(subscriber):10}  {app_class:13}  {cells[0]:>10}  {cells[1]:>5}  {change:>6}{mark}".rstrip()
            )
        falls = self.falls()
        if falls:
            words = ", ".join(f"{app_class} {before:.1f} to {after:.1f}" for app_class, before, after in falls)
            lines += ["", f"The bad radio of {short(self.pseudonyms[UNLUCKY])}: {words}."]
        inspected, exported = (float(self.health.get(k, 0)) for k in ("inspected_bytes", "exported_bytes"))
        ratio = f"{exported / inspected:.3%}" if inspected else "unknown"
        lines += [
            "",
            f"{inspected / 1e6:.1f} MB inspected, {exported / 1e3:.1f} kB published: output is {ratio} of input",
            self.round_trips(),
            *(f"{name}: {mode}" for name, mode in self.operator.attached().items()),
            self.load(),
        ]
        return "\n".join(lines)


def show(seconds: float) -> int:
    """Build, play, tear down; returns the exit status."""
    console = Console()
    key = secrets.token_bytes(32)
    with interruptible(), ExitStack() as stack:
        print(
            f"Building the network: gNB, UPF, SMF, data network and {len(USES)} subscribers in namespaces ...",
            flush=True,
        )
        progress = Progress()
        lab = stack.enter_context(Lab(plan.subscribers(*USES), progress=progress))
        print("Starting snf run with an empty configuration ...", flush=True)
        operator = stack.enter_context(Operator(lab))
        operator.start_function()
        operator.configure(key, BATCH_MS)
        ports = ", ".join(f"{n} {m}" for n, m in operator.attached().items())
        print(f"Configured over NETCONF, with the rules of {EXAMPLE.name}: {ports}.", flush=True)
        demo = Demo(lab, operator, console, seconds, key)
        demo.play()
        print(f"\n{demo.summary()}\n", flush=True)
        failed = demo.failures()
    for sentence in failed:
        print(f"demo: {sentence}", file=sys.stderr)
    if not failed:
        print("The network is gone; nothing was left behind.")
    return 1 if failed else 0


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=84, help="length of the story (40 to 170)")
    args = parser.parse_args()
    if not 40 <= args.seconds <= 170:
        parser.error("a story takes 40 to 170 seconds")
    try:
        sys.exit(show(args.seconds))
    except KeyboardInterrupt:
        print("\nInterrupted; the network is gone.", file=sys.stderr)
        sys.exit(130)
    except (LabError, SnfError) as error:
        sys.exit(f"demo: {error}")


if __name__ == "__main__":
    main()
