"""The operations of RFC 6241 as two clients see them, over SSH."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from lxml import etree
from ncclient import manager as ncclient_manager
from ncclient.operations import RPCError
from netconf_client.error import RpcError as ClientError

from lab.wait import slowness
from mgmt.cli.netconf_client import Refused, connect
from mgmt.netconf.ssh_listener import ServerLimits
from nf.errors import SnfError
from nf.settings import Action, Settings

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
P = "urn:supernetflow:yang:snf-policies"
IF = "urn:ietf:params:xml:ns:yang:ietf-interfaces"
NM = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
LIBRARY = "urn:ietf:params:xml:ns:yang:ietf-yang-library"

N3 = (
    f'<interfaces xmlns="{IF}"><interface><name>n3</name>'
    '<type xmlns:i="urn:ietf:params:xml:ns:yang:iana-if-type">i:ethernetCsmacd</type>'
    '<capture xmlns="urn:supernetflow:yang:snf-interfaces"><role>n3</role></capture></interface></interfaces>'
)


HELLO_10, HELLO_11 = (
    f'<hello xmlns="{BASE}"><capabilities><capability>urn:ietf:params:netconf:base:{version}</capability>'
    "</capabilities></hello>]]>]]>".encode()
    for version in ("1.0", "1.1")
)


def wrapped(xml: str) -> str:
    return f'<config xmlns="{BASE}">{xml}</config>'


def names(element, name) -> list[str]:
    return element.xpath(f"//*[local-name()='{name}']/text()")


class TestHello:
    """What the server says that it can do (RFC 6241, 8.1; RFC 7950, 5.6.4)."""

    def test_capabilities(self, bench):
        with bench.manager() as client:
            told = set(client.session.server_capabilities)
        prefix = "urn:ietf:params:netconf"
        assert {
            f"{prefix}:base:1.0",
            f"{prefix}:base:1.1",
            f"{prefix}:capability:candidate:1.0",
            f"{prefix}:capability:rollback-on-error:1.0",
            f"{prefix}:capability:validate:1.0",
            f"{prefix}:capability:validate:1.1",
            f"{prefix}:capability:xpath:1.0",
        } <= told
        assert any(c.startswith(f"{prefix}:capability:yang-library:1.1?revision=2019-01-04&content-id=") for c in told)
        # What is not there must not be promised.
        assert not any(":writable-running:" in c or ":startup:" in c or ":confirmed-commit:" in c for c in told)


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

    def test_discard_changes(self, bench, policy):
        with bench.manager() as client:
            client.edit_config(wrapped(policy("a")), target="candidate")
            client.discard_changes()
            client.commit()
            assert names(client.get_config(source="running").data_ele, "name") == []
        assert bench.recorder.calls == []

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

    def test_validate_says_what_is_wrong(self, bench, policy):
        with bench.manager() as client:
            client.edit_config(wrapped(policy("a", action="truncate")), target="candidate")
            with pytest.raises(ClientError) as caught:
                client.validate(source="candidate")
        assert caught.value.message == "Action truncate needs the leaf snap-length."

    def test_test_options(self, bench, policy):
        with bench.manager() as client:
            for option in ("test-then-set", "set", "test-only"):
                client.edit_config(wrapped(policy(option, application=option)), target="candidate", test_option=option)
            found = names(client.get_config(source="candidate").data_ele, "name")
        assert found == ["test-then-set", "set"]


class TestGet:
    """get has running and state; filters by subtree and XPath choose."""

    @pytest.fixture
    def client(self, bench, policy):
        with bench.manager() as client:
            client.edit_config(wrapped(N3 + policy("a")), target="candidate")
            client.commit()
            yield client

    def test_the_whole_reply_is_valid_data_of_the_modules(self, client, model):
        model.check_reply(client.get().data_ele)

    def test_state_of_an_interface(self, client):
        data = client.get(filter=f'<filter><interfaces xmlns="{IF}"/></filter>').data_ele
        assert names(data, "attached-mode") == ["native"]
        assert names(data, "packets") == ["10"]
        assert names(data, "oper-status") == ["up"]
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

    def test_state_of_the_paths_between_tunnel_ends(self, client):
        data = client.get(
            filter='<filter><network-function xmlns="urn:supernetflow:yang:snf-function"/></filter>'
        ).data_ele
        assert (names(data, "requester"), names(data, "rtt-min")) == (["192.0.2.1"], ["900"])

    def test_state_of_sessions_and_publisher(self, client):
        data = client.get().data_ele
        assert data.xpath("//*[local-name()='source']/*/text()") == ["netconf", "1", "pfcp", "23"]
        assert names(data, "inspected-octets") == ["100000"]

    def test_get_config_has_no_state(self, client):
        data = client.get_config(source="running").data_ele
        assert (names(data, "attached-mode"), names(data, "oper-status")) == ([], [])

    def test_an_xpath_filter(self, client):
        select = f"""<filter type="xpath" xmlns:p="{P}" select="/p:policies/p:policy[p:name='a']/p:action"/>"""
        data = client.get_config(source="running", filter=select).data_ele
        assert [etree.QName(e).localname for e in data.iter()] == ["data", "policies", "policy", "name", "action"]

    def test_an_empty_subtree_filter_selects_nothing(self, client):
        assert len(client.get(filter="<filter/>").data_ele) == 0

    def test_the_modules_are_told_and_can_be_had(self, client, model):
        data = client.get(filter=f'<filter><netconf-state xmlns="{NM}"><schemas/></netconf-state></filter>').data_ele
        told = {
            (s.findtext(f"{{{NM}}}identifier"), s.findtext(f"{{{NM}}}version")) for s in data.iter(f"{{{NM}}}schema")
        }
        assert ("snf-policies", "2026-11-23") in told
        for name, revision in told:
            assert f"module {name} " in model.schema_text(name, revision, yin=False)

    def test_yang_library_lists_each_implemented_module(self, client, model):
        data = client.get(filter=f'<filter><yang-library xmlns="{LIBRARY}"/></filter>').data_ele
        listed = data.xpath("//l:module-set/l:module/l:name/text()", namespaces={"l": LIBRARY})
        assert {m.name for m in model.modules.values() if m.implemented} <= set(listed)


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


def ask(channel, operation: str, *, attributes: str = 'message-id="1"', raw: bytes | None = None) -> etree._Element:
    """Send one request in 1.0 framing and return the reply."""
    if not getattr(channel, "greeted", False):
        read(channel)
        channel.sendall(HELLO_10)
        channel.greeted = True
    channel.sendall(
        (f'<rpc xmlns="{BASE}" {attributes}>{operation}</rpc>'.encode() if raw is None else raw) + b"]]>]]>"
    )
    return read(channel)


def read(channel) -> etree._Element:
    data = b""
    while not data.endswith(b"]]>]]>"):
        piece = channel.recv(65536)
        assert piece, "the server closed the channel"
        data += piece
    return etree.fromstring(data.removesuffix(b"]]>]]>"))


def tag_of(reply: etree._Element) -> str:
    """The tag of the error, "ok" when that is the reply, else "data"."""
    plain = "ok" if reply.find(f"{{{BASE}}}ok") is not None else "data"
    return reply.findtext(f"{{{BASE}}}rpc-error/{{{BASE}}}error-tag", plain)


class TestMessages:
    """What is no good request gets an rpc-error, and the next good one its answer (RFC 6241, 4 and appendix A)."""

    @pytest.mark.parametrize(
        ("raw", "tag"),
        [
            ("<rpc", "operation-failed"),
            ("", "operation-failed"),
            ("<a><b></a>", "operation-failed"),
            (f'<!DOCTYPE rpc [<!ENTITY x "1">]><rpc xmlns="{BASE}" message-id="&x;"><get/></rpc>', "operation-failed"),
            (f'<rpc xmlns="{BASE}"><get/></rpc>', "missing-attribute"),
            ('<rpc message-id="1"><get/></rpc>', "unknown-element"),
            (f'<rpc xmlns="{BASE}" message-id="1"/>', "missing-element"),
            (f'<rpc xmlns="{BASE}" message-id="1"><get/><get/></rpc>', "bad-element"),
            (f'<rpc xmlns="{BASE}" message-id="1"><nothing/></rpc>', "operation-not-supported"),
            (f'<rpc xmlns="{BASE}" message-id="1"><get xmlns="urn:evil"/></rpc>', "operation-not-supported"),
            (f'<rpc xmlns="{BASE}" message-id="1"><?get x?></rpc>', "missing-element"),
            (f'<rpc xmlns="{BASE}" message-id="1"><get><what/></get></rpc>', "unknown-element"),
            (f'<rpc xmlns="{BASE}" message-id="1"><get-config/></rpc>', "missing-element"),
            (f'<rpc xmlns="{BASE}" message-id="1"><lock><target><startup/></target></lock></rpc>', "bad-element"),
            (
                f'<rpc xmlns="{BASE}" message-id="1"><kill-session><session-id>x</session-id></kill-session></rpc>',
                "invalid-value",
            ),
            (f'<rpc xmlns="{BASE}" message-id="1"><get><filter type="x"/></get></rpc>', "bad-attribute"),
            (f'<rpc xmlns="{BASE}" message-id="1"><get><filter type="xpath"/></get></rpc>', "missing-attribute"),
        ],
    )
    def test_it_is_refused_and_the_next_is_answered(self, bench, raw, tag):
        with bench.channel() as channel:
            assert tag_of(ask(channel, "", raw=raw.encode())) == tag
            assert tag_of(ask(channel, "<discard-changes/>")) == "ok"

    def test_a_comment_before_the_operation_is_no_operation(self, bench):
        with bench.channel() as channel:
            assert tag_of(ask(channel, "<!-- hello --><discard-changes/>")) == "ok"

    def test_malformed_message_is_the_tag_of_version_1_1(self, bench):
        with bench.channel() as channel:
            read(channel)
            channel.sendall(HELLO_11 + b"\n#4\n<rpc\n##\n")
            data = b""
            while not data.endswith(b"\n##\n"):
                data += channel.recv(65536)
        assert b"malformed-message" in data

    def test_a_message_above_the_limit_is_too_big_and_ends_the_session(self, bench):
        with bench.channel() as channel:
            read(channel)
            channel.sendall(HELLO_11 + b"\n#4294967295\n<rpc")
            data = b""
            while piece := channel.recv(65536):
                data += piece
        assert b"<error-tag>too-big</error-tag>" in data
        with bench.manager() as client:
            client.discard_changes()

    def test_every_attribute_of_the_request_comes_back(self, bench):
        # RFC 6241, 4.2: the example with user-id.
        with bench.channel() as channel:
            reply = ask(
                channel,
                "<discard-changes/>",
                attributes='message-id="101" xmlns:ex="http://example.net/content/1.0" ex:user-id="fred"',
            )
        assert dict(reply.attrib) == {"message-id": "101", "{http://example.net/content/1.0}user-id": "fred"}

    def test_the_reply_has_no_white_space_of_its_own(self, bench, policy):
        with bench.channel() as channel:
            ask(channel, f"<edit-config><target><candidate/></target>{wrapped(policy('a'))}</edit-config>")
            reply = ask(channel, "<get-config><source><candidate/></source></get-config>")
        assert [e.text for e in reply.iter() if len(e)] == [None] * 4

    def test_nothing_of_an_imsi_in_reply_or_log(self, bench, caplog):
        with bench.channel() as channel:
            reply = ask(
                channel,
                "<edit-config><target><candidate/></target><config>"
                '<subscribers xmlns="urn:supernetflow:yang:snf-subscribers"><static-session><name>s</name>'
                "<imsi>00101012345678x</imsi></static-session></subscribers></config></edit-config>",
            )
        assert tag_of(reply) == "invalid-value"
        assert "00101012345678" not in etree.tostring(reply).decode() + caplog.text


class TestSessions:
    """Locks and the ends of sessions."""

    def test_a_lock_is_told_with_its_owner(self, bench):
        with bench.manager() as one, bench.manager() as two:
            one.lock(target="candidate")
            with pytest.raises(ClientError) as caught:
                two.lock(target="candidate")
            assert caught.value.tag == "lock-denied"
            owner = caught.value.reply_ele.findtext(f".//{{{BASE}}}session-id")
            assert owner == str(one.session.session_id)

    def test_an_edit_against_a_lock_is_refused(self, bench, policy):
        with bench.manager() as one, bench.manager() as two:
            one.lock(target="candidate")
            with pytest.raises(ClientError) as caught:
                two.edit_config(wrapped(policy("a")), target="candidate")
            assert caught.value.tag == "in-use"

    @pytest.mark.parametrize("how", ["close-session", "drop"])
    def test_a_lock_ends_with_its_session(self, bench, how):
        with bench.channel() as channel:
            assert tag_of(ask(channel, "<lock><target><candidate/></target></lock>")) == "ok"
            if how == "close-session":
                assert tag_of(ask(channel, "<close-session/>")) == "ok"
        assert bench.settles(lambda: bench.datastore.lock_owner("candidate")[0] is None)
        assert bench.datastore.settings == Settings()

    def test_close_session_is_a_regular_end(self, bench):
        with bench.channel() as channel:
            ask(channel, "<close-session/>")
            assert channel.recv(100) == b""
            assert channel.recv_exit_status() == 0

    def test_kill_session_ends_the_one_it_names_and_frees_its_locks(self, bench):
        with bench.manager() as killer, bench.channel() as victim:
            ask(victim, "<lock><target><running/></target></lock>")
            number = bench.datastore.lock_owner("running")[0]

            killer.kill_session(number)

            killer.lock(target="running")
            assert victim.recv(100) == b""
            assert killer.get_config(source="running").data_ele is not None

    def test_kill_session_of_oneself_or_nobody_is_an_invalid_value(self, bench):
        with bench.manager() as one, bench.manager() as other:
            for number in (one.session.session_id, 99_999, 0):
                with pytest.raises(ClientError) as caught:
                    one.kill_session(number)
                assert caught.value.tag == "invalid-value"
            other.discard_changes()
            one.discard_changes()


class TestIdle:
    """A session that says nothing for too long ends, and its locks with it."""

    @pytest.fixture
    def limits(self):
        return ServerLimits(idle_s=0.3 * slowness())

    def test_it_ends(self, bench):
        with bench.channel() as channel:
            ask(channel, "<lock><target><running/></target></lock>")
            assert channel.recv(100) == b""
        assert bench.settles(lambda: bench.datastore.lock_owner("running")[0] is None)


class TestRaces:
    """Sessions that work at the same time each get what they were promised."""

    def test_changes_under_a_lock_are_all_kept(self, bench, policy):
        def locked(client) -> bool:
            try:
                client.lock(target="candidate")
            except ClientError as error:
                return error.tag != "lock-denied"
            return True

        def work(number: int) -> None:
            with bench.manager() as client:
                for turn in range(4):
                    while not locked(client):
                        time.sleep(0.01)
                    name = f"p{number}-{turn}"
                    client.edit_config(wrapped(policy(name, application=name)), target="candidate")
                    client.commit()
                    client.unlock(target="candidate")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))

        assert {p.name for p in bench.datastore.settings.policies} == {f"p{n}-{t}" for n in range(4) for t in range(4)}
        calls = bench.recorder.calls
        assert [old for old, _ in calls[1:]] == [new for _, new in calls[:-1]]

    def test_a_session_killed_in_a_commit_has_committed_or_not(self, bench, policy):
        bench.recorder.delay_s = 0.3
        with bench.manager() as killer, bench.channel() as victim:
            ask(victim, f"<edit-config><target><candidate/></target>{wrapped(policy('a'))}</edit-config>")
            ask(victim, "<lock><target><running/></target></lock>")
            number = bench.datastore.lock_owner("running")[0]
            victim.sendall(f'<rpc xmlns="{BASE}" message-id="9"><commit/></rpc>]]>]]>'.encode())
            assert bench.settles(lambda: bench.recorder.calls != [])

            killer.kill_session(number)

            killer.lock(target="running")
            running = names(killer.get_config(source="running").data_ele, "name")
        assert running == [p.name for p in bench.datastore.settings.policies] == ["a"]
        assert len(bench.recorder.calls) == 1
