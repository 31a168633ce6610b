"""Care that redirected frames of inline ports arrive: each runs in the XDP mode in which its partner takes them.

A driver redirects to drivers that have a way to take frames: a veth needs GRO, or a program, at its far end; a card may
have no such way at all. So a new pair is tried with a frame of our own. Where it does not arrive, GRO is switched on at
the far end of a veth, if that is in this network namespace; where that is not enough, the port runs in generic mode, in
which its frames go the way of the stack's; and where that is not allowed or does not help, the commit is refused.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO, TYPE_CHECKING

from nf.errors import AttachRefused, SnfError
from nf.kernel import devices, links
from nf.kernel.redirects import UNABLE, Redirects
from nf.settings import Mode, XdpMode

if TYPE_CHECKING:
    from nf.kernel.ports import Attached

__all__ = ["Pairs", "restore_far_end"]

log = logging.getLogger(__name__)

_FAR_GRO = "far-gro"  # noted in the lock: GRO was off at the far end before the interface was ours
_PATIENCE_S = 1.0  # for a frame through the receive path of this host, which the scheduler may delay
_Counts = Callable[[int], tuple[int, int]]  # of a slot: frames redirected, and lost of them


def restore_far_end(lock: IO[str], link: links.Link) -> None:
    """Switch GRO off again at the far end of an interface, if it was switched on for it."""
    if links.remembers(lock, _FAR_GRO):
        with contextlib.suppress(SnfError):  # the interface may be gone
            if far := links.far_end(link):
                devices.set_gro(far, False)


def _help(partner: Attached) -> bool:
    """Switch GRO on at the far end of a veth; return whether that changed something."""
    far = links.far_end(partner.link)
    if not far or devices.gro(far) or not devices.set_gro(far, True):
        return False
    links.remember(partner.lock, _FAR_GRO)
    log.info("%s: GRO is on, so that %s can send it what is redirected", far, partner.link.name)
    return True


def _advice(partner: Attached) -> str:
    far = ""
    with contextlib.suppress(SnfError):
        far = links.far_end(partner.link)
    return f"ethtool -K {far or 'DEVICE'} gro on" + ("" if far else f", at the far end of {partner.link.name}")


class Pairs:
    """The inline ports among the attached ones. *move* puts the program of a port into another XDP mode."""

    def __init__(
        self,
        attached: Mapping[str, Attached],
        redirects: Redirects,
        move: Callable[[Attached, str], None],
        counts: _Counts,
    ) -> None:
        self._attached, self._redirects, self._move, self._counts = attached, redirects, move, counts

    def _pairs(self) -> Iterator[tuple[Attached, Attached]]:
        for port in list(self._attached.values()):
            partner = self._attached.get(port.interface.peer)
            if port.interface.mode is Mode.INLINE and partner is not None:
                yield port, partner

    def settle(self) -> None:
        """Try the ports whose partner is new; raises AttachRefused when frames of one of them do not arrive."""
        for port, partner in self._pairs():
            if port.proven is not partner and devices.running(partner.link.name):
                self._redirects.begin()
                self._settle(port, partner, may_help=True)

    def look(self) -> None:
        """Try the ports again that lose frames, or whose partner has its carrier back; called once a second."""
        for port, partner in self._pairs():
            if not devices.running(partner.link.name):
                port.proven = None  # another device may be at the other end of the cable when it comes back
                continue
            if port.proven is partner and not self._doubtful(port, partner):
                continue
            self._redirects.begin()
            try:
                self._settle(port, partner, may_help=port.proven is not partner)
            except SnfError as error:
                log.warning("%s", error)

    def _doubtful(self, port: Attached, partner: Attached) -> bool:
        if port.moved:  # in generic mode: is there a way for the driver now?
            before, port.partner_able = port.partner_able, self._redirects.able(partner.link)
            return before is False and port.partner_able is True
        before_frames, (port.refused, error) = port.refused, self._redirects.refused(port.slot)
        if port.interface.xdp is not XdpMode.AUTO and before_frames:  # nothing can be done, and that was said
            return False
        return port.xdp_mode == "native" and port.refused > before_frames and error in UNABLE

    def _settle(self, port: Attached, partner: Attached, *, may_help: bool) -> None:
        port.proven = partner
        found = port.taken_over and port.interface.xdp is XdpMode.AUTO  # the previous process may have moved it
        if port.xdp_mode == "generic" and not (port.moved or found):  # its frames go the way of the stack's already
            return
        error = self._redirects.native(partner.slot, partner.link)
        if error in UNABLE and may_help and _help(partner):
            error = self._redirects.native(partner.slot, partner.link)
        port.refused = self._redirects.refused(port.slot)[0]
        if error and error not in UNABLE:  # no matter of the mode
            log.warning("%s: a frame out of %s is lost: %s", port.link.name, partner.link.name, os.strerror(error))
        elif error:
            self._go_generic(port, partner, error)
        elif port.moved:
            self._move(port, "native")
            port.moved, port.why = False, ""
            log.info("%s: XDP native again, because %s takes what is redirected", port.link.name, partner.link.name)

    def _go_generic(self, port: Attached, partner: Attached, error: int) -> None:
        why = f"{partner.link.name} takes no frames that a driver redirects ({os.strerror(error)})"
        if port.interface.xdp is not XdpMode.AUTO:
            raise AttachRefused(
                f"Interface {port.link.name} would lose all that it receives: {why}.",
                f"Run: {_advice(partner)}; or set xdp-mode to auto.",
            )
        if not port.moved:
            if port.xdp_mode == "native":
                self._move(port, "generic")
                port.moves += 1
            port.moved, port.why, port.partner_able = True, why, self._redirects.able(partner.link)
            log.warning("%s: XDP generic, because %s. For native: %s", port.link.name, why, _advice(partner))
        if not self._arrives(port, partner):
            raise AttachRefused(
                f"Interface {port.link.name} would lose all that it receives: {why}, and none of the stack either.",
                f"Look at {partner.link.name} and its far end with: ip -statistics link",
            )

    def _arrives(self, port: Attached, partner: Attached) -> bool:
        """Make a port in generic mode receive a frame; return False when the frame is seen to be lost behind it."""
        redirected, lost = self._counts(port.slot)
        sent = links.sent_packets(partner.link)
        try:
            self._redirects.receive(port.link)
        except (SnfError, OSError):  # before Linux 5.18 it cannot be tried
            return True
        deadline, more_lost = time.monotonic() + _PATIENCE_S, 0
        while time.monotonic() < deadline:
            now = self._counts(port.slot)
            more_lost = now[1] - lost
            if (now[0] > redirected and not more_lost) or links.sent_packets(partner.link) > sent:
                return True
            time.sleep(0.01)
        return not more_lost
