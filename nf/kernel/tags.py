"""VLAN tags that a card takes off before a program sees the frame: while a port is ours it leaves them, if it can."""

from __future__ import annotations

from typing import IO

from nf.kernel import devices, links

__all__ = ["leave", "restore"]

_RX_VLAN = "rx-vlan"  # noted in the lock: the card took VLAN tags off before it was ours


def leave(lock: IO[str], link: links.Link) -> bool:
    """Make the card leave VLAN tags, so that a program sees them; return whether it takes them off all the same."""
    if devices.rx_vlan(link.name):
        links.remember(lock, _RX_VLAN)
        return devices.set_rx_vlan(link.name, False)
    return False


def restore(lock: IO[str], link: links.Link) -> None:
    """Make the card take tags off again, if it did before, also where a process changed it that was killed."""
    if links.remembers(lock, _RX_VLAN):
        devices.set_rx_vlan(link.name, True)
