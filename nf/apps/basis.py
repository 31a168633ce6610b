"""On what ground a flow has its application, and how far that can be trusted."""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import NDArray

from nf.abi import SNF_BY_DNS, SNF_BY_SNI

__all__ = ["CONFIDENCE", "RANK", "Basis"]


class Basis(enum.IntEnum):
    """The ground of a name. The numbers are for ever, and not their order: `RANK` says which is the stronger."""

    NONE = 0
    SNI = SNF_BY_SNI  # TLS, DTLS or QUIC ClientHello
    HTTP_HOST = 2
    DNS_ANSWER = SNF_BY_DNS  # the same subscriber was told this address for a name; of a DNS flow: the name it asked
    ADDRESS = 4  # the address belongs to one application
    BEHAVIOUR = 5  # what the payload or the port looks like
    LEARNED = 6  # named flows of several clients went to this server, all of one application
    MODEL = 7  # sizes, gaps and rates look like those of a class (nf.naming.class_model)
    CONTRADICTED = 8  # the flow says a name that its server, or what it does, contradicts: no application

    @property
    def text(self) -> str:
        """The value of the published column ``app_basis``."""
        return self.name.lower()

    def beats(self, other: Basis) -> bool:
        """Say whether this ground is better than *other*."""
        return self is not Basis.NONE and RANK[self] < RANK[other]


_ORDER = (
    *(Basis.CONTRADICTED, Basis.SNI, Basis.HTTP_HOST, Basis.DNS_ANSWER, Basis.LEARNED),
    *(Basis.ADDRESS, Basis.BEHAVIOUR, Basis.MODEL, Basis.NONE),
)
RANK: NDArray[np.uint8] = np.argsort(_ORDER).astype(np.uint8)
"""By number of a ground: its place from the strongest (0) to none."""

# Percent; what a ground gives when it says nothing closer. A name in the packets is what the client asked for, and an
# address or a port what its owner said once. LEARNED and MODEL tell their own
# (nf.naming.servers, nf.naming.class_model).
CONFIDENCE: NDArray[np.uint8] = np.array([0, 99, 99, 95, 90, 80, 75, 50, 0], np.uint8)
"""By number of a ground: the published ``app_confidence`` in percent, for a flow that it gives an application."""
