"""The door of the page: which hosts and methods it answers to, who shows a token, and the headers of each answer.

A name of another site that resolves to this machine (DNS rebinding) is refused by the header Host; an address cannot be
rebound. A token is compared in constant time; each wrong one from an address doubles how long that address waits.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Attempts", "Guard", "Tokens", "known_host"]

log = logging.getLogger(__name__)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Content-Security-Policy: this host alone, and no text becomes markup or a program (Trusted Types)."""

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_FORGOTTEN_S = 900.0  # an address without a wrong token for so long begins anew
_MOST_PEERS = 4096
_SESSION_S = 12 * 3600.0  # a working day
_MOST_SESSIONS = 1024
_LONGEST_FORM = 4096  # bytes


def known_host(host: str, names: Collection[str]) -> bool:
    """Say whether the value of a header Host is an address, localhost, or one of *names*; a port may follow."""
    name = host.strip().lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") <= 1:
        name = name.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.rstrip(".") in {"localhost", *(n.lower().rstrip(".") for n in names)} and bool(name)
    return True


class Attempts:
    """Wrong tokens by the address that they came from. ``wrong``: all of them since the start."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.wrong = 0
        self._clock = clock
        self._of: OrderedDict[str, tuple[int, float]] = OrderedDict()  # number, and when the next one is looked at

    def wait_s(self, peer: str) -> float:
        """Return how long an address has to wait before a token of its is looked at."""
        number, until = self._of.get(_network(peer), (0, 0.0))
        return max(until - self._clock(), 0.0) if number else 0.0

    def failed(self, peer: str) -> None:
        """Count a wrong token."""
        key, now = _network(peer), self._clock()
        number, until = self._of.pop(key, (0, 0.0))
        number = 1 if now - until > _FORGOTTEN_S else number + 1
        self._of[key] = (number, now + min(_FIRST_WAIT_S * 2.0 ** min(number - 1, 16), _LONGEST_WAIT_S))
        self.wrong += 1
        while len(self._of) > _MOST_PEERS:
            self._of.popitem(last=False)

    def passed(self, peer: str) -> None:
        """Forget the wrong tokens of an address that has shown the right one."""
        self._of.pop(_network(peer), None)


def _network(peer: str) -> str:
    """Return what counts as one address: of IPv6 the /64, which one host can fill."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    return str(address) if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))


class Tokens:
    """The token, and the sessions of browsers that have shown it."""

    def __init__(self, token: str, cookie: str, attempts: Attempts) -> None:
        self.cookie, self.attempts = cookie, attempts
        self._digest = _digest(token)
        self._sessions: OrderedDict[bytes, float] = OrderedDict()  # by digest of the cookie: when it ends

    def right(self, token: str, peer: str) -> bool:
        """Compare a token, and count a wrong one."""
        if hmac.compare_digest(_digest(token), self._digest):
            self.attempts.passed(peer)
            return True
        self.attempts.failed(peer)
        log.warning("A wrong token came from %s; %d since the start.", peer, self.attempts.wrong)
        return False

    def begin(self) -> str:
        """Return the cookie of a new session."""
        value = secrets.token_urlsafe(32)
        self._sessions[_digest(value)] = time.monotonic() + _SESSION_S
        while len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return value

    def holds(self, value: str) -> bool:
        """Say whether a cookie is that of a session that goes on."""
        return self._sessions.get(_digest(value), 0.0) > time.monotonic()

    def end(self, value: str) -> None:
        """End a session."""
        self._sessions.pop(_digest(value), None)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class Guard:
    """ASGI middleware around the page; *tokens* is None where everybody who reaches the socket may read."""

    def __init__(self, app: ASGIApp, names: Collection[str], tokens: Tokens | None) -> None:
        self._app, self._names, self._tokens = app, names, tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, refuse, or hand over."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if "cache-control" not in headers:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        answer = await self._looked_at(scope, receive)
        await (answer or self._app)(scope, receive, sealed)

    async def _looked_at(self, scope: Scope, receive: Receive) -> Response | None:
        """Return what ends a request here; None hands it over."""
        headers, path = Headers(scope=scope), str(scope["path"])
        if not known_host(headers.get("host", ""), self._names):
            return _said(421, "This page has no such name. Use the address, or start it with --name NAME.")
        foreign = headers.get("sec-fetch-site", "none") in {"cross-site", "same-site"}
        if foreign and (headers.get("sec-fetch-mode") != "navigate" or scope["method"] != "GET"):
            return _said(403, "Another site may not ask this page.")
        if scope["method"] not in {"GET", "HEAD"} and path not in {"/login", "/logout"}:
            return _said(405, "This page is read only.")
        if self._tokens is None or path.startswith("/static/"):
            return None
        if path in {"/login", "/logout"} and scope["method"] == "POST":
            return await self._posted(path, Request(scope, receive), self._tokens)
        if path == "/login" or self._tokens.holds(self._cookie(headers, self._tokens)):
            return None
        return self._shown(headers, path, _peer(scope), self._tokens)

    @staticmethod
    def _cookie(headers: Headers, tokens: Tokens) -> str:
        return cookie_parser(headers.get("cookie", "")).get(tokens.cookie, "")

    @staticmethod
    def _shown(headers: Headers, path: str, peer: str, tokens: Tokens) -> Response | None:
        """Look at a token in the header; without one a browser is sent to the form."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            if path == "/":
                return RedirectResponse("/login", 303)
            return _said(401, "Show the token: Authorization: Bearer TOKEN, or log in.", {"WWW-Authenticate": "Bearer"})
        if wait := tokens.attempts.wait_s(peer):
            return _slowed(wait)
        if not tokens.right(token.strip(), peer):
            return _said(401, "This token is wrong.", {"WWW-Authenticate": "Bearer"})
        return None

    async def _posted(self, path: str, request: Request, tokens: Tokens) -> Response:
        """Begin or end the session of a browser."""
        peer, body = _peer(request.scope), b""
        if path == "/logout":
            tokens.end(self._cookie(request.headers, tokens))
            answer = RedirectResponse("/login", 303)
            answer.delete_cookie(tokens.cookie, httponly=True, samesite="strict")
            return answer
        async for part in request.stream():
            body += part
            if len(body) > _LONGEST_FORM:
                return _said(413, "A token is shorter.")
        if tokens.attempts.wait_s(peer):
            return RedirectResponse("/login?slow", 303)
        token = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0].strip()
        if not tokens.right(token, peer):
            return RedirectResponse("/login?wrong", 303)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(tokens.cookie, tokens.begin(), max_age=int(_SESSION_S), httponly=True, samesite="strict")
        return answer


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _slowed(wait_s: float) -> Response:
    seconds = str(int(wait_s) + 1)
    return _said(429, f"Wrong tokens came from this address; try again in {seconds} s.", {"Retry-After": seconds})


def _said(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": sentence}, status, headers)
