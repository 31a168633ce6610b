"""One NETCONF session: the session of the package `netconf`, with everything that touches the wire replaced.

The package keeps the hello and the thread that reads. Its framing spins when a peer goes away, its
dispatcher does not look at namespaces and kills the wrong session, so `mgmt.netconf.ssh.framing` and `mgmt.netconf.rpc`
stand in for them.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import paramiko
from lxml import etree
from netconf.base import NetconfSession
from netconf.error import SessionError

from mgmt.netconf.caller import Caller
from mgmt.netconf.rpc import Dispatcher, Reply
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.ssh.framing import Decoder, FramingError, MessageTooBig, encode
from mgmt.netconf.ssh.outbox import Outbox
from mgmt.netconf.xml_names import BASE, NC, Doctype, parse

__all__ = ["ServerSession"]

log = logging.getLogger(__name__)

_READ_BYTES = 65_536
_POLL_S = 5.0  # a blocked read looks at its deadlines this often; a send that waits so long has no reader


class _Wire:
    """The messages of one channel. Shaped as the package's framing transport, which it replaces."""

    def __init__(self, channel: Any, idle_s: float, listens: Callable[[], bool]) -> None:
        self._channel, self._idle_s, self._listens = channel, idle_s, listens
        self._decoder = Decoder()
        self._sending = threading.Lock()
        self.timed_out = False
        self.hello_by = float("inf")  # time.monotonic() until which a hello has to come

    def is_active(self) -> bool:
        return not self._channel.closed

    def close(self) -> None:
        # The peer may have gone first, in the middle of saying so.
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.close()

    def cut(self) -> None:
        """End the connection at once, also when a send waits: closing would wait for it."""
        with contextlib.suppress(OSError, EOFError, AttributeError):
            self._channel.get_transport().sock.shutdown(socket.SHUT_RDWR)

    def say_goodbye(self) -> None:
        """Say that the end is a regular one: ssh exits with 0 then."""
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.send_exit_status(0)

    def send_pdu(self, message: str, new_framing: bool) -> None:
        data = encode(message.encode(), new_framing)
        with self._sending:
            self._channel.settimeout(_POLL_S * 6)
            try:
                self._channel.sendall(data)
            except (EOFError, paramiko.SSHException):
                raise ConnectionResetError(errno.ECONNRESET, "the peer has gone") from None

    def receive_pdu(self, new_framing: bool) -> bytes | str | None:
        """Return the next message, None at the end or when nothing was heard in time.

        The hello is a str, because the package encodes it.
        """
        self._decoder.chunked = new_framing
        waits_for_hello = self.hello_by != float("inf")
        last = time.monotonic()
        while True:
            message = self._decoder.next_message()
            if message is not None:
                # The package takes an empty message for the end.
                return _checked_hello(message) if waits_for_hello else message or b" "
            now = time.monotonic()
            deadline = self.hello_by if waits_for_hello else last + self._idle_s
            if now > deadline and not waits_for_hello and self._listens():
                last, deadline = now, now + self._idle_s
            if now > deadline:
                self.timed_out = True
                return None
            self._channel.settimeout(min(_POLL_S, max(0.01, deadline - now)))
            try:
                data = self._channel.recv(_READ_BYTES)
            except TimeoutError:
                continue
            if not data:
                self._decoder.at_end()
                return None
            last = time.monotonic()
            self._decoder.feed(data)


def _checked_hello(message: bytes) -> str:
    """Return a hello that is safe to parse by any parser: its capabilities, nothing else. Raises SessionError."""
    try:
        hello = parse(message.strip())
    except (etree.XMLSyntaxError, Doctype):
        raise SessionError(None, "the hello is not well-formed") from None
    if hello.tag != f"{NC}hello" or hello.find(f"{NC}session-id") is not None:
        raise SessionError(None, "the first message is not the hello of a client")
    clean = etree.Element(f"{NC}hello", nsmap={None: BASE})
    found = etree.SubElement(clean, f"{NC}capabilities")
    for capability in hello.iterfind(f"{NC}capabilities/{NC}capability"):
        etree.SubElement(found, f"{NC}capability").text = (capability.text or "").strip()
    return str(etree.tostring(clean, encoding="unicode"))


class ServerSession(NetconfSession):  # type: ignore[misc]
    """A session; ``started`` is called once after the hellos, before the first request is handled, and ``ended`` once,
    from its own thread, when it has read its last message. It may be silent for *idle_s*, longer while it *listens*.
    """

    def __init__(
        self,
        channel: Any,
        caller: Caller,
        dispatcher: Dispatcher,
        capabilities: Iterable[str],
        started: Callable[[], None],
        ended: Callable[[], None],
        *,
        idle_s: float,
        listens: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(channel, debug=False, session_id=caller.session)
        package_framing: Any = self.pkt_stream
        package_framing.stream = None  # or the package closes the channel when that is collected
        self._wire = _Wire(channel, idle_s, listens)
        self.pkt_stream: _Wire | None = self._wire
        self.number, self._caller = caller.session, caller
        self._dispatcher, self._capabilities, self._ended = dispatcher, tuple(capabilities), ended
        self._started, self._starting = started, threading.Lock()
        self._greeted = self._closed = False
        self._outbox = Outbox(lambda message: self.send_message(message.decode()), self._too_slow)

    @property
    def reason(self) -> str:
        """The reason of its end, as RFC 6470 names it; without an order of another session."""
        if self._closed:
            return "closed"
        if not self._greeted:
            return "bad-hello"
        return "timeout" if self._wire.timed_out else "dropped"

    def open(self, hello_s: float) -> None:
        """Exchange hellos and start to read. Raises SessionError, FramingError or OSError."""
        self._wire.hello_by = time.monotonic() + hello_s
        self._open_session(is_server=True)
        self._start()

    def _start(self) -> None:
        # The thread that reads may be there before the one that opened the session goes on.
        with self._starting:
            if not self._greeted:
                self._greeted = True
                self._started()

    def send_hello(self, _caplist: object, session_id: int | None = None) -> None:
        """Send the hello (RFC 6241, 8.1), in place of the package's list."""
        hello = etree.Element(f"{NC}hello", nsmap={None: BASE})
        found = etree.SubElement(hello, f"{NC}capabilities")
        for capability in self._capabilities:
            etree.SubElement(found, f"{NC}capability").text = capability
        etree.SubElement(hello, f"{NC}session-id").text = str(session_id)
        self.send_message(etree.tostring(hello, encoding="unicode"))

    def _receive_message(self) -> bytes | str | None:
        opening = not self.session_open
        if not opening:
            self._wire.hello_by = float("inf")
        message: bytes | str | None
        try:
            message = super()._receive_message()
        except MessageTooBig:
            log.warning("session %d sent a message that is too big", self.number)
            if not opening:
                self._answer(Reply(_too_big(), close=True))
            message = None
        except FramingError as error:
            log.warning("session %d: %s", self.number, error)
            message = None
        if message is None and opening:
            raise SessionError(None, "there was no hello")
        return message

    def _reader_handle_message(self, message: bytes) -> None:
        self._start()
        if self.session_open:
            with self._outbox.held():
                self._answer(self._dispatcher.handle(self._caller, message, chunked=self.new_framing))

    def notify(self, message: bytes) -> bool:
        """Queue a notification, without waiting; says if the session takes it. One that reads too slowly is ended."""
        return self._outbox.put(message)

    def _too_slow(self) -> None:
        log.warning("session %d does not read its notifications: it is ended", self.number)
        self._wire.cut()

    def _answer(self, reply: Reply) -> None:
        self.send_message(reply.message.decode())
        if reply.close:
            self._closed = True
            self._wire.say_goodbye()
            self.close()

    def _reader_exits(self) -> None:
        self._start()
        self._outbox.close()
        try:
            self.close()
        finally:
            self._ended()


def _too_big() -> bytes:
    reply = etree.Element(f"{NC}rpc-reply", nsmap={None: BASE})
    error = RpcError("too-big", "The message is larger than this function accepts.", kind="transport")
    reply.extend(error.elements(lambda _module: None))
    message: bytes = etree.tostring(reply)
    return message
