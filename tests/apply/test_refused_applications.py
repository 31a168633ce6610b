"""A refused change of applications leaves the policies of before, by the classes of before."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from nf.apply import naming, policies
from nf.apply.transaction import Part, change
from nf.apps.signatures import Signatures
from nf.errors import BadSettings
from nf.settings import Action, Application, Policy, Settings

OLD = Settings(policies=(Policy("games", Action.COUNT, app_class="gaming"),))
NEW = replace(OLD, applications=(Application("Netflix", "gaming"),))


class Pipeline:
    """Remembers the signatures and the tables of policies in force."""

    def __init__(self) -> None:
        self.signatures, self.groups = Signatures.load(), ()
        policies.put(self, OLD.policies, OLD.groups)  # type: ignore[arg-type]

    def use(self, signatures: Signatures) -> None:
        self.signatures = signatures

    def set_policies(self, tables, groups) -> None:
        self.tables = tables


def test_what_had_another_class_for_a_moment_is_not_treated_by_it():
    pipeline = Pipeline()
    engine = SimpleNamespace(pipeline=pipeline, sweeping=threading.Lock(), tables=threading.Lock())
    before, netflix = pipeline.tables, pipeline.signatures.number("Netflix")
    seen = []

    def refuses() -> None:
        seen.append(netflix in pipeline.tables[0])
        raise BadSettings("It is not there.", "/path", "")

    parts = [
        Part(frozenset({"applications"}), lambda old, new: naming.apply_applications(engine, old, new)),
        Part(frozenset({"applications", "policies", "groups"}), lambda old, new: policies.apply(engine, old, new)),
    ]
    with pytest.raises(BadSettings):
        change(parts, OLD, NEW, refuses)

    assert seen == [True], "Netflix was a game while the change was tried"
    assert pipeline.tables == before
