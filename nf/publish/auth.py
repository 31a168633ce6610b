"""Access of subscribers: CURVE keys, and the allow-list that libzmq asks at each connection (RFC 27/ZAP).

The domain of the socket and the domain in a request must be equal; otherwise everybody is
refused. The authenticator of pyzmq is not used: it wants a thread or an event loop of its own, and
this one is a function of one message.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import zmq
from zmq.utils import z85

from nf.errors import SnfError
from nf.settings import Curve

__all__ = ["KEY_CHARACTERS", "AllowList", "secure"]

KEY_CHARACTERS = 40  # a CURVE key of 32 bytes in Z85 (RFC 32/Z85)
_DOMAIN = b"snf"
_ENDPOINT = "inproc://zeromq.zap.01"  # fixed by RFC 27


def _key(text: str, what: str) -> bytes:
    try:
        if len(text) == KEY_CHARACTERS and len(z85.decode(text.encode("ascii"))) == 32:
            return text.encode("ascii")
    except (ValueError, KeyError, IndexError, UnicodeEncodeError):
        pass
    raise SnfError(
        f"The {what} is not a CURVE key.",
        f"A key is {KEY_CHARACTERS} characters of Z85; make a pair with zmq.curve_keypair().",
    )


def client_keys(curve: Curve | None) -> frozenset[bytes]:
    """Return the public keys that may connect; raise SnfError when one is no key."""
    return frozenset(_key(k, "public key of a client") for k in (curve.clients if curve else ()))


def secure(socket: zmq.Socket[bytes], curve: Curve) -> None:
    """Make *socket* a CURVE server, before its bind. Raises SnfError when the keys are no keys, or no pair."""
    secret, public = (
        _key(curve.secret_key, "secret key of the publisher"),
        _key(curve.public_key, "public key of the publisher"),
    )
    if zmq.curve_public(secret) != public:
        raise SnfError(
            "The public key of the publisher does not belong to its secret key.", "Give both keys of one pair."
        )
    socket.curve_secretkey = secret
    socket.curve_publickey = public
    socket.curve_server = True
    socket.zap_domain = _DOMAIN


class AllowList:
    """The allow-list for handshakes of a context's sockets; call `answer` whenever ``socket`` is readable."""

    def __init__(self, context: zmq.Context[Any], counters: Counter[str]) -> None:
        self.allowed: frozenset[bytes] = frozenset()
        self.counters = counters
        self.socket: zmq.Socket[bytes] = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind(_ENDPOINT)

    def answer(self) -> None:
        """Answer one request: 200 for a key of the list, 400 for anything else."""
        version, request, domain, _, _, mechanism, *credentials = self.socket.recv_multipart()
        known = mechanism == b"CURVE" and domain == _DOMAIN and len(credentials) == 1
        allowed = known and len(credentials[0]) == 32 and z85.encode(credentials[0]) in self.allowed
        self.counters["clients_allowed" if allowed else "clients_refused"] += 1
        status = (b"200", b"OK", b"subscriber") if allowed else (b"400", b"key not allowed", b"")
        self.socket.send_multipart([version, request, *status, b""])

    def close(self) -> None:
        """Close the socket; every further handshake is refused by libzmq."""
        self.socket.close()
