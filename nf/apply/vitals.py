"""The state of the running function's parts at one moment, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nf.apply.degraded import Standing
from nf.apply.quality import Scores

__all__ = ["PortVitals", "Vitals"]


@dataclass(frozen=True, slots=True)
class PortVitals:
    """A configured interface: ``oper_status`` of RFC 8343, and ``why`` it is not attached, "" when it is."""

    oper_status: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Vitals:
    """The parts of the function now. Ages are seconds of a clock that goes on evenly."""

    interval_s: float  # the configured length of an interval
    rings_age_s: float = 0.0  # since the kernel's rings were read last
    interval_age_s: float = 0.0  # since an interval ended last
    publisher_age_s: float | None = 0.0  # since the publisher's thread turned last; None: it has ended, or never bound
    endpoint: str = ""  # as bound
    unwritable: str = ""  # why the state directory takes no file; "" it does
    ports: Mapping[str, PortVitals] = field(default_factory=dict)  # by configured name
    sessions: int = 0
    session_room: int = 1
    evicted: int = 0  # flows that left a full part of the flow table, since the start
    flow_room: int = 1
    quality: Mapping[str, Scores] = field(default_factory=dict)  # of the classes with a threshold
    degraded: tuple[Standing, ...] = ()  # subscribers whose alarms stand
    more_degraded: int = 0  # those beyond the bound
