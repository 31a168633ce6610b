"""Call home (RFC 8071): connections that the function makes to clients, and makes again when they end.

A thread for each client. Who connected to whom is all that differs: the connection is brought to the gate like one that
came, and the client has to log in.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from mgmt.netconf.events import ConfigChange, Event
from mgmt.netconf.management import CallHomeState
from mgmt.netconf.ssh.connection import Connection
from nf.settings import CallHome

__all__ = ["Calls"]

log = logging.getLogger(__name__)

_DIAL_S = 10.0  # for an answer of the other end
_FIRST_WAIT_S = 1.0  # after a failure; then twice as long each time
_LOOK_S = 0.2  # between two looks at the configuration


class Calls:
    """Keeps a connection to each of *clients*; *bring* takes one in."""

    def __init__(
        self, clients: Callable[[], Sequence[CallHome]], bring: Callable[[socket.socket, str, int], Connection]
    ) -> None:
        self._clients, self._bring = clients, bring
        self._lock = threading.Lock()
        self._states: dict[CallHome, CallHomeState] = {}
        self._started, self._stopped = False, threading.Event()

    def start(self) -> None:
        """Call each client that is not called yet."""
        self._started = True
        for client in self._clients():
            with self._lock:
                if client in self._states or self._stopped.is_set():
                    continue
                self._states[client] = CallHomeState(client.name)
            threading.Thread(target=self._keep, args=(client,), name="netconf-call-home", daemon=True).start()

    def stop(self) -> None:
        """Call nobody any more."""
        self._stopped.set()

    def listen(self, event: Event) -> None:
        """Call who is new in the configuration."""
        if isinstance(event, ConfigChange) and self._started:
            self.start()

    def states(self) -> list[CallHomeState]:
        """Return the state of each connection, by name."""
        wanted = self._clients()
        with self._lock:
            return sorted((s for c, s in self._states.items() if c in wanted), key=lambda s: s.name)

    def _wanted(self, client: CallHome) -> bool:
        return not self._stopped.is_set() and client in self._clients()

    def _keep(self, client: CallHome) -> None:
        wait_s = _FIRST_WAIT_S
        while self._wanted(client):
            wait_s = _FIRST_WAIT_S if self._call(client) else min(wait_s * 2, client.longest_wait_s)
            left_s = wait_s
            while left_s > 0 and self._wanted(client):
                self._stopped.wait(min(_LOOK_S, left_s))
                left_s -= _LOOK_S
        with self._lock:
            self._states.pop(client, None)

    def _call(self, client: CallHome) -> bool:
        """Connect once and wait for the end of it; say if the client had logged in."""
        try:
            sock = socket.create_connection((client.address, client.port), timeout=_DIAL_S)
        except OSError as error:
            self._failed(client, error.strerror or "no answer")
            return False
        connection = self._bring(sock, client.address, client.port)
        while not connection.done.wait(_LOOK_S) and self._wanted(client):
            if connection.logged_in:
                self._tell(client, connected=True, attempts=0, error="")
        if not connection.logged_in:
            self._failed(client, "the client did not log in")
        else:
            self._tell(client, connected=False)
        return connection.logged_in

    def _failed(self, client: CallHome, why: str) -> None:
        if self._states[client].error != why:
            log.warning("the client %s cannot be called at port %d: %s", client.name, client.port, why)
        self._tell(client, connected=False, attempts=self._states[client].attempts + 1, error=why)

    def _tell(self, client: CallHome, **changed: object) -> None:
        with self._lock:
            self._states[client] = replace(self._states[client], **changed)  # type: ignore[arg-type]
