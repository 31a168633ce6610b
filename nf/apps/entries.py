"""Signature files: one TOML table per application, checked one by one and against each other.

docs/applications.md describes the keys.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feed.records import APP_CLASSES
from nf.apps.parsers.first_bytes import Kind
from nf.errors import BadSignatures

__all__ = [
    "KNOWN",
    "SHARED_DOMAINS",
    "TCP",
    "UDP",
    "Entry",
    "Network",
    "claim_text",
    "entry_of",
    "files",
    "line_of",
    "owners",
    "read",
]

KNOWN = Path(__file__).with_name("known")  # a file a class
TCP, UDP = 6, 17  # IP protocol numbers

# Names below which many owners have servers: public suffixes with a name of two labels, content networks, clouds.
# A name below one may be an application's; the suffix itself is nobody's.
SHARED_DOMAINS = frozenset(
    (
        *("co.uk", "org.uk", "ac.uk", "gov.uk", "com.au", "net.au", "co.jp", "or.jp", "ne.jp", "com.br", "com.cn"),
        *("net.cn", "co.in", "co.kr", "or.kr", "com.mx", "com.tr", "com.tw", "com.hk", "com.sg", "co.za", "co.nz"),
        *("com.ar", "com.co", "co.id", "com.my", "com.ph", "com.vn", "co.th", "com.ua", "com.pl", "com.eg", "com.sa"),
        *("akamai.net", "akamaihd.net", "akamaiedge.net", "akamaized.net", "akadns.net", "edgekey.net"),
        *(
            "edgesuite.net",
            "cloudfront.net",
            "amazonaws.com",
            "awsglobalaccelerator.com",
            "azureedge.net",
            "azurefd.net",
        ),
        *("azurewebsites.net", "cloudapp.net", "windows.net", "trafficmanager.net", "fastly.net", "fastlylb.net"),
        *("llnwd.net", "lldns.net", "edgecastcdn.net", "cdn77.org", "b-cdn.net", "cloudflare.net", "stackpathdns.com"),
        *("appspot.com", "web.app", "run.app", "firebaseapp.com", "googleusercontent.l.google.com", "ghs.google.com"),
        *("herokuapp.com", "netlify.app", "vercel.app", "pages.dev", "workers.dev", "github.io", "gitlab.io"),
        *("alikunlun.com", "kunlunsl.com", "cdngslb.com", "tcdn.qq.com", "myqcloud.com", "bdydns.com", "lxdns.com"),
    )
)

_CLASSES = APP_CLASSES[:-1]  # all but unknown
_KINDS = frozenset(kind.value for kind in Kind)
_LISTS = ("domains", "prefixes", "ports", "behaviour")
_KEYS = frozenset(("class", "confidence", *_LISTS))
_DOMAIN = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})+")
_PORTS = re.compile(r"(tcp|udp)/(\d{1,5})(?:-(\d{1,5}))?")
_MAX_RANGE = 64  # ports; a wider range is of no use

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Entry:
    """One application: its class, its claims, and how far they can be trusted (percent)."""

    app_class: str
    domains: tuple[str, ...] = ()  # suffixes of host names, in lower case
    prefixes: tuple[Network, ...] = ()
    ports: tuple[tuple[int, int], ...] = ()  # (protocol, port)
    behaviour: tuple[str, ...] = ()
    confidence: int = 100  # the most that any ground of this application is worth

    def claims(self) -> Iterator[tuple[str, object]]:
        """Yield the claims: (kind, value) pairs that only one application may have."""
        for what in _LISTS:
            for value in getattr(self, what):
                yield what, value


def files(folder: Path = KNOWN) -> tuple[Path, ...]:
    """Return the signature files of a folder, or the one file that *folder* is; raise BadSignatures."""
    found = tuple(sorted(folder.glob("*.toml"))) if folder.is_dir() else (folder,)
    if not found:
        raise BadSignatures(f"{folder.name} has no signature files.", "Restore them.")
    return found


def read(path: Path) -> dict[str, Entry]:
    """Return the applications of one file; raise BadSignatures with the line of the fault."""
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except OSError as error:
        raise BadSignatures(f"{path.name} cannot be read: {error.strerror}.", "Restore the file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSignatures(f"{path.name} is not TOML: {error}.", "Mend it at that place.") from None
    found = {}
    for name, raw in tables.items():
        try:
            found[name] = entry_of(name, raw, path.name)
        except BadSignatures:
            entry_of(name, raw, f"{path.name}:{line_of(text, name)}")  # raises with the line, which takes time to find
    return found


def line_of(text: str, app: str, claim: str = "") -> int:
    """Return the number of the line where an application begins, or where it has a claim."""
    header = re.compile(rf"\s*(\[\s*[\"']?{re.escape(app)}[\"']?\s*\]|{re.escape(app)}\s*=)")
    begun = 0
    for number, line in enumerate(text.splitlines(), 1):
        if begun and line.lstrip().startswith("["):
            break
        if header.match(line):
            begun = number
        if begun and claim and f'"{claim}"' in line:
            return number
    return begun or 1


def entry_of(name: str, raw: Any, where: str) -> Entry:
    """Return the application of a table; raise BadSignatures with a text that begins with *where*."""

    def bad(what: str, remedy: str) -> BadSignatures:
        return BadSignatures(f"{where}: {name} {what}.", remedy)

    if not name or not isinstance(raw, dict) or set(raw) - _KEYS:
        raise bad(f"is no table with the keys {', '.join(sorted(_KEYS))}", "Remove what is not one of them.")
    if raw.get("class") not in _CLASSES:
        raise bad(f"has the class {raw.get('class')!r}", f"Use one of {', '.join(_CLASSES)}.")
    confidence = raw.get("confidence", 100)
    if type(confidence) is not int or not 0 < confidence <= 100:
        raise bad(f"has the confidence {confidence!r}", "Write a percentage from 1 to 100.")
    for key in _LISTS:
        if not isinstance(raw.get(key, []), list) or not all(isinstance(v, str) for v in raw.get(key, [])):
            raise bad(f"has {key} that are not a list of strings", f'Write {key} = ["...", "..."].')
    for kind in raw.get("behaviour", []):
        if kind not in _KINDS:
            raise bad(f"has the behaviour {kind!r}", f"Use one of {', '.join(Kind)}.")
    try:
        prefixes = tuple(ipaddress.ip_network(p) for p in raw.get("prefixes", []))
    except ValueError as error:
        raise bad(f"has a prefix that is none: {error}", 'Write "192.0.2.0/24" or "2001:db8::/32".') from None
    if wide := [p for p in prefixes if p.prefixlen < (8 if p.version == 4 else 20)]:
        raise bad(f"has the prefix {wide[0]}, too wide for one application", "Write /8 or longer, for IPv6 /20.")
    try:
        ports = tuple(port for text in raw.get("ports", []) for port in _ports(text))
    except ValueError as error:
        remedy = f'Write "udp/5000" or "tcp/5000-5010", {_MAX_RANGE} ports at most.'
        raise bad(f"has the port {error}", remedy) from None
    domains = tuple(_domain(d, bad) for d in raw.get("domains", []))
    return Entry(raw["class"], domains, prefixes, ports, tuple(raw.get("behaviour", [])), confidence)


def _domain(text: str, bad: Any) -> str:
    domain = text.lower().strip(".")
    if not _DOMAIN.fullmatch(domain):
        raise bad(f"has the domain {domain!r}", 'Write a host name of two labels or more, as "example.org".')
    if domain in SHARED_DOMAINS:
        raise bad(f"has the domain {domain}, under which many applications stand", "Write a longer name.")
    return domain


def _ports(text: str) -> list[tuple[int, int]]:
    if not (found := _PORTS.fullmatch(text)):
        raise ValueError(repr(text))
    first, last = int(found[2]), int(found[3] or found[2])
    if not 0 < first <= last <= 0xFFFF or last - first >= _MAX_RANGE:
        raise ValueError(repr(text))
    return [(TCP if found[1] == "tcp" else UDP, port) for port in range(first, last + 1)]


def owners(tables: Mapping[Path, Mapping[str, Entry]]) -> dict[tuple[str, object], tuple[str, Path]]:
    """Return the owner of each claim as (application, file); raise BadSignatures when there are two.

    An application may be in one file only.
    """
    owner: dict[tuple[str, object], tuple[str, Path]] = {}
    homes: dict[str, Path] = {}
    for path, table in tables.items():
        for name, entry in table.items():
            if homes.setdefault(name, path) != path:
                raise BadSignatures(f"{path.name}: {name} is in {homes[name].name}, too.", "Keep one.")
            for claim in entry.claims():
                if claim in owner:
                    line = line_of(path.read_text(encoding="utf-8"), name, str(claim[1]))
                    raise BadSignatures(
                        f"{path.name}:{line}: {claim_text(claim)} belongs to {owner[claim][0]} and {name}.", "Keep one."
                    )
                owner[claim] = name, path
    return owner


def claim_text(claim: tuple[str, object]) -> str:
    """Return a claim as a signature file writes it."""
    what, value = claim
    if what == "ports" and isinstance(value, tuple):
        return f"{'tcp' if value[0] == TCP else 'udp'}/{value[1]}"
    return str(value)
