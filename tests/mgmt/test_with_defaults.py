"""Defaults in replies, as a client wants them (RFC 6243)."""

import pytest
from lxml import etree
from netconf_client.error import RpcError as ClientError

from mgmt.netconf.model.yang_model import Model, yang_dir
from mgmt.netconf.rpcerror import RpcError
from tests.mgmt.raw import BASE, IF, N3, P, names, wrapped

WD = "urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults"
EXAMPLE = "http://example.com/ns/interfaces"

# RFC 6243, appendix A.1: interfaces of which mtu has a default, and status, which is state.
MODULE = f"""
module example {{
  namespace "{EXAMPLE}";
  prefix exam;
  typedef status-type {{
    type enumeration {{
      enum up;
      enum "waking up";
      enum "not feeling so good";
      enum "better check it out";
      enum "better call for help";
    }}
    default up;
  }}
  container interfaces {{
    list interface {{
      key name;
      leaf name {{ type string {{ length "1 .. max"; }} }}
      leaf mtu {{ type uint32; default 1500; }}
      leaf status {{ config false; type status-type; }}
    }}
  }}
}}
"""
# Appendix A.2: a client has set the mtu of eth0, eth2 and eth3, that of eth3 to the default.
STATUS = {"eth0": "up", "eth1": "up", "eth2": "not feeling so good", "eth3": "waking up"}
SET = {"eth0": "8192", "eth2": "9000", "eth3": "1500"}


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    folder = tmp_path_factory.mktemp("yang")
    (folder / "example.yang").write_text(MODULE)
    (folder / "ietf").symlink_to(yang_dir() / "ietf")
    return Model(folder, ("example", "ietf-netconf-with-defaults"))


@pytest.fixture
def data():
    tree = etree.Element("data")
    interfaces = etree.SubElement(tree, f"{{{EXAMPLE}}}interfaces")
    for name, status in STATUS.items():
        entry = etree.SubElement(interfaces, f"{{{EXAMPLE}}}interface")
        for leaf, value in (("name", name), ("mtu", SET.get(name)), ("status", status)):
            if value is not None:
                etree.SubElement(entry, f"{{{EXAMPLE}}}{leaf}").text = value
    return tree


def found(tree, leaf):
    """Return the leaf of each interface, with a star where it is marked as a default."""
    marked = {}
    for entry in tree.iter(f"{{{EXAMPLE}}}interface"):
        element = entry.find(f"{{{EXAMPLE}}}{leaf}")
        if element is not None:
            mark = "*" if element.get(f"{{{WD}}}default") == "true" else ""
            marked[entry.findtext(f"{{{EXAMPLE}}}name")] = element.text + mark
    return marked


class TestModes:
    """The example of appendix A under basic mode explicit (2.3)."""

    def test_explicit_is_what_was_set(self, example, data):
        assert found(example.with_defaults(data, "explicit"), "mtu") == SET

    def test_report_all_adds_what_was_not_set(self, example, data):
        assert found(example.with_defaults(data, "report-all"), "mtu") == SET | {"eth1": "1500"}

    def test_report_all_tagged_marks_what_was_not_set(self, example, data):
        # 2.3.1: a node that a client has set to its default is none.
        assert found(example.with_defaults(data, "report-all-tagged"), "mtu") == SET | {"eth1": "1500*"}

    def test_trim_leaves_out_what_has_its_default(self, example, data):
        tree = example.with_defaults(data, "trim")
        assert found(tree, "mtu") == {"eth0": "8192", "eth2": "9000"}
        assert found(tree, "status") == {"eth2": "not feeling so good", "eth3": "waking up"}
        assert found(tree, "name") == {name: name for name in STATUS}

    def test_nothing_is_invented_as_state(self, example, data):
        for element in list(data.iter(f"{{{EXAMPLE}}}status")):
            element.getparent().remove(element)
        assert found(example.with_defaults(data, "report-all"), "status") == {}

    def test_of_an_empty_tree(self, example):
        assert len(example.with_defaults(etree.Element("data"), "report-all")) == 0


class TestOperations:
    """get and get-config take the parameter (4.5)."""

    CAPTURE = f'<interfaces xmlns="{IF}"/>'

    @pytest.fixture
    def client(self, bench):
        with bench.manager() as client:
            client.edit_config(wrapped(N3), target="candidate")
            client.commit()
            yield client

    def test_the_capability(self, client):
        capability = "urn:ietf:params:netconf:capability:with-defaults:1.0"
        modes = "basic-mode=explicit&also-supported=report-all,report-all-tagged,trim"
        assert f"{capability}?{modes}" in client.session.server_capabilities

    @pytest.mark.parametrize(
        ("mode", "enabled"), [("explicit", []), ("report-all", ["true"]), ("report-all-tagged", ["true"]), ("trim", [])]
    )
    def test_get_config(self, client, mode, enabled):
        data = client.get_config(
            source="running", filter=f"<filter>{self.CAPTURE}</filter>", with_defaults=mode
        ).data_ele
        assert [e.text for e in data.iter(f"{{{IF}}}enabled")] == enabled
        marked = [e.get(f"{{{WD}}}default") for e in data.iter(f"{{{IF}}}enabled")]
        assert marked == (["true"] if mode == "report-all-tagged" else [None] * len(enabled))

    def test_get_has_state_and_defaults(self, client, libyang_reads):
        data = client.get(with_defaults="report-all").data_ele
        assert data.findtext(f".//{{{IF}}}oper-status") == "up"
        assert [e.text for e in data.iter(f"{{{IF}}}enabled")] == ["true"]
        libyang_reads(data)

    def test_a_filter_selects_defaults(self, client):
        select = f'<filter type="xpath" xmlns:i="{IF}" select="//i:interface[i:enabled=\'true\']/i:enabled"/>'
        assert len(client.get_config(source="running", filter=select).data_ele) == 0
        data = client.get_config(source="running", filter=select, with_defaults="report-all").data_ele
        assert names(data, "enabled") == ["true"]

    def test_an_unknown_mode_is_refused(self, client):
        with pytest.raises(ClientError) as caught:
            client.get_config(source="running", with_defaults="some")
        assert (caught.value.tag, names(caught.value.reply_ele, "bad-element")) == ("invalid-value", ["with-defaults"])

    def test_the_parameter_is_of_its_module(self, client):
        with pytest.raises(ClientError) as caught:
            client.dispatch(f'<get xmlns="{BASE}"><with-defaults>trim</with-defaults></get>')
        assert caught.value.tag == "unknown-element"

    def test_a_default_that_was_set_is_kept_by_explicit(self, client):
        edit = f'<policies xmlns="{P}"><policy><name>a</name><application>x</application><action>inspect</action>'
        client.edit_config(
            wrapped(f"{edit}<subscriber-group>all</subscriber-group></policy></policies>"), target="candidate"
        )
        shown = {}
        for mode in ("explicit", "trim"):
            shown[mode] = names(client.get_config(source="candidate", with_defaults=mode).data_ele, "subscriber-group")
        assert shown == {"explicit": ["all"], "trim": []}


class TestWriting:
    """A leaf that is marked as a default is not set (4.5.2); copy-config takes the parameter (4.5.3)."""

    MARK = f'xmlns:wd="{WD}" wd:default'

    @pytest.fixture
    def group(self, datastore, config):
        """Edit the leaf subscriber-group of a policy, whose default is all, and return what is set then."""
        number = datastore.open_session()

        def edit(attributes, value="all"):
            leaf = f"<subscriber-group {attributes}>{value}</subscriber-group>"
            inner = f"<name>a</name><application>x</application>{leaf}<action>inspect</action>"
            datastore.edit(number, config(f'<policies xmlns="{P}"><policy>{inner}</policy></policies>'))
            return names(datastore.tree("candidate"), "subscriber-group")

        return edit

    def test_what_was_set_is_set_no_more(self, group):
        assert group("") == ["all"]
        assert group(f'{self.MARK}="true"') == []

    def test_false_is_as_if_it_was_not_there(self, group):
        assert group(f'{self.MARK}="false"') == ["all"]

    def test_what_is_there_is_not_created(self, group):
        assert group("") == ["all"]
        with pytest.raises(RpcError) as caught:
            group(f'nc:operation="create" {self.MARK}="true"')
        assert caught.value.tag == "data-exists"

    @pytest.mark.parametrize(
        ("attributes", "value", "tag"),
        [
            ('="true"', "other", "invalid-value"),
            ('="yes"', "all", "bad-attribute"),
            ('="true" nc:operation="remove"', "all", "bad-attribute"),
        ],
    )
    def test_what_is_refused(self, group, attributes, value, tag):
        with pytest.raises(RpcError) as caught:
            group(self.MARK + attributes, value)
        assert (caught.value.tag, caught.value.path) == (
            tag,
            "/snf-policies:policies/policy[name='a']/subscriber-group",
        )

    def test_a_tagged_reply_can_be_written_back(self, bench):
        with bench.manager() as client:
            client.edit_config(wrapped(N3), target="candidate")
            client.commit()
            before = bench.datastore.tree("running")
            data = client.get_config(source="running", with_defaults="report-all-tagged").data_ele
            content = "".join(etree.tostring(child, encoding="unicode") for child in data)
            client.edit_config(wrapped(content), target="candidate", default_operation="replace")
            assert etree.tostring(bench.datastore.tree("candidate")) == etree.tostring(before)

    @pytest.mark.parametrize(("mode", "found"), [(None, []), ("report-all", ["true"]), ("report-all-tagged", [])])
    def test_a_copy_has_defaults(self, bench, mode, found):
        parameter = f'<with-defaults xmlns="{WD}">{mode}</with-defaults>' if mode else ""
        with bench.manager() as client:
            client.edit_config(wrapped(N3), target="candidate")
            client.commit()
            stores = "<target><candidate/></target><source><running/></source>"
            client.dispatch(f'<copy-config xmlns="{BASE}">{stores}{parameter}</copy-config>')
            data = client.get_config(source="candidate").data_ele
        assert [e.text for e in data.iter(f"{{{IF}}}enabled")] == found
