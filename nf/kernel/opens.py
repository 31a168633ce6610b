"""Encapsulations as the programs know them."""

from __future__ import annotations

from nf.abi import (
    SNF_OPEN_ERSPAN,
    SNF_OPEN_ETHERNET,
    SNF_OPEN_GRE,
    SNF_OPEN_MPLS,
    SNF_OPEN_RAW_IP,
    SNF_OPEN_SGT,
    SNF_OPEN_TAGS,
    SNF_OPEN_VXLAN,
)
from nf.settings import Encapsulation

__all__ = ["bits"]

_OPENS = {
    Encapsulation.VLAN_TAGS: SNF_OPEN_TAGS,
    Encapsulation.CISCO_SGT: SNF_OPEN_SGT,
    Encapsulation.MPLS: SNF_OPEN_MPLS,
    Encapsulation.VXLAN: SNF_OPEN_VXLAN,
    Encapsulation.GRE: SNF_OPEN_GRE,
    Encapsulation.ERSPAN: SNF_OPEN_ERSPAN,
    Encapsulation.ETHERNET_SESSION: SNF_OPEN_ETHERNET,
    Encapsulation.RAW_IP: SNF_OPEN_RAW_IP,
}


def bits(opens: Encapsulation) -> int:
    """Return the bits of encapsulations (``enum snf_encapsulation``)."""
    return sum(_OPENS[each] for each in opens)
