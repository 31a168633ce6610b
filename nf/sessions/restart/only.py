"""The part of saved sessions that some sources told of: what others said is not written down.

Sessions of other sources are left out. Of a session that several told of together, what the others said of subscriber
and UE is left out; their tunnels stay, because the times at which it got its tunnels are counted along them all.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from gtp.packing import EMPTY, Constant, Packer, Shape
from nf.sessions.at_rest.records import OWN_VALUES, PART_VALUES, TUNNEL_VALUES, is_placed, routes_in
from nf.sessions.intake import Record

__all__ = ["TAG_BYTES", "only", "row_size"]

TAG_BYTES = 8
_Places = list[int | None]  # of values that stay; None: an empty text instead


def row_size(kinds: tuple[str, ...]) -> int:
    """Return the bytes of a row of values of these kinds."""
    return Shape(0, (), kinds).size


def only(constants: list[Any], records: list[Record], sources: Collection[str]) -> tuple[list[Any], list[Record]]:
    """Return (constants, records) of a `dump` without what other sources than *sources* said."""
    old, new = Packer(wide=1), Packer(wide=1)
    old.load(constants[0])
    kept: list[Record] = []
    for number, rows, tags in records:
        if number < 0:
            constant, values = old.unpack(rows)
            found = _without(constant, len(values), sources)
            if found is not None:
                kept.append((-1, new.pack(found[0], _values(values, found[1])), b""))
            continue
        shape = old.shapes[number]
        found = _without(shape.constant, len(shape.kinds), sources)
        if found is None:
            continue
        constant, places = found
        kinds = shape.kinds
        if places is not None:
            kinds = tuple(EMPTY if place is None else kinds[place] for place in places)
        mine = new.shape(constant, kinds)
        if mine is not None:
            some = (rows, tags) if places is None else (_fields(shape, rows, places), bytes(len(tags)))
            kept.append((mine.number, *some))
    return [new.dump(), *constants[1:]], kept


def _without(constant: Constant, count: int, sources: Collection[str]) -> tuple[Constant, _Places | None] | None:
    """Return constant and places of the *count* values of records without what others said; no places: of all.

    None: nothing is left.
    """
    parts, said, ended_by, other, held, last = constant
    if not any(part[0] in sources for part in parts):
        return None
    if all(part[0] in sources for part in (*parts, *(s for s in said if s))):
        return constant, None
    places: _Places = list(range(OWN_VALUES))
    shapes, at = [], OWN_VALUES
    for part in parts:
        mine, ends = part[0] in sources, TUNNEL_VALUES * len(part[4])
        tunnels = list(range(at + PART_VALUES, at + PART_VALUES + ends))
        places += list(range(at, at + PART_VALUES)) if mine else [at, *[None] * (PART_VALUES - 1)]
        places += tunnels
        at += PART_VALUES + ends
        more = _behind(part)
        places += list(range(at, at + more)) if mine else []
        at += more
        shapes.append(part if mine else (part[0], "", "", "", part[4]))
    for part in (s for s in said if s):
        at += PART_VALUES + TUNNEL_VALUES * len(part[4]) + _behind(part)
    at += other
    return (tuple(shapes), (), ended_by, 0, held, last), [*places, *range(at, count)]


def _behind(part: tuple[Any, ...]) -> int:
    """Return how many values a part has behind its tunnels."""
    return routes_in(part) + is_placed(part)


def _values(values: list[Any], places: _Places | None) -> list[Any]:
    return values if places is None else ["" if place is None else values[place] for place in places]


def _fields(shape: Shape, rows: bytes, places: _Places) -> bytes:
    """Return rows of the fields of some values."""
    table = np.frombuffer(rows, np.uint8).reshape(-1, shape.size)
    ends = dict(zip(shape.offsets, [*list(shape.offsets.values())[1:], shape.size], strict=True))
    taken = [table[:, shape.offsets[p] : ends[p]] for p in places if p is not None and p in ends]
    return np.concatenate(taken, axis=1).tobytes()
