"""running and candidate: a change is in force and stored as a whole, or not at all."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from lxml import etree

from lab.wait import slowness
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.store.config_file import Damaged, Store
from mgmt.netconf.store.datastore import Datastore
from nf.errors import BadSettings, SnfError
from nf.settings import Action, Settings
from tests.mgmt.conftest import Recorder


@pytest.fixture
def session(datastore):
    return datastore.open_session()


def texts(tree, name):
    return tree.xpath(f"//*[local-name()='{name}']/text()")


@pytest.mark.clause("RFC 6241, 8.3")
class TestCommit:
    """A commit reaches the applier once, with the settings before and after."""

    def test_the_applier_gets_old_and_new(self, datastore, session, recorder, config, policy):
        datastore.edit(session, config(policy("a", action="suppress")))
        assert recorder.calls == []

        datastore.commit(session)

        ((old, new),) = recorder.calls
        assert old == Settings()
        assert [(p.application, p.action) for p in new.policies] == [("youtube", Action.SUPPRESS)]
        assert datastore.settings == new

    def test_a_commit_without_a_change_asks_nobody(self, datastore, session, recorder):
        datastore.commit(session)
        assert (recorder.calls, datastore.revision) == ([], 0)

    def test_an_invalid_candidate_changes_nothing(self, datastore, session, recorder, config, policy):
        datastore.edit(session, config(policy("a", action="truncate")))
        with pytest.raises(RpcError) as caught:
            datastore.commit(session)
        assert caught.value.path == "/snf-policies:policies/policy[name='a']"
        assert (recorder.calls, datastore.settings) == ([], Settings())
        assert texts(datastore.read("running"), "name") == []
        assert texts(datastore.read("candidate"), "name") == ["a"]

    def test_discard_brings_candidate_back(self, datastore, session, config, policy):
        datastore.edit(session, config(policy("a")))
        datastore.discard(session)
        assert texts(datastore.read("candidate"), "name") == []

    @pytest.mark.parametrize("option", ["test-then-set", "test-only"])
    def test_a_test_option_refuses_what_is_not_valid_as_a_whole(self, datastore, session, config, policy, option):
        with pytest.raises(RpcError):
            datastore.edit(session, config(policy("a", action="truncate")), test_option=option)
        assert texts(datastore.read("candidate"), "name") == []

    def test_test_only_sets_nothing(self, datastore, session, config, policy):
        datastore.edit(session, config(policy("a")), test_option="test-only")
        assert texts(datastore.read("candidate"), "name") == []


class TestReaders:
    """A reader waits for no commit."""

    def test_reading_while_a_commit_is_applied(self, datastore, session, recorder, config, policy):
        applying, go_on = threading.Event(), threading.Event()

        def apply(old: Settings, new: Settings) -> None:
            applying.set()
            assert go_on.wait(60 * slowness())

        recorder.apply = apply
        datastore.edit(session, config(policy("a")))
        commit = threading.Thread(target=datastore.commit, args=(session,))
        commit.start()
        assert applying.wait(60 * slowness())

        # A read that waited for the commit would wait for ever.
        assert texts(datastore.read("running"), "name") == []
        assert texts(datastore.read("candidate"), "name") == ["a"]
        assert datastore.has_session(datastore.open_session())
        assert (datastore.lock_owner("running")[0], datastore.revisions()) == (None, [])

        go_on.set()
        commit.join()
        assert texts(datastore.read("running"), "name") == ["a"]


class TestRefusedByTheFunction:
    """An applier that cannot apply leaves everything as it was."""

    def test_its_path_and_sentence_reach_the_client(self, datastore, session, recorder, config, policy):
        recorder.fail_with = BadSettings("No application is named x.", "/snf-policies:policies", "Add it.")
        datastore.edit(session, config(policy("a")))
        with pytest.raises(RpcError) as caught:
            datastore.commit(session)
        error = caught.value
        assert (error.tag, error.path, error.message) == (
            "operation-failed",
            "/snf-policies:policies",
            "No application is named x. Add it.",
        )
        assert datastore.settings == Settings()
        assert not Store(datastore.state_dir).running.exists()

    def test_a_bug_in_it_is_said_without_its_text(self, datastore, session, recorder, config, policy, caplog):
        recorder.fail_with = RuntimeError("imsi 001010123456789")
        datastore.edit(session, config(policy("a")))
        with pytest.raises(RpcError) as caught:
            datastore.commit(session)
        assert "001010123456789" not in caught.value.message + caplog.text
        assert "RuntimeError" in caplog.text

    def test_what_cannot_be_stored_is_undone(self, datastore, session, recorder, config, policy):
        datastore.edit(session, config(policy("a")))
        (datastore.state_dir / "running.link").mkdir()  # in the way of the name that a revision takes

        with pytest.raises(RpcError) as caught:
            datastore.commit(session)

        assert caught.value.tag == "operation-failed"
        (first, second) = recorder.calls
        assert second == (first[1], first[0])
        assert datastore.settings == Settings()
        assert Store(datastore.state_dir).load() is None

    def test_what_cannot_be_written_reaches_nobody(self, datastore, session, recorder, config, policy):
        datastore.edit(session, config(policy("a")))
        (datastore.state_dir / "journal").mkdir()
        with pytest.raises(RpcError):
            datastore.commit(session)
        assert recorder.calls == []
        assert list(datastore.state_dir.glob("running.*")) == []

    def test_what_the_kernel_does_not_have_is_undone(self, datastore, session, recorder, config, policy, caplog):
        datastore.edit(session, config(policy("a")))
        recorder.differs = ("3 applications have another action in the kernel",)
        with pytest.raises(RpcError) as caught:
            datastore.commit(session)
        assert caught.value.tag == "operation-failed"
        (first, second) = recorder.calls
        assert second == (first[1], first[0])
        assert "3 applications" in caplog.text
        assert Store(datastore.state_dir).load() is None

    def test_what_it_would_refuse_does_not_validate(self, datastore, session, recorder, config, policy):
        recorder.refuse_with = BadSettings("No interface has the name n3.", "/ietf-interfaces:interfaces", "List them.")
        datastore.edit(session, config(policy("a")))
        for attempt in (datastore.validate, lambda _: datastore.commit(session)):
            with pytest.raises(RpcError) as caught:
                attempt("candidate")
            assert (caught.value.tag, caught.value.path) == ("operation-failed", "/ietf-interfaces:interfaces")
        with pytest.raises(RpcError):
            datastore.edit(session, config(policy("b")), test_option="test-then-set")
        assert recorder.calls == []

    def test_when_undoing_fails_too_the_client_hears_of_it(self, datastore, session, recorder, config, policy):
        class Stubborn(Recorder):
            def restore(self, old: Settings, new: Settings) -> None:
                raise SnfError("it does not go back")

        store = Datastore(datastore.state_dir, Stubborn())
        owner = store.open_session()
        store.edit(owner, config(policy("a")))
        (datastore.state_dir / "running.link").mkdir()
        with pytest.raises(RpcError) as caught:
            store.commit(owner)
        assert caught.value.tag == "rollback-failed"


class TestRestart:
    """A committed change is in force again after a restart; an uncommitted one is gone."""

    def test_running_is_kept_and_candidate_is_not(self, datastore, session, recorder, config, policy):
        datastore.edit(session, config(policy("kept")))
        datastore.commit(session)
        datastore.edit(session, config(policy("lost", application="x")))

        again = Datastore(datastore.state_dir, recorder)

        assert [p.name for p in again.settings.policies] == ["kept"]
        assert recorder.calls[-1] == (Settings(), again.settings)
        assert again.revision == 1

    def test_the_startup_configuration_is_for_the_first_start_only(self, tmp_path, recorder, config, policy):
        startup = etree.tostring(config(policy("startup")))
        first = Datastore(tmp_path / "s", recorder, startup)
        assert [p.name for p in first.settings.policies] == ["startup"]
        owner = first.open_session()
        first.edit(owner, config(policy("startup", action="count")))
        first.commit(owner)

        second = Datastore(tmp_path / "s", recorder, startup)

        assert [p.action for p in second.settings.policies] == [Action.COUNT]

    @pytest.mark.parametrize(
        ("startup", "said"),
        [
            (b"<config><nothing/></config>", "startup configuration"),
            (b"<config", "not well-formed"),
            (b'<!DOCTYPE x [<!ENTITY e "x">]><config>&e;</config>', "not well-formed"),
        ],
    )
    def test_a_startup_configuration_that_is_wrong_is_a_sentence(self, tmp_path, recorder, startup, said):
        with pytest.raises(SnfError, match=said):
            Datastore(tmp_path / "s", recorder, startup)

    def test_files_are_for_the_owner_only(self, datastore, session, config, policy):
        for action in ("count", "inspect"):
            datastore.edit(session, config(policy("a", action=action)))
            datastore.commit(session)
        assert datastore.state_dir.stat().st_mode & 0o777 == 0o700
        files = list(datastore.state_dir.iterdir())
        assert {f.name for f in files} == {"running.xml", "running.1.xml", "running.2.xml", "journal"}
        assert {f.stat().st_mode & 0o777 for f in files} == {0o600}


class TestDamage:
    """A file that is not whole is noticed, said, and the revision before it used."""

    @pytest.fixture
    def two_revisions(self, datastore, session, config, policy):
        for action in ("count", "suppress"):
            datastore.edit(session, config(policy("a", action=action)))
            datastore.commit(session)
        return datastore.state_dir

    @pytest.mark.parametrize("damage", [b"", b"<config/>", None], ids=["empty", "other", "one bit"])
    def test_the_previous_revision_is_used(self, two_revisions: Path, recorder, caplog, damage):
        running = two_revisions / "running.xml"
        data = bytearray(running.read_bytes())
        data[-10] ^= 1
        running.write_bytes(bytes(data) if damage is None else damage)

        again = Datastore(two_revisions, recorder)

        assert [p.action for p in again.settings.policies] == [Action.COUNT]
        assert "running.xml" in caplog.text

    def test_the_good_revision_survives_the_next_commit(self, two_revisions: Path, recorder, config, policy):
        (two_revisions / "running.xml").write_bytes(b"damaged")
        again = Datastore(two_revisions, recorder)
        owner = again.open_session()
        again.edit(owner, config(policy("a", action="inspect")))
        again.commit(owner)
        assert Store(two_revisions).load() is not None
        (two_revisions / "running.xml").unlink()
        assert Store(two_revisions).load() is not None

    def test_when_all_are_damaged_it_does_not_start_empty(self, two_revisions: Path, recorder):
        for path in two_revisions.glob("running.*"):
            path.write_bytes(b"x")
        with pytest.raises(Damaged, match="backup"):
            Datastore(two_revisions, recorder)


WRITER = """
import sys
from pathlib import Path
from mgmt.netconf.store.config_file import Revision, Store
store = Store(Path(sys.argv[1]))
before = store.recover()
number = before.revision if before else 0
print("ready", flush=True)
while True:
    number += 1
    store.write(Revision(number), b"<x>%d</x>" % number * 3000)
    store.put_in_force()
    store.done()
"""


class TestKilled:
    """SIGKILL at any moment leaves a whole revision: old or new."""

    def test_twenty_kills(self, tmp_path):
        folder, last = tmp_path / "state", 0
        for round_ in range(20):
            with subprocess.Popen(
                [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, cwd=os.getcwd()
            ) as writer:
                assert writer.stdout.readline() == b"ready\n"
                time.sleep((0.005 + round_ * 0.002) * slowness())
                writer.send_signal(signal.SIGKILL)
            stored = Store(folder).load()
            if stored is not None:
                assert stored.body == b"<x>%d</x>" % stored.revision * 3000
                last = max(last, stored.revision)
            assert not (folder / "running.damaged.xml").exists()
        assert last > 0


class TestLocks:
    """RFC 6241, 7.5 and 8.3.5."""

    def test_a_second_session_is_denied_and_told_by_whom(self, datastore, session):
        other = datastore.open_session()
        datastore.lock(session, "candidate")
        with pytest.raises(RpcError) as caught:
            datastore.lock(other, "candidate")
        assert (caught.value.tag, caught.value.info) == ("lock-denied", (("session-id", str(session)),))

    def test_a_lock_keeps_others_from_changing(self, datastore, session, config, policy):
        other = datastore.open_session()
        datastore.lock(session, "candidate")
        for attempt in (
            lambda: datastore.edit(other, config(policy())),
            lambda: datastore.discard(other),
            lambda: datastore.commit(other),
            lambda: datastore.copy_to_candidate(other, "running"),
        ):
            with pytest.raises(RpcError) as caught:
                attempt()
            assert caught.value.tag == "in-use"
        datastore.edit(session, config(policy()))

    def test_a_lock_of_running_keeps_others_from_committing(self, datastore, session, config, policy):
        other = datastore.open_session()
        datastore.lock(session, "running")
        datastore.edit(other, config(policy()))
        with pytest.raises(RpcError) as caught:
            datastore.commit(other)
        assert caught.value.tag == "in-use"

    def test_a_candidate_with_changes_cannot_be_locked(self, datastore, session, config, policy):
        datastore.edit(session, config(policy()))
        with pytest.raises(RpcError) as caught:
            datastore.lock(session, "candidate")
        assert (caught.value.tag, caught.value.info) == ("lock-denied", (("session-id", "0"),))

    @pytest.mark.clause("R-96554")
    def test_only_the_owner_unlocks(self, datastore, session):
        other = datastore.open_session()
        datastore.lock(session, "running")
        with pytest.raises(RpcError):
            datastore.unlock(other, "running")
        datastore.unlock(session, "running")
        with pytest.raises(RpcError):
            datastore.unlock(session, "running")

    @pytest.mark.clause("R-96554", "RFC 6241, 8.3")
    def test_unlock_discards_what_was_not_committed(self, datastore, session, config, policy):
        # RFC 6241, 8.3.5.2
        datastore.lock(session, "candidate")
        datastore.edit(session, config(policy("kept")))
        datastore.commit(session)
        datastore.edit(session, config(policy("lost", application="x")))

        datastore.unlock(session, "candidate")

        assert texts(datastore.read("candidate"), "name") == ["kept"]
        datastore.lock(datastore.open_session(), "candidate")

    def test_unlock_of_running_leaves_candidate_alone(self, datastore, session, config, policy):
        datastore.lock(session, "running")
        datastore.edit(session, config(policy("a")))
        datastore.unlock(session, "running")
        assert texts(datastore.read("candidate"), "name") == ["a"]

    def test_the_end_of_a_session_releases_and_discards(self, datastore, session, config, policy):
        other = datastore.open_session()
        datastore.lock(session, "candidate")
        datastore.edit(session, config(policy("a")))

        datastore.close_session(session)

        datastore.lock(other, "candidate")
        assert texts(datastore.read("candidate"), "name") == []

    def test_a_session_that_has_ended_changes_nothing(self, datastore, session, config, policy):
        datastore.close_session(session)
        with pytest.raises(RpcError):
            datastore.edit(session, config(policy()))

    def test_of_many_at_once_one_gets_it(self, datastore):
        sessions = [datastore.open_session() for _ in range(16)]
        start, got = threading.Barrier(len(sessions)), []

        def attempt(number: int) -> None:
            start.wait()
            try:
                datastore.lock(number, "candidate")
            except RpcError:
                return
            got.append(number)

        threads = [threading.Thread(target=attempt, args=(s,)) for s in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 1


class TestSecrets:
    """A secret is a value like others: who may read it is not the datastore's business."""

    KEY = "AAECAwQFBgcICQoLDA0ODw=="
    XML = f'<privacy xmlns="urn:supernetflow:yang:snf-privacy"><key>{KEY}</key><epoch>1</epoch></privacy>'

    def test_it_reaches_the_settings_and_the_disk(self, datastore, session, config):
        datastore.edit(session, config(self.XML))
        datastore.commit(session)

        assert datastore.settings.privacy.key == bytes(range(16))
        assert self.KEY in (datastore.state_dir / "running.xml").read_text()
        assert texts(datastore.read("running"), "key") == [self.KEY]

    def test_editing_the_node_around_it_keeps_it(self, datastore, session, config):
        datastore.edit(session, config(self.XML))
        datastore.edit(session, config('<privacy xmlns="urn:supernetflow:yang:snf-privacy"><epoch>2</epoch></privacy>'))
        datastore.commit(session)
        assert (datastore.settings.privacy.key, datastore.settings.privacy.epoch) == (bytes(range(16)), 2)


class TestMemory:
    """libyang's trees are freed, whether a change is taken or refused."""

    def test_a_thousand_changes(self, datastore, session, config, policy):
        def resident_kib() -> int:
            return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024

        def round_of(number: int) -> None:
            datastore.edit(session, config(policy("a", application=f"x{number}")))
            datastore.validate("candidate")
            datastore.edit(session, config(policy("bad", action="truncate")))
            with pytest.raises(RpcError):
                datastore.validate("candidate")
            datastore.discard(session)

        for number in range(200):
            round_of(number)
        before = resident_kib()
        for number in range(1000):
            round_of(number)
        # A tree of this size takes 4 KiB in libyang: a leak of one a round would be 4 MiB.
        assert resident_kib() - before < 2048
