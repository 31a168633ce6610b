"""The ways in which the same user data passes: IPv4 or IPv6, tagged or not, in a tunnel or not, begun by either end."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

from tests.kernel.packets import SERVER, SERVER6, UE, UE6, downlink, raw, uplink
from tests.kernel.rig import Rig

MS = 1_000_000
OPENER, OTHER = 40_000, 443  # ports of the end that speaks first, and of the other


@dataclass(frozen=True)
class Way:
    """One way. ``turned``: the network's end speaks first, and not the UE."""

    ipv6: bool
    tags: int
    tunnel: bool
    turned: bool

    @property
    def role(self) -> str:
        """Return the role of the port that sees it."""
        return "n3" if self.tunnel else "n6"

    def frame(self, transport: Any, back: bool = False) -> bytes:
        """Return the frame of a transport packet of the first end, or *back* to it."""
        from_ue = back == self.turned
        ends = (UE6, SERVER6) if self.ipv6 else (UE, SERVER)
        src, dst = ends if from_ue else ends[::-1]
        packet = (IPv6 if self.ipv6 else IP)(src=src, dst=dst) / transport
        if self.tunnel:
            packet = uplink(packet) if from_ue else downlink(packet)
        link = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        for tag in (Dot1AD(vlan=7), Dot1Q(vlan=8))[2 - self.tags :]:
            link = link / tag
        return raw(link / packet)

    def tcp(
        self,
        seq: int,
        size: int = 100,
        *,
        back: bool = False,
        ack: int = 1,
        flags: str = "A",
        data: bytes = b"",
        options: Sequence[tuple[str, Any]] = (),
    ) -> bytes:
        """Return the frame of a TCP segment; *size* bytes of payload, or *data*."""
        sport, dport = (OTHER, OPENER) if back else (OPENER, OTHER)
        head = TCP(
            sport=sport, dport=dport, seq=seq % (1 << 32), ack=ack % (1 << 32), flags=flags, options=list(options)
        )
        return self.frame(head / Raw(data or b"\x55" * size), back)

    def udp(self, payload: bytes, *, back: bool = False) -> bytes:
        """Return the frame of a UDP datagram."""
        sport, dport = (OTHER, OPENER) if back else (OPENER, OTHER)
        return self.frame(UDP(sport=sport, dport=dport) / Raw(payload), back)

    def play(self, rig: Rig, *packets: tuple[float, bytes]) -> Any:
        """Run (milliseconds, frame) packets; return the flow, of each pair first what the first end sent."""
        start = rig.now_ns
        for at_ms, frame in packets:
            rig.run(frame, self.role, start + round(at_ms * MS) + MS - rig.now_ns)
        return rig.flow()


def _name(way: Way) -> str:
    return "-".join(
        (
            "ipv6" if way.ipv6 else "ipv4",
            *([f"{way.tags} tags"] if way.tags else []),
            *(["gtpu"] if way.tunnel else []),
            *(["turned"] if way.turned else []),
        )
    )


WAYS = {
    _name(way): way
    for way in (
        Way(ipv6, n % 3, tunnel, turned)
        for n, (ipv6, tunnel, turned) in enumerate(itertools.product((False, True), repeat=3))
    )
}


def pair(value: Any) -> tuple[int, int]:
    """Return both directions of a field: of the first packet's, and back."""
    return int(value[0]), int(value[1])
