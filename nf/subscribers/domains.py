"""Host names cut to the part that somebody registered, by the public suffix list that the package brings."""

from __future__ import annotations

import functools

from publicsuffixlist import PublicSuffixList

__all__ = ["registrable_domain"]


@functools.cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


@functools.lru_cache(maxsize=65_536)
def registrable_domain(name: str) -> str:
    """Return e.g. "example.co.uk" of "www.example.co.uk"; a public suffix or an address stays as it is."""
    return str(_suffixes().privatesuffix(name.rstrip(".").lower()) or name)
