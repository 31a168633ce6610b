"""A change of settings is wholly in force or not at all: inverses run from the last to the first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nf.apply.transaction import Part, change
from nf.errors import BadSettings
from nf.settings import Settings

OLD = Settings()
NEW = replace(OLD, nf_id="new", naming_workers=2, pfcp_peers=("192.0.2.1",))
THREE = "nf_id", "naming_workers", "pfcp_peers"


class Record:
    """Parts that write down each call; a name that is in *fails* raises instead, ``"undo x"`` an inverse."""

    def __init__(self, fails: dict[str, Exception] | None = None) -> None:
        self.done: list[str] = []
        self.fails = fails or {}

    def do(self, what: str) -> None:
        if what in self.fails:
            raise self.fails[what]
        self.done.append(what)

    def part(self, *fields: str) -> Part:
        """Return a part of these fields, called after the first."""

        def apply(old: Settings, new: Settings):
            assert (old, new) == (OLD, NEW)
            self.do(fields[0])
            return lambda: self.do(f"undo {fields[0]}")

        return Part(frozenset(fields), apply)

    def parts(self) -> list[Part]:
        return [self.part(name) for name in THREE]

    def at_last(self) -> None:
        self.do("last")


class TestApplied:
    """Parts are put in force in their order, if something of them changed."""

    def test_in_their_order_and_what_is_last_at_last(self):
        record = Record()
        change(record.parts(), OLD, NEW, record.at_last)

        assert record.done == [*THREE, "last"]

    def test_a_part_that_does_not_change_is_left_alone(self):
        record = Record()
        change([record.part("limits"), record.part("policies", "naming_workers")], OLD, NEW, record.at_last)

        assert record.done == ["policies", "last"], "one of its fields is enough"


class TestRefused:
    """Parts in force are undone, the latest first, and the caller is told the reason."""

    @pytest.mark.parametrize(
        ("failing", "done"),
        [
            ("nf_id", []),
            ("naming_workers", ["nf_id", "undo nf_id"]),
            ("pfcp_peers", ["nf_id", "naming_workers", "undo naming_workers", "undo nf_id"]),
            ("last", [*THREE, "undo pfcp_peers", "undo naming_workers", "undo nf_id"]),
        ],
    )
    def test_by_any_part(self, failing: str, done: list[str]):
        record = Record({failing: BadSettings("It is not there.", "/path", "Add it.")})
        with pytest.raises(BadSettings, match="It is not there"):
            change(record.parts(), OLD, NEW, record.at_last)

        assert record.done == done

    def test_what_nobody_foresaw_is_undone_as_well(self):
        record = Record({"pfcp_peers": RuntimeError("a defect")})
        with pytest.raises(RuntimeError, match="a defect"):
            change(record.parts(), OLD, NEW, record.at_last)

        assert record.done[-2:] == ["undo naming_workers", "undo nf_id"]

    def test_an_inverse_that_fails_keeps_no_other_from_running(self, caplog):
        record = Record(
            {
                "last": BadSettings("The commit.", "/path", ""),
                "undo naming_workers": BadSettings("The inverse.", "/path", ""),
            }
        )
        with pytest.raises(BadSettings, match=r"The commit\."):
            change(record.parts(), OLD, NEW, record.at_last)

        assert record.done == [*THREE, "undo pfcp_peers", "undo nf_id"]
        assert "a part of a refused configuration stays: The inverse." in caplog.text
