"""From a host name, an address, a port or a protocol to an application: TOML files, and what the operator adds."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feed.records import APP_CLASSES
from nf.abi import SNF_APPS
from nf.apps.basis import CONFIDENCE
from nf.apps.entries import KNOWN, TCP, UDP, Entry, claim_text, entry_of, files, owners, read
from nf.apps.owned import Brands, Kin
from nf.errors import BadSettings, BadSignatures
from nf.settings import Application

__all__ = ["KNOWN", "LOCAL", "TCP", "UDP", "Signatures", "files"]

_UNKNOWN = APP_CLASSES.index("unknown")
_MOST_ADDRESSES = 65_536
# Search lists of home and office networks, which resolvers append to a name that is not found.
LOCAL = (".lan", ".home", ".local", ".localdomain", ".internal", ".home.arpa", ".fritz.box", ".corp")

_ONLY_CLASS = "\0"  # before the name of a class, for flows with a known class only; no application is called so


def _configured(app: Application) -> Entry:
    raw = {
        "class": app.app_class,
        "domains": list(app.domains),
        "prefixes": list(app.prefixes),
        "ports": list(app.ports),
        "confidence": app.confidence,
    }
    try:
        return entry_of(app.name, raw, "configuration")
    except BadSignatures as error:
        raise BadSettings(error.what, _path(app.name), error.remedy) from None


def _path(app: str) -> str:
    return f"/snf-applications:applications/application[name='{app}']"


def _numbers(names: Iterable[str], before: Signatures | None) -> Mapping[str, int]:
    """Return the numbers of *before*, and for new names the next ones."""
    numbers = dict(before._numbers) if before is not None else {}
    for name in names:
        numbers.setdefault(name, len(numbers) + 1)
    if len(numbers) >= SNF_APPS:
        raise BadSignatures(
            f"{len(numbers)} applications were named since the start, {SNF_APPS - 1} is the most.",
            "Name fewer, and start again.",
        )
    return numbers


class Signatures:
    """Immutable signatures. Application 0 is none; ``class_of[app]`` indexes APP_CLASSES, ``names[app]`` is the name.

    ``confidence[app, basis]`` is what a ground is worth for an application, in percent.
    A name keeps the number that it had in *before*: flows carry numbers over a change of signatures.
    """

    def __init__(
        self, table: Mapping[str, Entry], before: Signatures | None = None, operators: frozenset[str] = frozenset()
    ) -> None:
        self._numbers = _numbers((*(_ONLY_CLASS + app_class for app_class in APP_CLASSES[:_UNKNOWN]), *table), before)
        self.names: Sequence[str] = ["", *("" if name.startswith(_ONLY_CLASS) else name for name in self._numbers)]
        self.class_of: NDArray[np.uint8] = np.full(len(self.names), _UNKNOWN, np.uint8)
        for app_class in APP_CLASSES[:_UNKNOWN]:
            self.class_of[self.only_class(app_class)] = APP_CLASSES.index(app_class)
        self.confidence: NDArray[np.uint8] = np.tile(CONFIDENCE, (len(self.names), 1))
        self._known = frozenset(table)
        # Domains of the operator are taken as written, without brands and labels.
        domains = {name: entry.domains for name, entry in table.items() if name not in operators}
        self._brands, self._kin = Brands(domains), Kin(domains)
        self._networks_of_several = frozenset(self._numbers[app] for app in self._kin.owners())
        self._matched: dict[str, tuple[str, int]] = {}  # answers of `suffix_of`
        self._suffixes: dict[str, int] = {}
        self._ports: dict[tuple[int, int], int] = {}
        self._behaviour: dict[str, int] = {}
        self._addresses: dict[str, int] = {}  # answers of `match_address`: the same servers come again and again
        networks: dict[tuple[int, int], dict[int, int]] = {}  # (version, host bits) to network bits to application
        for name, entry in table.items():
            app = self._numbers[name]
            self.class_of[app] = APP_CLASSES.index(entry.app_class)
            self.confidence[app] = np.minimum(CONFIDENCE, entry.confidence)
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
    def load(
        cls, extra: Sequence[Application] = (), path: Path = KNOWN, *, before: Signatures | None = None
    ) -> Signatures:
        """Return the signatures of a folder of files, or of one, with the operator's on top.

        Numbers go on from those of *before*. An operator's application replaces the files' of the same name, and takes
        its claims from others. Prefixes and ports that it does not list, and behaviour, stay as the files have them;
        domains do not. Raises BadSignatures with file and line, and BadSettings with the path of the operator's entry.
        """
        tables = {file: read(file) for file in files(path)}
        owners(tables)
        table = {name: entry for entries in tables.values() for name, entry in entries.items()}
        taken: dict[tuple[str, object], str] = {}
        for app in extra:
            entry = _configured(app)
            for claim in entry.claims():
                if taken.setdefault(claim, app.name) != app.name:
                    what = f"configuration: {claim_text(claim)} belongs to {taken[claim]} and {app.name}."
                    raise BadSettings(what, _path(app.name), "Keep one.")
            old = table.get(app.name, entry)
            table[app.name] = replace(
                entry,
                prefixes=entry.prefixes or old.prefixes,
                ports=entry.ports or old.ports,
                behaviour=old.behaviour,
            )

        def rest(name: str, what: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(value for value in values if taken.get((what, value), name) == name)

        for name, entry in table.items() if taken else ():
            domains, prefixes = rest(name, "domains", entry.domains), rest(name, "prefixes", entry.prefixes)
            table[name] = replace(entry, domains=domains, prefixes=prefixes, ports=rest(name, "ports", entry.ports))
        return cls(table, before, frozenset(app.name for app in extra))

    def __len__(self) -> int:
        """Return how many applications are known by name."""
        return len(self._known)

    @property
    def suffixes(self) -> Mapping[str, int]:
        """Applications by domain suffix, for a matcher that is faster than `match`."""
        return self._suffixes

    @property
    def networks_of_several(self) -> frozenset[int]:
        """Applications whose suffixes a label before them may give to another one of their owner."""
        return self._networks_of_several

    def match(self, name: str) -> int:
        """Return the application of a host name; 0 when none owns it.

        The longest suffix on a label boundary decides; a brand owns its name in each country; a label may name one
        application of an owner's network (`nf.apps.owned`). A port behind the name, and the search list of a local
        network, do not count.
        """
        return self.suffix_of(name)[1]

    def suffix_of(self, name: str) -> tuple[str, int]:
        """Return (suffix or label, application) by which `match` recognises a name; ("", 0) when it does not."""
        found = self._matched.get(name)
        if found is None:
            if len(self._matched) >= _MOST_ADDRESSES:
                self._matched.clear()
            found = self._matched[name] = self._find(name)
        return found

    def _find(self, name: str) -> tuple[str, int]:
        name = name.rstrip(".").lower()
        host, colon, port = name.rpartition(":")
        if colon and port.isdigit() and ":" not in host:
            name = host
        found = self._by_brand(name, *self._by_suffix(name))
        for local in LOCAL if not found[1] else ():
            if name.endswith(local):
                name = name[: -len(local)]
                return self._by_suffix(name)
        return found

    def _by_brand(self, name: str, suffix: str, app: int) -> tuple[str, int]:
        """Return (suffix or label, application) after brands and labels refine the longest suffix."""
        home, brand, registered = self._brands.at_home(name)
        labels = name[: -len(suffix) - 1] if app else ""
        if home and app in (0, self._numbers[brand]) and len(suffix) <= len(registered):
            there, app = self._by_suffix(home)
            labels, suffix = home[: -len(there) - 1], registered
        label, other = self._kin.of(labels, self.names[app]) if app else ("", "")
        return (label, self._numbers[other]) if other else (suffix, app)

    def trust(self, apps: NDArray[np.uint16], bases: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the confidence that the grounds of flows give their applications, in percent."""
        return self.confidence[np.minimum(apps, len(self.confidence) - 1), bases]

    def prefix_of(self, address: str) -> tuple[str, int]:
        """Return (prefix, application) by which `match_address` recognises an address; ("", 0) when it does not."""
        app = self.match_address(address)
        parsed = ipaddress.ip_address(address)
        for shift, found in self._networks[parsed.version] if app else ():
            if int(parsed) >> shift in found:
                return str(ipaddress.ip_network((address, parsed.max_prefixlen - shift), strict=False)), app
        return "", app

    def _by_suffix(self, name: str) -> tuple[str, int]:
        suffixes = self._suffixes
        while name:
            if app := suffixes.get(name):
                return name, app
            name = name.partition(".")[2]
        return "", 0

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
        """Return the application that alone has a port of a protocol; 0 when none does."""
        return self._ports.get((proto, port), 0)

    def match_behaviour(self, kind: str) -> int:
        """Return the application of a protocol that `nf.apps.parsers.first_bytes` recognised; 0 when it has none."""
        return self._behaviour.get(kind, 0)

    def number(self, app: str) -> int:
        """Return the number of an application by name; 0 when there is none."""
        return self._numbers[app] if app in self._known else 0

    def only_class(self, app_class: str) -> int:
        """Return the number that stands for any application of a class; it has no name."""
        return self._numbers[_ONLY_CLASS + app_class]

    def name(self, app: int) -> str:
        """Return the name of an application by number."""
        return self.names[app]

    def app_class(self, app: int) -> str:
        """Return the class of an application by number; "unknown" for 0."""
        return APP_CLASSES[self.class_of[app]]
