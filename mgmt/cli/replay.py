"""``snf replay``: progress while it runs, files, and a summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mgmt.cli.story import sentences
from mgmt.cli.waiting import duration
from nf.apply import policies
from nf.apply.unread import not_read
from nf.apps.signatures import Signatures
from nf.flows.outside import TEXTS
from nf.privacy import Pseudonymiser
from nf.replay.output import check_suffix, write_rows
from nf.replay.records import Collector, record_rows
from nf.replay.run import Replay, Result
from nf.sessions.report import sessions_rows
from nf.settings import Role, Settings

__all__ = ["Outputs", "applications", "ignored", "replay_files"]

_ROLES = {"auto": None, "n3": Role.N3, "n6": Role.N6, "n4": Role.N4, "mixed": Role.MIXED}


@dataclass(frozen=True, slots=True)
class Outputs:
    """Files of the results; None: not wanted."""

    flows: Path | None = None
    sessions: Path | None = None
    qoe: Path | None = None
    events: Path | None = None


def replay_files(
    captures: Sequence[Path],
    roles: Sequence[str],
    outputs: Outputs,
    *,
    interval_s: float,
    settings: Settings | None = None,
    key: bytes,
    quiet: bool,
    counters: bool = False,
) -> Result:
    """Replay *captures* with what *settings* know, and write the wanted files; raises SnfError with a sentence.

    *key* goes before the key of the settings; without either one is drawn. *counters* are printed on request.
    """
    for path in (outputs.flows, outputs.sessions, outputs.qoe, outputs.events):
        if path is not None:
            check_suffix(path)
    settings, sink = settings or Settings(), Collector()
    signatures, privacy = Signatures.load(settings.applications), settings.privacy
    policies.check(settings.policies, signatures)
    pseudonymiser = Pseudonymiser(key or privacy.key, privacy.epoch, privacy.previous_key, privacy.opted_out)
    with _Progress(quiet) as progress:
        progress.phase("compiling the program")
        replay = Replay(signatures, pseudonymiser, sink, settings=settings, interval_s=interval_s)
        try:
            result = replay.run(captures, [_ROLES[r] for r in roles], progress.told)
        except BaseException:
            replay.close()
            raise
    try:
        file = " ".join(p.name for p in captures)
        if outputs.flows:
            write_rows(outputs.flows, result.flows, "flows")
        if outputs.sessions:
            rows = [{"file": file, **row} for row in sessions_rows(replay.store)]
            write_rows(outputs.sessions, rows, "sessions")
        if outputs.qoe:
            write_rows(outputs.qoe, record_rows(sink.batches), "qoe")
        if outputs.events:
            write_rows(outputs.events, result.events, "events")
        if not quiet:
            _summary(result, replay, Console(), counters)
        return result
    finally:
        replay.close()


def ignored(settings: Settings) -> list[str]:
    """Return what of a configuration means nothing to a replay, by the names of its nodes."""
    some = Settings()
    ports = [interface.name for interface in settings.interfaces]
    named = {
        f"interfaces ({', '.join(ports)})": bool(ports),
        "exporter": settings.export != some.export,
        "monitor": settings.monitor is not None,
        "limits": settings.limits != some.limits,
        "management": settings.management != some.management,
        "naming-workers": bool(settings.naming_workers),
        "qoe-alarms": bool(settings.thresholds),
    }
    return [name for name, given in named.items() if given]


class _Progress:
    """Progress on standard error, where that is a terminal: the phase, share, packets and the time that is left."""

    def __init__(self, quiet: bool) -> None:
        console = Console(file=sys.stderr)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)
        self._task = self._bar.add_task("", total=None, told="")
        self._begun_s = 0.0

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def phase(self, what: str) -> None:
        """Say what goes on, of which nobody knows how long it takes."""
        self._bar.update(self._task, description=what, refresh=True)

    def told(self, done: int, total: int, packets: int) -> None:
        """Take (bytes read, bytes of all captures, packets run)."""
        now_s = time.monotonic()
        self._begun_s = self._begun_s or now_s
        share = done / total if total else 1.0
        left_s = (now_s - self._begun_s) * (1 - share) / share if share else 0.0
        left = f"  {duration(left_s)} left" if 0 < share < 1 and now_s - self._begun_s > 1 else ""
        self._bar.update(
            self._task,
            description="replaying" if share < 1 else "summing up",
            completed=done,
            total=total,
            told=f"{100 * share:.0f} %  {packets:,} packets{left}",
        )


def applications(result: Result) -> dict[tuple[str, str], tuple[int, int]]:
    """Return flows and bytes by (application, ground), each packet once: legs that others passed before add none."""
    apps: dict[tuple[str, str], tuple[int, int]] = {}
    for flow in result.flows:
        fwd, rev = result.copies.get(flow["number"], (False, False))
        key = flow["app"] or "(no application)", flow["app_basis"]
        flows, octets = apps.get(key, (0, 0))
        octets += flow["ipbytes_fwd"] * (not fwd) + flow["ipbytes_rev"] * (not rev)
        apps[key] = flows + (not fwd), octets
    return apps


def _summary(result: Result, replay: Replay, console: Console, counters: bool) -> None:
    span = result.last_s - result.first_s
    own = sum(not result.copies.get(flow["number"], (False,))[0] for flow in result.flows)
    console.print(
        f"[bold]{result.packets:,}[/] packets over {span:,.1f} s: [bold]{own:,}[/] flows, "
        f"[bold]{sum(1 for _ in replay.store.history()):,}[/] sessions, {result.records:,} records"
    )
    table = Table("application", "by", "flows", "bytes", box=None, header_style="bold")
    for (app, basis), (flows, octets) in sorted(applications(result).items(), key=lambda x: -x[1][1])[:12]:
        table.add_row(app, basis, f"{flows:,}", f"{octets:,}")
    console.print(table)
    if own < len(result.flows):
        legs = len(result.flows) - own
        text = "rows of --flows are further legs of these: the same packets in another tunnel, or on N6."
        console.print(f"{legs:,} {text}", soft_wrap=True)
    for sentence in not_read(result.counters, settable=False):
        console.print(sentence, highlight=False, soft_wrap=True)
    texts = {c.name: c.text for c in replay.plane.counters}
    found = result.counters, texts, result.outside, TEXTS, result.skipped, result.signalling
    for sentence in sentences(*found):
        console.print(sentence, highlight=False, soft_wrap=True, markup=False)
    # Without tunnels there is no N3: strangers to a site's servers are no proof of translation.
    if replay.pipeline.outside.translated and result.counters.get("gtpu_gpdu"):
        console.print("Addresses are translated between N3 and N6: volumes are those of N3.", soft_wrap=True)
    if counters:
        _counters(result, texts, console)


def _counters(result: Result, texts: Mapping[str, str], console: Console) -> None:
    """Print all counters that are not zero by their names, as state of interfaces and N4 has them."""
    console.print("\nCounters:", highlight=False)
    known = {**texts, **TEXTS}
    for name, value in (*result.counters.items(), *result.outside.items(), *result.signalling.items()):
        if value:
            text = f"{name}: {known[name]}" if name in known else name
            console.print(f"  {value:>12,}  {text}", highlight=False, soft_wrap=True, markup=False)
