"""Names of subscribers outside the function."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection

__all__ = ["OPTED_OUT", "Pseudonymiser"]

OPTED_OUT = "opted-out"  # the name of subscribers without records of their own

_MOST_NAMES = 262_144  # kept, because each interval asks for those of all active subscribers
_MOST_UNKNOWN = 65_536
_BYTES = 16  # of the digest: 128 bits, so that no two of 10^15 subscribers collide


class Pseudonymiser:
    """Names by HMAC-SHA-256 over the digits of the IMSI, so that all sources give one name.

    A plain hash would be undone by trying all IMSIs of an operator. An empty *key* means one that
    is drawn here and lives as long as this object. Names under *previous_key* are understood, too.
    """

    def __init__(self, key: bytes, epoch: int, previous_key: bytes = b"", opted_out: Collection[str] = ()) -> None:
        self._key, self._previous_key = key or secrets.token_bytes(32), previous_key
        self._names: dict[str, str] = {}
        self._fresh: dict[str, str] = {}
        self._unknown: dict[str, str] = {}
        self._renamed: dict[str, str] = {}  # name under the previous key, to the present one
        self.opted_out = frozenset(opted_out)
        self.epoch = epoch
        self.turn = 0  # grows when the names that were given are forgotten, so that each is given anew

    def name(self, imsi: str) -> str:
        """Return 32 hexadecimal digits, or `OPTED_OUT`."""
        name = self._names.get(imsi)
        if name is None:
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
                self._renamed.clear()
                self.turn += 1
            name = OPTED_OUT if imsi in self.opted_out else _digest(self._key, imsi)[:_BYTES].hex()
            self._names[imsi] = name
            if len(self._fresh) < _MOST_NAMES:
                self._fresh[imsi] = name
            if self._previous_key and name != OPTED_OUT:
                self._renamed[_digest(self._previous_key, imsi)[:_BYTES].hex()] = name
        return name

    def names(self, imsi: str) -> dict[str, int]:
        """Return each name that records may have of a subscriber, opted out or not, and the epoch of its key."""
        named = {_digest(self._key, imsi)[:_BYTES].hex(): self.epoch}
        if self._previous_key:
            named[_digest(self._previous_key, imsi)[:_BYTES].hex()] = max(self.epoch - 1, 0)
        return named

    def names_as(self, other: Pseudonymiser) -> bool:
        """Say whether both give the same names."""
        return self._key == other._key

    @property
    def used(self) -> bool:
        """Say whether anybody was named."""
        return bool(self._names or self.turn)

    def unknown(self, name: str) -> str:
        """Return the published name of who is known by a UE address (``ue:INSTANCE:ADDRESS``) or a tunnel (``teid:``).

        It is the kind, ``ue-`` or ``teid-``, and 32 hexadecimal digits: an address is personal data like an IMSI. They
        are of the whole name with its kind, so that no IMSI has the same. A name without a kind stays as it is.
        """
        kind, colon, _ = name.partition(":")
        if not colon:
            return name
        published = self._unknown.get(name)
        if published is None:
            if len(self._unknown) >= _MOST_UNKNOWN:
                self._unknown.clear()
            published = self._unknown[name] = f"{kind}-{_digest(self._key, name)[:_BYTES].hex()}"
            if self._previous_key and len(self._renamed) < _MOST_NAMES:
                self._renamed[f"{kind}-{_digest(self._previous_key, name)[:_BYTES].hex()}"] = published
        return published

    def behind(self, beginning: str) -> list[str]:
        """Return addresses and tunnels whose published names, as far as they are remembered, begin so."""
        return [name for name, published in list(self._unknown.items()) if published.startswith(beginning)]

    def named(self, *, again: bool = False) -> dict[str, str]:
        """Return the name of each IMSI that was named since the last call; *again*: of all that are remembered."""
        fresh, self._fresh = self._fresh, {}
        return {i: n for i, n in (self._names if again else fresh).items() if n != OPTED_OUT}

    def forget(self, imsi: str) -> None:
        """Forget that a subscriber was named."""
        name = self._names.pop(imsi, None)
        self._fresh.pop(imsi, None)
        for before in [b for b, present in self._renamed.items() if present == name]:
            del self._renamed[before]

    def current(self, name: str) -> str:
        """Return the present name for one under the previous key, if its subscriber was named since; else *name*."""
        return self._renamed.get(name, name)

    def tag(self, imsi: str) -> int:
        """Return the first 64 bits of the name, by which sessions are found."""
        return int.from_bytes(_digest(self._key, imsi)[:8], "big")

    def __repr__(self) -> str:
        return f"Pseudonymiser(epoch={self.epoch})"


def _digest(key: bytes, name: str) -> bytes:
    return hmac.digest(key, name.encode(), "sha256")
