"""The documentation of the scores keeps up with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from feed.records import APP_CLASSES
from nf.qoe import streaming, web
from nf.subscribers.suspect import SUSPECTS

TEXT = (Path(__file__).parents[2] / "docs" / "qoe.md").read_text()


class TestQoeDocument:
    """Each class, suspect and fitted coefficient is told to the reader."""

    @pytest.mark.parametrize("app_class", APP_CLASSES)
    def test_each_class_has_a_section(self, app_class):
        assert re.search(rf"^### {app_class}$", TEXT, re.MULTILINE)

    @pytest.mark.parametrize("word", [w for w in SUSPECTS if w])
    def test_each_suspect_is_explained(self, word):
        assert f"`{word}`" in TEXT

    @pytest.mark.parametrize("name", ["CODING_DEPTH", "CODING_SLOPE", "UPSCALING", "STALL_WEIGHT", "MOBILE"])
    def test_each_fitted_coefficient_is_printed(self, name):
        assert f"{getattr(streaming, name):.4f}" in TEXT

    def test_the_page_size(self):
        assert f"{web.PAGE_BYTES / 1e6:.2f} MB" in TEXT
