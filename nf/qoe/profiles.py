"""Profiles: the constants of a class that an operator may change, by their paths.

A profile is a frozen dataclass of numbers and switches, some of them in tuples, with profiles of parts inside:
``silence.stream_pps`` is a constant of a part, and a place of a tuple has a name of its own (`PLACES`). The module
``yang/snf-qoe`` has a leaf for each, with the same default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

__all__ = ["PLACES", "changed", "constants"]

PLACES: Mapping[str, tuple[str, ...]] = {
    "least_s": ("least_uplink_s", "least_downlink_s"),
    "ladder_bps": tuple(f"ladder_{height}_bps" for height in (240, 360, 480, 720, 1080)),
}
"""Names of the places of a field that is a tuple."""


def constants(profile: Any) -> dict[str, float]:
    """Return the constants of a profile by their paths, in the order of its fields."""
    found: dict[str, float] = {}
    for field in dataclasses.fields(profile):
        value = getattr(profile, field.name)
        if dataclasses.is_dataclass(value):
            found |= {f"{field.name}.{path}": constant for path, constant in constants(value).items()}
        elif isinstance(value, tuple):
            found |= dict(zip(PLACES[field.name], value, strict=True))
        else:
            found[field.name] = value
    return found


def changed(profile: Any, values: Mapping[str, float]) -> Any:
    """Return *profile* with other values of the constants at some paths; raises KeyError for a path that is none."""
    if unknown := values.keys() - constants(profile).keys():
        raise KeyError(f"no constant of {type(profile).__name__}: {', '.join(sorted(unknown))}")
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(profile):
        value = getattr(profile, field.name)
        if dataclasses.is_dataclass(value):
            part = f"{field.name}."
            fields[field.name] = changed(value, {p[len(part) :]: v for p, v in values.items() if p.startswith(part)})
        elif isinstance(value, tuple):
            places = zip(PLACES[field.name], value, strict=True)
            fields[field.name] = tuple(type(now)(values.get(place, now)) for place, now in places)
        else:
            fields[field.name] = type(value)(values.get(field.name, value))
    return type(profile)(**fields)
