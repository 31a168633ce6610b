"""Frames that a port does not read though they may hold subscribers' packets, in words: share, name, remedy."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["not_read"]

_LEAST = 0.01  # share of the frames from which on a kind is told

# By counter of abi.h: the kind of frames in words, and the value of encapsulation with which it is read.
_KINDS = {
    "vlan_too_deep": ("behind more than three VLAN tags", "vlan-tags"),
    "sgt_unread": ("behind a group tag of Cisco TrustSec", "cisco-sgt"),
    "mpls_unread": ("MPLS", "mpls"),
    "vxlan_unread": ("VXLAN", "vxlan"),
    "gre_unread": ("GRE", "gre"),
    "erspan_unread": ("ERSPAN", "erspan"),
    "ethernet_unread": ("Ethernet frames in GTP-U", "ethernet-session"),
}
_OTHERS = {
    "macsec_unread": ("encrypted by MACsec", "Copy them behind the switch that decrypts them."),
    "pbb_unread": ("provider backbone bridging", "Copy them where they leave the provider's network."),
    "not_ip": ("neither IPv4 nor IPv6", "See what the port carries: tcpdump -e -c 20."),
    "not_gtpu": ("no GTP-U, on a port for N3", "Check the role of the port."),
}


def not_read(counters: Mapping[str, int], *, settable: bool = True) -> list[str]:
    """Return a sentence for each kind that is a hundredth of the frames or more, the largest share first.

    *settable*: there is a leaf encapsulation to set; a replay reads all that can be.
    """
    frames = counters.get("frames", 0)
    if not frames:
        return []
    shares = [(counters.get(name, 0) / frames, name) for name in (*_KINDS, *_OTHERS)]
    return [_sentence(share, name, settable) for share, name in sorted(shares, reverse=True) if share >= _LEAST]


def _sentence(share: float, name: str, settable: bool) -> str:
    what, remedy = _KINDS.get(name) or _OTHERS[name]
    said = f"{100 * share:.0f} % of frames are {what}: not read."
    if name in _OTHERS:
        return f"{said} {remedy}"
    return (
        f"{said} Set encapsulation to auto or {remedy}." if settable else f"{said} It is of a form that is not known."
    )
