"""Datastores of NMDA: get-data and edit-data (RFC 8526)."""

import pytest
from lxml import etree
from netconf_client.error import RpcError as ClientError

from tests.mgmt.raw import IF, N3, ask, names, tag_of, wrapped

NMDA = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda"
DS = "urn:ietf:params:xml:ns:yang:ietf-datastores"
OR = "urn:ietf:params:xml:ns:yang:ietf-origin"
WD = "urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults"
INTERFACES = f'<subtree-filter><interfaces xmlns="{IF}"/></subtree-filter>'
CAPTURE = "urn:supernetflow:yang:snf-interfaces"
XPATH = f'<xpath-filter xmlns:i="{IF}" xmlns:c="{CAPTURE}">/i:interfaces/{{}}</xpath-filter>'
SUBSCRIBERS = "urn:supernetflow:yang:snf-subscribers"


@pytest.fixture
def client(bench, policy):
    with bench.manager() as client:
        client.edit_config(wrapped(N3), target="candidate")
        client.commit()
        client.edit_config(wrapped(policy("a")), target="candidate")
        yield client


def edit_data(datastore, content, more=""):
    return (
        f'<edit-data xmlns="{NMDA}" xmlns:ds="{DS}"><datastore>ds:{datastore}</datastore>{more}'
        f"<config>{content}</config></edit-data>"
    )


def enabled(data):
    """Return the leaf of ietf-interfaces that has its default."""
    found = list(data.iter(f"{{{IF}}}enabled"))
    return found[0] if found else None


class TestGetData:
    """get-data reads a datastore by name (3.1.1)."""

    def test_running_and_candidate(self, client):
        seen = {}
        for store in ("running", "candidate"):
            data = client.get_data(datastore=f"ds:{store}").data_ele
            seen[store] = [names(data, "application"), names(data, "role"), names(data, "oper-status")]
        assert seen == {"running": [[], ["n3"], []], "candidate": [["youtube"], ["n3"], []]}

    def test_operational_has_state_and_defaults_in_use(self, client, libyang_reads):
        data = client.get_data().data_ele
        assert (data.findtext(f".//{{{IF}}}oper-status"), enabled(data).text) == ("up", "true")
        libyang_reads(data)

    def test_filters(self, client):
        data = client.get_data(filter=INTERFACES).data_ele
        assert [etree.QName(e).localname for e in data] == ["interfaces"]
        path = f'<xpath-filter xmlns:i="{IF}">/i:interfaces/i:interface[i:oper-status="up"]/i:type</xpath-filter>'
        data = client.get_data(filter=path).data_ele
        assert (names(data, "name"), len(names(data, "type")), names(data, "role")) == (["n3"], 1, [])

    def test_config_filter(self, client):
        data = client.get_data(filter=INTERFACES, config_filter=True).data_ele
        assert (names(data, "role"), names(data, "oper-status")) == (["n3"], [])
        data = client.get_data(filter=INTERFACES, config_filter=False).data_ele
        assert (names(data, "role"), names(data, "oper-status")) == ([], ["up"])
        assert data.findtext(f".//{{{IF}}}name") == "n3"  # a key

    @pytest.mark.parametrize(
        ("mode", "text", "mark"),
        [
            ("explicit", None, None),
            ("trim", None, None),
            ("report-all", "true", None),
            ("report-all-tagged", "true", "true"),
        ],
    )
    def test_with_defaults(self, client, mode, text, mark):
        found = enabled(client.get_data(filter=INTERFACES, with_defaults=mode).data_ele)
        assert (None if found is None else found.text) == text
        assert found is None or found.get(f"{{{WD}}}default") == mark

    def test_defaults_of_a_configuration_are_asked_for(self, client):
        assert enabled(client.get_data(datastore="ds:running").data_ele) is None
        assert enabled(client.get_data(datastore="ds:running", with_defaults="report-all").data_ele) is not None

    @pytest.mark.parametrize(
        ("wanted", "depth", "expected"),
        [
            (None, 1, ["interfaces"]),
            (None, 2, ["interfaces", "interface", "name"]),  # the key of an entry
            (INTERFACES, 3, ["interfaces", "interface", "name", "type", "capture"]),
            (XPATH.format("i:interface"), 1, ["interfaces", "interface", "name"]),
            (XPATH.format("i:interface/c:capture"), 2, ["interfaces", "interface", "name", "capture", "role"]),
            (XPATH.format("i:interface | /i:interfaces"), 1, ["interfaces", "interface", "name"]),
        ],
    )
    def test_max_depth(self, client, wanted, depth, expected):
        # So many levels of each selected node; its ancestors and their keys are there as ever.
        data = client.get_data(datastore="ds:running", filter=wanted, max_depth=depth).data_ele
        assert [etree.QName(e).localname for e in data.iterdescendants()] == expected

    @pytest.mark.parametrize("depth", ["0", "65536", "all"])
    def test_a_depth_that_is_none(self, client, depth):
        with pytest.raises(ClientError) as caught:
            client.get_data(max_depth=depth)
        assert (caught.value.tag, names(caught.value.reply_ele, "bad-element")) == ("invalid-value", ["max-depth"])

    @pytest.mark.parametrize("store", ["startup", "intended", "factory-default"])
    def test_another_datastore_is_refused(self, client, store):
        with pytest.raises(ClientError) as caught:
            client.get_data(datastore=f"ds:{store}")
        assert caught.value.tag == "invalid-value"

    def test_sessions_by_key_only(self, client):
        # A list of a million entries is never in a reply as a whole.
        data = client.get_data(filter=f'<subtree-filter><subscribers xmlns="{SUBSCRIBERS}"/></subtree-filter>').data_ele
        assert list(data.iter(f"{{{SUBSCRIBERS}}}session")) == []


class TestOrigin:
    """Configuration in operational has an origin (RFC 8342, 5.3.4)."""

    def origins(self, data):
        found = [e for e in data.iter() if e.get(f"{{{OR}}}origin")]
        prefixes = {e.nsmap[e.get(f"{{{OR}}}origin").partition(":")[0]] for e in found}
        assert prefixes == {OR}
        return [(etree.QName(e).localname, e.get(f"{{{OR}}}origin").partition(":")[2]) for e in found]

    def test_it_is_told(self, client):
        data = client.get_data(filter=INTERFACES, with_origin=True).data_ele
        assert {("interfaces", "intended"), ("enabled", "default")} <= set(self.origins(data))
        assert "oper-status" not in dict(self.origins(data))

    def test_not_unless_it_is_asked_for(self, client):
        data = client.get_data(filter=INTERFACES).data_ele
        assert not [e for e in data.iter() if e.get(f"{{{OR}}}origin")]

    @pytest.mark.parametrize(
        ("origin", "negated", "there", "gone"),
        [
            ("default", False, "enabled", "role"),
            ("intended", False, "role", "enabled"),
            ("default", True, "role", "enabled"),
            ("origin", False, "role", None),
            ("learned", False, "oper-status", "role"),  # state is not filtered
        ],
    )
    def test_filters(self, client, origin, negated, there, gone):
        data = client.get_data(
            filter=INTERFACES, origin_filters=[f"or:{origin}"], negate_origin_filters=negated
        ).data_ele
        assert (len(names(data, there)), names(data, gone) if gone else []) == (1, [])

    def test_several_origins(self, client):
        data = client.get_data(filter=INTERFACES, origin_filters=["or:default", "or:intended"]).data_ele
        assert (len(names(data, "enabled")), len(names(data, "role"))) == (1, 1)

    def test_of_operational_only(self, client):
        with pytest.raises(ClientError) as caught:
            client.get_data(datastore="ds:running", with_origin=True)
        assert (caught.value.tag, names(caught.value.reply_ele, "bad-element")) == ("invalid-value", ["with-origin"])


class TestEditData:
    """edit-data edits candidate (3.1.2)."""

    def test_an_edit(self, client, policy):
        client.dispatch(edit_data("candidate", policy("b", application="x")))
        assert names(client.get_config(source="candidate").data_ele, "name") == ["n3", "a", "b"]

    def test_a_default_operation(self, client, policy):
        replace = "<default-operation>replace</default-operation>"
        client.dispatch(edit_data("candidate", policy("b", application="x"), replace))
        assert names(client.get_config(source="candidate").data_ele, "name") == ["b"]

    @pytest.mark.parametrize("store", ["running", "operational", "startup"])
    def test_others_cannot_be_edited(self, client, policy, store):
        with pytest.raises(ClientError) as caught:
            client.dispatch(edit_data(store, policy("b")))
        assert caught.value.tag == "invalid-value"


class TestOtherOperations:
    """lock, unlock and validate take a datastore of NMDA (3.2)."""

    TARGET = f'<datastore xmlns="{NMDA}" xmlns:ds="{DS}">ds:%s</datastore>'

    def test_lock_unlock_and_validate(self, bench):
        with bench.channel() as channel:
            for operation, inside in (("lock", "target"), ("validate", "source"), ("unlock", "target")):
                request = f"<{operation}><{inside}>{self.TARGET % 'candidate'}</{inside}></{operation}>"
                assert tag_of(ask(channel, request)) == "ok"

    def test_operational_cannot_be_locked(self, bench):
        with bench.channel() as channel:
            request = f"<lock><target>{self.TARGET % 'operational'}</target></lock>"
            assert tag_of(ask(channel, request)) == "invalid-value"
