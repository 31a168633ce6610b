"""The operations of RFC 6241 as two clients see them, over SSH."""

import pytest
from lxml import etree
from ncclient import manager as ncclient_manager
from ncclient.operations import RPCError
from netconf_client.error import RpcError as ClientError

from mgmt.cli.netconf_client import Refused, connect
from nf.errors import SnfError
from nf.settings import Action
from tests.mgmt.raw import BASE, IF, N3, NM, P, ask, names, wrapped


@pytest.mark.clause("RFC 6241, 8.1", "R-88026")
class TestHello:
    """The server tells its capabilities (RFC 6241, 8.1; RFC 7950, 5.6.4)."""

    def test_capabilities(self, bench):
        with bench.manager() as client:
            told = set(client.session.server_capabilities)
        prefix = "urn:ietf:params:netconf"
        assert {
            f"{prefix}:base:1.0",
            f"{prefix}:base:1.1",
            f"{prefix}:capability:candidate:1.0",
            f"{prefix}:capability:confirmed-commit:1.0",
            f"{prefix}:capability:confirmed-commit:1.1",
            f"{prefix}:capability:rollback-on-error:1.0",
            f"{prefix}:capability:validate:1.0",
            f"{prefix}:capability:validate:1.1",
            f"{prefix}:capability:xpath:1.0",
        } <= told
        assert any(c.startswith(f"{prefix}:capability:yang-library:1.1?revision=2019-01-04&content-id=") for c in told)
        # A capability that is absent must not be promised.
        assert not any(
            f":{name}:" in c for c in told for name in ("writable-running", "startup", "url", "partial-lock")
        )


class TestChange:
    """Edit, validate, commit, discard."""

    def test_a_commit_reaches_the_applier_and_an_edit_does_not(self, bench, policy):
        with bench.manager() as client:
            client.edit_config(wrapped(policy("a", action="suppress")), target="candidate")
            assert bench.recorder.calls == []
            client.validate(source="candidate")
            assert bench.recorder.calls == []
            client.commit()
        ((_, new),) = bench.recorder.calls
        assert [(p.application, p.action) for p in new.policies] == [("youtube", Action.SUPPRESS)]

    @pytest.mark.clause("R-18733")
    def test_discard_changes(self, bench, policy):
        with bench.manager() as client:
            client.edit_config(wrapped(policy("a")), target="candidate")
            client.discard_changes()
            client.commit()
            assert names(client.get_config(source="running").data_ele, "name") == []
        assert bench.recorder.calls == []

    @pytest.mark.clause("R-29324")
    def test_copy_config_replaces_candidate(self, bench, policy):
        with bench.manager() as client:
            client.edit_config(wrapped(policy("a")), target="candidate")
            client.copy_config(target="candidate", source="running")
            assert names(client.get_config(source="candidate").data_ele, "name") == []

    def test_an_edit_that_is_refused_names_the_path_and_changes_nothing(self, bench):
        with bench.manager() as client:
            with pytest.raises(ClientError) as caught:
                client.edit_config(
                    wrapped(f'<policies xmlns="{P}"><policy><name>a</name><acton>x</acton></policy></policies>'),
                    target="candidate",
                )
            assert caught.value.tag == "unknown-element"
            path = caught.value.reply_ele.findtext(f".//{{{BASE}}}error-path")
            assert path == "/snf-policies:policies/snf-policies:policy[snf-policies:name='a']/snf-policies:acton"
            client.commit()
        assert bench.recorder.calls == []

    def test_the_prefixes_of_an_error_path_are_declared_at_it(self, bench):
        # RFC 6241, 4.3: error-path is an XPath expression in the context of its element.
        with bench.channel() as channel:
            reply = ask(
                channel,
                "<edit-config><target><candidate/></target><config>"
                f'<policies xmlns="{P}"><policy><name>a</name><action>x</action></policy></policies>'
                "</config></edit-config>",
            )
        (path,) = reply.iter(f"{{{BASE}}}error-path")
        data = etree.fromstring(
            f'<policies xmlns="{P}"><policy><name>a</name><action>count</action></policy></policies>'
        )
        prefixes = {k: v for k, v in path.nsmap.items() if k}
        assert [e.text for e in data.getroottree().xpath(path.text, namespaces=prefixes)] == ["count"]

    def test_running_is_not_edited_directly(self, bench, policy):
        with bench.manager() as client, pytest.raises(ClientError) as caught:
            client.edit_config(wrapped(policy("a")), target="running")
        assert caught.value.tag == "operation-not-supported"

    @pytest.mark.clause("R-83790", "RFC 6241, 8.6")
    def test_validate_says_what_is_wrong(self, bench, policy):
        with bench.manager() as client:
            client.edit_config(wrapped(policy("a", action="truncate")), target="candidate")
            with pytest.raises(ClientError) as caught:
                client.validate(source="candidate")
        assert caught.value.message == "Action truncate needs the leaf snap-length."

    @pytest.mark.clause("R-44281")
    def test_test_options(self, bench, policy):
        with bench.manager() as client:
            for option in ("test-then-set", "set", "test-only"):
                client.edit_config(wrapped(policy(option, application=option)), target="candidate", test_option=option)
            found = names(client.get_config(source="candidate").data_ele, "name")
        assert found == ["test-then-set", "set"]


@pytest.mark.clause("R-60106")
class TestGet:
    """get has running and state; filters by subtree and XPath choose."""

    @pytest.fixture
    def client(self, bench, policy):
        with bench.manager() as client:
            client.edit_config(wrapped(N3 + policy("a")), target="candidate")
            client.commit()
            yield client

    def test_the_whole_reply_is_valid_data_of_the_modules(self, client, libyang_reads):
        libyang_reads(client.get().data_ele)

    def test_state_of_an_interface(self, client):
        data = client.get(filter=f'<filter><interfaces xmlns="{IF}"/></filter>').data_ele
        assert names(data, "attached-mode") == ["native"]
        assert names(data, "packets") == ["10"]
        assert names(data, "oper-status") == ["up"]
        assert names(data, "last-change") == ["2023-11-14T22:14:20Z"]
        assert names(data, "discontinuity-time") == ["2023-11-14T22:14:10Z"]
        assert names(data, "phys-address") == ["02:00:00:00:00:03"]
        assert data.xpath("//*[local-name()='counter']/*/text()") == ["gtpu_truncated", "2"]

    @pytest.mark.parametrize(("device", "status"), [("eth9", "lower-layer-down"), ("eth8", "not-present")])
    def test_state_of_an_interface_that_the_function_does_not_read(self, client, device, status):
        """oper-status is mandatory for every interface (RFC 8343), and is what the kernel says of it."""
        kind = '<type xmlns:t="urn:ietf:params:xml:ns:yang:iana-if-type">t:ethernetCsmacd</type>'
        other = f'<interfaces xmlns="{IF}"><interface><name>{device}</name>{kind}</interface></interfaces>'
        client.edit_config(wrapped(other), target="candidate")
        client.commit()
        data = client.get(filter=f'<filter><interfaces xmlns="{IF}"/></filter>').data_ele

        assert set(names(data, "oper-status")) == {"up", status}

    def test_state_of_the_clock_and_of_what_was_taken_over(self, client):
        select = '<filter><network-function xmlns="urn:supernetflow:yang:snf-function"/></filter>'
        data = client.get(filter=select).data_ele

        assert (names(data, "steps"), names(data, "last-step")) == (["2"], ["-3600.000"])
        assert names(data, "last-step-time") == ["2023-11-14T22:15:00Z"]  # 1,700,000,100 s since the epoch
        assert names(data, "unread-since") == ["2023-11-14T22:13:10Z"]
        assert (names(data, "process"), names(data, "outage")) == (["4711"], ["7400"])

    def test_state_of_the_limits_and_of_those_that_wait(self, client):
        data = client.get().data_ele
        assert names(data, "restart-needed") == ["flows", "shards"]
        assert names(data, "unknown-flow-rate")[-1] == "0"

    def test_state_of_the_paths_between_tunnel_ends(self, client):
        data = client.get(
            filter='<filter><network-function xmlns="urn:supernetflow:yang:snf-function"/></filter>'
        ).data_ele
        assert (names(data, "requester"), names(data, "rtt-min")) == (["192.0.2.1"], ["900"])

    def test_state_of_sessions_and_publisher(self, client):
        data = client.get().data_ele
        assert data.xpath("//*[local-name()='source']/*[position() < 3]/text()") == ["netconf", "1", "pfcp", "23"]
        assert (names(data, "messages"), names(data, "last-heard")) == (["99"], ["2023-11-14T22:14:30Z"])
        assert data.xpath("//*[local-name()='n4-peer']/*/text()") == ["192.0.2.1", "192.0.2.10", "23"]
        assert names(data, "inspected-octets") == ["100000"]

    def test_an_identity_keeps_its_prefix(self, bench):
        # The request declares the namespace of the identity as well.
        with bench.channel() as channel:
            ask(channel, f"<edit-config><target><candidate/></target>{wrapped(N3)}</edit-config>")
            attributes = 'message-id="1" xmlns:zz="urn:ietf:params:xml:ns:yang:iana-if-type"'
            reply = ask(channel, "<get-config><source><candidate/></source></get-config>", attributes=attributes)
        (kind,) = reply.iter(f"{{{IF}}}type")
        prefix, _, name = kind.text.partition(":")
        assert (kind.nsmap[prefix], name) == ("urn:ietf:params:xml:ns:yang:iana-if-type", "ethernetCsmacd")

    @pytest.mark.clause("R-29488")
    def test_get_config_has_no_state(self, client):
        data = client.get_config(source="running").data_ele
        assert (names(data, "attached-mode"), names(data, "oper-status")) == ([], [])

    def test_an_xpath_filter(self, client):
        select = f"""<filter type="xpath" xmlns:p="{P}" select="/p:policies/p:policy[p:name='a']/p:action"/>"""
        data = client.get_config(source="running", filter=select).data_ele
        assert [etree.QName(e).localname for e in data.iter()] == ["data", "policies", "policy", "name", "action"]

    @pytest.mark.clause("R-80898")
    def test_an_empty_subtree_filter_selects_nothing(self, client):
        assert len(client.get(filter="<filter/>").data_ele) == 0

    @pytest.mark.clause("R-97529", "R-59610", "RFC 6022")
    def test_the_modules_are_told_and_can_be_had(self, client, model):
        data = client.get(filter=f'<filter><netconf-state xmlns="{NM}"><schemas/></netconf-state></filter>').data_ele
        told = {
            (s.findtext(f"{{{NM}}}identifier"), s.findtext(f"{{{NM}}}version")) for s in data.iter(f"{{{NM}}}schema")
        }
        assert ("snf-policies", "2026-11-29") in told
        for name, revision in told:
            assert f"module {name} " in model.schema_text(name, revision, yin=False)


class TestNcclient:
    """The client that most orchestrators are built on."""

    @pytest.fixture
    def session(self, bench):
        with ncclient_manager.connect(
            host="127.0.0.1",
            port=bench.server.port,
            username="alice",
            key_filename=str(bench.key),
            hostkey_verify=False,
            allow_agent=False,
            look_for_keys=False,
        ) as session:
            yield session

    def test_the_order_of_ansible(self, bench, session, policy):
        # lock, discard, edit, validate, commit, unlock
        session.lock("candidate")
        session.discard_changes()
        session.edit_config(target="candidate", config=wrapped(policy("a")))
        session.validate(source="candidate")
        session.commit()
        session.unlock("candidate")
        assert len(bench.recorder.calls) == 1

    def test_an_xpath_filter_of_ncclient(self, bench, session, policy):
        session.edit_config(target="candidate", config=wrapped(policy("a")))
        data = session.get_config(source="candidate", filter=("xpath", ({"p": P}, "/p:policies/p:policy"))).data_ele
        assert names(data, "application") == ["youtube"]

    def test_a_schema_is_the_file(self, session, model):
        assert session.get_schema("snf-policies").data == model.schema_text("snf-policies", "", yin=False)

    def test_an_error_has_its_fields(self, session):
        with pytest.raises(RPCError) as caught:
            session.lock("startup")
        assert (caught.value.type, caught.value.tag) == ("protocol", "bad-element")


class TestOwnClient:
    """`mgmt.cli.netconf_client`, which the demonstration uses."""

    def test_a_change_is_in_force_after_it(self, bench, policy):
        host_key = (bench.datastore.state_dir / "ssh_host_key.pub").read_text()
        with connect("127.0.0.1", bench.server.port, "alice", bench.key, host_key=host_key) as client:
            client.change(policy("a"))
            assert names(client.config(), "name") == ["a"]
            assert names(client.state(f'<interfaces xmlns="{IF}"/>'), "name") == []
        assert len(bench.recorder.calls) == 1

    def test_a_refused_change_is_undone_and_said(self, bench, policy):
        with connect("127.0.0.1", bench.server.port, "alice", bench.key) as client:
            with pytest.raises(Refused, match="needs the leaf snap-length") as caught:
                client.change(policy("a", action="truncate"))
            assert caught.value.path.startswith("/snf-policies:policies/")
            assert names(client.config(source="candidate"), "name") == []
            client.change(policy("b"))
        assert [p.name for p in bench.datastore.settings.policies] == ["b"]

    def test_another_host_key_is_refused(self, bench, key_pair):
        other = key_pair("other").with_suffix(".pub").read_text()
        with pytest.raises(SnfError), connect("127.0.0.1", bench.server.port, "alice", bench.key, host_key=other):
            pass

    def test_no_server_is_a_sentence(self, key_pair):
        with (
            pytest.raises(SnfError, match="Is the function running"),
            connect("127.0.0.1", 1, "alice", key_pair("alice")),
        ):
            pass
