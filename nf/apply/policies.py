"""Policies: what the kernel does with the packets of each application, by group of subscribers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from feed.records import APP_CLASSES
from nf.apply import groups as of_groups
from nf.apply.engine import Engine
from nf.apply.transaction import Undo
from nf.apps.signatures import Signatures
from nf.errors import BadSettings
from nf.pipeline import Pipeline, PolicyTable, Shards
from nf.settings import Policy, Settings, SubscriberGroup

__all__ = ["apply", "check", "prepare", "put", "tables", "verify"]


def apply(engine: Engine, old: Settings, new: Settings) -> Undo:
    """Put policies and groups in force; raises BadSettings when a policy names an application that does not exist."""
    check(new.policies, engine.pipeline.signatures)
    _use(engine, new)
    return lambda: _use(engine, old)


def prepare(engine: Engine, old: Settings, new: Settings) -> None:
    """Raise BadSettings when a policy names an application that does not exist with the new ones."""
    before = engine.pipeline.signatures
    same = new.applications == old.applications
    check(new.policies, before if same else Signatures.load(new.applications, before=before))


def verify(engine: Engine, _old: Settings, new: Settings) -> list[str]:
    """Compare the actions that the kernel has with the policies; return what is not so, in words."""
    with engine.sweeping:
        other = engine.plane.other_policies(tables(new.policies, new.groups, engine.pipeline.signatures))
    return [f"{other} applications have another action in the kernel"] if other else []


def check(policies: Sequence[Policy], signatures: Signatures) -> None:
    """Raise BadSettings when a policy names an application that does not exist."""
    for policy in policies:
        if policy.application and not signatures.number(policy.application):
            raise BadSettings(
                f"No application is named {policy.application}.",
                f"/snf-policies:policies/policy[name='{policy.name}']/application",
                "Add it under applications, or use a name of the signature file.",
            )


def _use(engine: Engine, settings: Settings) -> None:
    with engine.sweeping, engine.tables:
        regroup = settings.groups != engine.pipeline.groups
        put(engine.pipeline, settings.policies, settings.groups)
        if regroup:
            of_groups.put(engine, engine.store.numbers())
            engine.plane.new_generation()


def put(pipeline: Pipeline | Shards, policies: Sequence[Policy], groups: Sequence[SubscriberGroup]) -> None:
    """Put policies in force with the next packet; the caller keeps sweeps out meanwhile."""
    pipeline.set_policies(tables(policies, groups, pipeline.signatures), groups)


def tables(policies: Sequence[Policy], groups: Sequence[SubscriberGroup], signatures: Signatures) -> list[PolicyTable]:
    """Return action and snap length by application number: for sessions in no group, then for each group.

    A group's policy goes before those for all, an application's own before its class's.
    """
    return [_table(policies, "", signatures), *(_table(policies, g.name, signatures) for g in groups)]


def _table(policies: Sequence[Policy], group: str, signatures: Signatures) -> PolicyTable:
    table: PolicyTable = {}
    mine = (p for p in policies if p.group in {"", group})
    for policy in sorted(mine, key=lambda p: (bool(p.group), bool(p.application))):
        apps = (
            [signatures.number(policy.application)]
            if policy.application
            else np.flatnonzero(signatures.class_of == APP_CLASSES.index(policy.app_class)).tolist()
        )
        table |= {app: (policy.action, policy.snap_length) for app in apps if app}
    return table
