"""Subscriber, frames and expectations: what is sent into N3 and what must come out."""

from __future__ import annotations

import random
from collections.abc import Iterator

__all__ = ["FRAMES", "IMSI", "frames", "octets", "session"]

FRAMES = 500
IMSI = "001010000000042"
_UE, _SERVER = "10.45.1.42", "192.0.2.80"
_TEID = 0x1042
_SEED = 29_281


def session() -> str:
    """Return a static session, the configuration that names whoever has the tunnel of the frames."""
    return (
        '<subscribers xmlns="urn:supernetflow:yang:snf-subscribers"><static-session><name>phone</name>'
        f"<imsi>{IMSI}</imsi><ue-ipv4>{_UE}</ue-ipv4><dnn>internet</dnn>"
        "<network-instance>internet</network-instance>"
        f"<uplink><address>10.10.0.2</address><teid>{_TEID}</teid></uplink></static-session></subscribers>"
    )


def frames(number: int = FRAMES) -> Iterator[bytes]:
    """Yield GTP-U frames as a gNB sends them for the subscriber: packets of all lengths."""
    from scapy.layers.inet import IP, UDP
    from scapy.packet import Raw

    from tests.kernel.packets import ether, gtpu, outer, psc

    dice = random.Random(_SEED)
    for _ in range(number):
        inner = IP(src=_UE, dst=_SERVER) / UDP(sport=40_000, dport=443)
        yield ether(
            outer()
            / gtpu(teid=_TEID, E=1, next_ex=0x85)
            / psc(1)
            / inner
            / Raw(dice.randbytes(dice.randrange(1, 1200)))
        )


def octets(number: int = FRAMES) -> int:
    """Return the bytes of the inner IP packets of the frames."""
    outside = 14 + 20 + 8 + 12 + 4  # Ethernet, IPv4, UDP, GTP-U with its optional part, PDU Session Container
    return sum(len(frame) - outside for frame in frames(number))
