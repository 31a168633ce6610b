"""From a host name to an application: suffixes of a TOML file, and those that the operator adds."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.errors import BadSignatures
from nf.records import APP_CLASSES
from nf.settings import Application

__all__ = ["FILE", "Signatures"]

FILE = Path(__file__).with_name("signatures.toml")

MAX_APPS = 4096  # SNF_APPS of abi.h: the kernel's policy table has one entry each
_UNKNOWN = APP_CLASSES.index("unknown")

_numbers: dict[str, int] = {}  # for the life of the process: flows carry numbers over a change of signatures


def _number(name: str) -> int:
    return _numbers.setdefault(name, len(_numbers) + 1)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSignatures(f"{path.name} cannot be read: {error.strerror}.", "Restore the file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSignatures(f"{path.name} is not TOML: {error}.", "Mend it at that place.") from None


def _check(name: str, entry: Any, where: str) -> tuple[str, tuple[str, ...]]:
    """Return (class, suffixes) of one application."""
    if not isinstance(entry, dict) or set(entry) - {"class", "domains"}:
        raise BadSignatures(f"{where}: {name} has other keys than class and domains.", "Remove them.")
    app_class, domains = entry.get("class"), entry.get("domains", [])
    if app_class not in APP_CLASSES[:-1]:
        raise BadSignatures(
            f"{where}: {name} has the class {app_class!r}.", f"Use one of {', '.join(APP_CLASSES[:-1])}."
        )
    if not isinstance(domains, list) or not all(isinstance(d, str) and "." in d for d in domains):
        raise BadSignatures(f"{where}: domains of {name} are not a list of host names.", 'Write ["example.org"].')
    return app_class, tuple(d.lower().strip(".") for d in domains)


class Signatures:
    """Immutable. Application 0 is none; ``class_of[app]`` is an index into APP_CLASSES, ``names[app]`` the name."""

    def __init__(self, table: Mapping[str, tuple[str, tuple[str, ...]]]) -> None:
        for name in table:
            _number(name)
        size = len(_numbers) + 1
        if size > MAX_APPS:
            raise BadSignatures(f"{size} applications are more than {MAX_APPS}.", "Remove some.")
        self.names: Sequence[str] = ["", *_numbers]
        self.class_of: NDArray[np.uint8] = np.full(size, _UNKNOWN, np.uint8)
        self._suffixes: dict[str, int] = {}
        for name, (app_class, domains) in table.items():
            self.class_of[_numbers[name]] = APP_CLASSES.index(app_class)
            self._suffixes.update(dict.fromkeys(domains, _numbers[name]))
        self._known = frozenset(table)

    @classmethod
    def load(cls, extra: Sequence[Application] = (), path: Path = FILE) -> Signatures:
        """Return the signatures of a file with the operator's on top; raises BadSignatures."""
        table: dict[str, tuple[str, tuple[str, ...]]] = {}
        owner: dict[str, str] = {}
        for name, entry in _read(path).items():
            table[name] = _check(name, entry, path.name)
            for domain in table[name][1]:
                if domain in owner:
                    raise BadSignatures(f"{path.name}: {domain} belongs to {owner[domain]} and {name}.", "Keep one.")
                owner[domain] = name
        for app in extra:
            entry = {"class": app.app_class, "domains": list(app.domains)}
            table[app.name] = _check(app.name, entry, "configuration")
            for domain in table[app.name][1]:  # the operator's word takes the domain from whom the file names
                if (other := owner.get(domain, app.name)) != app.name:
                    table[other] = (table[other][0], tuple(d for d in table[other][1] if d != domain))
        return cls(table)

    def match(self, name: str) -> int:
        """Return the application of a host name by its longest suffix; 0 when none owns it."""
        name = name.rstrip(".").lower()
        while name:
            if app := self._suffixes.get(name):
                return app
            _, _, name = name.partition(".")
        return 0

    def number(self, app: str) -> int:
        """Return the number of an application by name; 0 when there is none."""
        return _numbers[app] if app in self._known else 0

    def name(self, app: int) -> str:
        """Return the name of an application by number."""
        return self.names[app]

    def app_class(self, app: int) -> str:
        """Return the class of an application by number."""
        return APP_CLASSES[self.class_of[app]]
