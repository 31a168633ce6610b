"""How a subscriber is named outside the function."""

from __future__ import annotations

import hashlib
import hmac
import secrets

__all__ = ["Pseudonymiser"]

_BYTES = 16  # of the digest: 128 bits, so that no two of 10^15 subscribers collide


class Pseudonymiser:
    """Names by HMAC-SHA-256 over the digits of the IMSI, so that all sources give one name.

    A plain hash would be undone by trying all IMSIs of an operator. An empty *key* means one that
    is drawn here and lives as long as this object.
    """

    def __init__(self, key: bytes, epoch: int) -> None:
        self._key = key or secrets.token_bytes(32)
        self.epoch = epoch

    def name(self, imsi: str) -> str:
        """Return 32 hexadecimal digits."""
        return hmac.new(self._key, imsi.encode("ascii"), hashlib.sha256).digest()[:_BYTES].hex()

    def __repr__(self) -> str:
        return f"Pseudonymiser(epoch={self.epoch})"
