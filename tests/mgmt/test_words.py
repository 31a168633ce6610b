"""Each word that a screen shows above a column is explained, once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mgmt.cli.screens import COMMANDS
from mgmt.cli.tables import FLOWS, RECORDS

ROOT = Path(__file__).parents[2]
WORDS = (ROOT / "docs" / "words.md").read_text().partition("## Words of the screens")[2]
ROWS = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", WORDS, re.MULTILINE)
EXPLAINED = {word for words, _ in ROWS for word in words.split(", ")}


class TestWords:
    """A reader finds the words of the screens in docs/words.md."""

    @pytest.mark.parametrize("title", [column.title for column in RECORDS])
    def test_a_column_of_records_is_explained(self, title: str) -> None:
        assert title in EXPLAINED

    @pytest.mark.parametrize("title", [column.title for column in FLOWS])
    def test_a_column_of_flows_is_explained(self, title: str) -> None:
        (flow,) = [text for word, text in ROWS if word == "flow"]

        assert title in EXPLAINED or re.search(rf"(?<!\w){re.escape(title)}", flow)

    def test_a_word_is_explained_once(self) -> None:
        words = [word for words, _ in ROWS for word in words.split(", ")]

        assert sorted(words) == sorted({*words})
        assert len(words) >= 20

    def test_readme_and_help_lead_there(self) -> None:
        assert "docs/words.md" in (ROOT / "README.md").read_text()
        assert all("docs/words.md" in (command.epilog or "") for command in COMMANDS)
