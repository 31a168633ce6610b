"""Privacy: subscribers' names outside the function; with the first key, the saved sessions are read back."""

from __future__ import annotations

from nf.apply.engine import Engine
from nf.apply.transaction import Undo
from nf.privacy import Pseudonymiser
from nf.sessions.restart.keeper import Keeper
from nf.settings import Privacy, Settings

__all__ = ["apply"]


def apply(engine: Engine, keeper: Keeper, old: Settings, new: Settings) -> Undo:
    """Name subscribers by the new key. Going back restores the old `Pseudonymiser`: a random key is nowhere else."""
    before = engine.pseudonymiser
    _name_by(engine, _pseudonymiser(new.privacy, engine.random))
    if new.privacy.key:
        with engine.tables:
            keeper.recall(new.privacy.key, engine.store, engine.plane)
    return lambda: _name_by(engine, before)


def _pseudonymiser(privacy: Privacy, random: Pseudonymiser) -> Pseudonymiser:
    """Return the `Pseudonymiser` of these settings; *random* while there is no key and nobody has opted out."""
    if not privacy.key and not privacy.opted_out:
        return random
    return Pseudonymiser(privacy.key, privacy.epoch, privacy.previous_key, privacy.opted_out)


def _name_by(engine: Engine, pseudonymiser: Pseudonymiser) -> None:
    engine.store.use(pseudonymiser)
    engine.pseudonymiser = engine.pipeline.pseudonymiser = pseudonymiser
