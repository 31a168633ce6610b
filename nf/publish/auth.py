"""Access of subscribers: CURVE keys, and the allow-list that libzmq asks at each connection (RFC 27/ZAP).

The domain of the socket and the domain in a request must be equal; otherwise everybody is
refused. The authenticator of pyzmq is not used: it wants a thread or an event loop of its own, and
this one is a function of one message. Its answer names the user, the client's public key: libzmq
hands the name over with each message of that client, and it says which rights hold (`nf.publish.rights`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import zmq
from zmq.utils import z85

from nf.errors import SnfError
from nf.settings import Curve, Rights

__all__ = ["KEY_CHARACTERS", "AllowList", "client_rights", "pair_of", "secure"]

KEY_CHARACTERS = 40  # a CURVE key of 32 bytes in Z85 (RFC 32/Z85)
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


def client_rights(curve: Curve | None) -> Mapping[str, Rights]:
    """Return the rights of the public keys that may connect; raise SnfError when one is no key."""
    if curve is None:
        return {}
    rights = dict.fromkeys(curve.clients, Rights()) | {c.key: c.rights for c in curve.consumers}
    return {_key(key, "public key of a client").decode(): right for key, right in rights.items()}


def pair_of(curve: Curve) -> tuple[bytes, bytes]:
    """Return the secret and the public key of the publisher; raises SnfError when they are no keys, or no pair."""
    secret, public = (
        _key(curve.secret_key, "secret key of the publisher"),
        _key(curve.public_key, "public key of the publisher"),
    )
    if zmq.curve_public(secret) != public:
        raise SnfError(
            "The public key of the publisher does not belong to its secret key.", "Give both keys of one pair."
        )
    return secret, public


def secure(socket: zmq.Socket[bytes], curve: Curve, domain: str) -> None:
    """Make *socket* a CURVE server whose clients are those of *domain*, before its bind.

    Raises SnfError when the keys are no keys, or no pair.
    """
    secret, public = pair_of(curve)
    socket.curve_secretkey = secret
    socket.curve_publickey = public
    socket.curve_server = True
    socket.zap_domain = domain.encode()


class AllowList:
    """The allow-list for handshakes of a context's sockets; call `answer` whenever ``socket`` is readable."""

    def __init__(self, context: zmq.Context[Any], counters: Counter[str]) -> None:
        self.allowed: dict[str, Collection[str]] = {}  # public keys, by domain
        self.counters = counters
        self.socket: zmq.Socket[bytes] = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind(_ENDPOINT)

    def answer(self) -> None:
        """Answer one request: 200 for a key of the list, 400 for anything else."""
        version, request, domain, _, _, mechanism, *credentials = self.socket.recv_multipart()
        is_key = mechanism == b"CURVE" and len(credentials) == 1 and len(credentials[0]) == 32
        key = z85.encode(credentials[0]) if is_key else b""
        allowed = key.decode() in self.allowed.get(domain.decode(errors="replace"), ())
        self.counters["clients_allowed" if allowed else "clients_refused"] += 1
        status = (b"200", b"OK", key) if allowed else (b"400", b"key not allowed", b"")
        self.socket.send_multipart([version, request, *status, b""])

    def close(self) -> None:
        """Close the socket; every further handshake is refused by libzmq."""
        self.socket.close()
