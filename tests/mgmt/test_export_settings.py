"""The module snf-export: rights of clients by key, and several listeners."""

import pytest
from lxml import etree

from mgmt.bind import bind
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.state import add_state
from mgmt.netconf.store.edit import apply_edit, empty_tree
from nf.errors import BadSettings
from nf.publish.auth import client_rights
from nf.settings import Rights
from tests.mgmt.conftest import STATE

A, B = "a" * 40, "d" * 40
EXPORT = "urn:supernetflow:yang:snf-export"
CONSUMER = f"/snf-export:exporter/curve/consumer[public-key='{A}']"


def tree_of(model, inner):
    exporter = f'<config><exporter xmlns="urn:supernetflow:yang:snf-export">{inner}</exporter></config>'
    return apply_edit(model, empty_tree(), etree.fromstring(exporter))[0]


def settings_of(model, inner):
    return bind(model.validate(tree_of(model, inner)))


def curve(inner):
    return f"<curve><public-key>{'b' * 40}</public-key><secret-key>{'c' * 40}</secret-key>{inner}</curve>"


def consumer(inner="", key=A):
    return f"<consumer><public-key>{key}</public-key>{inner}</consumer>"


class TestRights:
    """Rights that a key has by the configuration."""

    def test_a_key_of_the_leaf_list_of_before_may_read_all_but_imsis(self, model):
        settings = settings_of(model, curve(f"<client>{A}</client>"))
        assert client_rights(settings.export.curve) == {A: Rights()}
        assert not Rights().imsi

    def test_a_consumer_may_nothing_that_it_was_not_given(self, model):
        given = consumer() + consumer("<topic>qoe.v1/snf/video/</topic><imsi>true</imsi>", B)
        assert client_rights(settings_of(model, curve(given)).export.curve) == {
            A: Rights((), follow=False, imsi=False),
            B: Rights(("qoe.v1/snf/video/",), follow=False, imsi=True),
        }

    def test_a_topic_of_another_function_is_refused(self, model):
        with pytest.raises(BadSettings, match="another function") as refused:
            settings_of(model, curve(consumer("<topic>qoe.v1/probe-7/</topic>")))
        assert refused.value.path == f"{CONSUMER}/topic[.='qoe.v1/probe-7/']"

    @pytest.mark.parametrize(
        ("inner", "tag", "app_tag", "path"),
        [
            (curve(f"<client>{A}</client>{consumer()}"), "operation-failed", "consumer-is-client", "/public-key"),
            (curve(consumer("<topic>sub.v1/snf/</topic>")), "invalid-value", "", "/topic"),
            (curve(consumer("<topic>imsi.v1/</topic>")), "invalid-value", "", "/topic"),
            (curve(consumer("<topic>qoe.v1</topic>")), "invalid-value", "", "/topic"),
        ],
    )
    def test_what_says_two_things_or_nothing_is_refused(self, model, inner, tag, app_tag, path):
        with pytest.raises(RpcError) as refused:
            model.validate(tree_of(model, inner))
        assert (refused.value.tag, refused.value.app_tag or "") == (tag, app_tag)
        assert refused.value.path.startswith(CONSUMER + path)


class TestListeners:
    """Further places have an endpoint, and keys and rights of their own."""

    def test_they_are_bound_in_order_of_their_names(self, model):
        inner = "<listener><name>b</name><endpoint>ipc:///run/b</endpoint></listener>"
        more = curve(consumer("<follow>true</follow>"))
        inner += f"<listener><name>a</name><endpoint>tcp://*:6000</endpoint>{more}</listener>"
        first, a, b = settings_of(model, inner).export.listeners
        assert (first.name, first.endpoint) == ("", "tcp://127.0.0.1:5556")
        assert (a.name, a.endpoint, client_rights(a.curve)) == ("a", "tcp://*:6000", {A: Rights((), follow=True)})
        assert (b.name, b.endpoint, b.high_water_mark, b.curve) == ("b", "ipc:///run/b", 128, None)

    def test_state_is_told_for_each(self, model):
        tree = tree_of(model, "<listener><name>b</name><endpoint>ipc:///run/b</endpoint></listener>")
        add_state(model, tree, STATE)
        told = [element.text for element in tree.iter(f"{{{EXPORT}}}oper-status", f"{{{EXPORT}}}records")]
        assert told == ["up", "2", "up", "5"]
