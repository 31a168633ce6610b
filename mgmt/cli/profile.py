"""The client profile: where the function is, as whom to ask it, and which host keys are known.

An option counts before its variable (``SNF_NETCONF``), a variable before the file. The file is
``~/.config/supernetflow/client.toml``, or is named by ``SNF_CLIENT``; beside it lies ``known_hosts``, in the form
of OpenSSH, which remembers the key that a function showed first.
"""

from __future__ import annotations

import base64
import getpass
import hashlib
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from nf.errors import SnfError

__all__ = ["SETTINGS", "KnownHosts", "default_of", "fingerprint", "folder"]

SETTINGS: Mapping[str, Callable[[], str | None]] = {
    "netconf": lambda: "127.0.0.1:830",
    "user": getpass.getuser,
    "key": lambda: str(Path("~/.ssh/id_ed25519").expanduser()),
    "host-key": lambda: None,
    "endpoint": lambda: "tcp://127.0.0.1:5556",
    "curve": lambda: None,
}
"""The settings of a profile, and what counts where it says nothing."""

_FILES = frozenset({"key", "host-key", "curve"})  # paths, of which ~ is the home of who calls


def folder() -> Path:
    """Return the folder of the profile (XDG Base Directory Specification 0.8)."""
    named = os.environ.get("SNF_CLIENT")
    if named:
        return Path(named).expanduser().parent
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "supernetflow"


def _file() -> Path:
    named = os.environ.get("SNF_CLIENT")
    return Path(named).expanduser() if named else folder() / "client.toml"


@cache
def _read(path: Path) -> Mapping[str, str]:
    """Return what the file says; nothing when there is none. Raises SnfError."""
    known = ", ".join(SETTINGS)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SnfError(f"The client profile {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are
        said = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "it is not text"
        raise SnfError(f'The client profile {path} is not TOML: {said}. Write lines as: user = "alice"') from None
    for name, value in values.items():
        if name not in SETTINGS:
            raise SnfError(f"The client profile {path} has no setting {name}.", f"It has: {known}.")
        if not isinstance(value, str):
            raise SnfError(f"The setting {name} of the client profile {path} is no text in quotes.")
    return values


def _setting(name: str) -> str | None:
    path = _file()
    value = _read(path).get(name)
    if value is None:
        return SETTINGS[name]()
    return str(path.parent / Path(value).expanduser()) if name in _FILES else value


def default_of(name: str) -> Callable[[], str | None]:
    """Return what gives a setting where neither option nor variable does; it raises SnfError."""
    return partial(_setting, name)


# -- host keys -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KnownHosts:
    """The host keys that were seen first, by address and port."""

    path: Path

    def find(self, host: str, port: int) -> str | None:
        """Return the key of a function as ``TYPE BASE64``, None when it was never met. Raises SnfError."""
        name = _name(host, port)
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            raise SnfError(f"The known hosts in {self.path} cannot be read.", "Mend or remove the file.") from None
        for line in lines:
            words = line.split()
            if len(words) >= 3 and not line.startswith("#") and name in words[0].split(","):
                return f"{words[1]} {words[2]}"
        return None

    def remember(self, host: str, port: int, key: str) -> None:
        """Add the key of a function, ``TYPE BASE64``. Raises SnfError."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{_name(host, port)} {key}\n")
        except OSError as error:
            raise SnfError(
                f"The host key of {host} cannot be remembered in {self.path}: {error.strerror}.",
                "Give it with --host-key.",
            ) from None

    def changed(self, host: str, port: int) -> SnfError:
        """Return the error for a function that shows another key than it did."""
        return SnfError(
            f"The host key of {host} port {port} is not the one in {self.path}: somebody may be in between.",
            f"If the function has a new key, remove the line that begins with {_name(host, port)}.",
        )


def _name(host: str, port: int) -> str:
    return f"[{host}]:{port}"


def fingerprint(key: str) -> str:
    """Return the fingerprint of ``TYPE BASE64`` as ssh-keygen writes it."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"
