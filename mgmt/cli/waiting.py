"""Sentences for a feed that shows nothing: what is waited for, and what to look at when it does not come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from feed.consumer import Liveness
from feed.link import Link
from feed.wire import HEALTH_SCHEMA, QOE_SCHEMA, Message
from mgmt.cli.board import Beat
from mgmt.cli.cells import printable
from mgmt.cli.filters import EVERYTHING, Filters
from mgmt.cli.sieve import chosen

__all__ = ["QUIET_S", "Heard", "duration", "hope", "trouble", "unmatched"]

SILENT_S = 5.0  # of nothing at all, until the user is told
QUIET_S = 15.0  # of heartbeats alone: longer than a batch waits by default
_MOST_VALUES = 10_000  # names that are remembered, to say what is there instead
_SHOWN = 6


@dataclass(slots=True)
class Heard:
    """Everything that came so far, in numbers, and the values that a filter could have been meant to have."""

    filters: Filters = EVERYTHING
    beats: dict[str, Beat] = field(default_factory=dict)
    records: int = 0
    matched: int = 0
    values: dict[str, dict[str, None]] = field(default_factory=dict)

    def hear(self, message: Message, now_s: float) -> Message:
        """Take a message, and return it with the wanted records alone."""
        if message.header.schema == HEALTH_SCHEMA:
            self.beats[message.header.nf] = Beat.of(message, now_s)
        wanted = chosen(message, self.filters)
        if message.header.schema == QOE_SCHEMA:
            self.records += message.header.rows
            self.matched += wanted.header.rows
            if not self.matched:
                self._note("app_class", [message.app_class])
                for name in ("app", "gnb", "slice"):
                    self._note(name, message.columns.get(name, ()))
        return wanted

    def _note(self, name: str, values: Iterable[object]) -> None:
        known = self.values.setdefault(name, {})
        if len(known) < _MOST_VALUES:
            known.update(dict.fromkeys(str(value) for value in values if value))


def hope(endpoint: str, link: Link, beats: Mapping[str, Beat], now_s: float) -> str:
    """Return what is waited for while nothing is wrong yet."""
    if not beats:
        if link is Link.OPEN:
            return f"Connected to {endpoint}. Its heart beats each second: waiting for that."
        if link is Link.REACHED:
            return f"{endpoint} takes connections: waiting for its answer."
        return f"Nobody takes connections at {endpoint} yet: trying again."
    name, beat = max(beats.items(), key=lambda item: item[1].seen_s)
    up = f"{printable(name)} is up for {duration(beat.uptime_s)} and knows {beat.sessions:,} sessions."
    if beat.next_batch_s is None:
        return f"{up} A batch of records comes each 10 s by default."
    if not beat.next_batch_s:
        return f"{up} No records wait there: it had no traffic in the last interval."
    left_s = max(0.0, beat.next_batch_s - (now_s - beat.seen_s))
    return f"{up} First batch in {left_s:.0f} s."


def trouble(endpoint: str, link: Link, liveness: Liveness, waited_s: float, curve: bool, following: bool) -> str:
    """Return a sentence on what to look at; empty when all is well, or may still become so."""
    if liveness is Liveness.SILENT:
        if link is Link.REFUSED:
            return (
                f"The function at {endpoint} refuses this key: its list of consumers does not have it. Add its public "
                "key there (curve/consumer of the exporter), give the file of another client with --curve, and start "
                "again."
            )
        if link is Link.CUT and curve:
            return (
                f"{endpoint} breaks the connection off: server_key in the file of --curve is not the key of this "
                "function, or it publishes without CURVE."
            )
        if link is Link.CUT:
            return (
                f"{endpoint} breaks the connection off: it wants CURVE keys (--curve FILE; snf init and snf keys make "
                "one for each client), or is no SuperNetflow."
            )
        if waited_s >= SILENT_S:
            return silence(endpoint, link)
    if liveness is Liveness.DEAD:
        return f"The function at {endpoint} fell silent: it ended, or the way to it is broken. Waiting for it."
    if liveness is Liveness.QUIET and waited_s >= QUIET_S:
        return quiet(endpoint, following)
    return ""


def silence(endpoint: str, link: Link) -> str:
    """Return the sentence for an endpoint from which nothing came."""
    if link is Link.OPEN:
        return (
            f"Connected to {endpoint}, and nothing comes, not even a heartbeat. Check that the rights of this key have "
            "the topic health.v1/, and that the function does not hang: snf health."
        )
    if link is Link.REACHED:
        return f"Nothing was heard from {endpoint}: it takes connections and says nothing. Check that it is the bus."
    return (
        f"Nothing was heard from {endpoint}. Check that snf run is up and publishes there, that no firewall is "
        "between, and, if it uses CURVE, that --curve holds its server key and a key pair that it allows."
    )


def quiet(endpoint: str, following: bool) -> str:
    """Return the sentence for a function without records."""
    missing = "subscriber (has it traffic, and is it spelt in full?)" if following else "traffic"
    return f"The function at {endpoint} is up, but publishes nothing: no {missing}. See its interfaces and policies."


def unmatched(heard: Heard) -> str:
    """Return what came while nothing had what the filters want; empty when something had."""
    if heard.matched or not heard.records:
        return ""
    said = f"Nothing matches: of {heard.records:,} records none has {heard.filters.words()}."
    for name, title in (("app", "Applications"), ("app_class", "Classes"), ("gnb", "gNBs"), ("slice", "Slices")):
        there = sorted(heard.values.get(name, ()))
        wanted = getattr(heard.filters, name)
        if wanted is not None and wanted.casefold() not in {value.casefold() for value in there}:
            more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
            said += f" {title} that came: {', '.join(map(printable, there[:_SHOWN])) or 'none with a name'}{more}."
    return said


def duration(seconds: float) -> str:
    """Return a time span in its two largest units."""
    days, rest = divmod(int(seconds), 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, rest = divmod(rest, 60)
    units = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((n for n, (count, _) in enumerate(units) if count), 3)
    (count, unit), *others = units[first : first + 2]
    return " ".join([f"{count} {unit}", *(f"{more} {smaller}" for more, smaller in others if more)])
