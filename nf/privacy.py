"""How a subscriber is named outside the function."""

from __future__ import annotations

import hmac
import secrets

__all__ = ["Pseudonymiser"]

_MOST_NAMES = 262_144  # kept, because each interval asks for those of all active subscribers
_BYTES = 16  # of the digest: 128 bits, so that no two of 10^15 subscribers collide


class Pseudonymiser:
    """Names by HMAC-SHA-256 over the digits of the IMSI, so that all sources give one name.

    A plain hash would be undone by trying all IMSIs of an operator. An empty *key* means one that
    is drawn here and lives as long as this object.
    """

    def __init__(self, key: bytes, epoch: int) -> None:
        self._key = key or secrets.token_bytes(32)
        self._names: dict[str, str] = {}
        self.epoch = epoch

    def name(self, imsi: str) -> str:
        """Return 32 hexadecimal digits."""
        name = self._names.get(imsi)
        if name is None:
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            name = hmac.digest(self._key, imsi.encode("ascii"), "sha256")[:_BYTES].hex()
            self._names[imsi] = name
        return name

    def tag(self, imsi: str) -> int:
        """Return the first 64 bits of the name, by which sessions are found."""
        return int.from_bytes(hmac.digest(self._key, imsi.encode("ascii"), "sha256")[:8], "big")

    def __repr__(self) -> str:
        return f"Pseudonymiser(epoch={self.epoch})"
