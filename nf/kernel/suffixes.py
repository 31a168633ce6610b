"""Domain suffixes as the kernel looks them up: by the FNV-1a hash of their bytes from the last to the first.

FNV-1a: draft-eastlake-fnv, 64 bits. `bpf/names.h` computes the same over a host name and asks at each label boundary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["ASK", "LONGEST", "suffix_hashes", "suffix_table"]

ASK = 0xFFFF  # NAMING_ASK of answers.h
LONGEST = 64  # SNF_NAME of abi.h
_OFFSET, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


def suffix_hashes(names: list[str]) -> NDArray[np.uint64]:
    """Return the hash of each name, a column at a time."""
    if not names:
        return np.zeros(0, np.uint64)
    backwards = np.array([name.encode("ascii")[::-1] for name in names])
    letters = backwards.view(np.uint8).reshape(len(names), -1)
    lengths = np.array([len(name) for name in names])
    hashes = np.full(len(names), _OFFSET)
    for at in range(letters.shape[1]):
        step = (hashes ^ letters[:, at].astype(np.uint64)) * _PRIME  # modulo 2**64
        hashes = np.where(at < lengths, step, hashes)
    return hashes


def suffix_table(apps: Mapping[str, int], ask: Iterable[str] = ()) -> tuple[NDArray[np.uint64], NDArray[np.uint16]]:
    """Return (hashes, applications), each hash once.

    *ask* are suffixes whose names user space reads. So are names of two suffixes that have one hash.
    """
    table = {**apps, **dict.fromkeys(ask, ASK)}
    names = [name for name in table if len(name) <= LONGEST]
    hashes, at, count = np.unique(suffix_hashes(names), return_index=True, return_counts=True)
    values = np.array([table[name] for name in names], np.uint16)[at] if names else np.zeros(0, np.uint16)
    return hashes, np.where(count > 1, np.uint16(ASK), values)
