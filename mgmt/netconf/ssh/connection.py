"""One connection, from its first byte to its session, and the bounds on what its peer makes paramiko do."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from dataclasses import dataclass, field
from typing import Any

import paramiko
from paramiko.packet import Packetizer

from mgmt.netconf.caller import Caller
from mgmt.netconf.ssh.admission import Stage
from mgmt.netconf.ssh.auth import Login
from mgmt.netconf.ssh.gate import Visitor
from mgmt.netconf.ssh.session import ServerSession

__all__ = ["IDENTIFICATION", "SSH_LOG", "Connection", "begin"]

IDENTIFICATION = "SSH-2.0-SuperNetflow"
SSH_LOG = "mgmt.netconf.paramiko"
_PACKET_BYTES = 256 * 1024  # as OpenSSH takes at most; RFC 4253, 6.1, asks for 35,000
_STRANGER_BYTES = 256 * 1024  # that somebody may send before he has logged in: key exchange and ten keys


class _Packets(Packetizer):  # type: ignore[misc]
    """Packets of a peer whose identification was read before, none larger than a bound.

    paramiko would gather a packet of any length that its header claims, and would leave a timer behind for each
    handshake that comes to nothing.
    """

    def __init__(self, sock: socket.socket, peer_line: str) -> None:
        super().__init__(sock)
        self._peer_line, self._identified = peer_line, False
        self._stranger: int | None = _STRANGER_BYTES  # bytes left; None: has logged in

    def trust(self) -> None:
        """Take the bound on what a stranger sends away."""
        self._stranger = None

    def readline(self, _timeout: float) -> str:
        return self._peer_line

    def write_all(self, out: bytes) -> None:
        if self._identified:
            super().write_all(out)
        self._identified = True  # the first is the line that the gate has sent

    def start_handshake(self, _timeout: float) -> None:
        """Leave the deadline to the server, which has one."""

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        if n > _PACKET_BYTES:
            raise EOFError
        if self._stranger is not None:
            self._stranger -= n
            if self._stranger < 0:
                raise EOFError
        data: bytes = super().read_all(n, check_rekey)
        return data


@dataclass(eq=False, slots=True)
class Connection(Visitor):
    """A connection of the server."""

    source: str = ""
    since_s: float = 0.0
    held_until_s: float = 0.0  # its key exchange begins no sooner
    transport: paramiko.Transport | None = None
    login: Login | None = None
    called: bool = False  # this side has made it
    logged_in: bool = False
    session: ServerSession | None = None
    caller: Caller | None = None
    killed_by: int | None = None
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def peer(self) -> str:
        """The other end, for a log."""
        return f"{self.address} port {self.port}"

    @property
    def stage(self) -> Stage:
        """The distance that it has come."""
        if self.logged_in:
            return Stage.LOGGED_IN
        if self.transport is None:
            return Stage.SILENT
        return Stage.KEYED if self.transport.initial_kex_done else Stage.GREETED

    @property
    def failed(self) -> bool:
        """A login failed on it."""
        return self.login is not None and self.login.failures > 0

    @property
    def authenticated(self) -> bool:
        """A key was accepted; true also when its user has closed since."""
        handler = None if self.transport is None else self.transport.auth_handler
        return handler is not None and bool(handler.is_authenticated())

    def waits(self) -> bool:
        """Say if its client can still take an answer."""
        return bool(self.transport and self.transport.is_active() and self.session and self.session.is_active())

    def wait(self, seconds: float) -> None:
        """Wait so long, or until one of the two ends has closed."""
        with contextlib.suppress(OSError, ValueError):
            waiter = select.poll()
            waiter.register(self.sock, select.POLLRDHUP)
            waiter.poll(seconds * 1e3)

    def shut(self) -> None:
        """Close it, from any thread."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads; close() would wait for its poll
        with contextlib.suppress(OSError, EOFError):
            if self.transport is not None:
                self.transport.close()
            self.sock.close()


def begin(connection: Connection, host_key: paramiko.PKey, login: Login) -> None:
    """Begin the key exchange of a connection that has said its line, in a thread of paramiko's."""
    line = connection.line.decode("utf-8", "replace").rstrip("\r\n")

    def packets(sock: Any) -> _Packets:
        return _Packets(sock, line)

    connection.sock.setblocking(True)
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)  # RFC 8071, 4.1: seconds, not two hours
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)
    transport = paramiko.Transport(connection.sock, packetizer_class=packets)
    transport.set_log_channel(SSH_LOG)
    transport.local_version = IDENTIFICATION
    transport.add_server_key(host_key)
    connection.login, connection.transport = login, transport
    transport.start_server(event=threading.Event(), server=login)
