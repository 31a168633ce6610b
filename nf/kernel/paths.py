"""GTP-U paths as the kernel counts them (``struct path``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.kernel.addresses import address_text

__all__ = ["Path", "paths"]


@dataclass(frozen=True, slots=True)
class Path:
    """A GTP-U path (TS 29.281, 4.2.1) with its echoes and error indications. RTTs are 0 without a sample."""

    requester: str
    responder: str
    requests: int
    responses: int
    error_indications: int
    rtt_samples: int
    rtt_min_us: int
    rtt_mean_us: int
    rtt_last_us: int


def paths(keys: NDArray[np.void], values: NDArray[np.void]) -> list[Path]:
    """Return the paths of map entries, by their ends."""
    found = [
        Path(
            address_text(k["from"].tobytes()),
            address_text(k["to"].tobytes()),
            requests=int(v["requests"]),
            responses=int(v["responses"]),
            error_indications=int(v["error_indications"]),
            rtt_samples=int(v["rtt_n"]),
            rtt_min_us=int(v["rtt_min_us"]),
            rtt_mean_us=int(v["rtt_sum_us"] // max(int(v["rtt_n"]), 1)),
            rtt_last_us=int(v["rtt_last_us"]),
        )
        for k, v in zip(keys, values, strict=True)
    ]
    return sorted(found, key=lambda path: (path.requester, path.responder))
