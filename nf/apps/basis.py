"""Grounds on which flows have their applications, and how far each can be trusted."""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import NDArray

from nf.abi import SNF_BY_DNS, SNF_BY_SNI

__all__ = ["CONFIDENCE", "RANK", "Basis"]


class Basis(enum.IntEnum):
    """The ground of a name. The numbers never change and have no order: `RANK` says which ground is stronger."""

    NONE = 0
    SNI = SNF_BY_SNI  # TLS, DTLS or QUIC ClientHello
    HTTP_HOST = 2
    DNS_ANSWER = SNF_BY_DNS  # DNS told the same subscriber this address for a name; of a DNS flow: the name it asked
    ADDRESS = 4  # the address belongs to one application
    BEHAVIOUR = 5  # payload or port look like a protocol of the application
    LEARNED = 6  # named flows of several clients went to this server, all of one application
    MODEL = 7  # sizes, gaps and rates look like those of a class (nf.naming.class_model)
    CONTRADICTED = 8  # the flow says a name that its server or its behaviour contradicts: no application

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
"""Place of each ground, by its number: from the strongest (0) to none."""

# Percent; a ground's value unless the ground gives its own. A name in the packets is the one that the client asked
# for; an address or a port is a former statement of its owner. LEARNED and MODEL give their own
# (nf.naming.servers, nf.naming.class_model).
CONFIDENCE: NDArray[np.uint8] = np.array([0, 99, 99, 95, 90, 80, 75, 50, 0], np.uint8)
"""Published ``app_confidence`` in percent of a flow that a ground gives an application, by the ground's number."""
