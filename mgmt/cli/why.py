"""Reasons for a ``-`` on the screen, in words, counted over the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mgmt.cli.board import Row, part
from mgmt.cli.cells import value

__all__ = ["reasons"]

_ROUND_TRIP = "none was timed: little traffic, or none that tells (TCP, the spin bit of QUIC, RTCP)"


def reasons(rows: Sequence[Row]) -> list[tuple[str, int, str]]:
    """Return (title of the column, rows, reason) for all that is missing in some rows, the columns in their order."""
    found: list[tuple[str, int, str]] = []
    for title, why in _WHY.items():
        counted = Counter(reason for row in rows if (reason := why(row)))
        found += [(title, count, reason) for reason, count in counted.most_common()]
    return found


def _missing(column: str, reason: str) -> Callable[[Row], str]:
    return lambda row: reason if value(row.record, column) is None else ""


def _no_name(row: Row) -> str:
    record: Mapping[str, Any] = row.record
    if record.get("app"):
        return ""
    basis = record.get("app_basis")
    if basis == "contradicted":
        return "its flows say a name that their server contradicts; the class stands in brackets"
    if basis == "model":
        return "no name was seen: the class, in brackets, is by the behaviour of its packets"
    return "no name, address or behaviour told the application; the class stands in brackets"


def _no_loss(row: Row) -> str:
    if part(row, "loss") is not None:
        return ""
    return "neither TCP segments nor RTP packets, of which alone losses are seen"


def _no_score(row: Row) -> str:
    if value(row.record, "mos") is not None:
        return ""
    said = str(row.record.get("unmeasured") or "")
    if said:
        return said
    if row.app_class in ("unknown", "vpn"):
        return f"the class {row.app_class} has no score: nobody knows what its user expects"
    return "too little was measured in the interval"


_WHY: Mapping[str, Callable[[Row], str]] = {
    "application": _no_name,
    "up": _missing("ul_bps", "the function did not tell the rate"),
    "down": _missing("dl_bps", "the function did not tell the rate"),
    "access": _missing("rtt_access_ms", _ROUND_TRIP),
    "core": _missing("rtt_core_ms", _ROUND_TRIP),
    "loss": _no_loss,
    "MOS": _no_score,
}
