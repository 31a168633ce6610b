"""The NETCONF server: listens, admits users with a key, and bounds what anybody can hold (RFC 6242).

A connection has to log in, open the subsystem and say hello within one deadline. Until it talks SSH it is at the gate
(`gate`); who has to go for another one, and how long a failure takes, is decided in `admission`.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import paramiko
from netconf.error import SessionError

from mgmt.netconf.audit import Audit
from mgmt.netconf.caller import Caller
from mgmt.netconf.events import SessionEnd, SessionStart
from mgmt.netconf.management import ManagementState
from mgmt.netconf.monitoring import capabilities
from mgmt.netconf.notify.notifications import Notifications
from mgmt.netconf.roster import Roster
from mgmt.netconf.rpc import Dispatcher
from mgmt.netconf.served import Function, Served
from mgmt.netconf.ssh import call_home
from mgmt.netconf.ssh.access import listening_socket
from mgmt.netconf.ssh.admission import Lobby, Penalties, source_of
from mgmt.netconf.ssh.auth import Login, Users, host_key
from mgmt.netconf.ssh.connection import IDENTIFICATION, SSH_LOG, Connection, begin
from mgmt.netconf.ssh.framing import FramingError
from mgmt.netconf.ssh.gate import Gate
from mgmt.netconf.ssh.session import ServerSession
from mgmt.netconf.store.datastore import Datastore
from nf.settings import Management

__all__ = ["NetconfServer"]

log = logging.getLogger(__name__)

_GRACE_S = 1.0  # time that a peer has to close after close-session
_WAITING = 128  # connections that the kernel keeps until they are accepted


class NetconfServer:
    """``start()`` binds and returns; ``port`` is then the one in use (0 asks for a free one).

    Raises SnfError when the users file, the host key or the address cannot be used.
    """

    def __init__(
        self,
        datastore: Datastore,
        function: Function,
        *,
        address: str = "127.0.0.1",
        port: int = 830,
        host_key_file: Path | None = None,
        users_file: Path,
        bound: socket.socket | None = None,
    ) -> None:
        """*bound*: a socket with address and port, made while the process could have a low port."""
        self._datastore, self._bound = datastore, bound
        self._address, self._port = address, port
        self._users = Users(users_file, lambda: self._limits.users)
        self._host_key_file = host_key_file
        self._host_key = host_key(host_key_file, datastore.state_dir)
        self._capabilities = tuple(capabilities(datastore.model))
        self._roster = Roster()
        self.notifications = Notifications(datastore.model, self._roster)
        served = Served(
            datastore,
            function,
            self._kill,
            self._capabilities,
            self._roster,
            self.notifications,
            self._state,
            self._gone,
        )
        self._dispatcher = Dispatcher(served)
        self._audit = Audit(self._roster.caller)
        for listener in (self._audit.listen, self._roster.listen, self.notifications.listen):
            datastore.events.listen(listener)
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._lobby = Lobby[Connection]()
        self._penalties = Penalties()
        self._gate = Gate(IDENTIFICATION, self)
        self._call_home = call_home.Calls(lambda: self._limits.call_home, self._bring)
        datastore.events.listen(self._call_home.listen)
        self._thread: threading.Thread | None = None
        # A port scan is no error of this function, and its log has no tracebacks.
        logging.getLogger(SSH_LOG).setLevel(logging.CRITICAL)

    @property
    def _limits(self) -> Management:
        return self._datastore.settings.management

    def _state(self) -> ManagementState:
        with self._lock:
            sessions, waiting = sum(c.logged_in for c in self._connections), len(self._lobby)
        return ManagementState(sessions, waiting, self._audit.counts(), self._call_home.states())

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return self._port

    @property
    def host_key_fingerprint(self) -> str:
        """The fingerprint of the host key as OpenSSH prints it."""
        return str(self._host_key.fingerprint)

    def reload_users(self) -> str:
        """Read the users file again, and say how many users it has; raises SnfError, and then it has none."""
        return f"{self._users.reload()} users"

    def reload_host_key(self) -> str:
        """Read the host key again, for connections from now on, and return its fingerprint; raises SnfError."""
        self._host_key = host_key(self._host_key_file, self._datastore.state_dir)
        return self.host_key_fingerprint

    def start(self) -> None:
        """Listen."""
        listener = self._bound or listening_socket(self._address, self._port, _WAITING)
        listener.listen(_WAITING)
        listener.setblocking(False)
        self._port = listener.getsockname()[1]
        self._thread = threading.Thread(target=self._gate.run, args=(listener,), name="netconf-accept", daemon=True)
        self._thread.start()
        self._call_home.start()
        log.info("NETCONF at %s port %d, host key %s", self._address, self._port, self.host_key_fingerprint)

    def stop(self) -> None:
        """Close the listener and every session."""
        if self._thread is None:
            return
        self._call_home.stop()
        self._gate.stop()
        self._thread.join()
        with self._lock:
            open_ones = list(self._connections)
        for connection in open_ones:
            connection.shut()
            if connection.session is None:
                self._close(connection, "stopped")
        for connection in open_ones:
            connection.done.wait(5.0)

    def __enter__(self) -> NetconfServer:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # -- connections at the gate, in its thread ------------------------------

    def arrived(self, sock: socket.socket, address: str, port: int) -> Connection:
        """Take a new connection; others that have not logged in may have to go for it."""
        self._audit.connected()
        now_s = time.monotonic()
        source = source_of(address)
        with self._lock:
            held_until_s = now_s + self._penalties.hold_s(source, now_s)
            connection = Connection(sock, address, port, source=source, since_s=now_s, held_until_s=held_until_s)
            gone = self._lobby.enter(connection, self._limits)
            self._connections.add(connection)
        for each in gone:
            self.refused(each, "for_others")
        return connection

    def _bring(self, sock: socket.socket, address: str, port: int) -> Connection:
        """Take a connection that this side has made: it is in nobody's way, and has the whole time to log in."""
        self._audit.connected()
        connection = Connection(sock, address, port, source=source_of(address), since_s=time.monotonic(), called=True)
        with self._lock:
            self._connections.add(connection)
        self._gate.bring(connection)
        return connection

    def greeted(self, visitor: Connection) -> None:
        """Begin the key exchange of a connection, now or when its source has waited."""
        if visitor.held_until_s <= time.monotonic():
            self._begin(visitor)

    def refused(self, visitor: Connection, why: str) -> None:
        """Close a connection that has not logged in."""
        self._gate.forget(visitor)
        visitor.shut()
        self._close(visitor, why)

    def tick(self) -> bool:
        """Close what is over its deadline or has gone, and say if anybody is waiting."""
        with self._lock:
            waiting = [c for c in self._connections if c.session is None]
            login_s = self._lobby.login_s(self._limits)
        now_s = time.monotonic()
        for connection in waiting:
            if connection.authenticated and not connection.logged_in:
                self._logged_in(connection)
            whole = connection.logged_in or connection.called
            if now_s - connection.since_s > (self._limits.login_s if whole else login_s):
                self.refused(connection, "too_slow")
            elif connection.transport is None:
                if connection.line.endswith(b"\n") and connection.held_until_s <= now_s:
                    self._begin(connection)
            elif not connection.transport.is_active():
                self.refused(connection, "gone")
        self._audit.tell()
        return bool(waiting) or self._audit.untold

    def _begin(self, connection: Connection) -> None:
        try:
            begin(connection, self._host_key, Login(self._users, _Visit(self, connection)))
        except (OSError, EOFError, paramiko.SSHException):
            self.refused(connection, "gone")

    # -- connections that log in, in their threads ---------------------------

    def failed(self, connection: Connection, user: str, how: str) -> None:
        """Count a failed login and wait as long as its source has to."""
        with self._lock:
            wait_s = self._penalties.failed(connection.source, time.monotonic())
        self._audit.failed(user, connection.peer, how)
        connection.wait(wait_s)

    def _logged_in(self, connection: Connection) -> bool:
        """Give a connection whose user has logged in a place among the sessions; say if there was one."""
        transport, login = connection.transport, connection.login
        assert transport is not None
        assert login is not None
        with self._lock:
            if connection.logged_in or not (connection.called or self._lobby.leave(connection)):
                return connection.logged_in
            self._penalties.forgive(connection.source, login.failures, time.monotonic())
            connection.caller = Caller(
                0, login.user, connection.address, connection.port, login.fingerprint, login.groups
            )
            connection.logged_in = True
            full = sum(c.logged_in for c in self._connections) > self._limits.sessions
        transport.packetizer.trust()
        self._audit.logged_in(connection.caller)
        if full:
            log.warning("there are %d sessions: a login was closed", self._limits.sessions)
            connection.shut()
        return not full

    def may_open(self, connection: Connection) -> bool:
        """Say if there is a place for a session."""
        return self._logged_in(connection)

    def opened(self, connection: Connection, channel: paramiko.Channel) -> None:
        """Open the session of a connection, in a thread of its own."""
        threading.Thread(target=self._serve, args=(connection, channel), name="netconf-login", daemon=True).start()

    def _serve(self, connection: Connection, channel: paramiko.Channel) -> None:
        """Bring a connection to an open session, or close it."""
        try:
            self._open(connection, channel)
        except (SessionError, FramingError, paramiko.SSHException, OSError, EOFError) as error:
            log.info("a connection was closed before it had a session: %s", type(error).__name__)
            self._end(connection)
        except Exception as error:
            log.error("a login failed with %s", type(error).__name__)
            self._end(connection)

    def _open(self, connection: Connection, channel: paramiko.Channel) -> None:
        assert connection.caller is not None
        number = self._datastore.open_session(connection.caller.user)
        caller = replace(connection.caller, session=number)
        connection.caller = caller
        session = ServerSession(
            channel,
            caller,
            self._dispatcher,
            self._capabilities,
            lambda: self._datastore.events.tell(SessionStart(caller.session)),
            lambda: self._end(connection),
            idle_s=self._limits.idle_s or float("inf"),
            listens=lambda: self.notifications.has(caller.session),
        )
        connection.session = session
        self._roster.enter(caller, session.notify)
        session.open(max(0.01, connection.since_s + self._limits.login_s - time.monotonic()))

    def _close(self, connection: Connection, why: str) -> None:
        """Forget a connection that never had a session."""
        with self._lock:
            self._lobby.leave(connection)
            known = connection in self._connections
            self._connections.discard(connection)
        if known:
            self._audit.closed(why)
        connection.done.set()

    def _end(self, connection: Connection) -> None:
        """Free everything of a connection; the last act of its thread."""
        if connection.session is None:
            connection.shut()
            self._close(connection, "failed")
            return
        self._datastore.close_session(connection.session.number)
        reason = connection.session.reason if connection.killed_by is None else "killed"
        self._datastore.events.tell(SessionEnd(connection.session.number, reason, connection.killed_by))
        self._roster.leave(connection.session.number)
        if connection.transport is not None:
            # Closing at once could cut off the last reply.
            connection.transport.join(_GRACE_S)
        connection.shut()
        with self._lock:
            self._connections.discard(connection)
        connection.done.set()

    def _of(self, number: int) -> list[Connection]:
        with self._lock:
            return [c for c in self._connections if c.session is not None and c.session.number == number]

    def _gone(self, number: int) -> bool:
        """Say that a session waits for no answer: it was killed, or its client has closed."""
        found = self._of(number)
        return not found or not found[0].waits()

    def _kill(self, killer: int, number: int) -> bool:
        found = self._of(number)
        if not found or not self._datastore.has_session(number):
            return False
        # Locks go first: when the caller has its reply, they are free. Further requests of the victim are refused.
        self._datastore.close_session(number)
        found[0].killed_by = killer
        found[0].shut()
        return True


class _Visit:
    """The server, as the login of one connection sees it."""

    def __init__(self, server: NetconfServer, connection: Connection) -> None:
        self._server, self._connection = server, connection

    def login_failed(self, user: str, how: str) -> None:
        self._server.failed(self._connection, user, how)

    def may_open(self) -> bool:
        return self._server.may_open(self._connection)

    def opened(self, channel: paramiko.Channel) -> None:
        self._server.opened(self._connection, channel)
