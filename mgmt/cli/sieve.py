"""Filters applied: the rows of a message that have what a user wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feed.wire import FLOW_SCHEMA, QOE_SCHEMA, Message
from mgmt.cli.filters import Filters

__all__ = ["chosen"]


def chosen(message: Message, filters: Filters) -> Message:
    """Return a message with the wanted records alone; of flows those of the subscriber. Others stay as they are."""
    schema, rows = message.header.schema, message.header.rows
    if schema == FLOW_SCHEMA and filters.subscriber is not None:
        who = message.topic.split("/", 2)[2].rstrip("/")
        kept = np.full(rows, who.startswith(filters.subscriber))
    elif schema == QOE_SCHEMA and filters:
        kept = _mask(filters, message.columns, message.app_class, rows)
    else:
        return message
    columns = {name: _picked(column, kept) for name, column in message.columns.items()}
    return replace(message, header=replace(message.header, rows=int(kept.sum())), columns=columns)


def _picked(column: NDArray[Any] | Sequence[str], kept: NDArray[np.bool_]) -> Any:
    return column[kept] if isinstance(column, np.ndarray) else list(compress(column, kept))


def _mask(filters: Filters, columns: Mapping[str, Any], app_class: str, rows: int) -> NDArray[np.bool_]:
    """Return which of *rows* rows are wanted; *app_class* is theirs where they have no column for it."""
    kept = np.ones(rows, np.bool_)
    for name in ("app", "gnb", "slice"):
        if (wanted := getattr(filters, name)) is not None:
            kept &= [str(v).casefold() == wanted.casefold() for v in columns.get(name, [""] * rows)]
    if filters.app_class is not None:
        kept &= [str(v) == filters.app_class for v in columns.get("class", [app_class] * rows)]
    if filters.subscriber is not None:
        kept &= [str(v).startswith(filters.subscriber) for v in columns.get("subscriber", [""] * rows)]
    if filters.score_below is not None:
        kept &= [_below(v, filters.score_below) for v in columns.get("mos", [None] * rows)]
    return kept


def _below(value: Any, limit: float) -> bool:
    return isinstance(value, int | float) and value < limit  # a score that is missing is below nothing
