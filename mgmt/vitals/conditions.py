"""The conditions of alarms: what they are called, and what the state of the function says of each now.

A condition that is neither clearly there nor clearly over stays as it was: thresholds to raise and to clear differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mgmt.vitals.health import check
from nf.apply.degraded import Standing
from nf.apply.quality import Scores
from nf.apply.vitals import Vitals

__all__ = ["KINDS", "Kind", "Reading", "read", "subscriber_resource"]

_FUNCTION = "/snf-function:network-function"
_SESSIONS = "/snf-subscribers:subscribers"
_EXPORTER = "/snf-export:exporter"
_SUBSCRIBERS = "/snf-alarms:subscriber-alarms"

_NEARLY_FULL, _ROOM_AGAIN = 0.9, 0.8  # of the session table
# Checks that have an alarm of their own; the others are told together.
_ALARMED = ("interfaces-attached", "links-up", "publisher-bound", "session-table-has-room")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of alarm: an identity of snf-alarms, and how long its condition lasts before it is raised or cleared."""

    name: str
    severity: str  # of RFC 8632
    description: str
    raise_s: float
    clear_s: float


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "interface-not-attached",
            "critical",
            "An interface carries no program or socket, so its packets are not seen. The text says why; it is attached "
            "by itself when its device is there.",
            2.0,  # a device that is made again comes back within this
            2.0,
        ),
        Kind(
            "interface-down",
            "major",
            "The link of an interface is not up. Look at the cable and the far end.",
            2.0,
            10.0,  # a link that flaps is one alarm
        ),
        Kind(
            "exporter-down",
            "critical",
            "The publisher has ended or hangs: nothing is published. See the log, and restart the function.",
            2.0,
            5.0,
        ),
        Kind(
            "session-table-nearly-full",
            "major",
            "Nine tenths of the room for sessions are used; it is cleared below eight. Raise limits/sessions and "
            "restart.",
            0.0,
            10.0,
        ),
        Kind(
            "flow-table-full",
            "minor",
            "Flows leave the table before they are over, the longest silent first; none of their counts is lost. Raise "
            "limits/flows and restart, or look for a flood.",
            2.0,
            60.0,  # of a minute without one
        ),
        Kind(
            "qoe-degraded",
            "minor",
            "A share of the scores of a class of applications is below the threshold of qoe-alarms; it is cleared at "
            "half of that share. The records of the class say whose, and where the quality is lost (column suspect).",
            10.0,
            30.0,
        ),
        Kind(
            "subscriber-degraded",
            "minor",
            "All scores of one subscriber with an application were below the threshold of subscriber-alarms for as "
            "long as that says. The text says whose and where they were lost; alarm.v1 on the bus has the evidence.",
            0.0,  # the function waits itself, by the times of the threshold
            0.0,
        ),
        Kind(
            "many-subscribers-degraded",
            "major",
            "More subscribers are below their thresholds than subscriber-alarms/most. It is no trouble of single ones: "
            "see the gNBs, slices and classes of the records.",
            0.0,
            0.0,
        ),
        Kind(
            "function-unhealthy",
            "major",
            "A check of the operation health-check is bad. The text is what it says.",
            5.0,
            10.0,
        ),
    )
}
"""All kinds by name."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The word of one look on one condition: ``there`` is None when it is neither there nor over."""

    kind: str
    resource: str  # data path
    there: bool | None
    text: str = ""
    silent: bool = False  # it stood before the function began: nobody is told again


def _interface(name: str) -> str:
    """Return the resource of an interface."""
    return f"/ietf-interfaces:interfaces/interface[name={_quoted(name)}]"


def _quoted(text: str) -> str:
    """Return a text as a value in a path, which has one kind of quotes at most (RFC 7950, 9.13)."""
    quote = '"' if "'" in text else "'"
    return quote + text.replace('"', "'" if quote == '"' else '"') + quote


def subscriber_resource(alarm: Standing) -> str:
    """Return the resource of an alarm of a subscriber."""
    keys = {"subscriber": alarm.subscriber, "class": alarm.app_class, "application": alarm.app}
    return f"{_SUBSCRIBERS}/degraded" + "".join(f"[{name}={_quoted(value)}]" for name, value in keys.items())


def read(now: Vitals, before: Vitals | None) -> Iterator[Reading]:
    """Yield the readings of a look; *before* are the vitals of the look before."""
    for name, port in now.ports.items():
        yield Reading("interface-not-attached", _interface(name), bool(port.why), f"{name}: {port.why}")
        down = port.oper_status not in ("up", "not-present")
        yield Reading("interface-down", _interface(name), down, f"{name} is {port.oper_status}.")
    checks = {each.name: each for each in check(now)}
    publisher = checks["publisher-bound"]
    yield Reading("exporter-down", _EXPORTER, not publisher.good, publisher.text)
    yield _session_table(now)
    evicting = before is not None and now.evicted > before.evicted
    gone = now.evicted - before.evicted if before is not None else 0
    said = f"{gone} flows left the table of {now.flow_room} for others in the last second."
    yield Reading("flow-table-full", _FUNCTION, evicting, said)
    for name, scores in now.quality.items():
        yield _quality(name, scores)
    for alarm in now.degraded:
        yield Reading("subscriber-degraded", subscriber_resource(alarm), True, _degraded(alarm), alarm.again)
    said = f"{now.more_degraded} more subscribers and applications than alarms may stand. See the records by gNB."
    yield Reading("many-subscribers-degraded", _SUBSCRIBERS, now.more_degraded > 0, said)
    bad = [each.text for name, each in checks.items() if not each.good and name not in _ALARMED]
    yield Reading("function-unhealthy", _FUNCTION, bool(bad), " ".join(bad))


def _session_table(now: Vitals) -> Reading:
    used = now.sessions / now.session_room
    there = True if used >= _NEARLY_FULL else False if used < _ROOM_AGAIN else None
    said = f"{now.sessions} of {now.session_room} sessions are known. Raise limits/sessions and restart the function."
    return Reading("session-table-nearly-full", _SESSIONS, there, said)


def _quality(name: str, scores: Scores) -> Reading:
    limit = scores.threshold
    percent = 100 * scores.bad / scores.scores if scores.scores >= limit.least else 0.0
    there = True if percent >= limit.percent else False if percent < limit.percent / 2 else None
    said = (
        f"{scores.bad} of {scores.scores} scores of {name} in an interval are below {limit.score}. "
        "See the records of the class, and their column suspect."
    )
    return Reading("qoe-degraded", f"/snf-alarms:qoe-alarms/class[name='{name}']", there, said)


def _degraded(alarm: Standing) -> str:
    """Return the text of an alarm of a subscriber: a published name, and no address."""
    lost = f" Lost in: {alarm.suspect}" if alarm.suspect else " Where it is lost is not known"
    by = f" by {alarm.suspect_by} ({alarm.suspect_value:.3g})" if alarm.suspect_by else ""
    return (
        f"{alarm.subscriber} has had scores of {alarm.mos:.2f} with {alarm.app or alarm.app_class}, below "
        f"{alarm.threshold:.2f} for {alarm.raise_s} s.{lost}{by}."
    )
