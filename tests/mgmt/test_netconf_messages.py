"""Messages, sessions and locks of NETCONF as a client that writes every byte itself sees them."""

import math
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from lxml import etree
from netconf_client.error import RpcError as ClientError

from lab.wait import slowness
from nf.settings import Settings
from tests.mgmt.raw import BASE, HELLO_11, ask, names, read, tag_of, wrapped

# Half a megabyte each: copied into the reply, it kept every thread of the process waiting for half a minute.
MANY = " ".join(f'a{n}="x"' for n in range(50_000))
MANY_SPACES = " ".join(f'xmlns:a{n}="u{n}"' for n in range(20_000))


@pytest.mark.clause("RFC 6241, 3", "RFC 6241, 4.3")
class TestMessages:
    """A bad request gets an rpc-error, and the next good one its answer (RFC 6241, 4 and appendix A)."""

    @pytest.mark.parametrize(
        ("raw", "tag"),
        [
            ("<rpc", "operation-failed"),
            ("", "operation-failed"),
            ("<a><b></a>", "operation-failed"),
            (f'<!DOCTYPE rpc [<!ENTITY x "1">]><rpc xmlns="{BASE}" message-id="&x;"><get/></rpc>', "operation-failed"),
            (f'<rpc xmlns="{BASE}"><get/></rpc>', "missing-attribute"),
            ('<rpc message-id="1"><get/></rpc>', "unknown-element"),
            pytest.param(f'<rpc xmlns="{BASE}" message-id="1" {MANY}><get/></rpc>', "too-big", id="attributes"),
            pytest.param(
                f'<rpc xmlns="{BASE}" message-id="1"><get><filter><a {MANY}/></filter></get></rpc>',
                "too-big",
                id="attributes inside",
            ),
            pytest.param(f'<rpc xmlns="{BASE}" message-id="1" {MANY_SPACES}><get/></rpc>', "too-big", id="namespaces"),
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

    @pytest.mark.clause("R-02597")
    def test_a_lock_is_told_with_its_owner(self, bench):
        with bench.manager() as one, bench.manager() as two:
            one.lock(target="candidate")
            with pytest.raises(ClientError) as caught:
                two.lock(target="candidate")
            assert caught.value.tag == "lock-denied"
            owner = caught.value.reply_ele.findtext(f".//{{{BASE}}}session-id")
            assert owner == str(one.session.session_id)

    @pytest.mark.clause("R-29495", "R-53015")
    def test_an_edit_against_a_lock_is_refused(self, bench, policy):
        with bench.manager() as one, bench.manager() as two:
            one.lock(target="candidate")
            with pytest.raises(ClientError) as caught:
                two.edit_config(wrapped(policy("a")), target="candidate")
            assert caught.value.tag == "in-use"

    @pytest.mark.parametrize("how", ["close-session", "drop"])
    @pytest.mark.clause("R-54190")
    def test_a_lock_ends_with_its_session(self, bench, how):
        with bench.channel() as channel:
            assert tag_of(ask(channel, "<lock><target><candidate/></target></lock>")) == "ok"
            if how == "close-session":
                assert tag_of(ask(channel, "<close-session/>")) == "ok"
        assert bench.settles(lambda: bench.datastore.lock_owner("candidate")[0] is None)
        assert bench.datastore.settings == Settings()

    @pytest.mark.clause("R-90007")
    def test_close_session_is_a_regular_end(self, bench):
        with bench.channel() as channel:
            ask(channel, "<close-session/>")
            assert channel.recv(100) == b""
            assert channel.recv_exit_status() == 0

    @pytest.mark.clause("R-11235", "R-10173")
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


@pytest.mark.clause("R-63935")
class TestIdle:
    """A session that says nothing for too long ends, and its locks with it."""

    @pytest.fixture
    def limits(self):
        return f"<idle-time>{math.ceil(0.3 * slowness())}</idle-time>"

    def test_it_ends(self, bench):
        with bench.channel() as channel:
            ask(channel, "<lock><target><running/></target></lock>")
            assert channel.recv(100) == b""
        assert bench.settles(lambda: bench.datastore.lock_owner("running")[0] is None)

    def test_one_that_listens_stays(self, bench):
        # Nobody has to talk to hear: both are silent for the same time, the one with a subscription longer.
        subscribe = '<create-subscription xmlns="urn:ietf:params:xml:ns:netconf:notification:1.0"/>'
        with bench.channel() as listening, bench.channel() as channel:
            assert tag_of(ask(listening, subscribe)) == "ok"
            ask(channel, "<get-config><source><running/></source></get-config>")
            assert channel.recv(100) == b""
            (kept,) = bench.server.notifications.subscriptions()
            assert bench.datastore.has_session(kept.caller.session)


@pytest.mark.clause("R-66793", "R-88899", "R-10716")
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
