"""Confirmed commits: RFC 6241, 8.4, with the events of RFC 6470."""

import signal

import pytest
from lxml import etree
from netconf_client.error import RpcError as ClientError

from lab.wait import comes_true, slowness
from mgmt.netconf.events import ConfigChange, ConfirmedCommit
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.store.config_file import KEPT
from mgmt.netconf.store.confirmed import Confirm
from mgmt.netconf.store.datastore import Datastore
from nf.errors import AttachRefused
from tests.mgmt import killed
from tests.mgmt.raw import BASE, ask, names, tag_of, wrapped

LONG, SHORT = Confirm(600), Confirm(0.05)


@pytest.fixture
def told(datastore):
    """The events, without the nodes that changed."""
    events = []
    datastore.events.listen(lambda event: None if isinstance(event, ConfigChange) else events.append(event))
    return events


class Orchestrator:
    """A session that changes the one policy there is."""

    def __init__(self, datastore: Datastore, config, policy) -> None:
        self.datastore, self.config, self.policy = datastore, config, policy
        self.number = datastore.open_session("alice")

    def commit(self, name: str | None, confirm: Confirm | None = None, persist_id: str | None = None) -> None:
        if name is not None:
            self.datastore.edit(self.number, self.config(self.policy(name)), "replace")
        self.datastore.commit(self.number, confirm, persist_id)

    def refused(self, *args) -> str:
        with pytest.raises(RpcError) as caught:
            self.commit(*args)
        return caught.value.tag


@pytest.fixture
def alice(datastore, config, policy):
    orchestrator = Orchestrator(datastore, config, policy)
    orchestrator.commit("first")
    return orchestrator


@pytest.fixture
def bob(datastore, config, policy):
    return Orchestrator(datastore, config, policy)


def in_force(datastore: Datastore) -> str:
    (name,) = (policy.name for policy in datastore.settings.policies)
    assert names(datastore.read("running"), "name") == [name]
    return name


@pytest.mark.clause("R-70496", "R-49145", "RFC 6241, 8.4")
class TestConfirmation:
    """Without a confirmation in time the configuration of before is in force again."""

    def test_in_time(self, datastore, alice, told):
        alice.commit("second", LONG)
        alice.commit(None)
        assert in_force(datastore) == "second"
        assert told == [ConfirmedCommit(alice.number, "start", 600), ConfirmedCommit(alice.number, "complete")]
        datastore.close_session(alice.number)
        assert in_force(datastore) == "second"

    def test_with_further_changes(self, datastore, alice):
        alice.commit("second", LONG)
        alice.commit("third")
        datastore.close_session(alice.number)
        assert in_force(datastore) == "third"

    def test_too_late(self, datastore, alice, told, recorder):
        alice.commit("second", SHORT)
        assert comes_true(lambda: len(told) == 2, 20)
        assert told[1] == ConfirmedCommit(None, "timeout")
        assert (in_force(datastore), datastore.revision) == ("first", 3)
        assert recorder.calls[-1][1] == datastore.settings
        assert names(datastore.read("candidate"), "name") == ["first"]

    def test_a_second_one_prolongs_and_goes_back_to_the_same(self, datastore, alice, told):
        alice.commit("second", LONG)
        alice.commit("third", Confirm(700))
        datastore.cancel(alice.number)
        assert in_force(datastore) == "first"
        assert [(event.event, event.timeout_s) for event in told] == [("start", 600), ("extend", 700), ("cancel", None)]

    def test_the_revision_to_go_back_to_outlives_the_last_ones(self, datastore, alice, recorder):
        for number in range(KEPT + 2):
            alice.commit(f"p{number}", LONG)
        assert [r.number for r in datastore.revisions()][-1] == 1
        assert in_force(Datastore(datastore.state_dir, recorder)) == "first"

    def test_a_shorter_time_holds_from_the_second_one_on(self, datastore, alice, told):
        alice.commit("second", LONG)
        alice.commit(None, SHORT)
        assert comes_true(lambda: ConfirmedCommit(None, "timeout") in told, 20)
        assert in_force(datastore) == "first"

    def test_going_back_that_fails_is_tried_again(self, datastore, alice, recorder, monkeypatch, told):
        monkeypatch.setattr("mgmt.netconf.store.datastore._AGAIN_S", 0.05)
        recorder.fail_with = AttachRefused("the device is busy")
        with pytest.raises(RpcError):
            alice.commit("never")
        recorder.fail_with = None
        alice.commit("second", SHORT)
        recorder.fail_with = AttachRefused("the device is busy")
        assert comes_true(lambda: len(recorder.calls) > 5, 20)
        assert in_force(datastore) == "second"
        recorder.fail_with = None
        assert comes_true(lambda: ConfirmedCommit(None, "timeout") in told, 20)
        assert in_force(datastore) == "first"

    def test_one_that_fails_is_none(self, datastore, alice, recorder, told):
        recorder.fail_with = AttachRefused("the device is busy")
        assert alice.refused("second", LONG) == "operation-failed"
        recorder.fail_with = None
        assert told == []
        with pytest.raises(RpcError) as caught:
            datastore.cancel(alice.number)
        assert caught.value.tag == "operation-failed"


@pytest.mark.clause("RFC 6241, 8.4")
class TestSessions:
    """Without persist it is the affair of one session; with it, of who knows the persist-id."""

    def test_the_end_of_the_session_undoes_it(self, datastore, alice, told):
        alice.commit("second", LONG)
        datastore.close_session(alice.number)
        assert (in_force(datastore), told[-1].event) == ("first", "cancel")

    def test_another_session_neither_confirms_nor_cancels_nor_changes(self, datastore, alice, bob):
        alice.commit("second", LONG)
        assert bob.refused(None) == "in-use"
        assert bob.refused("third") == "in-use"
        for attempt in (
            lambda: datastore.cancel(bob.number),
            lambda: datastore.roll_back(bob.number, 1),
            lambda: datastore.copy_to_running(bob.number),
        ):
            with pytest.raises(RpcError) as caught:
                attempt()
            assert caught.value.tag == "in-use"

    def test_nobody_else_locks_running_meanwhile(self, datastore, alice, bob):
        # RFC 6241, 7.5
        alice.commit("second", LONG)
        with pytest.raises(RpcError) as caught:
            datastore.lock(bob.number, "running")
        assert (caught.value.tag, caught.value.info) == ("lock-denied", (("session-id", str(alice.number)),))
        datastore.lock(alice.number, "running")

    def test_a_persistent_one_outlives_its_session(self, datastore, alice, bob, told):
        alice.commit("second", Confirm(600, "IQ,d4668"))
        datastore.close_session(alice.number)
        assert in_force(datastore) == "second"
        assert bob.refused(None) == "in-use"
        assert bob.refused(None, None, "another") == "invalid-value"
        bob.commit(None, None, "IQ,d4668")
        assert told[-1] == ConfirmedCommit(bob.number, "complete")

    def test_its_own_session_needs_the_persist_id_as_well(self, datastore, alice):
        alice.commit("second", Confirm(600, "x"))
        assert alice.refused(None) == "in-use"
        datastore.cancel(alice.number, "x")
        assert in_force(datastore) == "first"

    def test_a_follow_up_may_change_the_persist_id(self, datastore, alice, bob):
        alice.commit("second", Confirm(600, "x"))
        bob.commit("third", Confirm(600, "y"), "x")
        assert bob.refused(None, None, "x") == "invalid-value"
        datastore.cancel(bob.number, "y")
        assert in_force(datastore) == "first"

    def test_a_persist_id_of_nothing_is_an_invalid_value(self, alice):
        assert alice.refused("second", None, "x") == "invalid-value"


@pytest.mark.clause("RFC 6241, 8.4")
class TestKilled:
    """A start is a reboot to the clients: what was not confirmed is undone, persistent or not (8.4.1)."""

    @pytest.mark.parametrize("persist", [None, "x"])
    @pytest.mark.parametrize("step", ["written", "applied", "renamed", "waiting"])
    def test_killed_at_a_step(self, tmp_path, step, persist):
        killed.begin(tmp_path)
        assert killed.change(tmp_path, step, Confirm(600, persist)) == -signal.SIGKILL
        assert killed.after(tmp_path) == "old"
        assert killed.after(tmp_path) == "old"

    def test_the_first_configuration_of_all_is_undone_to_none(self, tmp_path, recorder, config, policy):
        store = Datastore(tmp_path / "state", recorder)
        Orchestrator(store, config, policy).commit("first", LONG)
        assert Datastore(tmp_path / "state", recorder).settings.policies == ()


@pytest.mark.clause("R-70496")
class TestOverSsh:
    """The parameters of the operations."""

    @pytest.fixture
    def channel(self, bench):
        with bench.channel() as channel:
            yield channel

    def test_commit_and_cancel(self, bench, channel, policy):
        edit = f"<edit-config><target><candidate/></target>{wrapped(policy('a'))}</edit-config>"
        assert tag_of(ask(channel, edit)) == "ok"
        assert tag_of(ask(channel, "<commit><confirmed/><confirm-timeout>60</confirm-timeout></commit>")) == "ok"
        assert in_force(bench.datastore) == "a"
        assert tag_of(ask(channel, "<cancel-commit/>")) == "ok"
        assert bench.datastore.settings.policies == ()

    def test_the_end_of_a_connection_undoes_it(self, bench, policy):
        with bench.manager() as client:
            client.edit_config(wrapped(policy("a")), target="candidate")
            client.commit(confirmed=True, confirm_timeout=int(60 * slowness()))
            assert in_force(bench.datastore) == "a"
        assert bench.settles(lambda: bench.datastore.settings.policies == ())

    def test_persist_of_netconf_client(self, bench, policy):
        with bench.manager() as client:
            client.edit_config(wrapped(policy("a")), target="candidate")
            client.commit(confirmed=True, confirm_timeout=int(60 * slowness()), persist="x")
        with bench.manager() as client:
            with pytest.raises(ClientError):
                client.commit(persist_id="y")
            client.commit(persist_id="x")
        assert in_force(bench.datastore) == "a"

    @pytest.mark.parametrize(
        ("inner", "tag"),
        [
            ("<confirmed/><confirm-timeout>0</confirm-timeout>", "invalid-value"),
            ("<confirmed/><confirm-timeout>4294967296</confirm-timeout>", "invalid-value"),
            ("<confirmed/><confirm-timeout>soon</confirm-timeout>", "invalid-value"),
            ("<confirm-timeout>60</confirm-timeout>", "missing-element"),
            ("<persist>x</persist>", "missing-element"),
            ("<persist-id>x</persist-id>", "invalid-value"),
            ("<confirmed/><confirmed/>", "bad-element"),
            ("<forever/>", "unknown-element"),
        ],
    )
    def test_what_is_refused(self, channel, inner, tag):
        assert tag_of(ask(channel, f"<commit>{inner}</commit>")) == tag

    def test_copy_config_between_running_and_candidate(self, bench, channel, policy):
        def copy(target: str, source: str) -> etree._Element:
            return ask(channel, f"<copy-config><target>{target}</target><source>{source}</source></copy-config>")

        inline = f'<config xmlns="{BASE}">{policy("a")}</config>'
        assert tag_of(copy("<candidate/>", inline)) == "ok"
        assert tag_of(copy("<running/>", "<candidate/>")) == "ok"
        assert in_force(bench.datastore) == "a"
        assert tag_of(copy("<candidate/>", f'<config xmlns="{BASE}"/>')) == "ok"
        assert tag_of(copy("<candidate/>", "<running/>")) == "ok"
        assert names(bench.datastore.read("candidate"), "name") == ["a"]
        assert tag_of(copy("<running/>", inline)) == "operation-not-supported"
        assert tag_of(copy("<running/>", "<running/>")) == "invalid-value"
        assert tag_of(copy("<startup/>", "<running/>")) == "bad-element"
        assert tag_of(copy("<url>file:///x</url>", "<running/>")) == "bad-element"
