"""From a host name, an address, a port or a protocol to an application: TOML files, and what the operator adds."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.apps.behaviour import Kind
from nf.errors import BadSignatures
from nf.records import APP_CLASSES
from nf.settings import Application

__all__ = ["KNOWN", "LOCAL", "MAX_APPS", "TCP", "UDP", "Signatures", "check_value", "files"]

KNOWN = Path(__file__).with_name("known")  # a file a class
MAX_APPS = 4096  # SNF_APPS of abi.h: the kernel's policy table has one entry each
TCP, UDP = 6, 17  # IP protocol numbers

_UNKNOWN = APP_CLASSES.index("unknown")
_KINDS = frozenset(kind.value for kind in Kind)
_KEYS = frozenset(("class", "domains", "prefixes", "ports", "behaviour"))
_DOMAIN = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})+")
_PORTS = re.compile(r"(tcp|udp)/(\d{1,5})(?:-(\d{1,5}))?")
_MOST_ADDRESSES = 65_536
_MAX_RANGE = 64  # ports; a wider range says nothing
# Search lists of home and office networks, which resolvers append to a name that is not found.
LOCAL = (".lan", ".home", ".local", ".localdomain", ".internal", ".home.arpa", ".fritz.box", ".corp")

_ONLY_CLASS = "\0"  # before the name of a class, for what is known of it alone; no application can be called so
_numbers: dict[str, int] = {}  # for the life of the process: flows carry numbers over a change of signatures

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class _Entry:
    app_class: str
    domains: tuple[str, ...] = ()
    prefixes: tuple[Network, ...] = ()
    ports: tuple[tuple[int, int], ...] = ()  # (protocol, port)
    behaviour: tuple[str, ...] = ()

    def claims(self) -> Iterator[tuple[str, object]]:
        """Yield what only one application may have."""
        for what in ("domains", "prefixes", "ports", "behaviour"):
            for value in getattr(self, what):
                yield what, value

    def without(self, taken: Mapping[tuple[str, object], str], name: str) -> _Entry:
        """Return what is left when *taken* says who else has something."""
        kept: dict[str, Any] = {
            what: tuple(value for value in getattr(self, what) if taken.get((what, value), name) == name)
            for what in ("domains", "prefixes", "ports")
        }
        return replace(self, **kept)


def check_value(key: str, value: str, where: str) -> None:
    """Raise BadSignatures unless *value* may stand in the list *key* of an application; *where* is told."""
    _entry("It", {"class": APP_CLASSES[0], key: [value]}, where)


def _configured(app: Application) -> dict[str, Any]:
    """Return an application of the operator as a table of a file."""
    lists = {"domains": app.domains, "prefixes": app.prefixes, "ports": app.ports}
    return {"class": app.app_class} | {key: list(values) for key, values in lists.items()}


def files(path: Path = KNOWN) -> list[Path]:
    """Return the files of a folder of signatures; of a file itself."""
    return sorted(path.glob("*.toml")) if path.is_dir() else [path]


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSignatures(f"{path.name} cannot be read: {error.strerror}.", "Restore the file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSignatures(f"{path.name} is not TOML: {error}.", "Mend it at that place.") from None


def _entry(name: str, raw: Any, where: str) -> _Entry:
    def bad(what: str, remedy: str) -> BadSignatures:
        return BadSignatures(f"{where}: {name} {what}.", remedy)

    if not name or not isinstance(raw, dict) or set(raw) - _KEYS:
        raise bad(f"is no table with the keys {', '.join(sorted(_KEYS))}", "Remove what is not one of them.")
    if raw.get("class") not in APP_CLASSES[:-1]:
        raise bad(f"has the class {raw.get('class')!r}", f"Use one of {', '.join(APP_CLASSES[:-1])}.")
    for key in _KEYS - {"class"}:
        if not isinstance(raw.get(key, []), list) or not all(isinstance(v, str) for v in raw.get(key, [])):
            raise bad(f"has {key} that are not a list of strings", f'Write {key} = ["...", "..."].')
    domains = tuple(d.lower().strip(".") for d in raw.get("domains", []))
    for domain in domains:
        if not _DOMAIN.fullmatch(domain):
            raise bad(f"has the domain {domain!r}", 'Write a host name of two labels or more, as "example.org".')
    for kind in raw.get("behaviour", []):
        if kind not in _KINDS:
            raise bad(f"has the behaviour {kind!r}", f"Use one of {', '.join(Kind)}.")
    try:
        prefixes = tuple(ipaddress.ip_network(p) for p in raw.get("prefixes", []))
    except ValueError as error:
        raise bad(f"has a prefix that is none: {error}", 'Write "192.0.2.0/24" or "2001:db8::/32".') from None
    try:
        ports = tuple(port for text in raw.get("ports", []) for port in _ports(text))
    except ValueError as error:
        raise bad(
            f"has the port {error}", f'Write "udp/5000" or "tcp/5000-5010", {_MAX_RANGE} ports at most.'
        ) from None
    return _Entry(raw["class"], domains, prefixes, ports, tuple(raw.get("behaviour", [])))


def _ports(text: str) -> list[tuple[int, int]]:
    if not (found := _PORTS.fullmatch(text)):
        raise ValueError(repr(text))
    first, last = int(found[2]), int(found[3] or found[2])
    if not 0 < first <= last <= 0xFFFF or last - first >= _MAX_RANGE:
        raise ValueError(repr(text))
    return [(TCP if found[1] == "tcp" else UDP, port) for port in range(first, last + 1)]


class Signatures:
    """Immutable. Application 0 is none; ``class_of[app]`` is an index into APP_CLASSES, ``names[app]`` the name.

    A name keeps its number for the life of the process, over every `load`.
    """

    def __init__(self, table: Mapping[str, _Entry]) -> None:
        size = len(_numbers.keys() | table.keys()) + (1 if _numbers else 1 + _UNKNOWN)
        if size > MAX_APPS:
            raise BadSignatures(f"{size - 1} applications were named since the start, {MAX_APPS - 1} is the most.",
                                "Name fewer, and start again.")  # fmt: skip
        for name in (*(_ONLY_CLASS + app_class for app_class in APP_CLASSES[:_UNKNOWN]), *table):
            _numbers.setdefault(name, len(_numbers) + 1)
        self.names: Sequence[str] = ["", *("" if name.startswith(_ONLY_CLASS) else name for name in _numbers)]
        self.class_of: NDArray[np.uint8] = np.full(len(self.names), _UNKNOWN, np.uint8)
        for app_class in range(_UNKNOWN):
            self.class_of[self.only_class(APP_CLASSES[app_class])] = app_class
        self._known = frozenset(table)
        self._suffixes: dict[str, int] = {}
        self._ports: dict[tuple[int, int], int] = {}
        self._behaviour: dict[str, int] = {}
        self._addresses: dict[str, int] = {}  # answers of `match_address`: servers are asked for again and again
        networks: dict[tuple[int, int], dict[int, int]] = {}  # (version, host bits) to network bits to application
        for name, entry in table.items():
            app = _numbers[name]
            self.class_of[app] = APP_CLASSES.index(entry.app_class)
            self._suffixes.update(dict.fromkeys(entry.domains, app))
            self._ports.update(dict.fromkeys(entry.ports, app))
            self._behaviour.update(dict.fromkeys(entry.behaviour, app))
            for p in entry.prefixes:
                shift = p.max_prefixlen - p.prefixlen
                networks.setdefault((p.version, shift), {})[int(p.network_address) >> shift] = app
        self._networks = {
            version: sorted((shift, found) for (v, shift), found in networks.items() if v == version)
            for version in (4, 6)
        }

    @classmethod
    def load(cls, extra: Sequence[Application] = (), path: Path = KNOWN) -> Signatures:
        """Return the signatures of a file, or of a folder of them, with the operator's on top; raises BadSignatures.

        An operator's application takes what it has from others. One of the same name as the file's keeps of the
        file's addresses, ports and behaviour what it has none of itself.
        """
        table: dict[str, _Entry] = {}
        owner: dict[tuple[str, object], str] = {}
        for file in files(path):
            for name, raw in _read(file).items():
                if name in table:
                    raise BadSignatures(f"{file.name}: {name} is in another file as well.", "Keep one.")
                table[name] = _entry(name, raw, file.name)
                for claim in table[name].claims():
                    if claim in owner:
                        raise BadSignatures(
                            f"{file.name}: {claim[1]} belongs to {owner[claim]} and {name}.", "Keep one."
                        )
                    owner[claim] = name
        taken: dict[tuple[str, object], str] = {}
        for app in extra:
            entry = _entry(app.name, _configured(app), "configuration")
            for claim in entry.claims():
                if taken.setdefault(claim, app.name) != app.name:
                    raise BadSignatures(
                        f"configuration: {claim[1]} belongs to {taken[claim]} and {app.name}.", "Keep one."
                    )
            old = table.get(app.name, entry)
            table[app.name] = _Entry(
                entry.app_class, entry.domains, entry.prefixes or old.prefixes, entry.ports or old.ports, old.behaviour
            )
        return cls({name: entry.without(taken, name) for name, entry in table.items()})

    @property
    def suffixes(self) -> Mapping[str, int]:
        """Applications by domain suffix, for whoever matches names faster than `match` does."""
        return self._suffixes

    def match(self, name: str) -> int:
        """Return the application of a host name by its longest suffix on a label boundary; 0 when none owns it.

        A port behind the name, and the search list of a local network, are no part of it.
        """
        name = name.rstrip(".").lower()
        host, colon, port = name.rpartition(":")
        if colon and port.isdigit() and ":" not in host:
            name = host
        if app := self._by_suffix(name):
            return app
        for local in LOCAL:
            if name.endswith(local):
                return self._by_suffix(name[: -len(local)])
        return 0

    def suffix_of(self, name: str) -> tuple[str, int]:
        """Return (suffix, application) by which `match` knows a name; ("", 0) when it does not."""
        app = self.match(name)
        labels = name.rstrip(".").lower().partition(":")[0].split(".")
        suffixes = (".".join(labels[i:j]) for i in range(len(labels)) for j in range(len(labels), i, -1))
        return next((s for s in suffixes if self._suffixes.get(s) == app), "") if app else "", app

    def prefix_of(self, address: str) -> tuple[str, int]:
        """Return (prefix, application) by which `match_address` knows an address; ("", 0) when it does not."""
        app = self.match_address(address)
        parsed = ipaddress.ip_address(address)
        for shift, found in self._networks[parsed.version] if app else ():
            if int(parsed) >> shift in found:
                return str(ipaddress.ip_network((address, parsed.max_prefixlen - shift), strict=False)), app
        return "", app

    def _by_suffix(self, name: str) -> int:
        suffixes = self._suffixes
        while name:
            if app := suffixes.get(name):
                return app
            name = name.partition(".")[2]
        return 0

    def match_address(self, address: str) -> int:
        """Return the application that owns an address by its longest prefix; 0 when none does."""
        app = self._addresses.get(address)
        if app is None:
            if len(self._addresses) >= _MOST_ADDRESSES:
                self._addresses.clear()
            app = self._addresses[address] = self._by_prefix(address)
        return app

    def _by_prefix(self, address: str) -> int:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return 0
        bits = int(parsed)
        for shift, found in self._networks[parsed.version]:
            if app := found.get(bits >> shift):
                return app
        return 0

    @property
    def networks(self) -> Mapping[int, Sequence[tuple[int, Mapping[int, int]]]]:
        """Prefixes by IP version, the longest first: (bits of the host part, network bits to application)."""
        return self._networks

    def match_port(self, proto: int, port: int) -> int:
        """Return the application that has a port of a protocol to itself; 0 when none does."""
        return self._ports.get((proto, port), 0)

    def match_behaviour(self, kind: str) -> int:
        """Return the application that stands for a protocol recognised by `nf.apps.behaviour`; 0 when none does."""
        return self._behaviour.get(kind, 0)

    def number(self, app: str) -> int:
        """Return the number of an application by name; 0 when there is none."""
        return _numbers[app] if app in self._known else 0

    def only_class(self, app_class: str) -> int:
        """Return the number that stands for whatever application of a class: it has no name."""
        return _numbers[_ONLY_CLASS + app_class]

    def name(self, app: int) -> str:
        """Return the name of an application by number."""
        return self.names[app]

    def app_class(self, app: int) -> str:
        """Return the class of an application by number; "unknown" for 0."""
        return APP_CLASSES[self.class_of[app]]
