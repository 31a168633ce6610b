"""Delays that no single packet of a subscriber shows: of the radio network, of N3, and inside the UPF.

The kernel sums the delays in PDU Session Containers (``struct delay``, by session and QoS flow) and the transit times
of packets seen on both N3 and N6 (``struct transit``, by session); here both become means of an interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feed.records import DELAY_COLUMNS
from nf.flows.echoes import NO_ECHOES, Echoes
from nf.flows.search import values_at

__all__ = ["DelayInterval", "Delays"]

Means = Mapping[str, NDArray[np.float32]]
_Sums = dict[str, tuple[NDArray[np.uint64], NDArray[np.uint64], float]]  # column to (sum, samples, unit in ms)


@dataclass(frozen=True, slots=True)
class DelayInterval:
    """Means of one interval in milliseconds; NaN where nothing was measured."""

    session: NDArray[np.uint64]  # sorted
    of_session: Means
    flow: NDArray[np.uint64]  # session and QFI as `qos_flow` joins them, sorted
    of_flow: Means
    echoes: Echoes = NO_ECHOES  # of paths, so far

    def sessions(self, numbers: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """Return DELAY_COLUMNS for sessions by number, over all their QoS flows."""
        return {n: _at(self.session, self.of_session.get(n), numbers) for n in DELAY_COLUMNS}

    def flows(self, session: NDArray[Any], qfi: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """Return DELAY_COLUMNS for QoS flows; the delay of the UPF is one for the whole session."""
        by_flow, by_session = qos_flow(session, qfi), session
        return {
            n: _at(self.flow, self.of_flow[n], by_flow)
            if n in self.of_flow
            else _at(self.session, self.of_session.get(n), by_session)
            for n in DELAY_COLUMNS
        }


_NOTHING = DelayInterval(
    np.zeros(0, np.uint64),
    dict.fromkeys(DELAY_COLUMNS, np.zeros(0, np.float32)),
    np.zeros(0, np.uint64),
    dict.fromkeys(DELAY_COLUMNS[:3], np.zeros(0, np.float32)),  # those of the UPF are of a whole session
)


def qos_flow(session: NDArray[Any], qfi: NDArray[Any]) -> NDArray[np.uint64]:
    """Return one number for a session and a QoS flow identifier (6 bits, TS 38.415, 5.5.3.3)."""
    return session.astype(np.uint64) << np.uint64(6) | qfi.astype(np.uint64)


def _at(keys: NDArray[np.uint64], values: NDArray[np.float32] | None, wanted: NDArray[Any]) -> NDArray[np.float32]:
    if values is None:
        return np.full(len(wanted), np.nan, np.float32)
    return values_at(keys, values, wanted, np.nan)


class Delays:
    """The sums of the last read, from which `update` makes the means of an interval."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[NDArray[np.uint64], _Sums]] = {}

    def update(
        self,
        delays: tuple[NDArray[np.void], NDArray[np.void]],
        transits: tuple[NDArray[np.uint32], NDArray[np.void]],
        paths: Echoes = NO_ECHOES,
    ) -> DelayInterval:
        """Return the means of the samples since the last call.

        *delays* are session and QFI with ``struct delay`` of each, *transits* sessions with their ``struct transit``;
        *paths* are handed on.
        """
        keys, delay = delays
        if not len(keys) and not len(transits[0]) and not any(len(known) for known, _ in self._before.values()):
            return replace(_NOTHING, echoes=paths)  # most sites measure none
        session, qfi = keys["session"].astype(np.uint64), keys["qfi"].astype(np.uint64)
        known = session > 0
        numbers, transit = transits
        radio: _Sums = {
            "ran_ul_ms": (_u8(delay["ran_sum_ms"][:, 0]), _u8(delay["ran_n"][:, 0]), 1.0),
            "ran_dl_ms": (_u8(delay["ran_sum_ms"][:, 1]), _u8(delay["ran_n"][:, 1]), 1.0),
            "n3_rtt_ms": (_u8(delay["n3_sum_us"]), _u8(delay["n3_n"]), 1e-3),
        }
        radio = {n: (total[known], samples[known], unit) for n, (total, samples, unit) in radio.items()}
        upf: _Sums = {
            "upf_ul_ms": (_u8(transit["sum_us"][:, 0]), _u8(transit["n"][:, 0]), 1e-3),
            "upf_dl_ms": (_u8(transit["sum_us"][:, 1]), _u8(transit["n"][:, 1]), 1e-3),
        }
        flow, of_flow = self._means("flow", qos_flow(session[known], qfi[known]), radio)
        both = np.union1d(session[known], numbers.astype(np.uint64))
        of_session = {n: _gathered(both, session[known], sums) for n, sums in radio.items()}
        of_session |= {n: _gathered(both, numbers.astype(np.uint64), sums) for n, sums in upf.items()}
        sessions, means = self._means("session", both, of_session)
        return DelayInterval(sessions, means, flow, of_flow, paths)

    def _means(self, what: str, keys: NDArray[np.uint64], sums: _Sums) -> tuple[NDArray[np.uint64], Means]:
        order = np.argsort(keys)
        keys = keys[order]
        sums = {n: (total[order], samples[order], unit) for n, (total, samples, unit) in sums.items()}
        old_keys, old = self._before.get(what, (np.zeros(0, np.uint64), {}))
        self._before[what] = keys, sums
        means = {}
        nothing = np.zeros(0, np.uint64)
        for name, (total, samples, unit) in sums.items():
            old_total, old_samples, _ = old.get(name, (nothing, nothing, unit))
            grown = total - _count_at(old_keys, old_total, keys, total)
            n = samples - _count_at(old_keys, old_samples, keys, samples)
            means[name] = np.where(n > 0, grown * unit / np.maximum(n, 1), np.nan).astype(np.float32)
        return keys, means


def _u8(values: NDArray[Any]) -> NDArray[np.uint64]:
    return values.astype(np.uint64)


def _gathered(keys: NDArray[np.uint64], of: NDArray[np.uint64], sums: Any) -> Any:
    """Return sums by *keys*: for each key the total of the rows whose key in *of* equals it."""
    total, samples, unit = sums
    at = np.searchsorted(keys, of)
    return (
        np.bincount(at, total, len(keys)).astype(np.uint64),
        np.bincount(at, samples, len(keys)).astype(np.uint64),
        unit,
    )


def _count_at(
    keys: NDArray[np.uint64], values: NDArray[np.uint64], wanted: NDArray[np.uint64], now: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Return the count before of each key; 0 for a new key, or one that began anew and so is less than before."""
    old = values_at(keys, values, wanted)
    return np.where(old <= now, old, 0).astype(np.uint64)
