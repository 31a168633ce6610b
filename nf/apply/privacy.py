"""Privacy: subscribers' names outside the function; with the first key, the saved sessions are read back.

No message has names of two keys, and none of a subscriber goes out behind the word that his records are to be erased:
the rows that wait are sent when names change.
"""

from __future__ import annotations

from collections.abc import Callable

from nf.apply.engine import Engine
from nf.apply.transaction import Undo
from nf.privacy import Pseudonymiser
from nf.sessions.restart.keeper import Keeper
from nf.settings import Privacy, Settings

__all__ = ["apply", "to_erase"]

Told = Callable[[int], object]  # of the epoch of the names that follow


def apply(engine: Engine, keeper: Keeper, told: Told, old: Settings, new: Settings) -> Undo:
    """Name subscribers by the new key. Going back restores the old `Pseudonymiser`: a random key is nowhere else."""
    before = engine.pseudonymiser
    _name_by(engine, _pseudonymiser(new.privacy, engine.random), told)
    if new.privacy.key:
        with engine.tables:
            keeper.recall(new.privacy.key, engine.store, engine.plane)
    return lambda: _name_by(engine, before, told)


def to_erase(old: Settings, new: Settings, before: Pseudonymiser, now: Pseudonymiser) -> dict[str, int]:
    """Return names, with their epochs, of those who have opted out with *new*, under the keys before and now."""
    names: dict[str, int] = {}
    if old.privacy.opted_out == new.privacy.opted_out:
        return names
    for imsi in set(new.privacy.opted_out).difference(old.privacy.opted_out):
        if before.used:
            names |= before.names(imsi)
        names |= now.names(imsi)
    return names


def _pseudonymiser(privacy: Privacy, random: Pseudonymiser) -> Pseudonymiser:
    """Return the `Pseudonymiser` of these settings; *random* while there is no key and nobody has opted out."""
    if not privacy.key and not privacy.opted_out:
        return random
    return Pseudonymiser(privacy.key, privacy.epoch, privacy.previous_key, privacy.opted_out)


def _name_by(engine: Engine, pseudonymiser: Pseudonymiser, told: Told) -> None:
    with engine.sweeping:
        engine.store.use(pseudonymiser)
        engine.pseudonymiser = engine.pipeline.pseudonymiser = pseudonymiser
        told(pseudonymiser.epoch)
