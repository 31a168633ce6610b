"""Changes of state as a YANG patch (RFC 8072)."""

from lxml import etree

from mgmt.netconf.notify.patch import edits
from tests.mgmt.raw import IF


class TestPatch:
    """The difference of two trees as edits of a YANG patch (RFC 8072)."""

    def changed(self, model, old, new):
        trees = [etree.fromstring(f"<data>{xml}</data>") for xml in (old, new)]
        return [(e.operation, e.target) for e in edits(*trees, model.top)]

    def of(self, *entries):
        inner = "".join(f"<interface><name>{name}</name>{more}</interface>" for name, more in entries)
        return f'<interfaces xmlns="{IF}">{inner}</interfaces>'

    def test_entries_come_and_go(self, model):
        old, new = self.of(("a", ""), ("b", "")), self.of(("b", ""), ("c/d,e", ""))
        assert self.changed(model, old, new) == [
            ("create", "/ietf-interfaces:interfaces/interface=c%2Fd%2Ce"),  # RFC 8040, 3.5.3
            ("delete", "/ietf-interfaces:interfaces/interface=a"),
        ]

    def test_leaves(self, model):
        old = self.of(("a", "<description>x</description><mtu/>"))
        new = self.of(("a", "<description>y</description><enabled>true</enabled>"))
        path = "/ietf-interfaces:interfaces/interface=a"
        assert self.changed(model, old, new) == [("replace", f"{path}/description"), ("create", f"{path}/enabled")]

    def test_nothing(self, model):
        assert self.changed(model, self.of(("a", "")), self.of(("a", ""))) == []
