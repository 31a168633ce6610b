"""Reasons why bytes gave no name. All are expected events: a caller counts them, and a parser raises no others.

NoName            the family
├── NotThis       another protocol: try the next parser
├── NeedMore      so far it is this protocol: bring the next packet
└── Malformed     it claims to be this protocol and is not
"""

from __future__ import annotations

__all__ = ["Malformed", "NeedMore", "NoName", "NotThis"]


class NoName(Exception):
    """Bytes gave no name."""


class NotThis(NoName):
    """The bytes are of another protocol."""


class NeedMore(NoName):
    """The bytes are the beginning of something; more of them may hold the name."""


class Malformed(NoName):
    """The bytes claim to be of this protocol and contradict it."""
