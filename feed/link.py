"""State of the connection below a subscriber: does anybody listen, does the handshake succeed, is the key let in.

A subscriber that hears nothing cannot tell these apart by its messages, and ZeroMQ tries again for ever without a
word. Its monitor tells (zmq_socket_monitor(3)).
"""

from __future__ import annotations

import enum
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

__all__ = ["Link", "Monitor"]


class Link(enum.Enum):
    """State of a connection, as the side that connects sees it."""

    UNREACHED = "unreached"  # nobody listens there, or a firewall is between
    REACHED = "reached"  # somebody listens, and has not said yet who he is
    OPEN = "open"
    REFUSED = "refused"  # by the list of keys of the other side; ZeroMQ does not try again
    CUT = "cut"  # by the other side during the handshake: CURVE on one side alone, another server key, no ZeroMQ
    LOST = "lost"  # it was open, and is not any more


_AFTER = {
    zmq.EVENT_CONNECTED: Link.REACHED,
    zmq.EVENT_HANDSHAKE_SUCCEEDED: Link.OPEN,
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: Link.REFUSED,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: Link.CUT,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: Link.CUT,
    zmq.EVENT_CLOSED: Link.UNREACHED,
    zmq.EVENT_DISCONNECTED: Link.LOST,
}
_KEPT = {  # states that an event leaves as they are, as it follows from them
    zmq.EVENT_DISCONNECTED: (Link.REFUSED, Link.CUT),
    zmq.EVENT_CONNECTED: (Link.CUT,),
    zmq.EVENT_CLOSED: (Link.REFUSED, Link.LOST),
}


class Monitor:
    """Reader of the events of one socket that has not connected yet; used by the thread of the socket."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._events: zmq.Socket[Any] = socket.get_monitor_socket(sum(_AFTER))
        self._state = Link.UNREACHED

    def read(self) -> Link:
        """Return the state after the events so far; call it often, as they wait in a queue of 1,000."""
        while self._events.poll(0):
            event = zmq.Event(recv_monitor_message(self._events)["event"])
            if self._state not in _KEPT.get(event, ()):
                self._state = _AFTER[event]
        return self._state

    def close(self) -> None:
        """End; the context of a monitor that was not closed does not end."""
        self._socket.disable_monitor()
        self._events.close()
