"""Is the function healthy: named checks of its parts, each with a sentence, and a verdict over all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nf.apply.vitals import Vitals

__all__ = ["CHECKS", "Check", "check", "is_healthy"]

# The thread that reads the rings also sweeps, which takes a second or two with a full flow table (docs/scaling.md).
_RINGS_S = 10.0
_LATE_S = 10.0  # by which an interval may end after it was due, for the same reason
_BEATS_S = 5.0  # the publisher's thread turns each second, with its heartbeat
_FULL = 0.95  # of the session table


@dataclass(frozen=True, slots=True)
class Check:
    """One part: is it ``good``, and a sentence that says what was seen and, if it is bad, what to do."""

    name: str
    good: bool
    text: str


def check(vitals: Vitals) -> tuple[Check, ...]:
    """Return all checks, in the order of `CHECKS`."""
    return tuple(Check(name, *look(vitals)) for name, look in CHECKS.items())


def is_healthy(checks: Sequence[Check]) -> bool:
    """Say whether all checks are good."""
    return all(each.good for each in checks)


def _attached(v: Vitals) -> tuple[bool, str]:
    bad = [f"{name}: {port.why.rstrip('.')}." for name, port in sorted(v.ports.items()) if port.why]
    if bad:
        return False, f"{' '.join(bad)} They are attached when that is over; a commit may change or remove them."
    return True, f"{len(v.ports)} of {len(v.ports)} interfaces are attached."


def _links(v: Vitals) -> tuple[bool, str]:
    down = [f"{n} is {p.oper_status}" for n, p in sorted(v.ports.items()) if p.oper_status not in ("up", "not-present")]
    if down:
        return False, f"{', '.join(down)}. Look at the cable, and at: ip -brief link."
    return True, "The links of all interfaces that are there are up."


def _rings(v: Vitals) -> tuple[bool, str]:
    said = f"The kernel's rings were read {v.rings_age_s:.1f} s ago"
    return _judged(v.rings_age_s <= _RINGS_S, said, "The machine is too busy, or the loop hangs: see the log.")


def _intervals(v: Vitals) -> tuple[bool, str]:
    said = f"An interval of {v.interval_s:.1f} s ended {v.interval_age_s:.1f} s ago"
    return _judged(
        v.interval_age_s <= v.interval_s + _LATE_S, said, "The machine is too busy, or intervals fail: see the log."
    )


def _publisher(v: Vitals) -> tuple[bool, str]:
    if v.publisher_age_s is None:
        return False, "The publisher has ended. See the log, and restart the function."
    said = f"The publisher is bound to {v.endpoint} and turned {v.publisher_age_s:.1f} s ago"
    return _judged(v.publisher_age_s <= _BEATS_S, said, "Its thread hangs: see the log.")


def _store(v: Vitals) -> tuple[bool, str]:
    if v.unwritable:
        return False, f"The state directory takes no file: {v.unwritable}. Make room, or give it back to the function."
    return True, "The state directory takes files."


def _session_table(v: Vitals) -> tuple[bool, str]:
    said = f"{v.sessions} of {v.session_room} sessions are known"
    return _judged(v.sessions < _FULL * v.session_room, said, "Raise limits/sessions and restart the function.")


def _judged(good: bool, said: str, remedy: str) -> tuple[bool, str]:
    return good, f"{said}." if good else f"{said}. {remedy}"


CHECKS: dict[str, Callable[[Vitals], tuple[bool, str]]] = {
    "interfaces-attached": _attached,
    "links-up": _links,
    "rings-read": _rings,
    "intervals-end": _intervals,
    "publisher-bound": _publisher,
    "state-directory-writable": _store,
    "session-table-has-room": _session_table,
}
"""The checks by name."""
