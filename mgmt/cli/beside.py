"""Commands of the programs beside the function, which are installed apart from it."""

from __future__ import annotations

from importlib.util import find_spec

from nf.errors import SnfError

__all__ = ["needed"]


def needed() -> None:
    """Refuse where the history is not installed."""
    if not all(find_spec(name) for name in ("history", "duckdb")):
        raise SnfError(
            "The history is not installed here.",
            "Install supernetflow-collector, or pip install 'supernetflow[history]'.",
        )
