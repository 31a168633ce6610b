"""Echoes of GTP-U paths as columns: how long the answers of far ends took (TS 29.281, 7.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.kernel.addresses import address_text

__all__ = ["NO_ECHOES", "Echoes", "echoes"]

_TextColumn = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Echoes:
    """Columns (p,) of the paths on which an echo was answered, sorted by *path*."""

    path: NDArray[np.int64]  # a number that stays with its two ends
    responder: _TextColumn  # the end that answered: from the probe to it and back is what was timed
    last_ms: NDArray[np.float64]
    at_s: NDArray[np.float64]  # when the last one came, by the kernel's clock

    def __len__(self) -> int:
        return len(self.path)


_NONE = np.zeros(0)
NO_ECHOES = Echoes(np.zeros(0, np.int64), np.zeros(0, object), _NONE, _NONE)


def echoes(keys: NDArray[np.void], paths: NDArray[np.void]) -> Echoes:
    """Return the columns of paths (``struct path_key``, ``struct path``) that were timed."""
    timed = np.flatnonzero(paths["rtt_n"])
    if not len(timed):
        return NO_ECHOES
    froms, tos = (_raw(keys[end][timed]) for end in ("from", "to"))
    path = np.fromiter(map(hash, zip(froms, tos, strict=True)), np.int64, len(timed))
    order = np.argsort(path)
    responder = np.array(list(map(address_text, tos)), object)[order]

    def column(name: str, unit: float) -> NDArray[np.float64]:
        values: NDArray[Any] = paths[name][timed]
        return values[order] * unit

    return Echoes(
        path[order],
        responder,
        last_ms=column("rtt_last_us", 1e-3),
        at_s=column("rtt_last_ns", 1e-9),
    )


def _raw(addresses: NDArray[np.uint8]) -> list[bytes]:
    octets = np.ascontiguousarray(addresses).tobytes()
    return [octets[at : at + 16] for at in range(0, len(octets), 16)]
