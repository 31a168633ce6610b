"""The documentation of the scores keeps up with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from feed.records import APP_CLASSES
from nf.qoe.models import MODELS
from nf.subscribers.suspect import SUSPECTS

TEXT = (Path(__file__).parents[2] / "docs" / "qoe.md").read_text()


class TestQoeDocument:
    """Each class, suspect and model is told to the reader."""

    @pytest.mark.parametrize("app_class", APP_CLASSES)
    def test_each_class_has_a_section(self, app_class):
        assert re.search(rf"^### {app_class}$", TEXT, re.MULTILINE)

    @pytest.mark.parametrize("word", [w for w in SUSPECTS if w])
    def test_each_suspect_is_explained(self, word):
        assert f"`{word}`" in TEXT

    @pytest.mark.parametrize("app_class", MODELS)
    def test_the_model_of_each_class_is_named(self, app_class):
        section = TEXT.split(f"\n### {app_class}\n", 1)[1].split("\n##", 1)[0]

        assert MODELS[app_class].name in section
