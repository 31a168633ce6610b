"""Subscribers of the page: pseudonyms on request, and until then labels that mean nothing outside of this process.

A label is made of a handle, which is the pseudonym encrypted under a key that this process made and forgets: who sees
the page, its links or a picture of it cannot compare it with records elsewhere, and the page can still ask for a
subscriber by his handle.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from feed.errors import SnfError

__all__ = ["Mask"]

_PREFIX = "~"  # no published name begins with it
_LABEL_LENGTH = 6  # of 32 symbols: of 10,000 subscribers on one page two have one label in 1 of 20 pages


class Mask:
    """Handles and labels of subscribers; one key for the life of the process."""

    def __init__(self) -> None:
        self._cipher = AESSIV(AESSIV.generate_key(256))

    def handle(self, name: str) -> str:
        """Return the text by which the page asks for a subscriber."""
        return _PREFIX + base64.urlsafe_b64encode(self._cipher.encrypt(name.encode(), None)).decode().rstrip("=")

    def label(self, name: str) -> str:
        """Return what stands for a subscriber on the page."""
        digest = hashlib.sha256(self.handle(name).encode()).digest()
        return "••• " + base64.b32encode(digest).decode()[:_LABEL_LENGTH]

    def name(self, text: str) -> str:
        """Return the published name of a handle, or the name itself; raises SnfError for one of another process."""
        if not text.startswith(_PREFIX):
            return text
        try:
            sealed = base64.urlsafe_b64decode(text[1:] + "=" * (-len(text[1:]) % 4))
            return self._cipher.decrypt(sealed, None).decode()
        except (InvalidTag, binascii.Error, ValueError):
            raise SnfError("This link was made before the page was started anew.", "Choose him in the list.") from None
