"""Keys by name (module snf-keys), and who opted out (snf-opt-out): what the settings get of them."""

import base64
from xml.sax.saxutils import escape

import pytest
import zmq

from mgmt.netconf.rpcerror import RpcError
from tests.mgmt.raw import tag_of
from tests.mgmt.test_nacm import NOC, Desk, permit, rules

OLD, NEW = bytes(range(16)), bytes(range(16, 48))
KEYS = "urn:supernetflow:yang:snf-keys"
PRIVACY = "urn:supernetflow:yang:snf-privacy"
OPT_OUT = "urn:supernetflow:yang:snf-opt-out"


def keys(**named: bytes) -> str:
    entries = "".join(
        f"<symmetric-key><name>{name}</name><value>{base64.b64encode(value).decode()}</value></symmetric-key>"
        for name, value in named.items()
    )
    return f'<keys xmlns="{KEYS}">{entries}</keys>'


def privacy(inner: str) -> str:
    return f'<privacy xmlns="{PRIVACY}">{inner}</privacy>'


@pytest.fixture
def commit(datastore, config):
    number = datastore.open_session()

    def run(xml):
        datastore.edit(number, config(xml))
        datastore.commit(number)
        return datastore.settings.privacy

    return run


class TestKeysByName:
    """A key of the pseudonyms is given itself, or by its name."""

    def test_both_keys(self, commit):
        named = keys(of2025=OLD, of2026=NEW)

        found = commit(named + privacy("<key-name>of2026</key-name><previous-key-name>of2025</previous-key-name>"))

        assert (found.key, found.previous_key) == (NEW, OLD)

    def test_a_name_takes_the_place_of_a_key(self, commit):
        commit(privacy(f"<key>{base64.b64encode(OLD).decode()}</key>"))

        assert commit(keys(of2026=NEW) + privacy("<key-name>of2026</key-name>")).key == NEW

    def test_another_value_under_the_name_is_a_change(self, commit, datastore):
        commit(keys(mine=OLD) + privacy("<key-name>mine</key-name>"))
        heard = []
        datastore.events.listen(heard.append)

        assert commit(keys(mine=NEW)).key == NEW
        (event,) = heard
        assert [(c.operation, c.schema_path) for c in event.changes] == [
            ("update", "/snf-keys:keys/symmetric-key/value")
        ]

    @pytest.mark.parametrize(
        ("xml", "tag", "app_tag"),
        [
            (privacy("<key-name>nobody</key-name>"), "data-missing", "instance-required"),
            (
                keys(a=OLD) + privacy("<previous-key-name>a</previous-key-name>"),
                "operation-failed",
                "previous-key-alone",
            ),
            (keys(a=b"short"), "invalid-value", ""),
        ],
    )
    def test_what_is_refused(self, commit, xml, tag, app_tag):
        with pytest.raises(RpcError) as caught:
            commit(xml)
        assert (caught.value.tag, caught.value.app_tag) == (tag, app_tag)

    def test_the_key_of_the_bus(self, datastore, commit):
        public, secret = (text.decode() for text in zmq.curve_keypair())
        entry = f"<curve-key><name>bus</name><secret-key>{escape(secret)}</secret-key></curve-key>"
        curve = f"<public-key>{escape(public)}</public-key><secret-key-name>bus</secret-key-name>"

        exporter = f'<exporter xmlns="urn:supernetflow:yang:snf-export"><curve>{curve}</curve></exporter>'
        commit(f'<keys xmlns="{KEYS}">{entry}</keys>{exporter}')

        found = datastore.settings.export.curve
        assert (found.public_key, found.secret_key) == (public, secret)

    def test_one_of_an_example_is_refused(self, commit):
        example = base64.b64decode("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")

        with pytest.raises(RpcError, match="example"):
            commit(keys(a=example) + privacy("<key-name>a</key-name>"))

    def test_who_may_change_the_name_needs_no_right_to_the_key(self, datastore):
        desk = Desk(datastore)
        path = '<path xmlns:k="urn:supernetflow:yang:snf-privacy">/k:privacy/k:key-name</path>'
        desk.given(keys(a=OLD, b=NEW) + privacy("<key-name>a</key-name>") + rules(f"{path}<action>permit</action>"))

        assert tag_of(desk.edit(privacy("<key-name>b</key-name>"), groups=NOC)) == "ok"
        assert tag_of(desk.ask("<commit/>")) == "ok"
        assert datastore.settings.privacy.key == NEW


class TestOptOut:
    """Subscribers of the list and of the leaf-list from before are those who opted out."""

    LIST = (
        f'<opt-outs xmlns="{OPT_OUT}"><subscriber><imsi>001010000000001</imsi></subscriber>'
        "<subscriber><imsi>001010000000002</imsi></subscriber></opt-outs>"
    )

    def test_both_count(self, commit):
        found = commit(self.LIST + privacy("<opt-out>001010000000002</opt-out><opt-out>001010000000003</opt-out>"))

        assert found.opted_out == ("001010000000001", "001010000000002", "001010000000003")

    def test_replacing_privacy_takes_nobody_out(self, commit, datastore, config):
        commit(self.LIST + privacy("<epoch>1</epoch>"))
        replaced = privacy("<epoch>2</epoch>").replace("<privacy", '<privacy nc:operation="replace"')

        assert commit(replaced).opted_out == ("001010000000001", "001010000000002")

    def test_a_rule_is_about_it_alone(self, datastore):
        desk = Desk(datastore)
        module = "<module-name>snf-opt-out</module-name><action>permit</action>"
        desk.given(rules(module, permit("/p:policies")))

        assert tag_of(desk.edit(self.LIST)) == "ok"
        assert tag_of(desk.edit(privacy("<opt-out>001010000000003</opt-out>"))) == "access-denied"


def _every(node):
    yield node
    for child in node.children.values():
        yield from _every(child)


class TestSecrets:
    """A secret is read and written by nobody without an explicit rule (RFC 8341, default-deny-all)."""

    def test_keys_and_who_opted_out(self, model):
        denied = {node.name for top in model.top.values() for node in _every(top) if node.deny_all}
        assert {
            "key",
            "previous-key",
            "opt-out",
            "opt-outs",
            "subscriber",
            "secret-key",
            "symmetric-key",
            "value",
        } <= denied
