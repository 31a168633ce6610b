"""Filters: the examples of RFC 6241, 6.4, XPath, and what the list of known defects of servers asks."""

import pytest
from lxml import etree

from mgmt.netconf.filters import filter_subtree, filter_xpath
from mgmt.netconf.rpcerror import RpcError

SPACE = "http://example.com/schema/1.2/config"
# The data set that the examples of RFC 6241, 6.4 have in common.
TOP = f"""<data><top xmlns="{SPACE}"><users>
<user><name>root</name><type>superuser</type><full-name>Charlie Root</full-name>
  <company-info><dept>1</dept><id>1</id></company-info></user>
<user><name>fred</name><type>admin</type><full-name>Fred Flintstone</full-name>
  <company-info><dept>2</dept><id>2</id></company-info></user>
<user><name>barney</name><type>admin</type><full-name>Barney Rubble</full-name>
  <company-info><dept>2</dept><id>3</id></company-info></user>
</users></top></data>"""

ROOT = (
    "<user><name>root</name><type>superuser</type><full-name>Charlie Root</full-name>"
    "<company-info><dept>1</dept><id>1</id></company-info></user>"
)
FRED = (
    "<user><name>fred</name><type>admin</type><full-name>Fred Flintstone</full-name>"
    "<company-info><dept>2</dept><id>2</id></company-info></user>"
)
BARNEY = (
    "<user><name>barney</name><type>admin</type><full-name>Barney Rubble</full-name>"
    "<company-info><dept>2</dept><id>3</id></company-info></user>"
)

# Section, content of filter, content of users in the reply ("" for an empty reply).
EXAMPLES = [
    ("6.4.2 empty filter", "", None),
    ("6.4.3 the whole users subtree", "<users/>", ROOT + FRED + BARNEY),
    ("6.4.3 by an empty user", "<users><user/></users>", ROOT + FRED + BARNEY),
    (
        "6.4.4 all names",
        "<users><user><name/></user></users>",
        "<user><name>root</name></user><user><name>fred</name></user><user><name>barney</name></user>",
    ),
    ("6.4.5 one user", "<users><user><name>fred</name></user></users>", FRED),
    (
        "6.4.6 specific elements of one user",
        "<users><user><name>fred</name><type/><full-name/></user></users>",
        "<user><name>fred</name><type>admin</type><full-name>Fred Flintstone</full-name></user>",
    ),
    (
        "6.4.7 multiple subtrees",
        "<users><user><name>root</name><company-info/></user>"
        "<user><name>fred</name><company-info><id/></company-info></user>"
        "<user><name>barney</name><type>superuser</type><company-info><dept/></company-info></user></users>",
        "<user><name>root</name><company-info><dept>1</dept><id>1</id></company-info></user>"
        "<user><name>fred</name><company-info><id>2</id></company-info></user>",
    ),
]


def squeezed(element):
    """XML without the white space between elements."""
    clone = etree.fromstring(etree.tostring(element), etree.XMLParser(remove_blank_text=True))
    for node in clone.iter():
        if len(node) and not (node.text or "").strip():
            node.text = None
        if not (node.tail or "").strip():
            node.tail = None
    return etree.tostring(clone, method="c14n").decode()


def subtree(inner):
    return etree.fromstring(f'<filter type="subtree" xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">{inner}</filter>')


@pytest.mark.clause("R-60656", "RFC 6241, 6")
class TestSubtree:
    """RFC 6241, section 6."""

    @pytest.mark.parametrize(("_section", "wanted", "users"), EXAMPLES, ids=[e[0] for e in EXAMPLES])
    def test_the_examples_of_the_standard(self, _section, wanted, users):
        inner = f'<top xmlns="{SPACE}">{wanted}</top>' if wanted else ""

        found = filter_subtree(etree.fromstring(TOP), subtree(inner), {})

        content = f'<top xmlns="{SPACE}"><users>{users}</users></top>' if users else ""
        assert squeezed(found) == squeezed(etree.fromstring(f"<data>{content}</data>"))

    def test_attributes_have_to_match(self):
        # RFC 6241, 6.4.8: an attribute match expression.
        data = etree.fromstring(
            '<data><t:top xmlns:t="http://e/stats"><t:interfaces>'
            '<t:interface t:ifName="eth0"><t:ifInOctets>45621</t:ifInOctets></t:interface>'
            '<t:interface t:ifName="eth1"><t:ifInOctets>1</t:ifInOctets></t:interface>'
            "</t:interfaces></t:top></data>"
        )
        wanted = subtree(
            '<t:top xmlns:t="http://e/stats"><t:interfaces><t:interface t:ifName="eth0"/></t:interfaces></t:top>'
        )
        assert filter_subtree(data, wanted, {}).xpath("//text()") == ["45621"]

    def test_two_content_matches_have_to_hold_both(self):
        wanted = f'<top xmlns="{SPACE}"><users><user><type>admin</type><name>root</name></user></users></top>'
        assert len(filter_subtree(etree.fromstring(TOP), subtree(wanted), {}).xpath("//*[local-name()='user']")) == 0

    def test_a_value_may_have_a_quote(self):
        data = etree.fromstring(f"""<data><a xmlns="{SPACE}"><b><c>it's "x"</c><d/></b></a></data>""")
        wanted = subtree(f"""<a xmlns="{SPACE}"><b><c>it's "x"</c></b></a>""")
        assert squeezed(filter_subtree(data, wanted, {})) == squeezed(data)

    def test_an_unknown_namespace_selects_nothing(self):
        assert len(filter_subtree(etree.fromstring(TOP), subtree('<top xmlns="urn:other"/>'), {})) == 0

    def test_no_namespace_matches_each(self):
        wanted = etree.fromstring("<filter><top/></filter>")
        assert squeezed(filter_subtree(etree.fromstring(TOP), wanted, {})) == squeezed(etree.fromstring(TOP))

    def test_an_identity_matches_under_any_prefix(self):
        data = etree.fromstring('<data><a xmlns="u:a"><t xmlns:x="u:x">x:y</t></a></data>')
        wanted = subtree('<a xmlns="u:a"><t xmlns:other="u:x">other:y</t></a>')
        assert len(filter_subtree(data, wanted, {})) == 1

    def test_the_tree_that_was_given_is_as_before(self):
        data = etree.fromstring(TOP)
        before = etree.tostring(data)
        filter_subtree(data, subtree(f'<top xmlns="{SPACE}"><users><user><name/></user></users></top>'), {})
        assert etree.tostring(data) == before


class TestLongLists:
    """An entry is found by its values in a list of any length, also by one that is no key or not the only one."""

    SPACE = "urn:example:l"

    @pytest.fixture
    def tree(self):
        entries = "".join(
            f"<e><k>k{n}</k><odd>{n % 2}</odd><of>{n % 3}</of><of>{n % 5}</of>"
            f'<id xmlns:p="urn:example:i">p:i{n % 4}</id></e>'
            for n in range(60)
        )
        return etree.fromstring(f'<data><l xmlns="{self.SPACE}">{entries}</l></data>')

    @pytest.mark.parametrize(
        ("inside", "holds"),
        [
            ("<k>k7</k>", lambda n: n == 7),
            ("<k> k7 </k>", lambda n: n == 7),
            ("<odd>1</odd>", lambda n: n % 2 == 1),
            ("<of>2</of>", lambda n: 2 in (n % 3, n % 5)),
            ("<odd>0</odd><of>4</of>", lambda n: n % 2 == 0 and n % 5 == 4),
            ('<id xmlns:q="urn:example:i">q:i3</id>', lambda n: n % 4 == 3),
            ("<k>k7</k><odd>0</odd>", lambda _: False),
            ('<k xmlns="urn:example:other">k7</k>', lambda _: False),
            ("<nothing>1</nothing>", lambda _: False),
        ],
    )
    def test_it_is_found(self, tree, inside, holds):
        wanted = subtree(f'<l xmlns="{self.SPACE}"><e>{inside}</e></l>')
        found = filter_subtree(tree, wanted, {})
        got = [k.text for k in found.iter(f"{{{self.SPACE}}}k")]
        assert got == [f"k{n}" for n in range(60) if holds(n)]


@pytest.mark.clause("R-11499", "RFC 6241, 8.9")
class TestXPath:
    """RFC 6241, 8.9: an expression whose root has the top-level nodes as children."""

    @pytest.mark.parametrize(
        ("select", "names"),
        [
            ("/t:top/t:users/t:user[t:name='fred']", ["fred"]),
            ("//t:user[t:type='admin']/t:name", ["fred", "barney"]),
            ("t:top/t:users/t:user[1]/t:name", ["root"]),
            ("/*/*/*[last()]/t:name", ["barney"]),
            ("/t:top//t:name[. = /t:top/t:users/t:user[2]/t:name] | /t:top//t:user[1]/t:name", ["root", "fred"]),
            ("/t:top/t:users/t:user[count(/t:top/t:users/t:user) div 3 = 1]/t:name", ["root", "fred", "barney"]),
            ('/t:top/t:users/t:user[t:full-name = "Charlie Root"]/t:name', ["root"]),
            ("/t:nothing", []),
            ("/", ["root", "fred", "barney"]),
        ],
    )
    def test_an_expression_selects(self, select, names):
        found = filter_xpath(etree.fromstring(TOP), select, {"t": SPACE}, {})
        assert found.xpath("//t:name/text()", namespaces={"t": SPACE}) == names

    @pytest.mark.parametrize(
        "select",
        ["/t:top[", "1 + 1", "/u:top", "nosuch()", "'text'", "", "/t:top/t:users/text()", "document('/etc/passwd')"],
    )
    def test_what_is_no_node_set_is_an_invalid_value(self, select):
        with pytest.raises(RpcError) as caught:
            filter_xpath(etree.fromstring(TOP), select, {"t": SPACE}, {})
        assert caught.value.tag == "invalid-value"

    def test_the_keys_come_with_what_is_selected(self, model, datastore, config, policy):
        session = datastore.open_session()
        datastore.edit(session, config(policy("a")))
        tree = datastore.read("candidate")
        found = filter_xpath(tree, "//p:action", {"p": "urn:supernetflow:yang:snf-policies"}, model.top)
        assert [etree.QName(e).localname for e in found.iter()] == ["config", "policies", "policy", "name", "action"]
