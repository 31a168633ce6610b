"""Socket options that both ends share."""

from __future__ import annotations

import zmq

__all__ = ["prepare"]

_IDLE_S, _INTERVAL_S, _PROBES = 5, 2, 3  # a peer that vanished without a word is noticed after 11 s


def prepare(socket: zmq.Socket[bytes], endpoint: str, max_message_bytes: int) -> None:
    """Set the options that *socket* needs before it binds or connects to *endpoint*.

    Peers that vanished are found by TCP keep-alive, and not by the heartbeats of ZMTP: these wait
    behind the data for a subscriber that is only slow, and would cut its connection.
    """
    socket.setsockopt(zmq.MAXMSGSIZE, max_message_bytes)  # a peer that sends more is disconnected
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, _IDLE_S)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, _INTERVAL_S)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, _PROBES)
    socket.setsockopt(zmq.IPV6, int("[" in endpoint))
