"""Profiles: the constants of estimates and scores, in force from the next interval on, with all that is remembered."""

from __future__ import annotations

from nf.apply.engine import Engine
from nf.apply.transaction import Undo
from nf.settings import QoeProfile, Settings

__all__ = ["apply"]


def apply(engine: Engine, old: Settings, new: Settings) -> Undo:
    """Put profiles in force."""

    def use(profiles: tuple[QoeProfile, ...]) -> None:
        with engine.sweeping:
            engine.pipeline.set_profiles(profiles)

    use(new.profiles)
    return lambda: use(old.profiles)
