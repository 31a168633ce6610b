"""On what ground a flow has its application."""

from __future__ import annotations

import enum

__all__ = ["Basis"]


class Basis(enum.IntEnum):
    """The ground of a name; a smaller number is the stronger ground, and NONE is no ground at all."""

    NONE = 0
    SNI = 1  # TLS, DTLS or QUIC ClientHello
    HTTP_HOST = 2
    DNS_ANSWER = 3  # the same subscriber was told this address for a name; of a DNS flow: the name it asked
    ADDRESS = 4  # the address belongs to one application
    BEHAVIOUR = 5  # what the payload or the port looks like

    @property
    def text(self) -> str:
        """The value of the published column ``app_basis``."""
        return self.name.lower()

    def beats(self, other: Basis) -> bool:
        """Say whether this ground is better than *other*."""
        return self is not Basis.NONE and (other is Basis.NONE or self < other)
