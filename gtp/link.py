"""Headers before the IP packet of a frame, and tunnels of a mirror: offsets into bytes, nothing else.

Read are VLAN tags (IEEE 802.1Q), the tag of Cisco TrustSec (ethertype 0x8909), MPLS with up to three labels and with
pseudowires (RFC 3032, RFC 4448), PPPoE sessions (RFC 2516); VXLAN (RFC 7348), GRE (RFC 2784, RFC 2890) and ERSPAN I to
III in it (draft-foschiano-erspan). The program reads the same (``bpf/outer.h``).
"""

from __future__ import annotations

__all__ = ["GRE", "IPV4", "IPV6", "VXLAN", "in_gre", "ip_packet"]

IPV4, IPV6 = 0x0800, 0x86DD
GRE = 47  # IP protocol number
VXLAN = 4789  # UDP port
_VLANS = frozenset((0x8100, 0x88A8, 0x9100))
_MPLS, _SGT, _PPPOE = frozenset((0x8847, 0x8848)), 0x8909, 0x8864
_PPP = {0x0021: IPV4, 0x0057: IPV6}
_BRIDGED, _ERSPAN, _ERSPAN3 = 0x6558, 0x88BE, 0x22EB
_MAX_STEPS, _MAX_LABELS = 12, 3
_CHECKSUM, _ROUTING, _KEY, _SEQUENCE, _VERSION = 0x8000, 0x4000, 0x2000, 0x1000, 0x0007  # flags of GRE


def ip_packet(frame: bytes, at: int = 0) -> tuple[int, int] | None:
    """Return (ethertype, offset) of the IP packet of the Ethernet frame at *at*; None when there is none."""
    kind, here = int.from_bytes(frame[at + 12 : at + 14], "big"), at + 14
    for _ in range(_MAX_STEPS):
        if kind in (IPV4, IPV6):
            return kind, here
        if kind in _VLANS:
            kind, here = int.from_bytes(frame[here + 2 : here + 4], "big"), here + 4
        elif kind == _SGT:
            kind, here = int.from_bytes(frame[here + 6 : here + 8], "big"), here + 8
        elif kind == _PPPOE:
            kind, here = _PPP.get(int.from_bytes(frame[here + 6 : here + 8], "big"), 0), here + 8
        elif kind in _MPLS:
            return _behind_labels(frame, here)
        else:
            return None
    return None


def _behind_labels(frame: bytes, at: int) -> tuple[int, int] | None:
    """Return (ethertype, offset) of the IP packet behind MPLS labels; None when there is none.

    Labels do not tell their content: IP begins with its version, a pseudowire with a control word or none (RFC 4448).
    """
    for _ in range(_MAX_LABELS):
        entry, at = frame[at : at + 4], at + 4
        if len(entry) == 4 and entry[2] & 1:
            begin = frame[at : at + 2]
            version = begin[0] >> 4 if begin else 0
            if version in (4, 6):
                return (IPV4 if version == 4 else IPV6), at
            return ip_packet(frame, at + 4 if begin == b"\0\0" else at)
    return None


def in_gre(frame: bytes, at: int) -> tuple[int, int] | None:
    """Return (ethertype, offset) of the IP packet in the GRE packet at *at*; None when it holds none that is read."""
    flags, kind = int.from_bytes(frame[at : at + 2], "big"), int.from_bytes(frame[at + 2 : at + 4], "big")
    if len(frame) < at + 4 or flags & (_ROUTING | _VERSION):
        return None
    here = at + 4 + 4 * sum(bool(flags & bit) for bit in (_CHECKSUM, _KEY, _SEQUENCE))
    if kind in (IPV4, IPV6):
        return kind, here
    if kind in _MPLS:
        return _behind_labels(frame, here)
    if kind == _ERSPAN:  # type II has a header and numbers its packets, type I has neither
        return ip_packet(frame, here + 8 if flags & _SEQUENCE else here)
    if kind == _ERSPAN3 and len(frame) >= here + 12:
        more = 8 if frame[here + 11] & 1 else 0  # the platform's own part
        return ip_packet(frame, here + 12 + more)
    return ip_packet(frame, here) if kind == _BRIDGED else None
