"""Figures of accuracy outlive a run that cannot measure them: their data may be on another machine."""

from __future__ import annotations

from bench import stored
from bench.figure import Figure


class TestKeep:
    """A figure takes the place of its former value; what a run does not measure stays."""

    def test_what_was_not_measured_stays(self, tmp_path):
        file = tmp_path / "accuracy.json"
        stored.keep([Figure("lab: lag", 3.0, "ms", 5.0), Figure("names", 99.0, "%", 98.0, more=True)], file=file)

        stored.keep([Figure("names", 97.0, "%", 98.0, more=True)], file=file)

        assert [(r["name"], r["value"], r["met"]) for r in stored.kept(file)] == [
            ("lab: lag", 3.0, True),
            ("names", 97.0, False),
        ]

    def test_rows_without_a_value_are_written_last_and_are_no_figures(self, tmp_path):
        file = tmp_path / "accuracy.json"
        nothing = {"name": "lab: live", "value": None, "unit": "share", "goal": 0.9, "more": True}

        stored.keep([Figure("names", 97.0, "%", 98.0)], [nothing], file)

        assert [row["name"] for row in stored.kept(file)] == ["names"]
        assert file.read_text().index("names") < file.read_text().index("lab: live")

    def test_a_row_shows_its_goal_and_the_way_to_it(self):
        row = {"name": "names", "value": 97.0, "unit": "%", "goal": 98.0, "more": True}

        assert stored.line(row, "not met").split() == ["names", "97.000", "%", ">=", "98", "not", "met"]
        assert stored.line(row | {"value": None}, "not measured").split()[1] == "-"
