"""The compliance page is of the tests that are there."""

from __future__ import annotations

import pytest

from mgmt.netconf.model.yang_model import yang_dir
from mgmt.netconf.store.edit import apply_edit, empty_tree
from tests.mgmt.compliance import PAGE, marked, page
from tests.mgmt.requirements import NOT, ONAP, RFC
from tests.mgmt.test_yang_modules import with_keys


class TestPage:
    """docs/compliance.md has a row for each clause, with the tests that are marked."""

    def test_it_is_current(self):
        written = PAGE.read_text().replace("**failed**", "passed")
        assert written == page(marked(), ()), "run: python -m tests.mgmt.compliance"

    def test_nothing_failed_when_it_was_written(self):
        assert "**failed**" not in PAGE.read_text()

    def test_each_mark_is_of_a_row(self):
        assert set(marked()) <= set(ONAP) | set(RFC)

    def test_a_reason_is_of_a_row_without_a_test(self):
        assert set(NOT) <= set(ONAP) | set(RFC)
        assert set(NOT) & set(marked()) == set()


@pytest.mark.clause("R-62468")
def test_every_configuration_leaf_can_be_edited(model, tmp_path):
    """An edit takes the example that sets everything, so no leaf needs an operation of its own."""
    document = with_keys(yang_dir() / "examples" / "everything.xml", tmp_path)
    tree, errors = apply_edit(model, empty_tree(), document)
    assert errors == []
    assert len(list(tree.iter())) == len([e for e in document.iter() if isinstance(e.tag, str)])
