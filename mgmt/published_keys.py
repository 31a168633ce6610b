"""Keys that were in examples of this function: everybody knows them, so they keep nothing secret and are refused."""

from __future__ import annotations

import hashlib

from nf.errors import BadSettings

__all__ = ["is_published", "refuse"]

_DIGESTS = frozenset(  # SHA-256 of the text of each
    {
        "9dfd9fe13af9d0ce6a0babfdc6f04e4fff297468a08d35dcb29dfbc01b90e52c",
        "8403f15b7bee943b0c1a44bee8df071eea193995f7d26e5a7649667a083895e7",
        "84112785d1092a7effc25904531ada7645a94a66e2492e45bf9ce7597b2c0323",
        "905f28def18eaac05ae6f12b2c3452744afaf626da1343d57b395b544e0519b6",
        "d4a8162b67bdfe78fcc3ca296c0f7790bb0fcca6f6da24baf4e5d87a8993141e",
    }
)


def is_published(key: str) -> bool:
    """Say whether a key was in an example."""
    return hashlib.sha256(key.encode()).hexdigest() in _DIGESTS


def refuse(key: str, path: str) -> None:
    """Raise BadSettings, which names *path*, when *key* was in an example."""
    if is_published(key):
        raise BadSettings(
            "The key is one of an example, which everybody can read.", path, "Make keys of your own: snf keys DIR"
        )
