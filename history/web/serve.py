"""The socket of the page, from the check of its options to its end."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from collections.abc import Callable, Collection
from pathlib import Path

import uvicorn

from feed.errors import SnfError
from history.web.app import make
from history.web.guard import Attempts, Tokens

__all__ = ["serve"]

_SHORTEST_TOKEN = 16  # characters; of 64 symbols that is 96 bits
_MOST_CONNECTIONS = 64
_IDLE_S = 15


def serve(
    folder: Path,
    address: str,
    port: int,
    token_file: Path | None,
    names: Collection[str],
    ready: Callable[[str], None],
) -> None:
    """Serve the page until SIGTERM or Ctrl-C; *ready* is told its address. Raises SnfError before that."""
    if not folder.is_dir():
        raise SnfError(f"{folder} is no folder.", "Give that of snf collect: --folder FOLDER.")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise SnfError(f"{folder} cannot be read.", "Run as its owner, or give this user the right.")
    if token_file is None and not _loopback(address):
        raise SnfError(
            f"{address} is not this host alone.",
            "Others may read there: give --token-file, or --listen 127.0.0.1:8080.",
        )
    token = None if token_file is None else _token(token_file)
    with _bound(address, port) as bound:
        port = bound.getsockname()[1]
        tokens = None if token is None else Tokens(token, f"snf_web_{port}", Attempts())
        config = uvicorn.Config(
            make(folder, names, tokens),
            access_log=False,  # paths have names of subscribers in them
            log_config=None,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=2,
        )
        ready(f"http://{f'[{address}]' if ':' in address else address}:{port}/")
        uvicorn.Server(config).run(sockets=[bound])


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        raise SnfError(f"{address} is no address.", "Write --listen 127.0.0.1:8080.") from None


def _token(path: Path) -> str:
    """Return the token of a file that its owner alone can read."""
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise SnfError(f"{path} cannot be read: {why}.", "Give a file with a token.") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SnfError(f"Others can read {path}.", f"Run: chmod 600 {path}")
    if len(text) < _SHORTEST_TOKEN or not text.isascii() or not text.isprintable() or " " in text:
        raise SnfError(f"{path} has no token.", f"Run: (umask 077; openssl rand -hex 32 > {path})")
    return text


def _bound(address: str, port: int) -> socket.socket:
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(kind, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((address, port))
        bound.listen(_MOST_CONNECTIONS)  # who reads where the page is may come at once
    except OSError as error:
        bound.close()
        raise SnfError(
            f"The page cannot listen on {address} port {port}: {error.strerror}.",
            "Give another one with --listen.",
            passing=True,
        ) from None
    return bound
