"""Names of brands, and of owners of several applications, beside the domains that a file lists.

Two rules over the signature files. A brand holds its name under the domains of countries (`amazon.co.jp`) and, where it
has one, its own top-level domain (`cloud.microsoft`); the public suffix list gives the domains of countries. And in
the network of an owner a label that is the brand of another of its applications names that application
(`instagram.fmuc3-1.fna.fbcdn.net`). Both ignore brands that are words: somebody else may have such a name.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from fnmatch import translate
from pathlib import Path

from publicsuffixlist import PublicSuffixList

__all__ = ["OWNERS", "Brands", "Kin", "is_one_of", "owner_of"]

OWNERS: dict[str, tuple[str, ...]] = {
    "alibaba": ("Alibaba", "Youku"),
    "amazon": ("Amazon*", "AWS", "Alexa", "Twitch", "IMDb", "Luna", "Kindle", "Audible", "Ring"),
    "apple": ("Apple*", "iCloud*", "FaceTime", "iMessage"),
    "baidu": ("Baidu*", "iQIYI"),
    "bytedance": ("TikTok*", "CapCut", "Lark", "Lemon8"),
    "cisco": ("Cisco*", "Webex", "Umbrella", "OpenDNS", "Meraki"),
    "google": ("Google*", "YouTube*", "Gmail", "PlayStore", "DataSaver", "Fitbit", "Firebase", "Stadia", "Waze"),
    "goto": ("GoTo*", "LogMeIn", "LastPass"),
    "meta": ("Facebook*", "Instagram", "WhatsApp*", "Messenger", "Threads", "Oculus", "Meta*"),
    "microsoft": ("Microsoft*", "Teams", "Skype", "Xbox*", "Bing*", "LinkedIn", "GitHub", "OneDrive", "WindowsUpdate",
                  "Minecraft", "Activision", "CoD_Mobile", "Battlenet", "WorldOfWarcraft", "npm", "Office365",
                  "Outlook", "SharePoint", "Azure*", "Copilot"),
    "naver": ("Naver*", "LINE"),
    "proton": ("Proton*",),
    "ringcentral": ("RingCentral*", "Glip"),
    "tencent": ("Tencent*", "WeChat*", "QQ*", "PUBG", "Huya", "Douyu", "Riot*", "Valorant", "LeagueOfLegends"),
    "valve": ("Steam*", "Dota2", "CounterStrike"),
    "yahoo": ("Yahoo*", "Tumblr", "AOL"),
    "yandex": ("Yandex*", "Kinopoisk"),
    "zoom": ("Zoom*",),
}  # fmt: skip
"""Owners of several applications, by the names of the signature file (`*`: any ending); other owners have one.

The first is the owner's network as a whole.
"""

# Labels that somebody else may well have in another country: words and names of some language, names of a craft
# or of a game with a community of its own, and short ones. `amazon` and `adobe` are words as well, but in nearly every
# country they are their owners'.
_WORDS = frozenset(Path(__file__).with_name("known").joinpath("words.txt").read_text(encoding="ascii").split())
# Country domains that are in general use (Google Search Central, "Generic country code top-level domains"), and
# those that were free and so served deception (Freenom's five; APWG, Global Phishing Survey 2016).
_NO_COUNTRY = frozenset(
    (
        *("ad", "ai", "as", "bz", "cc", "cd", "co", "dj", "fm", "io", "la", "me", "ms", "nu", "sc", "sr", "su", "tv"),
        *("ws", "cf", "ga", "gq", "ml", "tk"),
    )
)
_COMMERCIAL = ("co", "com")  # second levels of countries for companies
_LEAST_NAME, _LEAST_HELD = 5, 4  # letters of a brand: with its name alone, and if a file lists two suffixes
_LEAST_PART = 5  # letters before a hyphen that are a brand, as in youtube-ui


@functools.cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(only_icann=True)


@functools.lru_cache(maxsize=65_536)
def _registered(name: str) -> tuple[str, str]:
    """Return (label, suffix) of the registered part of a name, as ("example", "co.uk"); ("", "") if it has none."""
    registered = _suffixes().privatesuffix(name) or ""
    label, _, suffix = registered.partition(".")
    return (label, suffix) if suffix else ("", "")


def _is_country(suffix: str) -> bool:
    second, _, top = suffix.rpartition(".")
    return len(top) == 2 and (second in _COMMERCIAL if second else top not in _NO_COUNTRY)


@functools.cache
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)))


def is_one_of(name: str, patterns: Iterable[str]) -> bool:
    """Say whether an application matches one of *patterns* (`*`: any text)."""
    return _any_of(tuple(patterns)).fullmatch(name) is not None


@functools.lru_cache(maxsize=4_096)
def owner_of(name: str) -> str:
    """Return the owner of an application in `OWNERS`, "" if it has none there."""
    return next((owner for owner, apps in OWNERS.items() if is_one_of(name, apps)), "")


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _labels(domains: Mapping[str, Iterable[str]]) -> dict[str, dict[str, list[str]]]:
    """Return the domains of each application that are registered names, by label and application."""
    found: dict[str, dict[str, list[str]]] = {}
    for app, owned in domains.items():
        for domain in owned:
            label, suffix = _registered(domain)
            if f"{label}.{suffix}" == domain:
                found.setdefault(label, {}).setdefault(app, []).append(domain)
    return found


class Brands:
    """Labels that are one application's brand; *domains* by application, in the order of its file."""

    def __init__(self, domains: Mapping[str, Iterable[str]]) -> None:
        self._first: dict[str, tuple[str, str]] = {}  # brand to (application, its first domain)
        for label, apps in _labels(domains).items():
            if len(apps) > 1 or label in _WORDS:
                continue
            ((app, owned),) = apps.items()
            least = _LEAST_HELD if len(owned) > 1 else _LEAST_NAME
            if len(label) >= least and (len(owned) > 1 or _plain(app) == label):
                self._first[label] = app, owned[0]

    def at_home(self, name: str) -> tuple[str, str, str]:
        """Return (name under the brand's first domain, application, registered part) of a host name.

        All are empty for a name of no brand, and for one that is under neither a country's domain nor the brand's own.
        """
        top = name.rpartition(".")[2]
        if len(top) != 2 and top not in self._first:
            return "", "", ""
        if self._first.keys().isdisjoint(name.split(".")):
            return "", "", ""
        label, suffix = _registered(name)
        if label in self._first and _is_country(suffix):
            app, first = self._first[label]
            registered = f"{label}.{suffix}"
            return name[: len(name) - len(registered)] + first, app, registered
        if top in self._first and suffix == top and _suffixes().is_public(top):
            app, first = self._first[top]
            return f"{name[: -len(top)]}{first}", app, top
        return "", "", ""


class Kin:
    """Labels that name one application of an owner in the owner's network."""

    def __init__(self, domains: Mapping[str, Iterable[str]]) -> None:
        self._owner = {app: owner for app in domains if (owner := owner_of(app))}
        self._labels: dict[str, dict[str, str]] = {}  # by owner: label to application
        labels = _labels(domains)
        for app, owner in self._owner.items():
            if is_one_of(app, OWNERS[owner][:1]):
                continue  # the network as a whole, and its parts whose names are words (Maps, Drive)
            mine = {_plain(app)} | {label for label, apps in labels.items() if list(apps) == [app]}
            for label in mine:
                if len(label) >= _LEAST_HELD and label not in OWNERS:
                    self._labels.setdefault(owner, {})[label] = app

    def of(self, labels: str, app: str) -> tuple[str, str]:
        """Return (label, application) that the labels before the suffix of *app* name; ("", "") if they name none."""
        known = self._labels.get(self._owner.get(app, ""))
        if not known:
            return "", ""
        for label in labels.split("."):
            part = label.partition("-")[0]
            said = label if label in known else part if len(part) >= _LEAST_PART and part in known else ""
            if said:
                return said, known[said]
        return "", ""

    def owners(self) -> frozenset[str]:
        """Return the applications in whose networks a label may name another one."""
        return frozenset(app for app, owner in self._owner.items() if owner in self._labels)
