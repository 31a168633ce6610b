"""``snf replay``: progress while it runs, files, and a summary."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

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
) -> Result:
    """Replay *captures* with what *settings* know, and write the wanted files; raises SnfError with a sentence.

    *key* goes before the key of the settings; without either one is drawn.
    """
    for path in (outputs.flows, outputs.sessions, outputs.qoe, outputs.events):
        if path is not None:
            check_suffix(path)
    settings, sink = settings or Settings(), Collector()
    signatures, privacy = Signatures.load(settings.applications), settings.privacy
    policies.check(settings.policies, signatures)
    pseudonymiser = Pseudonymiser(key or privacy.key, privacy.epoch, privacy.previous_key, privacy.opted_out)
    replay = Replay(signatures, pseudonymiser, sink, settings=settings, interval_s=interval_s)
    try:
        result = _with_progress(replay, captures, [_ROLES[r] for r in roles], quiet)
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
            _summary(result, replay, Console())
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


def _with_progress(replay: Replay, captures: Sequence[Path], roles: Sequence[Role | None], quiet: bool) -> Result:
    console = Console(file=sys.stderr)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%  {task.fields[packets]:,} packets"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("replaying", total=None, packets=0)

        def told(done: int, total: int, packets: int) -> None:
            bar.update(task, completed=done, total=total, packets=packets)

        return replay.run(captures, roles, told)


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


def _summary(result: Result, replay: Replay, console: Console) -> None:
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
    notable = {k: v for k, v in result.counters.items() if v and k not in _EXPECTED}
    for name, value in notable.items():
        console.print(f"  {value:>10,}  {name}: {texts[name]}", highlight=False, soft_wrap=True)
    for name, text in TEXTS.items():
        if result.outside[name]:
            console.print(f"  {result.outside[name]:>10,}  {name}: {text}", highlight=False, soft_wrap=True)
    # Without tunnels there is no N3: strangers to a site's servers are no proof of translation.
    if replay.pipeline.outside.translated and result.counters.get("gtpu_gpdu"):
        console.print("Addresses are translated between N3 and N6: volumes are those of N3.", soft_wrap=True)
    for reason, value in (*result.skipped.items(), *((k, v) for k, v in result.signalling.items() if v)):
        console.print(f"  {value:>10,}  {reason}", highlight=False, soft_wrap=True)


_EXPECTED = {"frames", "octets", "gtpu_gpdu", "counted", "counted_octets", "flow_new", "signalling"}
_EXPECTED |= {"handed_off", "handed_off_octets", "dropped", "passed"}
