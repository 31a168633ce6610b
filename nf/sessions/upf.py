"""The UPF's treatment of signalled sessions: tunnels that it knows no more, packets that stay in it.

A UPF that was restarted, or that wiped the sessions of an SMF, says nothing on N4; it answers user data with error
indications, and what comes in on one side does not come out on the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nf.kernel.ask import Ask
from nf.sessions import BindingStore, Found

__all__ = ["with_upf"]

_LATE = 2  # packets that may be on their way through the UPF, or in a queue of it, at this moment


def with_upf(found: Sequence[Found], plane: Ask, store: BindingStore, offset_s: float) -> list[Found]:
    """Return the sessions with what the kernel counted of them; *offset_s*: of the kernel's clock to the store's."""
    if not found:
        return []
    errors: Counter[int] = Counter()
    for address, teid, count, last_ns in plane.read_tunnel_errors():
        binding = store.by_tunnel(address, teid)
        if binding is not None and last_ns / 1e9 + offset_s >= binding.first_s:
            errors[binding.index] += count
    numbers, transits = plane.read_transits()
    rows = {int(number): row for row, number in enumerate(numbers)}
    told = []
    for session in found:
        seen = passed = np.zeros(2, np.int64)
        if (row := rows.get(session.number)) is not None:
            seen, passed = transits["seen"][row].astype(np.int64), transits["n"][row].astype(np.int64)
        lost = np.maximum(seen - passed - _LATE, 0)
        told.append(
            replace(
                session,
                error_indications=errors[session.number],
                followed=(int(seen[0]), int(seen[1])),
                lost=(int(lost[0]), int(lost[1])),
            )
        )
    return told
