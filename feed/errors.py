"""The error that a user can meet anywhere in this distribution; `nf.errors` has its family."""

from __future__ import annotations

__all__ = ["SnfError"]


class SnfError(Exception):
    """A broken promise: one sentence that says what, and ``remedy``: what to do next.

    ``passing``: it may be over in a while without anybody's doing, as when another process holds what is wanted.
    """

    def __init__(self, what: str, remedy: str = "", *, passing: bool = False) -> None:
        super().__init__(f"{what} {remedy}".strip())
        self.what, self.remedy, self.passing = what, remedy, passing
