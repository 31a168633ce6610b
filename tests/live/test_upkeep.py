"""A running function is looked after: its health, its statistics, its signatures, and what it knows of a subscriber."""

from __future__ import annotations

import hmac
import logging
import marshal
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from feed.consumer import Subscriber
from feed.records import RecordBatch
from gtp.events import Identity
from gtp.pfcp import build
from gtp.pfcp.build import SessionPlan
from lab.net import Net, inside
from mgmt.cli.run import _restart_needed, state_of
from mgmt.cli.watchman import Watchman
from mgmt.netconf.events import AlarmChange, ConfigChange, Events, RestartNeeded
from mgmt.vitals.alarms import Alarms
from mgmt.vitals.health import check, is_healthy
from nf.apps.signatures import KNOWN, Signatures
from nf.errors import BadSettings, BadSignatures
from nf.service import Service
from nf.sessions.restart.file import load
from nf.sessions.restart.statedir import hold
from nf.settings import Action, Degradation, Degradations, Interface, Policy, Privacy, Role, StaticSession
from tests.live.conftest import wait_until
from tests.live.frames import sender
from tests.live.switchboard import FRAME, Switchboard

N3, N4 = Interface("n3", Role.N3), Interface("n4", Role.N4)
KEY = b"k" * 32
IMSI, OTHER, SMF, UPF, GNB = "001010000000001", "001010000000002", "192.0.2.1", "192.0.2.10", "192.0.2.20"
LOADS = Signatures.load.__func__  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def board(folder: Path) -> Iterator[Switchboard]:
    """A function that runs, with ports for N3 and N4 and a state directory."""
    with Net() as net:
        net.add("host")
        with inside(net.path("host")), hold(folder) as held, Service(folder / "sessions.snapshot", held) as service:
            made = Switchboard(service)
            made.plug("n3")
            made.plug("n4")
            made.use(N3, N4)
            loop = threading.Thread(target=service.run)
            loop.start()
            yield made
            service.stop()
            loop.join()


def bad(board: Switchboard) -> dict[str, str]:
    return {c.name: c.text for c in check(board.service.vitals(trial=True)) if not c.good}


class TestHealth:
    """The checks look at the parts themselves."""

    def test_a_running_function_is_healthy(self, board):
        wait_until(lambda: is_healthy(check(board.service.vitals(trial=True))), "it is healthy")

    def test_a_port_that_goes_is_named_until_it_is_back(self, board):
        board.unplug("n3")
        wait_until(lambda: "n3: the device n3 is gone" in bad(board).get("interfaces-attached", ""), "it is missed")
        board.plug("n3")
        wait_until(lambda: not bad(board), "it is healthy again")

    def test_a_state_directory_that_takes_no_file_is_named(self, board, folder):
        moved = folder.with_name("elsewhere")
        folder.rename(moved)
        try:
            assert "No such file" in bad(board)["state-directory-writable"]
        finally:
            moved.rename(folder)
        assert "trial" not in [path.name for path in folder.iterdir()]

    def test_a_publisher_that_ended_is_named(self, board):
        board.service.publisher.stop()
        assert bad(board).keys() == {"publisher-bound"}
        board.service.publisher.start()
        wait_until(lambda: not bad(board), "it is healthy again")


class TestAlarms:
    """The watch raises and clears alarms of the function as it runs, once each."""

    def test_a_device_that_goes_and_comes_back(self, board):
        told, events, alarms = [], Events(), Alarms()
        events.listen(told.append)
        watchman = Watchman(board.service, alarms, events)
        watchman.start()
        try:
            board.unplug("n3")
            wait_until(lambda: len(told) == 1, "it is raised")
            board.plug("n3")
            wait_until(lambda: len(told) == 2, "it is cleared")
        finally:
            watchman.stop()

        assert all(isinstance(event, AlarmChange) for event in told)
        assert [(e.alarm.kind, e.alarm.cleared) for e in told] == [
            ("interface-not-attached", False),
            ("interface-not-attached", True),
        ]
        assert "the device n3 is gone" in told[0].alarm.text
        assert [alarm.cleared for alarm in alarms.all()] == [True]

    def test_a_publisher_that_ends(self, board):
        alarms, at_s = Alarms(), iter(range(100))
        watchman = Watchman(board.service, alarms, Events(), now_s=lambda: next(at_s))
        board.service.publisher.stop()
        try:
            for _ in range(3):
                watchman.look()
            assert [(a.kind, a.cleared) for a in alarms.all()] == [("exporter-down", False)]
        finally:
            board.service.publisher.start()

    def test_a_state_directory_that_takes_no_file_is_seen_within_a_minute(self, board, folder):
        alarms, at_s = Alarms(), iter(range(0, 100_000, 40))
        watchman = Watchman(board.service, alarms, Events(), now_s=lambda: next(at_s))
        moved = folder.with_name("elsewhere")
        folder.rename(moved)
        try:
            for _ in range(4):
                watchman.look()
        finally:
            moved.rename(folder)
        (alarm,) = alarms.all()
        assert alarm.kind == "function-unhealthy"
        assert "No such file" in alarm.text


class TestStatistics:
    """They are set to zero for who reads them; the counters of the programs go on."""

    def test_an_interface_counts_from_now_on(self, board):
        with sender("gnb", [FRAME]):
            board.count_on("n3")
        before, raw = board.state("n3"), board.service.plane.read_counters("n3")["frames"]

        assert board.service.reset_statistics("n3")

        after = board.state("n3")
        assert before["packets"] > after["packets"] == after["counters"]["frames"] == after["octets"] == 0
        assert after["since_s"] > before["since_s"]
        assert board.service.plane.read_counters("n3")["frames"] >= raw

        with sender("gnb", [FRAME]):
            board.count_on("n3")
        assert board.state("n3")["packets"] < board.service.plane.read_counters("n3")["frames"]

    def test_signalling_as_well(self, board):
        with sender("smf", [FRAME]):  # no signalling, and read by nobody
            pass
        assert board.service.reset_statistics("n4")
        assert set(board.state("n4")["counters"].values()) <= {0}

    def test_what_is_not_configured_has_none(self, board):
        assert not board.service.reset_statistics("n6")

    def test_a_change_of_the_link_has_its_time(self, board):
        started_s = board.state("n3")["since_s"]
        board.unplug("n3")
        board.until("n3", "not-present", None)
        wait_until(lambda: "last_change_s" in board.state("n3"), "it is seen")
        gone_s = board.state("n3")["last_change_s"]
        board.plug("n3")
        board.until("n3", "up", "native")
        wait_until(lambda: board.state("n3")["last_change_s"] > gone_s, "the next one is seen")
        assert gone_s > started_s
        assert board.state("n3")["phys_address"].count(":") == 5


class TestSignatures:
    """Files that were changed on disk are in force without a restart."""

    @pytest.fixture
    def files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Signature files of the test's own, in the place of those that are shipped."""
        copy = tmp_path / "known"
        shutil.copytree(KNOWN, copy)
        monkeypatch.setattr(LOADS, "__defaults__", ((), copy))
        return copy

    def test_an_application_is_known_and_flows_stay(self, board, files):
        with sender("gnb", [FRAME]):
            wait_until(lambda: len(board.service.pipeline.book) > 0, "there is a flow")
        before, flows = board.service.reload_signatures(), board.service.pipeline.book.rows["number"].tolist()
        (files / "mine.toml").write_text('["Our portal"]\nclass = "web"\ndomains = ["portal.example"]\n')

        assert board.service.reload_signatures() == before + 1

        signatures = board.service.pipeline.signatures
        assert signatures.name(signatures.match("www.portal.example")) == "Our portal"
        assert board.service.pipeline.book.rows["number"].tolist() == flows

    def test_a_file_with_a_fault_changes_nothing(self, board, files):
        before = board.service.pipeline.signatures
        (files / "mine.toml").write_text('["Our portal"]\nclass = "web"\ndomains = ["not a domain"]\n')

        with pytest.raises(BadSignatures, match=r"mine\.toml:1"):
            board.service.reload_signatures()
        assert board.service.pipeline.signatures is before

    def test_an_application_that_a_policy_names_has_to_stay(self, board, files):
        settings = board.service.settings
        (files / "mine.toml").write_text('["Our portal"]\nclass = "web"\ndomains = ["portal.example"]\n')
        board.service.reload_signatures()
        named = replace(settings, policies=(Policy("p", Action.COUNT, application="Our portal"),))
        board.service.apply(settings, named)
        try:
            (files / "mine.toml").unlink()
            with pytest.raises(BadSettings, match="Our portal"):
                board.service.reload_signatures()
        finally:
            board.service.apply(named, settings)


class TestLimits:
    """Sizes of tables that are in use wait for the next start, and that is told."""

    def test_the_limits_in_force_and_those_that_wait(self, board):
        before = board.service.settings
        wanted = replace(before.limits, flows=2 * before.limits.flows, unknown_flows_per_s=4000)
        gap = board.service.plane._control["birth_gap_ns"][0]
        board.service.apply(before, after := replace(before, limits=wanted))

        state = state_of(board.service)
        assert state["restart_needed"] == ("flows",)
        assert state["limits"] == replace(before.limits, unknown_flows_per_s=4000)

        board.service.apply(after, again := replace(after, limits=replace(wanted, unknown_flows_per_s=0)))
        assert board.service.plane._control["birth_gap_ns"][0] == gap, "a share of the table that there is"
        board.service.apply(again, before)
        assert state_of(board.service)["restart_needed"] == ()

    def test_a_commit_tells_once_what_waits(self, board):
        told, events = [], Events()
        events.listen(told.append)
        events.listen(_restart_needed(board.service, events))
        before = board.service.settings
        after = replace(before, limits=replace(before.limits, shards=2, sessions=128))
        for old, new in ((before, after), (after, replace(after, nf_id="x")), (replace(after, nf_id="x"), before)):
            board.service.apply(old, new)
            events.tell(ConfigChange(1, 2, ()))

        assert [e for e in told if isinstance(e, RestartNeeded)] == [
            RestartNeeded(("sessions", "shards")),
            RestartNeeded(()),
        ]


def exchange(number: int, imsi: str) -> tuple[bytes, bytes]:
    """Return the frames that begin a session."""
    plan = SessionPlan(SMF, number, Identity(imsi=imsi), f"10.45.0.{number}", (UPF, number), (GNB, number))
    ether, ports = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02"), UDP(sport=8805, dport=8805)
    return (
        bytes(ether / IP(src=SMF, dst=UPF) / ports / build.establishment_request(number, plan)),
        bytes(ether / IP(src=UPF, dst=SMF) / ports / build.establishment_response(number, number, UPF, number)),
    )


def establish(board: Switchboard, number: int, imsi: str) -> None:
    """Signal a session, and wait until the kernel has it."""
    with sender("smf", exchange(number, imsi)):
        wait_until(lambda: board.service.store.by_tunnel(UPF, number), "the session is known")


def kept(folder: Path) -> bytes:
    """Return all that the file of sessions holds, decrypted."""
    return b"".join(marshal.dumps(chunk) for chunk in load(folder / "sessions.snapshot", KEY))


class TestSources:
    """Each source of sessions says whether it speaks, and associated nodes are told by their addresses."""

    def test_pfcp_that_is_heard(self, board):
        before = board.service.sources()
        establish(board, 21, OTHER)

        state = state_of(board.service)

        assert set(state["sources"]) >= {"pfcp", "gtp-c", "radius", "ngap"}
        pfcp = state["sources"]["pfcp"]
        assert pfcp["oper_status"] == "up"
        assert pfcp["messages"] >= before["pfcp"].messages + 2
        assert pfcp["sessions"] >= 1
        assert state["n4_peers"][SMF, UPF] >= 1
        assert state["sources"]["radius"] == {"sessions": 0, "oper_status": "silent", "messages": 0}

    def test_none_is_heard_without_an_interface(self, board):
        before = board.service.settings
        board.service.apply(before, after := replace(before, interfaces=(N3,)))
        assert {board.service.sources()[name].oper_status for name in ("pfcp", "gtp-c", "radius", "ngap")} == {"down"}
        board.service.apply(after, before)


class TestPurge:
    """All that is held of a subscriber goes, and nothing of another one."""

    @pytest.fixture
    def keyed(self, board):
        """The function with a key, so that it keeps sessions over a restart."""
        before = board.service.settings
        after = replace(before, privacy=Privacy(key=KEY), sessions=(StaticSession("mine", OTHER, "10.45.0.99"),))
        board.service.apply(before, after)
        yield board
        board.service.apply(after, before)

    def test_sessions_names_trackers_and_file_forget(self, keyed, folder, caplog):
        caplog.set_level(logging.DEBUG)
        service = keyed.service
        establish(keyed, 7, IMSI)
        establish(keyed, 8, OTHER)
        name = service.store.subscriber(service.store.by_imsi(IMSI)[0].index, service._engine.pseudonymiser)
        service._keeper.remember(service._kept())
        in_a_row = int("1" + IMSI).to_bytes(8, "little")  # as `gtp.packing` keeps digits
        assert in_a_row in kept(folder)
        tracker = service.interfaces.listeners["n4"].signalling.pfcp
        assert len(tracker) == 2

        purged = service.purge_subscriber(IMSI)

        assert (purged.sessions, purged.configured) == (1, 0)
        assert service.store.by_imsi(IMSI) == []
        assert service.store.numbers_by_pseudonym(name) == []
        assert service.store.by_tunnel(UPF, 7) is None
        assert len(tracker) == 1
        assert in_a_row not in kept(folder)
        assert int("1" + OTHER).to_bytes(8, "little") in kept(folder)
        assert all(binding.whole.identity.imsi != IMSI for binding in service.store.history())
        assert IMSI not in service._engine.pseudonymiser.named(again=True)
        assert service.store.by_imsi(OTHER)
        assert IMSI not in caplog.text

    def test_the_subscriber_is_known_again_with_the_next_attach(self, keyed):
        establish(keyed, 9, IMSI)
        assert keyed.service.purge_subscriber(IMSI).sessions == 1
        establish(keyed, 10, IMSI)
        assert keyed.service.purge_subscriber(IMSI).sessions == 1

    def test_what_is_configured_stays_and_is_told(self, keyed):
        establish(keyed, 11, OTHER)
        purged = keyed.service.purge_subscriber(OTHER)
        assert purged.sessions > 0
        assert purged.configured == 1
        assert len(keyed.service.store.by_imsi(OTHER)) == 1

    def test_nothing_is_read_and_not_told_meanwhile(self, keyed):
        """Else an event of a session that its tracker has forgotten would come after."""
        listener = keyed.service.interfaces.listeners["n4"]
        frames = exchange(31, IMSI)
        with sender("smf", frames) as sent:
            with listener.turn:
                read, sent_before = listener.counters["n4_frames"], sent.frames
                wait_until(lambda: sent.frames > sent_before + 10, "frames come")
                assert listener.counters["n4_frames"] == read
            wait_until(lambda: keyed.service.store.by_tunnel(UPF, 31), "they are read then")
        assert keyed.service.purge_subscriber(IMSI).sessions >= 1

    def test_consumers_are_told_whose_records_to_erase(self, keyed):
        service, before = keyed.service, keyed.service.settings
        rotated = replace(before, privacy=Privacy(key=b"n" * 32, epoch=4, previous_key=KEY))
        out = replace(rotated, privacy=replace(rotated.privacy, opted_out=(OTHER,)))
        with Subscriber(service.publisher.endpoint, ["purge.v1/"]) as bus:
            wait_until(lambda: bus.receive(0.1) is None and bus.heard_s, "the subscription holds")
            service.apply(before, rotated)
            try:
                with pytest.raises(BadSettings):  # a change that is refused erases nothing
                    service.apply(rotated, replace(out, interfaces=(Interface("not-there", Role.N3), N4)))
                service.purge_subscriber(IMSI)
                service.apply(rotated, out)
                told = [bus.receive(20), bus.receive(20)]
            finally:
                service.apply(out, before)

        for message, imsi, why in zip(told, (IMSI, OTHER), ("purge", "opt-out"), strict=True):
            names = [hmac.new(key, imsi.encode(), "sha256").hexdigest()[:32] for key in (KEY, b"n" * 32)]
            assert message.columns["subscriber"] == names
            assert message.columns["epoch"].tolist() == [3, 4]
            assert set(message.columns["why"]) == {why}
            assert message.header.epoch == 4

    def test_a_stranger_has_nothing(self, keyed):
        assert keyed.service.purge_subscriber("001019999999999").sessions == 0


class TestDegraded:
    """A subscriber whose records are bad is an alarm on the bus and in the list, until he is forgotten."""

    def test_from_the_records_to_both_and_away_with_a_purge(self, board):
        service, before = board.service, board.service.settings
        bad = Degradation("video", "", score=3.0, clear_score=3.5, raise_s=2)
        after = replace(before, privacy=Privacy(key=KEY), degradations=Degradations((bad,)))
        name = hmac.new(KEY, IMSI.encode(), "sha256").hexdigest()[:32]
        told, events, alarms = [], Events(), Alarms()
        events.listen(told.append)
        watchman = Watchman(service, alarms, events)
        service.erased = watchman.erase
        with pytest.raises(BadSettings, match="No application is named nonsense"):
            service.prepare(before, replace(after, degradations=Degradations((replace(bad, application="nonsense"),))))
        service.apply(before, after)
        try:
            with Subscriber(service.publisher.endpoint, ["alarm.v1/", "purge.v1/"]) as bus:
                wait_until(lambda: bus.receive(0.1) is None and bus.heard_s, "the subscription holds")
                wait_until(lambda: stalls(service, name) and service.vitals(trial=False).degraded, "it is raised")
                watchman.look()
                raised = bus.receive(20)
                told_of = state_of(service)["degraded"]
                service.purge_subscriber(IMSI)
                cleared, purged = bus.receive(20), bus.receive(20)
        finally:
            service.apply(after, before)
            service.erased = lambda _names: None

        assert [(m.topic, *m.columns.get("state", [])) for m in (raised, cleared, purged)] == [
            ("alarm.v1/snf/", "raised"),
            ("alarm.v1/snf/", "cleared"),
            ("purge.v1/snf/",),
        ]
        assert raised.columns["subscriber"] == cleared.columns["subscriber"] == purged.columns["subscriber"] == [name]
        assert raised.columns["suspect"] == ["access"]
        assert [(entry["subscriber"], entry["class"], entry["suspect"]) for entry in told_of] == [
            (name, "video", "access")
        ]
        assert [event.alarm.cleared for event in told if event.alarm.kind == "subscriber-degraded"] == [False, True]
        assert not [alarm for alarm in alarms.all() if name in alarm.resource]


def stalls(service: Service, name: str) -> bool:
    """Give the function a bad record of a subscriber, as its pipeline would."""
    now_s = service.clock.now_s()
    columns = {
        **{"subscriber": [name], "app": ["youtube"], "mos": np.array([1.5], np.float32), "suspect": ["access"]},
        **{name: np.array([1e6], np.float32) for name in ("ul_bps", "dl_bps")},
    }
    service._engine._sink.records(RecordBatch("video", now_s - 0.5, now_s, columns))
    return True


class TestPurgeInShards:
    """Processes that have the flows of some subscribers each forget as the function itself does, and go on."""

    def test_they_go_on(self, board):
        before = board.service.settings
        board.service.apply(before, bare := replace(before, interfaces=(), privacy=Privacy()))
        for imsi in (IMSI, OTHER):  # other limits are in force at once without sessions
            board.service.purge_subscriber(imsi)
        two = replace(bare, limits=replace(bare.limits, shards=2))
        board.service.apply(bare, two)
        assert board.service.limits.shards == 2
        board.service.apply(two, after := replace(two, interfaces=(N3, N4)))
        establish(board, 41, IMSI)

        with sender("gnb", [FRAME]):
            board.count_on("n3")
            assert board.service.purge_subscriber(IMSI).sessions == 1
            ended_s = board.service._interval_s  # which each shard has to agree to
            wait_until(lambda: board.service._interval_s > ended_s + 1.5, "intervals go on")
        assert board.service.pipeline.status()["restarts"] == 0
        board.service.apply(after, replace(after, interfaces=()))
