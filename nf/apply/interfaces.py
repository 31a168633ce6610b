"""The interfaces of a function: programs on N3 and N6, sockets on N4, and the way from one set of them to another.

Links are watched: an interface whose device goes, is renamed, or loses its program waits for the device that its
configuration means, and is attached to it when it comes. The configuration stays as it is meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial

from gtp.events import Notice, SessionEvent
from nf.apply.statistics import Statistics
from nf.apply.transaction import Undo, go_back
from nf.errors import AttachRefused, BadSettings, SnfError
from nf.kernel.attach import Attach
from nf.kernel.links import Link, NotThere, find, refuse_twice, refuse_unread, refuse_unsafe
from nf.kernel.rtnetlink import LinkTable, is_meant
from nf.sessions.restart.lanes import Lanes
from nf.settings import Interface, Mode, Settings
from nf.signalling.tap import N4Listener
from nf.signalling.trackers import Signalling

__all__ = ["Interfaces", "PortState", "Waiting"]

log = logging.getLogger(__name__)

_LOOK_S = 10.0  # between two looks at links of which nothing was heard
_RETRY_S = 0.5  # while an interface waits: the reason may have nothing to do with links
_SETTLE_S = 0.05  # a device that comes changes several times
_NOTICES = 100  # shown by operational state


@dataclass(slots=True)
class Waiting:
    """An interface that is configured and cannot be attached."""

    interface: Interface
    why: str


@dataclass(frozen=True, slots=True)
class PortState:
    """The present state of an interface by the kernel, and the reason why it is not attached."""

    oper_status: str  # of RFC 8343
    device: str
    why: str  # reason why it is not attached; empty: it is attached
    mac: str = ""  # of the device
    last_change_s: float | None = None  # when it entered the status; None: before it was looked at first


def _path(interface: Interface) -> str:
    return f"/ietf-interfaces:interfaces/interface[name='{interface.name}']"


class Interfaces:
    """Programs and listeners on the ports of one function; *on_events* gets session events, from other threads.

    They are of the network namespace of the thread that makes this. ``patient``: an interface whose device is not
    there waits for it also when it is new in the configuration.
    """

    def __init__(
        self,
        plane: Attach,
        on_events: Callable[[list[SessionEvent]], None],
        now_s: Callable[[], float],
        lanes: Lanes,
    ) -> None:
        self.plane, self._now_s = plane, now_s
        self.listeners: dict[str, N4Listener] = {}
        self.waiting: dict[str, Waiting] = {}
        self.patient = False
        self.lock = threading.RLock()  # guards what is attached, and to what
        self.notices: deque[Notice] = deque(maxlen=_NOTICES)  # the latest
        self._on_events = on_events
        self._pfcp_peers: tuple[str, ...] = ()
        self._lanes = lanes
        self._configured: dict[str, Interface] = {}
        self._told: dict[str, str] = {}  # the last state of each interface in the log
        self._changed_s: dict[str, float] = {}  # when it became so, if that was seen
        self.statistics = Statistics()
        self._links = LinkTable()
        self._dropped: dict[int, int] = {}  # by device, at the last look
        self._dropped_frames = 0
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="links", daemon=True)
        self._watcher.start()

    def trackers(self) -> dict[str, N4Listener]:
        """Return the listener of each N4 interface, of which the PFCP sessions are kept over a restart."""
        return dict(self.listeners)

    def use_peers(self, old: Settings, new: Settings) -> Undo:
        """Accept PFCP of the configured SMFs and UPFs only; none: of those that are learned. Returns how to go back."""
        self._set_peers(new.pfcp_peers)
        return lambda: self._set_peers(old.pfcp_peers)

    def _set_peers(self, peers: tuple[str, ...]) -> None:
        self._pfcp_peers = peers
        for listener in list(self.listeners.values()):
            listener.signalling.use_peers(peers)

    def close(self) -> None:
        """Stop watching and listening; programs are taken off by the data plane."""
        if not self._stop.is_set():
            self._stop.set()
            self._links.wake()
            self._watcher.join()
            self._links.close()
        for listener in list(self.listeners.values()):
            listener.stop()

    # -- from one configuration to another -----------------------------------

    def apply(self, old: Settings, new: Settings) -> Undo:
        """Change from *old* to *new* and return how to go back; raises BadSettings, and then nothing has changed."""
        was, will = {i.name: i for i in old.interfaces}, {i.name: i for i in new.interfaces}
        gone = [i for n, i in was.items() if n not in will]
        come = [i for n, i in will.items() if n not in was]
        with self.lock, ExitStack() as undo:
            try:
                for interface in (i for n, i in will.items() if was.get(n, i) != i):
                    if self._change(was[interface.name], interface):
                        undo.callback(go_back, partial(self._change, interface, was[interface.name]))
                    else:
                        gone.append(was[interface.name])
                        come.append(interface)
                for interface in gone:
                    self._detach(interface)
                    undo.callback(go_back, partial(self._attach, interface, patient=True))
                for interface in come:
                    self._attach(interface, patient=self.patient)
                    undo.callback(go_back, partial(self._detach, interface))
            except SnfError as error:
                raise BadSettings(error.what, _path(interface), error.remedy) from None
            self.plane.release_left_behind()
            self._links.wake()
            return undo.pop_all().close

    def prepare(self, old: Settings, new: Settings) -> None:
        """Check that *new* could be put in force, without touching traffic; raises BadSettings."""
        was = {i.name: i for i in old.interfaces}
        changed = [i for i in new.interfaces if was.get(i.name) != i]
        leaving = was.keys() - {i.name for i in new.interfaces if was.get(i.name) == i}
        taken: dict[int, str] = {}
        with self.lock:
            for interface in changed:
                try:
                    link = self._prepare(interface, leaving)
                    if link is not None and taken.setdefault(link.ifindex, interface.name) != interface.name:
                        said = f"Interface {link.name} is read already, as {taken[link.ifindex]}."
                        raise AttachRefused(said, "Choose another one.")
                except SnfError as error:
                    raise BadSettings(error.what, _path(interface), error.remedy) from None

    def _prepare(self, interface: Interface, leaving: Collection[str]) -> Link | None:
        """Return the device that an interface will be attached to, None when it takes none or waits for it."""
        if not interface.role.counts:
            refuse_unread(interface, find(interface))
            return None
        if interface.name in self.waiting:
            return None
        attached = self.plane.attached.get(interface.name)
        if attached is None or (attached.interface.mac, attached.interface.xdp) != (interface.mac, interface.xdp):
            return self.plane.prepare(interface, leaving)
        if attached.interface.mode is not Mode.MIRROR:
            refuse_unsafe(interface, attached.link)
        refuse_unread(interface, attached.link)
        refuse_twice(interface, attached.link)
        return attached.link

    def verify(self, _old: Settings, new: Settings) -> list[str]:
        """Compare the programs on interfaces and their entries with *new*; return what is not so, in sentences."""
        said = []
        with self.lock:
            links = self._links.read()
            for name in self.plane.attached.keys() - {i.name for i in new.interfaces}:
                said.append(f"{name} is attached, and not configured")
            for interface in new.interfaces:
                attached = self.plane.attached.get(interface.name)
                here = interface.name in self.listeners or not interface.role.listens
                here &= attached is not None or not interface.role.counts
                if not here and interface.name not in self.waiting:
                    said.append(f"{interface.name} is not attached")
                if attached is not None and (link := links.get(attached.link.ifindex)) is not None:
                    said.append(self.plane.differs(interface.name, link.programs))
        return [each for each in said if each]

    def _change(self, old: Interface, new: Interface) -> bool:
        """Change an interface without taking its program off, if that can be."""
        with self.lock:
            if (old.role.counts, old.role.listens) != (new.role.counts, new.role.listens) or not old.role.counts:
                return False
            if (waiting := self.waiting.get(old.name)) is not None:
                waiting.interface = self._configured[new.name] = new
                self._links.wake()
                return True
            if not self.plane.change(new):
                return False
            self._configured[new.name] = new
            return True

    def _attach(self, interface: Interface, *, patient: bool) -> None:
        with self.lock:
            try:
                self._put_on(interface)
            except NotThere as error:
                if not patient:
                    raise
                self._wait_for(interface, error.what)
            self._configured[interface.name] = interface
            self.statistics.begin(interface.name, self._now_s())

    def _put_on(self, interface: Interface) -> None:
        name = interface.name
        if interface.role.counts:
            attached = self.plane.attach(interface)
            log.info("%s: %s on %s, XDP %s", name, interface.role.value, attached.link.name, attached.xdp_mode)
        if interface.role.listens:
            try:
                link = find(interface)
                refuse_unread(interface, link)
                self._listen(interface, link)
            except Exception:
                if interface.role.counts:
                    self.plane.detach(name)
                raise
            log.info("%s: signalling on %s", name, self.listeners[name].ifname)

    def _listen(self, interface: Interface, link: Link) -> None:
        if (listener := self.listeners.get(interface.name)) is not None:  # it waited
            listener.move(link.name, bare=link.bare)
            return
        first, dumped = self._lanes.take(interface.name)
        signalling = Signalling(first)
        if dumped is not None:
            signalling.pfcp.restore(dumped)
        signalling.use_peers(self._pfcp_peers)
        on_notices = self.notices.extend
        listener = N4Listener(link.name, self._on_events, signalling, self._now_s, on_notices, bare=link.bare)
        listener.start()
        self.listeners[interface.name] = listener

    def _detach(self, interface: Interface) -> None:
        with self.lock:
            name = interface.name
            self.waiting.pop(name, None)
            self._configured.pop(name, None)
            self._told.pop(name, None)
            self._changed_s.pop(name, None)
            self.statistics.forget(name)
            if name in self.listeners:
                self.listeners.pop(name).stop()
            if name in self.plane.attached:
                self.plane.detach(name)
            self.plane.forget(name)

    # -- links ---------------------------------------------------------------

    def _wait_for(self, interface: Interface, why: str) -> None:
        log.warning("%s: %s; it is attached when the device is there", interface.name, why.rstrip("."))
        self.waiting[interface.name] = Waiting(interface, why)

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self._links.wait(_RETRY_S if self.waiting else _LOOK_S)
                if not self._stop.is_set():
                    self.look()
            except Exception:
                # The attached interfaces stay attached; the next look may be better.
                log.exception("a look at the links failed")
            self._stop.wait(_SETTLE_S)

    def look(self) -> None:
        """Compare what is attached with the links that are there, and attach what came back."""
        with self.lock:
            for name, why in self.plane.check(self._links.read).items():
                self._wait_for(self._configured[name], why)
                if name in self.listeners:
                    self.listeners[name].move("")
            links = self._links.read()
            for name, listener in self.listeners.items():
                link = links.get(listener.ifindex)
                if name in self.waiting:
                    continue
                if link is None or not is_meant(self._configured[name], link):
                    self._wait_for(self._configured[name], f"the device {listener.ifname} is gone, or has another name")
                    listener.move("")
                elif link.name != listener.ifname:
                    log.warning("%s: the device %s is called %s now", name, listener.ifname, link.name)
                    listener.ifname = link.name
            for name, waiting in list(self.waiting.items()):
                if any(is_meant(waiting.interface, link) for link in links.values()):
                    self._try(name, waiting)
            self._tell()

    def _try(self, name: str, waiting: Waiting) -> None:
        try:
            self._put_on(waiting.interface)
        except (SnfError, OSError) as error:
            why = str(error) if isinstance(error, SnfError) else f"it cannot be attached: {error.strerror}"
            if why != waiting.why:
                log.warning("%s: %s", name, why)
            waiting.why = why
            return
        del self.waiting[name]
        device = self.listeners[name].ifname if name in self.listeners else self.plane.attached[name].link.name
        log.warning("%s: attached again, to %s", name, device)

    def _tell(self) -> None:
        """Log each change of the state of an interface."""
        for name, state in self.states().items():
            told = self._told.get(name)
            if told != state.oper_status and (told is not None or state.oper_status != "up"):
                log.warning("%s: %s", name, state.oper_status)
            if told not in (None, state.oper_status):
                self._changed_s[name] = self._now_s()
            self._told[name] = state.oper_status

    def states(self) -> dict[str, PortState]:
        """Return the present state of each interface, by configured name."""
        links = self._links.read()
        states = {}
        for name, interface in list(self._configured.items()):
            link = next((link for link in links.values() if is_meant(interface, link)), None)
            if (attached := self.plane.attached.get(name)) is not None:
                link = links.get(attached.link.ifindex)
            waiting = self.waiting.get(name)
            states[name] = PortState(
                link.oper_status if link else "not-present",
                link.name if link else "",
                waiting.why if waiting else "",
                link.mac if link else "",
                self._changed_s.get(name),
            )
        return states

    def dropped(self) -> dict[str, int]:
        """Return how many frames devices dropped while an interface was attached to them, and listeners, by column."""
        listeners = list(self.listeners.values())
        ports = [attached.link.ifindex for attached in list(self.plane.attached.values())]
        seen: dict[int, int] = {}
        for ifindex in {*ports, *(listener.ifindex for listener in listeners)} - {0}:
            with suppress(OSError):  # it went; what it dropped before was told
                seen[ifindex] = self._links.dropped(ifindex)
        # A device that is made anew counts from zero.
        self._dropped_frames += sum(max(0, n - self._dropped.get(ifindex, n)) for ifindex, n in seen.items())
        self._dropped = seen
        unheard = sum(listener.counters["n4_frames_dropped"] for listener in listeners)
        return {"dropped_frames": self._dropped_frames, "dropped_signalling": unheard}

    def links(self) -> dict[str, str]:
        """Return the state of all devices of this namespace, by name."""
        return {link.name: link.oper_status for link in self._links.read().values()}
