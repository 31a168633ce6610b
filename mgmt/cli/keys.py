"""``snf keys``: key pairs for the bus and keys of pseudonyms, and a configuration with them in it.

Files are made anew, readable by their owner alone; one that is there is never written over.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from feed.consumer import key_pair
from nf.errors import SnfError

__all__ = ["make"]

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
    drawn = {name: base64.b64encode(os.urandom(_PSEUDONYM_KEY_BYTES)).decode() for name in secrets}
    server = made[_PUBLISHER][0]
    files = {
        folder / f"{name}.curve": f"server_key={server}\npublic_key={public}\nsecret_key={secret}\n"
        for name, (public, secret) in made.items()
    } | {folder / f"{name}.key": f"{key}\n" for name, key in drawn.items()}
    if example:
        keys = {f"{n}-public": public for n, (public, _) in made.items()}
        keys |= {f"{n}-secret": secret for n, (_, secret) in made.items()} | drawn
        files[folder / example[0]] = _PLACE.sub(lambda place: escape(keys[place[0].strip("@")]), text)
    _write(folder, files)
    yield from ((name, str(folder / f"{name}.curve"), public) for name, (public, _) in made.items())
    yield from ((name, str(folder / f"{name}.key"), "") for name in drawn)
    if example:
        yield "configuration", str(folder / example[0]), ""


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
