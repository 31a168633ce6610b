"""The error that a user can meet anywhere in this distribution; `nf.errors` has its family."""

from __future__ import annotations

__all__ = ["SnfError"]


class SnfError(Exception):
    """A broken promise: one sentence that says what, and ``remedy``: what to do next."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what} {remedy}".strip())
        self.what, self.remedy = what, remedy
