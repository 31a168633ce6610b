"""A configuration says what a port carries and which of it is read; what would see half is refused in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.state import add_state
from nf.settings import Mode, Role, Settings
from tests.mgmt.test_yang_modules import IF, interface, interfaces, tree_of

REFUSED = {
    "what is forwarded is not listened to": (
        [
            ("a", "<role>mixed</role><mode>inline</mode><peer>b</peer>"),
            ("b", "<role>n3</role><mode>inline</mode><peer>a</peer>"),
        ],
        "mixed-is-not-inline",
    ),
    "what is sent is read in mode local": (
        [("a", "<role>n3</role><directions>both</directions>")],
        "both-without-local",
    ),
    "signalling is heard both ways anyhow": (
        [("a", "<role>n4</role><mode>local</mode><directions>both</directions>")],
        "n4-is-mirrored",
    ),
}

SENTENCES = [
    "40 % of frames are MPLS: not read. Set encapsulation to auto or mpls.",
    "31 % of frames are VXLAN: not read. Set encapsulation to auto or vxlan.",
]


class TestPorts:
    """The role mixed and the leaf directions."""

    def test_a_port_with_everything_that_is_read_both_ways(self, datastore: Any, config: Any) -> None:
        session = datastore.open_session()
        capture = (
            "<role>mixed</role><mode>local</mode><directions>both</directions><network-instance>x</network-instance>"
        )
        datastore.edit(session, config(interfaces(interface("a", capture))))
        datastore.commit(session)

        (port,) = datastore.settings.interfaces
        assert (port.role, port.mode, port.sent, port.instance) == (Role.MIXED, Mode.LOCAL, True, "x")

    @pytest.mark.parametrize(("ports", "app_tag"), REFUSED.values(), ids=REFUSED.keys())
    def test_a_rule_refuses(self, datastore: Any, config: Any, ports: list[tuple[str, str]], app_tag: str) -> None:
        session = datastore.open_session()
        datastore.edit(session, config(interfaces(*(interface(*port) for port in ports))))
        with pytest.raises(RpcError) as caught:
            datastore.commit(session)

        assert (caught.value.tag, caught.value.app_tag) == ("operation-failed", app_tag)
        assert caught.value.path == f"{IF}[name='a']/snf-interfaces:capture"
        assert datastore.settings == Settings()


class TestNotRead:
    """Operational state says what a port does not read."""

    def test_each_sentence_is_an_entry_of_the_leaf_list(self, model: Any) -> None:
        tree = tree_of(model, interfaces(interface("a", "<role>n3</role>")))

        add_state(model, tree, {"interfaces": {"a": {"oper_status": "up", "not_read": SENTENCES, "counters": {}}}})

        namespace = model.namespace("snf-interfaces")
        assert [e.text for e in tree.iter(f"{{{namespace}}}not-read")] == SENTENCES

    def test_there_is_none_where_all_is_read(self, model: Any) -> None:
        tree = tree_of(model, interfaces(interface("a", "<role>n3</role>")))

        add_state(model, tree, {"interfaces": {"a": {"oper_status": "up", "not_read": [], "counters": {}}}})

        assert not list(tree.iter(f"{{{model.namespace('snf-interfaces')}}}not-read"))
