"""``snf watch-config``: what the function tells of itself over NETCONF, a line or a JSON object for each event."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from lxml import etree

from mgmt.cli.cells import printable
from mgmt.netconf.xml_names import elements, local

__all__ = ["line", "values", "watch"]

_LOOK_S = 0.5  # between two looks at the clock

Next = Callable[[float], etree._Element | None]
"""Returns the next element ``notification`` within some seconds, or None."""


def watch(ask: Next, output: str, seconds: float | None) -> None:
    """Print events until *seconds* are over, for ever when they are None."""
    until = None if seconds is None else time.monotonic() + seconds
    while until is None or time.monotonic() < until:
        found = ask(_LOOK_S)
        if found is not None:
            print(json.dumps(values(found), separators=(",", ":")) if output == "json" else line(found), flush=True)


def values(notification: etree._Element) -> dict[str, Any]:
    """Return ``time``, ``event`` and what the event has, by name; a name that is there several times has a list."""
    found: dict[str, Any] = {}
    for child in elements(notification):
        if local(child) == "eventTime":
            found = {"time": child.text or "", **found}
        else:
            found |= {"event": local(child), **_content(child)}
    return found


def _content(element: etree._Element) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for child in elements(element):
        name, value = local(child), _content(child) if len(child) else (child.text or "")
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found


def line(notification: etree._Element) -> str:
    """Return an event as one line: time, event, and its values in their order."""
    found = values(notification)
    words = [found.pop("time", ""), found.pop("event", ""), *_words(found)]
    return printable("  ".join(filter(None, words)))


def _words(found: dict[str, Any]) -> list[str]:
    words = []
    for name, value in found.items():
        for one in value if isinstance(value, list) else [value]:
            words.append(f"{name} {' '.join(_words(one))}" if isinstance(one, dict) else f"{name}={one}")
    return words
