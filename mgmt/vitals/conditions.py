"""The conditions of alarms: what they are called, and what the state of the function says of each now.

A condition that is neither clearly there nor clearly over stays as it was: thresholds to raise and to clear differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mgmt.vitals.health import check
from nf.apply.quality import Scores
from nf.apply.vitals import Vitals

__all__ = ["KINDS", "Kind", "Reading", "read"]

_FUNCTION = "/snf-function:network-function"
_SESSIONS = "/snf-subscribers:subscribers"
_EXPORTER = "/snf-export:exporter"

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


def _interface(name: str) -> str:
    """Return the resource of an interface."""
    quote = '"' if "'" in name else "'"
    return f"/ietf-interfaces:interfaces/interface[name={quote}{name}{quote}]"


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
