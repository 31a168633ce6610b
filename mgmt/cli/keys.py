"""``snf keys``: key pairs for the bus and keys of pseudonyms, and a configuration with them in it.

Files are made anew, readable by their owner alone; one that is there is never written over.
"""

from __future__ import annotations

import base64
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from feed.consumer import key_pair
from mgmt.published_keys import is_published
from nf.errors import SnfError

__all__ = ["fill", "fill_from", "make", "plan"]

_PUBLISHER = "publisher"
_PLACE = re.compile(r"@([a-z0-9-]+?)(-public|-secret)?@")
_NAME = re.compile(r"[a-z0-9-]{1,64}")
_PSEUDONYM_KEY_BYTES = 32  # as long as the result of HMAC-SHA-256 (RFC 2104, section 3)


def make(folder: Path, clients: Sequence[str], example: tuple[str, str] | None) -> Iterator[tuple[str, str, str]]:
    """Make keys in *folder* for the publisher, *clients* and each place of *example*, a file name and its text.

    Yields what was made: its name, its file, its public key or nothing. Raises SnfError before anything is written.
    """
    text = example[1] if example else ""
    pairs, secrets = {_PUBLISHER: None, **dict.fromkeys(clients)}, {"pseudonyms": None}
    for name, kind in _PLACE.findall(text):
        (pairs if kind else secrets)[name] = None
    for name in (*pairs, *secrets):
        if not _NAME.fullmatch(name):
            raise SnfError(f"{name!r} is no name for a key.", "Use at most 64 of a-z, 0-9 and -.")
    made = {name: key_pair() for name in pairs}
    drawn = {name: _draw() for name in secrets}
    files = _files(folder, made, drawn)
    if example:
        files[folder / example[0]] = fill(text, made, drawn)
    _write(folder, files)
    yield from ((name, str(folder / f"{name}.curve"), public) for name, (public, _) in made.items())
    yield from ((name, str(folder / f"{name}.key"), "") for name in drawn)
    if example:
        yield "configuration", str(folder / example[0]), ""


def plan(folder: Path, clients: Sequence[str]) -> tuple[dict[Path, str], dict[str, tuple[str, str]], dict[str, str]]:
    """Return files to be written into *folder*, the pairs of publisher and *clients*, and the key of the pseudonyms.

    What is there already is taken as it is, and no file of those to be written. Raises SnfError when it is no key.
    """
    for name in clients:
        if not _NAME.fullmatch(name) or name == _PUBLISHER:
            raise SnfError(f"{name!r} is no name for a client.", "Use at most 64 of a-z, 0-9 and -.")
    pairs = {name: _pair_of(folder / f"{name}.curve") or key_pair() for name in (_PUBLISHER, *clients)}
    secrets = {"pseudonyms": _secret_of(folder / "pseudonyms.key") or _draw()}
    files = {path: text for path, text in _files(folder, pairs, secrets).items() if not path.exists()}
    return files, pairs, secrets


def _pair_of(path: Path) -> tuple[str, str] | None:
    """Return the (public, secret) keys of a file that is there."""
    text = _kept(path)
    if not text:
        return None
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if not {"public_key", "secret_key"} <= found.keys():
        raise SnfError(f"{path} is no file of keys.", "Move it away.")
    return found["public_key"], found["secret_key"]


def _secret_of(path: Path) -> str:
    """Return the key of the pseudonyms that is in a file, "" when there is none."""
    key = _kept(path).strip()
    if is_published(key):
        raise SnfError(f"{path} has the key of an example, which everybody can read.", "Move it away.")
    return key


def _kept(path: Path) -> str:
    try:
        if path.stat().st_mode & stat.S_IRWXO:
            raise SnfError(f"Everybody on this host can read the key {path}.", f"chmod o= {path}, or move it away.")
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise SnfError(f"{path} is no file of keys.", "Move it away.") from None
    except OSError as error:
        raise SnfError(f"{path} cannot be read: {error.strerror}.", "Run the command as root.") from None


def _draw() -> str:
    return base64.b64encode(os.urandom(_PSEUDONYM_KEY_BYTES)).decode()


def _files(folder: Path, pairs: Mapping[str, tuple[str, str]], secrets: Mapping[str, str]) -> dict[Path, str]:
    server = pairs[_PUBLISHER][0]
    return {
        folder / f"{name}.curve": f"server_key={server}\npublic_key={public}\nsecret_key={secret}\n"
        for name, (public, secret) in pairs.items()
    } | {folder / f"{name}.key": f"{key}\n" for name, key in secrets.items()}


def fill(text: str, pairs: Mapping[str, tuple[str, str]], secrets: Mapping[str, str]) -> str:
    """Return a configuration with keys in its places."""
    keys = {f"{n}-public": public for n, (public, _) in pairs.items()}
    keys |= {f"{n}-secret": secret for n, (_, secret) in pairs.items()} | dict(secrets)
    return _PLACE.sub(lambda place: escape(keys[place[0].strip("@")]), text)


def fill_from(folder: Path, text: str) -> str:
    """Return a configuration with keys of *folder* in its places; of a client the public key is enough.

    Raises SnfError that names the file that is not there, or has no such key.
    """

    def key_of(place: re.Match[str]) -> str:
        name, kind = place[1], place[2] or ""
        path = folder / f"{name}.{'curve' if kind else 'key'}"
        key = _line_of(path, f"{kind[1:]}_key") if kind else _secret_of(path)
        if not key:
            raise SnfError(
                f"{path} has no key for {place[0]}.", f"Make keys: snf keys DIR {name if kind else ''}".strip()
            )
        return escape(key)

    return _PLACE.sub(key_of, text)


def _line_of(path: Path, name: str) -> str:
    found = dict(line.split("=", 1) for line in _kept(path).splitlines() if "=" in line)
    return found.get(name, "")


def _write(folder: Path, files: dict[Path, str]) -> None:
    if there := next((path for path in files if path.exists()), None):
        raise SnfError(f"{there} is there already, and keys are not written over.", "Give another folder.")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, content in files.items():
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(content)
    except OSError as error:
        raise SnfError(f"The keys cannot be written to {folder}: {error.strerror}.") from None
