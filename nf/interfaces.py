"""The interfaces of a function: programs on N3 and N6, sockets on N4, and the way from one set of them to another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from gtp.events import SessionEvent
from nf.errors import BadSettings, SnfError
from nf.kernel.dataplane import DataPlane
from nf.kernel.links import find
from nf.n4 import N4Listener
from nf.settings import Interface, Role
from nf.signalling import Signalling

__all__ = ["Interfaces", "Undo", "go_back"]

log = logging.getLogger(__name__)

_LANE = 1_000_000_000  # keys of sessions of one listener: those of two must differ
Undo = Callable[[], object]


def go_back(inverse: Undo) -> None:
    """Undo a step of a refused change; what cannot be undone keeps no other step from it."""
    try:
        inverse()
    except SnfError as error:
        log.error("a part of a refused configuration stays: %s", error)


class Interfaces:
    """What is attached to the ports of one function; *on_events* gets what signalling tells, from other threads."""

    def __init__(
        self, plane: DataPlane, on_events: Callable[[list[SessionEvent]], None], now_s: Callable[[], float]
    ) -> None:
        self.plane, self._now_s = plane, now_s
        self.listeners: dict[str, N4Listener] = {}
        self._on_events = on_events
        self._trackers: dict[str, Any] = {}  # recalled ones that wait for their interface
        self._lane = 0

    def recall(self, trackers: Mapping[str, Any], last_number: int) -> None:
        """Let listeners go on with the PFCP trackers of a process before; *last_number* is their largest key."""
        self._trackers, self._lane = dict(trackers), last_number // _LANE + 1

    def trackers(self) -> dict[str, Any]:
        """Return the PFCP tracker of each N4 interface."""
        return {name: listener.signalling.pfcp for name, listener in list(self.listeners.items())}

    def close(self) -> None:
        """Stop listening; programs are taken off by the data plane."""
        for listener in list(self.listeners.values()):
            listener.stop()

    def apply(self, old: tuple[Interface, ...], new: tuple[Interface, ...]) -> Sequence[Undo]:
        """Change from *old* to *new* and return how to go back; raises BadSettings, and then nothing has changed."""
        was, will = {i.name: i for i in old}, {i.name: i for i in new}
        gone = [i for n, i in was.items() if n not in will]
        come = [i for n, i in will.items() if n not in was]
        with ExitStack() as undo:
            try:
                for interface in (i for n, i in will.items() if was.get(n, i) != i):
                    if self._change(was[interface.name], interface):
                        undo.callback(go_back, partial(self._change, interface, was[interface.name]))
                    else:
                        gone.append(was[interface.name])
                        come.append(interface)
                for interface in gone:
                    self._detach(interface)
                    undo.callback(go_back, partial(self._attach, interface))
                for interface in come:
                    self._attach(interface)
                    undo.callback(go_back, partial(self._detach, interface))
            except SnfError as error:
                path = f"/ietf-interfaces:interfaces/interface[name='{interface.name}']"
                raise BadSettings(error.what, path, error.remedy) from None
            self.plane.release_left_behind()
            return [undo.pop_all().close]

    def _change(self, old: Interface, new: Interface) -> bool:
        """Change an interface without taking its program off, if that can be."""
        return Role.N4 not in (old.role, new.role) and self.plane.change(new)

    def _attach(self, interface: Interface) -> None:
        if interface.role is Role.N4:
            signalling = Signalling(self._lane * _LANE)
            self._lane += 1
            if (dumped := self._trackers.pop(interface.name, None)) is not None:
                signalling.pfcp.restore(dumped)
            listener = N4Listener(find(interface).name, self._on_events, signalling, self._now_s)
            listener.start()
            self.listeners[interface.name] = listener
            return
        attached = self.plane.attach(interface)
        log.info("%s: %s on %s, XDP %s", interface.name, interface.role.value, attached.link.name, attached.xdp_mode)

    def _detach(self, interface: Interface) -> None:
        if interface.role is Role.N4:
            self.listeners.pop(interface.name).stop()
        elif interface.name in self.plane.attached:
            self.plane.detach(interface.name)
