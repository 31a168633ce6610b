"""edit-config on a tree: RFC 6241, 7.2, operation by operation."""

import pytest
from lxml import etree

from mgmt.netconf.model.touched import Touched
from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.store.changes import changes
from mgmt.netconf.store.edit import apply_edit, empty_tree
from tests.mgmt import fuzz_edits

P = "urn:supernetflow:yang:snf-policies"
A = "urn:supernetflow:yang:snf-applications"
S = "urn:supernetflow:yang:snf-subscribers"
NC = "urn:ietf:params:xml:ns:netconf:base:1.0"

TWO = (
    f'<policies xmlns="{P}">'
    "<policy><name>a</name><application>x</application><action>inspect</action></policy>"
    "<policy><name>b</name><application>y</application><action>truncate</action><snap-length>100</snap-length></policy>"
    "</policies>"
)
APPLICATION = (
    f'<applications xmlns="{A}"><application><name>v</name><class>video</class>'
    "<domain>one.example</domain><domain>two.example</domain></application></applications>"
)


def edit_of(xml: str) -> etree._Element:
    return etree.fromstring(f'<config xmlns:nc="{NC}">{xml}</config>')


class Tree:
    """A tree and the edits on it."""

    def __init__(self, model: Model, xml: str) -> None:
        self.model = model
        self.tree = apply_edit(model, empty_tree(), edit_of(xml))[0]

    def edit(self, xml: str, default: str = "merge", **options) -> list[RpcError]:
        self.tree, errors = apply_edit(self.model, self.tree, edit_of(xml), default, **options)
        return errors

    def refuses(self, xml: str, default: str = "merge") -> RpcError:
        before = etree.tostring(self.tree)
        with pytest.raises(RpcError) as caught:
            self.edit(xml, default)
        assert etree.tostring(self.tree) == before
        return caught.value

    def texts(self, path: str) -> list[str]:
        return self.tree.xpath(f"{path}/text()", namespaces={"p": P, "a": A, "s": S})


@pytest.fixture
def two(model) -> Tree:
    return Tree(model, TWO)


def policy(inner: str, attribute: str = "") -> str:
    return f'<policies xmlns="{P}"><policy {attribute}>{inner}</policy></policies>'


@pytest.mark.clause("R-44281")
class TestMerge:
    """merge adds what is not there and changes what is."""

    def test_a_leaf_is_changed_and_the_others_stay(self, two):
        two.edit(policy("<name>a</name><action>suppress</action>"))
        assert two.texts("//p:policy[p:name='a']/*") == ["a", "x", "suppress"]
        assert two.texts("//p:name") == ["a", "b"]

    def test_a_key_finds_its_entry_in_any_position(self, two):
        two.edit(policy("<action>suppress</action><name>a</name>"))
        assert two.texts("//p:policy[p:name='a']/p:action") == ["suppress"]

    def test_keys_come_first_in_an_entry(self, two):
        two.edit(policy("<action>count</action><application>z</application><name>c</name>"))
        assert two.texts("//p:policy[3]/*") == ["c", "count", "z"]

    def test_a_leaf_list_gets_another_value_once(self, model):
        tree = Tree(model, APPLICATION)
        for _ in range(2):
            tree.edit(
                f'<applications xmlns="{A}"><application><name>v</name><domain>three.example</domain>'
                "</application></applications>"
            )
        assert tree.texts("//a:domain") == ["one.example", "two.example", "three.example"]

    def test_another_case_of_a_choice_takes_the_place(self, two):
        # RFC 7950, 7.9: nodes of at most one case exist.
        two.edit(policy("<name>a</name><application-class>web</application-class>"))
        assert two.texts("//p:policy[p:name='a']/p:application") == []
        assert two.texts("//p:policy[p:name='a']/p:application-class") == ["web"]

    def test_two_cases_in_one_edit_are_a_bad_element(self, two):
        error = two.refuses(
            policy("<name>a</name><application>z</application><application-class>web</application-class>")
        )
        assert (error.tag, error.info) == ("bad-element", (("bad-element", "application-class"),))

    def test_comments_and_instructions_are_no_nodes(self, two):
        two.edit(policy("<!-- the first --><name>a</name><?x y?><action>count</action>"))
        assert two.texts("//p:policy[p:name='a']/p:action") == ["count"]


@pytest.mark.clause("R-44281")
class TestReplace:
    """replace sets a node and everything under it."""

    def test_what_is_not_said_again_is_gone(self, two):
        two.edit(policy("<name>b</name><application>y</application><action>count</action>", 'nc:operation="replace"'))
        assert two.texts("//p:policy[p:name='b']/*") == ["b", "y", "count"]
        assert two.texts("//p:name") == ["a", "b"]

    def test_as_default_it_replaces_the_whole_configuration(self, two):
        two.edit(APPLICATION, default="replace")
        assert (two.texts("//p:name"), two.texts("//a:name")) == ([], ["v"])


@pytest.mark.clause("R-44281")
class TestCreate:
    """create is for what is not there."""

    def test_an_entry_that_is_there_exists(self, two):
        error = two.refuses(policy("<name>a</name>", 'nc:operation="create"'))
        assert (error.tag, error.path) == ("data-exists", "/snf-policies:policies/policy[name='a']")

    def test_a_leaf_that_is_there_exists(self, two):
        error = two.refuses(policy('<name>a</name><action nc:operation="create">count</action>'))
        assert (error.tag, error.path) == ("data-exists", "/snf-policies:policies/policy[name='a']/action")

    def test_a_new_entry_is_made(self, two):
        two.edit(policy("<name>c</name><application>z</application><action>count</action>", 'nc:operation="create"'))
        assert two.texts("//p:name") == ["a", "b", "c"]


@pytest.mark.clause("R-44281")
class TestDelete:
    """delete is for what is there, remove does not mind."""

    def test_an_entry_is_deleted(self, two):
        two.edit(policy("<name>a</name>", 'nc:operation="delete"'))
        assert two.texts("//p:name") == ["b"]

    def test_a_leaf_is_deleted_without_its_value(self, two):
        two.edit(policy('<name>b</name><snap-length nc:operation="delete"/>'))
        assert two.texts("//p:snap-length") == []

    def test_a_leaf_list_entry_is_deleted_by_value(self, model):
        tree = Tree(model, APPLICATION)
        tree.edit(
            f'<applications xmlns="{A}"><application><name>v</name><domain nc:operation="delete">one.example</domain>'
            "</application></applications>"
        )
        assert tree.texts("//a:domain") == ["two.example"]

    def test_what_is_not_there_is_missing(self, two):
        error = two.refuses(policy("<name>c</name>", 'nc:operation="delete"'))
        assert (error.tag, error.path) == ("data-missing", "/snf-policies:policies/policy[name='c']")

    def test_remove_does_not_mind(self, two):
        two.edit(policy("<name>c</name>", 'nc:operation="remove"'))
        assert two.texts("//p:name") == ["a", "b"]

    def test_the_last_entry_takes_its_container_along(self, two):
        for name in "ab":
            two.edit(policy(f"<name>{name}</name>", 'nc:operation="delete"'))
        assert len(two.tree) == 0

    def test_an_entry_can_be_deleted_and_made_again_in_one_edit(self, two):
        two.edit(
            f'<policies xmlns="{P}"><policy nc:operation="delete"><name>a</name></policy>'
            '<policy nc:operation="create"><name>a</name><action>count</action></policy></policies>'
        )
        assert two.texts("//p:policy[p:name='a']/*") == ["a", "count"]


@pytest.mark.clause("R-44281")
class TestNone:
    """none leaves alone what has no operation of its own."""

    def test_a_nested_operation_is_carried_out(self, two):
        two.edit(policy('<name>a</name><action nc:operation="merge">count</action>'), default="none")
        assert two.texts("//p:policy[p:name='a']/p:action") == ["count"]

    def test_a_value_without_operation_is_not_set(self, two):
        two.edit(policy("<name>a</name><action>count</action>"), default="none")
        assert two.texts("//p:policy[p:name='a']/p:action") == ["inspect"]

    def test_a_parent_that_is_not_there_is_missing(self, two):
        error = two.refuses(policy('<name>c</name><action nc:operation="merge">count</action>'), default="none")
        assert error.tag == "data-missing"


class TestRefused:
    """A node that is not in the schema is refused with its name and place."""

    @pytest.mark.parametrize(
        ("xml", "tag", "path", "info"),
        [
            (
                policy("<name>a</name><acton>x</acton>"),
                "unknown-element",
                "/snf-policies:policies/policy[name='a']/acton",
                ("bad-element", "acton"),
            ),
            ('<nothing xmlns="urn:x"/>', "unknown-namespace", "", ("bad-namespace", "urn:x")),
            (
                f'<nothing xmlns="{P}"/>',
                "unknown-element",
                "/snf-policies:nothing",
                ("bad-element", "nothing"),
            ),
            (policy("<action>count</action>"), "missing-element", None, ("bad-element", "name")),
            (policy("<name>a</name>", 'nc:operation="move"'), "bad-attribute", None, ("bad-attribute", "operation")),
            (policy("<name>a</name>", 'colour="red"'), "unknown-attribute", None, ("bad-attribute", "colour")),
            (policy("<name>a</name>text"), "bad-element", None, ("bad-element", "policy")),
            (policy("<name>a</name><action><x/></action>"), "bad-element", None, ("bad-element", "action")),
            (
                f'<subscribers xmlns="{S}"><state><source><name>pfcp</name></source></state></subscribers>',
                "unknown-element",
                None,
                ("bad-element", "state"),
            ),
        ],
    )
    def test_an_edit_is_refused(self, two, xml, tag, path, info):
        error = two.refuses(xml)
        assert error.tag == tag
        assert info in error.info
        if path is not None:
            assert error.path == path

    @pytest.mark.clause("R-83873", "RFC 6241, 8.5")
    def test_the_first_error_ends_an_edit(self, two):
        two.refuses(policy("<name>a</name><action>count</action><nothing/>"))
        assert two.texts("//p:policy[p:name='a']/p:action") == ["inspect"]

    def test_with_continue_on_error_the_rest_is_done_and_each_error_said(self, two):
        errors = two.edit(
            policy("<name>a</name><nothing/><action>count</action><snap-length>1</snap-length>"),
            continue_on_error=True,
        )
        assert [e.tag for e in errors] == ["unknown-element", "invalid-value"]
        assert two.texts("//p:policy[p:name='a']/p:action") == ["count"]


BELOW_TWICE = f'<policies xmlns="{P}"><policy><name>a</name></policy></policies>' * 2


class TestStrict:
    """An edit that could be meant in two ways, or in part has no effect, is refused."""

    @pytest.mark.parametrize(
        ("xml", "tag", "info"),
        [
            # RFC 7950, 7.5 and 7.6: there is one instance of a leaf or a container.
            (policy("<name>a</name><action>count</action><action>inspect</action>"), "bad-element", "action"),
            (policy("<name>a</name><name>a</name>"), "bad-element", "name"),
            (BELOW_TWICE, "bad-element", "policies"),
            (f'some text<policies xmlns="{P}"/>', "bad-element", "config"),
            (f'<policies xmlns="{P}"/>some text', "bad-element", "config"),
            (f'<policies xmlns="{P}">some text</policies>', "bad-element", "policies"),
            (f'<policies xmlns="{P}">&#xA0;</policies>', "bad-element", "policies"),  # no white space of XML 1.0, 2.3
            # RFC 7950, 7.8.2: an entry is nothing without its key.
            (policy('<name nc:operation="delete">a</name>'), "bad-attribute", "operation"),
            (policy('<name nc:operation="remove">a</name>'), "bad-attribute", "operation"),
            (policy('<name nc:operation="move">a</name>'), "bad-attribute", "operation"),
            (policy('<name nc:operation="create">a</name>'), "data-exists", None),
            # Content of a removed element is read as well.
            (policy("<name>a</name><nothing/>", 'nc:operation="delete"'), "unknown-element", "nothing"),
            (policy("<name>a</name>text", 'nc:operation="remove"'), "bad-element", "policy"),
            (policy('<name>a</name><action colour="red"/>', 'nc:operation="remove"'), "unknown-attribute", "colour"),
            # An operation without the namespace of NETCONF is none (RFC 6241, 7.2).
            (policy("<name>a</name>", 'operation="delete"'), "unknown-attribute", "operation"),
        ],
    )
    def test_it_is_refused(self, two, xml, tag, info):
        error = two.refuses(xml)
        assert error.tag == tag
        assert info is None or info in dict(error.info).values()

    @pytest.mark.parametrize("operation", ["replace", "delete", "merge"])
    def test_an_operation_at_the_element_config_is_nobodys(self, two, model, operation):
        edit = etree.fromstring(f'<config xmlns:nc="{NC}" nc:operation="{operation}"><policies xmlns="{P}"/></config>')
        with pytest.raises(RpcError) as caught:
            apply_edit(model, two.tree, edit)
        assert (caught.value.tag, caught.value.info) == (
            "unknown-attribute",
            (("bad-attribute", "operation"), ("bad-element", "config")),
        )

    def test_a_value_of_a_leaf_list_twice_exists_or_is_missing_the_second_time(self, model):
        # RFC 7950, 7.7.9: each is an edit of its own.
        def domain(operation: str) -> str:
            inner = f'<domain nc:operation="{operation}">one.example</domain>' * 2
            return f'<applications xmlns="{A}"><application><name>v</name>{inner}</application></applications>'

        tree = Tree(model, APPLICATION)
        assert tree.refuses(domain("create")).tag == "data-exists"
        assert tree.refuses(domain("delete")).tag == "data-missing"
        tree.edit(domain("merge"))
        assert tree.texts("//a:domain") == ["one.example", "two.example"]

    def test_an_entry_twice_is_edited_in_order(self, two):
        two.edit(
            f'<policies xmlns="{P}"><policy><name>a</name><action>count</action></policy>'
            "<policy><name>a</name><action>suppress</action></policy></policies>"
        )
        assert two.texts("//p:policy[p:name='a']/p:action") == ["suppress"]

    def test_a_comment_in_a_value_hides_none_of_it(self, two):
        two.edit(policy("<name>a</name><application>you<!-- a comment -->tube</application>"))
        assert two.texts("//p:policy[p:name='a']/p:application") == ["youtube"]


class TestTouched:
    """An edit says where a tree may differ; elsewhere nobody has to look."""

    @pytest.mark.parametrize(
        "xml",
        [
            policy("<name>a</name><action>suppress</action>"),
            policy("<name>b</name>", 'nc:operation="delete"'),
            policy("<name>a</name><application-class>web</application-class>"),
            policy("<name>b</name><application>y</application><action>count</action>", 'nc:operation="replace"'),
            f'<policies xmlns="{P}" nc:operation="remove"/>',
            APPLICATION,
        ],
    )
    def test_the_differences_are_those_of_the_whole_trees(self, two, model, xml):
        touched = Touched()
        new, _ = apply_edit(model, two.tree, edit_of(xml), touched=touched)
        assert not touched.all
        found = changes(model, two.tree, new, touched)
        assert sorted(map(repr, found)) == sorted(map(repr, changes(model, two.tree, new)))
        assert found


class TestRandomEdits:
    """Random edits do what a straight reading of RFC 6241, 7.2, on dicts does; `make fuzz` has 100,000."""

    def test_five_hundred(self):
        wrong, outcomes = fuzz_edits.run(500, seed=7950)
        assert wrong == ""
        assert outcomes["ok"] > 100
        assert {"data-exists", "data-missing", "bad-element"} <= outcomes.keys()

    def test_a_fault_in_the_code_is_found(self, monkeypatch):
        monkeypatch.setattr("mgmt.netconf.store.edit._other_cases", lambda *_: None)
        assert "by the model" in fuzz_edits.run(500, seed=7950)[0]


class TestCanonical:
    """A value has one form (RFC 7950, 9.1), so that equal keys are found equal."""

    def test_addresses_and_numbers_as_keys(self, model):
        tree = Tree(model, "")
        for address, teid in (("2001:DB8:0::1", "0016"), ("2001:db8::1", " 16 ")):
            tree.edit(
                f'<subscribers xmlns="{S}"><static-session><name>s</name><uplink><address>{address}</address>'
                f"<teid>{teid}</teid></uplink></static-session></subscribers>"
            )
        assert tree.texts("//s:uplink/*") == ["2001:db8::1", "16"]

    def test_an_identity_keeps_its_meaning_under_another_prefix(self, model):
        tree = Tree(
            model,
            '<interfaces xmlns="urn:ietf:params:xml:ns:yang:ietf-interfaces"><interface><name>a</name>'
            '<type xmlns:strange="urn:ietf:params:xml:ns:yang:iana-if-type">strange:ethernetCsmacd</type>'
            "</interface></interfaces>",
        )
        values = model.validate(tree.tree)
        assert values["ietf-interfaces:interfaces"]["interface"][0]["type"] == "iana-if-type:ethernetCsmacd"

    def test_an_unknown_prefix_is_an_invalid_value(self, model):
        error = Tree(model, "").refuses(
            '<interfaces xmlns="urn:ietf:params:xml:ns:yang:ietf-interfaces"><interface><name>a</name>'
            '<type xmlns:x="urn:x">x:ethernetCsmacd</type></interface></interfaces>'
        )
        assert (error.tag, error.path) == ("invalid-value", "/ietf-interfaces:interfaces/interface[name='a']/type")


class TestSize:
    """An edit of many entries takes time by their number, not by its square."""

    def test_ten_thousand_sessions(self, model):
        entries = "".join(
            f"<static-session><name>s{i}</name><ue-ipv4>10.0.{i >> 8}.{i & 255}</ue-ipv4></static-session>"
            for i in range(10_000)
        )
        tree = Tree(model, f'<subscribers xmlns="{S}">{entries}</subscribers>')

        tree.edit(
            f'<subscribers xmlns="{S}"><static-session><name>s9999</name><dnn>ims</dnn></static-session></subscribers>'
        )

        assert len(model.validate(tree.tree)["snf-subscribers:subscribers"]["static-session"]) == 10_000
        assert tree.texts("//s:static-session[s:name='s9999']/s:dnn") == ["ims"]
