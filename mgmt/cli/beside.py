"""The programs beside the function: they are there where the history is installed, and say so where it is not."""

from __future__ import annotations

import importlib.util

from nf.errors import SnfError

__all__ = ["needed"]


def needed() -> None:
    """Raise SnfError when the history, or its engine, is not installed."""
    if importlib.util.find_spec("history") is None or importlib.util.find_spec("duckdb") is None:
        raise SnfError(
            "The history is not installed here.",
            "Install supernetflow-collector, or pip install 'supernetflow[history]'.",
        )
