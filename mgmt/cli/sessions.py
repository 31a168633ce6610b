"""``snf sessions``: the sessions that a running function knows, asked over NETCONF.

`fetch` asks page by page for as many as are wanted; `picture` makes a table of them. The IMSI goes out in a request
only, and comes back as a pseudonym.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mgmt.cli.cells import labels
from mgmt.netconf.xml_names import elements, local

__all__ = ["Listing", "fetch", "picture", "show"]

_SPACE = "urn:supernetflow:yang:snf-subscribers"
_PAGE = 1000  # most sessions of a request
_Ask = Callable[[str], etree._Element]


@dataclass(slots=True)
class Listing:
    """Sessions as the function says them: leaves by name, tunnels under ``tunnel``."""

    known: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    more: bool = False  # there may be others
    sources: dict[str, int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)


def fetch(ask: _Ask, wanted: Mapping[str, str], limit: int) -> Listing:
    """Return at most *limit* sessions that match the parameters *wanted* of find-sessions; *ask* sends an rpc."""
    listing, after = Listing(), 0
    while True:
        parameters = {**wanted, "after": str(after), "limit": str(min(_PAGE, limit - len(listing.rows)))}
        leaves = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in parameters.items())
        reply = ask(f'<find-sessions xmlns="{_SPACE}">{leaves}</find-sessions>')
        said = {local(e): (e.text or "") for e in elements(reply) if local(e) != "session"}
        listing.known = int(said.get("known", 0))
        listing.rows += [_row(e) for e in elements(reply) if local(e) == "session"]
        listing.more = "next" in said
        if not listing.more or len(listing.rows) >= limit:
            return listing
        after = int(said["next"])


def _row(entry: etree._Element) -> dict[str, Any]:
    row: dict[str, Any] = {"tunnel": []}
    for child in elements(entry):
        if local(child) == "tunnel":
            row["tunnel"].append({local(leaf): leaf.text or "" for leaf in elements(child)})
        elif local(child) == "upf":
            row["upf"] = {local(leaf): int(leaf.text or "0") for leaf in elements(child)}
        else:
            row[local(child)] = child.text or ""
    return row


def picture(listing: Listing) -> RenderableType:
    """Return the sessions as a table."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name in ("subscriber", "UE address", "DNN", "slice", "source", "since (UTC)", "uplink", "downlink", "UPF"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    short = labels(row.get("subscriber", "") for row in listing.rows)
    for row in listing.rows:
        known = ":" not in row.get("subscriber", "")
        table.add_row(
            Text(short[row.get("subscriber", "")], "bold cyan" if known else "yellow"),
            Text("\n".join(filter(None, (row.get("ue-ipv4"), row.get("ue-ipv6")))) or "-"),
            Text(row.get("dnn") or "-"),
            Text(row.get("s-nssai") or "-"),
            Text(row.get("source") or "-"),
            Text(row.get("first-seen", "-").replace("T", " ").rstrip("Z")),
            _tunnels(row, "uplink"),
            _tunnels(row, "downlink"),
            _upf(row.get("upf", {})),
        )
    note = f" {len(listing.rows):,} shown of {listing.known:,} sessions"
    parts: list[RenderableType] = [table, Text(note + (", there may be more: --limit" if listing.more else ""), "dim")]
    if listing.sources:
        parts.append(Text(" by source: " + _numbers(listing.sources), "dim"))
    if listing.counters:
        parts.append(Text(" counted: " + _numbers(listing.counters), "dim"))
    return Group(*parts)


def _tunnels(row: dict[str, Any], direction: str) -> Text:
    found = [t for t in row["tunnel"] if t.get("direction") == direction]
    return Text("\n".join(f"{t['address']} 0x{int(t['teid']):08x}" for t in found) or "-")


def _upf(upf: Mapping[str, int]) -> Text:
    """Return the UPF's troubles with a session: its errors, and the lost share of the followed packets."""
    said = [f"{upf['error-indications']:,} errors"] if upf.get("error-indications") else []
    for way in ("uplink", "downlink"):
        if upf.get(f"{way}-lost"):
            said.append(f"{way} {upf[f'{way}-lost'] / upf[f'{way}-followed']:.0%} lost")
    return Text("\n".join(said) or "-", "bold red" if said else "")


def _numbers(numbers: Mapping[str, int]) -> str:
    return "  ".join(f"{name} {number:,}" for name, number in sorted(numbers.items()))


def counts(data: etree._Element) -> tuple[dict[str, int], dict[str, int]]:
    """Return sessions by source, and the counters, of an element ``data`` of get."""
    found: list[dict[str, int]] = []
    for kind, value in (("source", "sessions"), ("counter", "value")):
        entries = data.iter(f"{{{_SPACE}}}{kind}")
        rows = [{local(leaf): leaf.text or "" for leaf in elements(entry)} for entry in entries]
        found.append({row["name"]: int(row[value]) for row in rows})
    return found[0], found[1]


STATE = f'<subscribers xmlns="{_SPACE}"><state><source/><counter/></state></subscribers>'


def show(listing: Listing, output: str) -> None:
    """Print a listing: a table, or one JSON object a session."""
    if output == "json":
        for row in listing.rows:
            print(json.dumps(row, separators=(",", ":")))
        return
    console = Console()
    if not console.is_terminal:
        console.width = 160
    console.print(picture(listing))
