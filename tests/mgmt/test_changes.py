"""The difference of two configurations, node by node."""

import pytest
from lxml import etree

from mgmt.netconf.store.changes import changes
from mgmt.netconf.store.edit import apply_edit, empty_tree

P = "urn:supernetflow:yang:snf-policies"


@pytest.fixture
def tree(model, config):
    def make(inner: str) -> etree._Element:
        return apply_edit(model, empty_tree(), config(inner))[0]

    return make


def policy(name: str, action: str = "inspect", application: str = "youtube") -> str:
    return f"<policy><name>{name}</name><application>{application}</application><action>{action}</action></policy>"


def policies(*entries: str) -> str:
    return f'<policies xmlns="{P}">{"".join(entries)}</policies>'


def told(found):
    return [(each.operation, each.path) for each in found]


class TestChanges:
    """Each node that is created, deleted or has another value is told once, by its path."""

    def test_the_same_tree_has_none(self, model, tree):
        one = tree(policies(policy("a")))

        assert changes(model, one, one) == ()
        assert changes(model, one, tree(policies(policy("a")))) == ()

    def test_an_entry_that_comes_is_told_without_what_is_in_it(self, model, tree):
        found = changes(model, tree(policies(policy("a"))), tree(policies(policy("b"), policy("a"))))

        assert told(found) == [("create", "/snf-policies:policies/policy[name='b']")]

    def test_a_leaf_with_another_value_is_told_alone(self, model, tree):
        found = changes(model, tree(policies(policy("a"))), tree(policies(policy("a", "count"))))

        assert told(found) == [("update", "/snf-policies:policies/policy[name='a']/action")]

    def test_of_a_container_that_goes_its_entries_are_told(self, model, tree):
        found = changes(model, tree(policies(policy("a"), policy("b"))), tree(""))

        assert told(found) == [("delete", f"/snf-policies:policies/policy[name='{n}']") for n in "ab"]

    def test_the_order_of_entries_means_nothing(self, model, tree):
        both = policies(policy("a"), policy("b")), policies(policy("b"), policy("a"))

        assert changes(model, *map(tree, both)) == ()

    def test_a_path_for_the_log_names_no_entry(self, model, tree):
        private = (
            '<privacy xmlns="urn:supernetflow:yang:snf-privacy">'
            "<key>c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I=</key><opt-out>001010000000001</opt-out></privacy>"
        )
        found = changes(model, tree(""), tree(private + policies(policy("a"))))

        assert sorted(each.schema_path for each in found) == [
            "/snf-policies:policies/policy",
            "/snf-privacy:privacy/key",
            "/snf-privacy:privacy/opt-out",
        ]
