"""Public keys of users, as OpenSSH writes them: the kinds that log in, and the check that one is whole."""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["KEY_TYPES", "public_key"]

KEY_TYPES = frozenset({"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"})
_MIN_RSA_BITS = 2048  # NIST SP 800-131A revision 2


def public_key(kind: str, text: str) -> bytes:
    """Return a key as it is on the wire, of the first two words of a ``.pub`` file.

    Raises ValueError with the end of a sentence about it, and with what to do.
    """
    try:
        blob = base64.b64decode(text, validate=True)
        key = serialization.load_ssh_public_key(f"{kind} {text}".encode())
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        raise ValueError("a public key that is damaged.", "Copy the .pub file again.") from None
    if isinstance(key, RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
        raise ValueError(f"an RSA key of less than {_MIN_RSA_BITS} bits.", "Use ed25519.")
    return blob
