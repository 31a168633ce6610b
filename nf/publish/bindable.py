"""Endpoints: bound, or asked whether they could be without a bind that lasts, before a commit is made."""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from pathlib import Path

import zmq

from nf.errors import SnfError

__all__ = ["REBIND_S", "bind", "check"]

REBIND_S = 2.0  # closing the old socket of an endpoint is asynchronous, a listener may linger so long
_MAX_PORT = 65_535

_FIRST_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")

_TCP = re.compile(r"tcp://(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\[\]]+)):(?P<port>\d{1,5})")


def check(endpoint: str, bound: str) -> None:
    """Raise SnfError when a socket cannot be bound to the address of *endpoint*, or another process has its port.

    The port of *bound*, the present endpoint, is free by the time that it is asked for. Of an endpoint that is no
    address of TCP the folder is looked at.
    """
    found = _TCP.fullmatch(endpoint)
    if found is None:
        _check_folder(endpoint)
        return
    if 0 < int(found["port"]) < (first := _first_port()):
        why = f"the function keeps no right to a port below {first}"
        raise SnfError(f"The publisher cannot bind {endpoint}: {why}.", f"Give a port from {first} on.")
    host = found["six"] or found["host"].replace("*", "0.0.0.0")
    port = 0 if found["port"] == bound.rpartition(":")[2] else int(found["port"])
    try:
        where = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE)
    except socket.gaierror:
        return  # the name of an interface, which ZeroMQ takes as well
    family, kind, _, _, address = where[0]
    try:
        with socket.socket(family, kind) as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as ZeroMQ does
            attempt.bind((address[0], port, *address[2:]))
    except (OSError, OverflowError) as error:
        why = os.strerror(error.errno or 0) if isinstance(error, OSError) else "there is no such port"
        raise SnfError(
            f"The publisher cannot bind {endpoint}: {why}.",
            "Give tcp://ADDRESS:PORT with an address of this host and a port that no process holds.",
        ) from None


def _first_port() -> int:
    """Return the first port that takes no capability: the function gives its own away (`nf.kernel.privilege`)."""
    try:
        return int(_FIRST_PORT.read_text())
    except (OSError, ValueError):
        return 1024


def _check_folder(endpoint: str) -> None:
    folder = Path(endpoint.removeprefix("ipc://")).parent
    if endpoint.startswith("ipc:///") and not folder.is_dir():
        raise SnfError(
            f"The publisher cannot bind {endpoint}: {folder} is no folder.", "Make it, or give another path."
        )


def bind(listener: zmq.Socket[bytes], endpoint: str, patience_s: float = 0) -> str:
    """Bind and return the endpoint as bound; ask again for *patience_s* while the address is in use."""
    port = endpoint.rpartition(":")[2]
    end_s = time.monotonic() + patience_s
    while True:
        try:
            if endpoint.startswith("tcp:") and port.isdecimal() and int(port) > _MAX_PORT:
                raise zmq.ZMQError(errno.EINVAL)  # libzmq would take the port modulo 65536
            listener.bind(endpoint)
            return listener.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE or time.monotonic() >= end_s:
                raise SnfError(
                    f"The publisher cannot bind {endpoint}: {zmq.strerror(error.errno or 0)}.",
                    "Give tcp://ADDRESS:PORT with an address of this host and a port that no process holds.",
                ) from None
        time.sleep(0.01)
