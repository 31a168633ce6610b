"""The NETCONF server: listens, admits users with a key, and bounds what anybody can hold (RFC 6242).

A connection has to log in, open the subsystem and say hello within one deadline; each does so in a
thread of its own, so that a silent one delays nobody. Numbers of connections are capped, those
that have not logged in more tightly.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
from netconf.error import SessionError

from mgmt.netconf.audit import audit
from mgmt.netconf.caller import Caller
from mgmt.netconf.events import SessionEnd, SessionStart
from mgmt.netconf.monitoring import capabilities
from mgmt.netconf.roster import Roster
from mgmt.netconf.rpc import Dispatcher
from mgmt.netconf.served import Function, Served
from mgmt.netconf.ssh.access import listening_socket
from mgmt.netconf.ssh.auth import Login, Users, host_key
from mgmt.netconf.ssh.framing import FramingError
from mgmt.netconf.ssh.session import ServerSession
from mgmt.netconf.store.datastore import Datastore

__all__ = ["NetconfServer", "ServerLimits"]

log = logging.getLogger(__name__)

_SSH_LOG = "mgmt.netconf.paramiko"
_POLL_S = 0.1  # paramiko wakes no thread that waits for a channel when the peer goes
_GRACE_S = 1.0  # time that a peer has to close after close-session


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Limits of the server."""

    connections: int = 64
    unauthenticated: int = 16  # of the connections
    login_s: float = 15.0  # from the connection to the hello
    idle_s: float = 3600.0  # without a message


@dataclass(eq=False, slots=True)
class _Connection:
    sock: socket.socket
    transport: paramiko.Transport | None = None
    session: ServerSession | None = None
    killed_by: int | None = None
    done: threading.Event = field(default_factory=threading.Event)


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
        limits: ServerLimits | None = None,
        bound: socket.socket | None = None,
    ) -> None:
        """*bound*: a socket with address and port, made while the process could have a low port."""
        self._datastore, self._bound = datastore, bound
        self._address, self._port = address, port
        self._limits = limits or ServerLimits()
        self._users = Users(users_file)
        self._host_key = host_key(host_key_file, datastore.state_dir)
        self._capabilities = tuple(capabilities(datastore.model))
        self._roster = Roster()
        self._dispatcher = Dispatcher(Served(datastore, function, self._kill, self._capabilities, self._roster))
        datastore.events.listen(audit(self._roster.caller))
        datastore.events.listen(self._roster.listen)
        self._lock = threading.Lock()
        self._connections: set[_Connection] = set()
        self._listener: socket.socket | None = None
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name="netconf-accept", daemon=True)
        # A port scan is no error of this function, and its log has no tracebacks.
        logging.getLogger(_SSH_LOG).setLevel(logging.CRITICAL)

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return self._port

    @property
    def host_key_fingerprint(self) -> str:
        """The fingerprint of the host key as OpenSSH prints it."""
        return str(self._host_key.fingerprint)

    def start(self) -> None:
        """Listen."""
        listener = self._bound or listening_socket(self._address, self._port, self._limits.connections)
        listener.listen(self._limits.connections)
        listener.setblocking(False)
        self._listener, self._port = listener, listener.getsockname()[1]
        self._thread.start()
        log.info("NETCONF at %s port %d, host key %s", self._address, self._port, self.host_key_fingerprint)

    def stop(self) -> None:
        """Close the listener and every session."""
        self._wake.close()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            open_ones = list(self._connections)
        for connection in open_ones:
            _shut(connection)
        for connection in open_ones:
            connection.done.wait(5.0)
        self._woken.close()

    def __enter__(self) -> NetconfServer:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # -- connections -------------------------------------------------------

    def _accept(self) -> None:
        listener = self._listener
        assert listener is not None
        with listener:
            while True:
                ready, _, _ = select.select([listener, self._woken], [], [])
                if self._woken in ready:
                    return
                try:
                    sock, _peer = listener.accept()
                except BlockingIOError:
                    continue
                except OSError as error:
                    # Out of descriptors, say: wait instead of spinning on the same connection.
                    log.error("a connection could not be accepted: %s", error.strerror)
                    time.sleep(0.1)
                    continue
                self._admit(sock)

    def _admit(self, sock: socket.socket) -> None:
        connection = _Connection(sock)
        with self._lock:
            waiting = sum(c.session is None for c in self._connections)
            full = len(self._connections) >= self._limits.connections or waiting >= self._limits.unauthenticated
            if not full:
                self._connections.add(connection)
        if full:
            log.warning("too many connections: one was closed")
            sock.close()
            return
        threading.Thread(target=self._serve, args=(connection,), name="netconf-login", daemon=True).start()

    def _serve(self, connection: _Connection) -> None:
        """Bring a connection to an open session, or close it."""
        try:
            self._open(connection)
        except (SessionError, FramingError, paramiko.SSHException, OSError, EOFError) as error:
            log.info("a connection was closed before it had a session: %s", type(error).__name__)
            self._end(connection)
        except Exception as error:
            log.error("a login failed with %s", type(error).__name__)
            self._end(connection)

    def _open(self, connection: _Connection) -> None:
        until = time.monotonic() + self._limits.login_s
        sock = connection.sock
        sock.setblocking(True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)
        transport = connection.transport = paramiko.Transport(sock)
        transport.set_log_channel(_SSH_LOG)
        transport.banner_timeout = transport.handshake_timeout = self._limits.login_s
        transport.auth_timeout = self._limits.login_s
        transport.add_server_key(self._host_key)
        login = Login(self._users)
        transport.start_server(event=threading.Event(), server=login)
        channel = None
        while channel is None or not login.subsystem.is_set():
            if time.monotonic() > until or not transport.is_active():
                raise SessionError(None, "no subsystem in time")
            if channel is None:
                channel = transport.accept(timeout=_POLL_S)
            else:
                login.subsystem.wait(_POLL_S)
        caller = Caller(self._datastore.open_session(), transport.get_username() or "", sock.getpeername()[0])
        session = ServerSession(
            channel,
            caller,
            self._dispatcher,
            self._capabilities,
            lambda: self._end(connection),
            idle_s=self._limits.idle_s,
        )
        connection.session = session
        self._roster.enter(caller, session.notify)
        session.open(max(0.01, until - time.monotonic()))
        self._datastore.events.tell(SessionStart(caller.session))

    def _end(self, connection: _Connection) -> None:
        """Free everything of a connection; the last act of its thread."""
        if connection.session is not None:
            self._datastore.close_session(connection.session.number)
            killed = connection.killed_by is not None
            reason = "killed" if killed else connection.session.reason
            self._datastore.events.tell(SessionEnd(connection.session.number, reason, connection.killed_by))
            self._roster.leave(connection.session.number)
        if connection.transport is not None and connection.session is not None:
            # Closing at once could cut off the last reply.
            connection.transport.join(_GRACE_S)
        _shut(connection)
        with self._lock:
            self._connections.discard(connection)
        connection.done.set()

    def _of(self, number: int) -> list[_Connection]:
        with self._lock:
            return [c for c in self._connections if c.session is not None and c.session.number == number]

    def _kill(self, killer: int, number: int) -> bool:
        found = self._of(number)
        if not found or not self._datastore.has_session(number):
            return False
        # Locks go first: when the caller has its reply, they are free. Further requests of the victim are refused.
        self._datastore.close_session(number)
        found[0].killed_by = killer
        _shut(found[0])
        return True


def _shut(connection: _Connection) -> None:
    with contextlib.suppress(OSError):
        connection.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads; close() would wait for its poll
    with contextlib.suppress(OSError, EOFError):
        if connection.transport is not None:
            connection.transport.close()
        connection.sock.close()
