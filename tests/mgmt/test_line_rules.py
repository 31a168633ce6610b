"""Lines and sites in the configuration: what is refused, and where the error is."""

from __future__ import annotations

import pytest

from mgmt.netconf.rpcerror import RpcError
from nf.settings import Settings
from tests.mgmt.test_yang_modules import S, session, subscribers

BNG = "<line-gateway><name>bng</name><mac-address>02:00:00:00:00:b{}</mac-address></line-gateway>"
LINE = "<line><gateway>bng</gateway>{}</line>"

# XML, error-tag, error-app-tag, error-path. Tags: RFC 7950, 15; RFC 6241, appendix A.
RULES = [
    pytest.param(
        subscribers(
            BNG.format(1),
            session("a", LINE.format("<pppoe-session>7</pppoe-session>")),
            session("b", LINE.format("<pppoe-session>7</pppoe-session>")),
        ),
        ("operation-failed", "", f"{S}[name='b']/line"),
        id="a line is one session",
    ),
    pytest.param(
        subscribers(session(more=LINE.format("<c-vlan>7</c-vlan>"))),
        ("data-missing", "instance-required", f"{S}[name='s']/line/gateway"),
        id="a line ends at a gateway",
    ),
    pytest.param(
        subscribers(BNG.format(1), session(more=LINE.format(""))),
        ("operation-failed", "line-matches-nothing", f"{S}[name='s']/line"),
        id="a line needs a tag or a session",
    ),
    pytest.param(
        subscribers(BNG.format(1), session(more=LINE.format("<s-vlan>7</s-vlan><pppoe-session>7</pppoe-session>"))),
        ("operation-failed", "s-vlan-alone", f"{S}[name='s']/line"),
        id="the only tag is the inner one",
    ),
    pytest.param(
        subscribers(BNG.format(1), session(more=LINE.format("<c-vlan>7</c-vlan><pppoe-session>7</pppoe-session>"))),
        ("operation-failed", "session-not-read", f"{S}[name='s']/line"),
        id="of this gateway the tags say the line",
    ),
    pytest.param(
        subscribers(BNG.format(1), BNG.format(1).replace("bng", "other")),
        (
            "operation-failed",
            "",
            "/snf-subscribers:subscribers/line-gateway[name='other']/mac-address[.='02:00:00:00:00:b1']",
        ),
        id="an Ethernet address is one gateway's",
    ),
    pytest.param(
        subscribers(session(more="<imsi>001010000000001</imsi><ue-ipv4>10.0.0.1</ue-ipv4><subscriber>x</subscriber>")),
        ("operation-failed", "subscriber-beside-imsi", f"{S}[name='s']/subscriber"),
        id="a subscriber has one name",
    ),
    pytest.param(
        subscribers(session(more="<ue-ipv4>10.0.0.1</ue-ipv4><subscriber>line-7</subscriber>")),
        ("invalid-value", "", f"{S}[name='s']/subscriber"),
        id="no name of records is a pseudonym's",
    ),
]


class TestRules:
    """Each is refused at its node in a sentence, and nothing is in force."""

    @pytest.mark.parametrize(("xml", "expected"), RULES)
    def test_a_rule_refuses(self, datastore, config, xml, expected):
        session_id = datastore.open_session()

        def edit_and_commit():
            datastore.edit(session_id, config(xml))
            datastore.commit(session_id)

        with pytest.raises(RpcError) as caught:
            edit_and_commit()

        tag, app_tag, path = expected
        assert (caught.value.tag, caught.value.path) == (tag, path)
        assert caught.value.app_tag.startswith(app_tag)
        assert caught.value.message.endswith(".")
        assert datastore.settings == Settings()


class TestTaken:
    """Valid entries are in the settings, in one form."""

    def test_a_line_stays_when_its_gateway_gets_another_address(self, datastore, config):
        line = session("home", LINE.format("<s-vlan>100</s-vlan><c-vlan>7</c-vlan>"))
        session_id = datastore.open_session()
        settings = []
        for last in (1, 2):
            datastore.edit(session_id, config(subscribers(BNG.format(last), line)), "replace")
            datastore.commit(session_id)
            settings.append(datastore.settings)

        first, second = settings
        assert first.sessions == second.sessions
        assert [each.macs for one in settings for each in one.line_gateways] == [
            ("02:00:00:00:00:b1",),
            ("02:00:00:00:00:b2",),
        ]

    def test_a_prefix_is_that_of_a_network(self, datastore, config):
        session_id = datastore.open_session()
        datastore.edit(session_id, config(subscribers(session("site", "<prefix>10.1.2.3/16</prefix>"))))
        datastore.commit(session_id)

        assert datastore.settings.sessions[0].prefixes == ("10.1.0.0/16",)
