"""Alarms (RFC 8632): raised once, cleared once, kept until they are purged, told as the standard's module has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from lxml import etree

from mgmt.cli.watchman import Watchman
from mgmt.netconf.caller import Caller
from mgmt.netconf.events import Events
from mgmt.netconf.rpc import Dispatcher
from mgmt.netconf.served import Function
from mgmt.netconf.store.datastore import Datastore
from mgmt.vitals.alarms import Alarm, Alarms
from mgmt.vitals.conditions import KINDS, Reading, read
from nf.apply.degraded import Standing
from nf.apply.quality import Scores
from nf.apply.vitals import PortVitals, Vitals
from nf.settings import QoeThreshold
from tests.mgmt.raw import BASE, names, served, tag_of

WELL = Vitals(interval_s=1.0, endpoint="tcp://127.0.0.1:5556", ports={"n3": PortVitals("up")}, session_room=100)
N3 = "/ietf-interfaces:interfaces/interface[name='n3']"
DAY_S = 86_400.0


def looks(alarms: Alarms, *each: tuple[float, Vitals]) -> list[tuple[float, str, bool]]:
    """Look at vitals at times; return (time, kind, cleared) of each change."""
    told, before = [], None
    for at_s, vitals in each:
        told += [(at_s, a.kind, a.cleared) for a in alarms.look(read(vitals, before), at_s, DAY_S + at_s)]
        before = vitals
    return told


def seconds(*vitals: tuple[int, Vitals]) -> list[tuple[float, Vitals]]:
    """Return a look a second: each vitals for so many."""
    each = [v for n, v in vitals for _ in range(n)]
    return [(float(at), v) for at, v in enumerate(each)]


DEGRADED = Standing(
    subscriber="ab" * 16,
    app="",
    app_class="video",
    gnb="192.0.2.20",
    slice="1",
    mos=1.5,
    suspect="access",
    suspect_by="delay",
    suspect_value=340.0,
    since_s=1.0,
    raised_s=21.0,
    threshold=3.0,
    raise_s=20,
)
DOWN = replace(WELL, ports={"n3": PortVitals("lower-layer-down")})
AWAY = replace(WELL, ports={"n3": PortVitals("not-present", "The device n3 is gone.")})


@pytest.mark.clause("RFC 8632")
class TestRaisedAndCleared:
    """Each once, and not by a moment."""

    def test_a_condition_that_lasts(self):
        told = looks(Alarms(), *seconds((2, WELL), (30, DOWN), (30, WELL)))
        assert told == [(4.0, "interface-down", False), (42.0, "interface-down", True)]

    def test_a_link_that_flaps_is_one_alarm(self):
        flaps = [(3, DOWN), (3, WELL)] * 20
        assert looks(Alarms(), *seconds(*flaps)) == [(2.0, "interface-down", False)]

    def test_a_moment_is_none(self):
        assert looks(Alarms(), *seconds((1, WELL), (2, DOWN), (10, WELL))) == []

    def test_a_device_that_is_away_is_not_attached_and_not_down(self):
        told = looks(Alarms(), *seconds((10, AWAY), (10, WELL)))
        assert told == [(2.0, "interface-not-attached", False), (12.0, "interface-not-attached", True)]

    def test_an_interface_that_is_removed_has_none(self):
        alarms = Alarms()
        told = looks(alarms, *seconds((5, AWAY), (1, replace(WELL, ports={}))))
        assert told[-1] == (5.0, "interface-not-attached", True)

    @pytest.mark.parametrize(
        ("bad", "kind"),
        [
            (replace(WELL, publisher_age_s=None), "exporter-down"),
            (replace(WELL, sessions=90), "session-table-nearly-full"),
            (replace(WELL, unwritable="No space left on device"), "function-unhealthy"),
            (replace(WELL, rings_age_s=30.0), "function-unhealthy"),
        ],
    )
    def test_each_kind(self, bad, kind):
        alarms = Alarms()
        told = looks(alarms, *seconds((20, bad), (90, WELL)))
        assert [(k, cleared) for _, k, cleared in told] == [(kind, False), (kind, True)]
        (alarm,) = alarms.all()
        assert alarm.severity == KINDS[kind].severity
        assert alarm.text.count(".") >= 2, "what is seen, then what to do"

    def test_a_flow_table_that_gives_places_to_others(self):
        filling = [(float(n), replace(WELL, evicted=10 * n)) for n in range(20)]
        full = replace(WELL, evicted=190)
        told = looks(Alarms(), *filling, *((float(n), full) for n in range(20, 120)))
        assert told == [(3.0, "flow-table-full", False), (80.0, "flow-table-full", True)]

    @pytest.mark.parametrize(("sessions", "stands"), [(89, True), (80, True), (79, False)])
    def test_between_the_two_thresholds_it_stays_as_it_was(self, sessions, stands):
        alarms = Alarms()
        looks(alarms, *seconds((3, replace(WELL, sessions=95)), (60, replace(WELL, sessions=sessions))))
        assert [not a.cleared for a in alarms.all()] == [stands]

    def test_below_the_upper_one_none_is_raised(self):
        assert looks(Alarms(), *seconds((60, replace(WELL, sessions=89)))) == []

    @pytest.mark.parametrize(
        ("scores", "bad", "stands"),
        [(100, 20, True), (100, 19, None), (100, 10, None), (100, 9, False), (49, 49, False), (0, 0, False)],
    )
    def test_a_share_of_bad_scores(self, scores, bad, stands):
        """A fifth of at least fifty raises it, less than a tenth clears it, and between it stays as it was."""

        def video(scores: int, bad: int) -> Vitals:
            return replace(WELL, quality={"video": Scores(QoeThreshold("video", 3.5, 20, 50), scores, bad)})

        for before in (True, False):
            alarms = Alarms()
            looks(alarms, *seconds((20, video(100, 50 if before else 0)), (60, video(scores, bad))))
            assert any(not a.cleared for a in alarms.all()) == (before if stands is None else stands)

    def test_another_reason_is_told_and_other_figures_are_not(self):
        alarms = Alarms()
        other = replace(WELL, ports={"n3": PortVitals("not-present", "Somebody took the program off.")})
        told = looks(alarms, *seconds((5, AWAY), (5, other), (5, other)))
        assert told == [(2.0, "interface-not-attached", False), (5.0, "interface-not-attached", False)]
        late = [replace(WELL, rings_age_s=11.0 + n) for n in range(30)]
        assert len(looks(Alarms(), *enumerate(late))) == 1

    def test_raised_again_it_is_the_same_alarm(self):
        alarms = Alarms()
        looks(alarms, *seconds((5, AWAY), (5, WELL), (5, AWAY)))
        (alarm,) = alarms.all()
        assert (alarm.created_s, alarm.raised_s, alarm.cleared) == (DAY_S + 2, DAY_S + 12, False)

    def test_cleared_ones_do_not_pile_up(self):
        alarms = Alarms()
        for n in range(1200):
            reading = Reading("session-table-nearly-full", f"/snf-subscribers:subscribers[{n}]", there=True, text="x")
            alarms.look([reading], float(n), float(n))
        assert len(alarms) == 1001


IF, AL = "urn:ietf:params:xml:ns:yang:ietf-interfaces", "urn:ietf:params:xml:ns:yang:ietf-alarms"


@pytest.fixture
def alarms() -> Alarms:
    """One alarm that stands, and one that was cleared an hour ago."""
    made = Alarms()
    away = Reading("interface-not-attached", N3, there=True, text="n3: the device n3 is gone")
    full = Reading("session-table-nearly-full", "/snf-subscribers:subscribers", there=True, text="95 of 100.")
    over = replace(full, there=False)
    for at_s, readings in ((0.0, [full]), (1.0, [over]), (20.0, [over])):
        made.look(readings, at_s, 1_000.0 + at_s)
    for at_s in (30.0, 40.0):
        made.look([over, away], at_s, 1_700_000_000.0 + at_s)
    return made


@pytest.fixture
def ask(datastore: Datastore, alarms: Alarms) -> Callable[[str], etree._Element]:
    session = datastore.open_session()
    function = Function(lambda: {"alarms": alarms}, alarms=alarms)
    dispatcher = Dispatcher(served(datastore, function))

    def run(operation: str) -> etree._Element:
        rpc = f'<rpc xmlns="{BASE}" message-id="1">{operation}</rpc>'
        return etree.fromstring(dispatcher.handle(Caller(session, "alice", groups=None), rpc.encode()).message)

    return run


def purge(inside: str) -> str:
    way = f'<alarms xmlns="{AL}"><alarm-list><purge-alarms>{inside}</purge-alarms></alarm-list></alarms>'
    return f'<action xmlns="urn:ietf:params:xml:ns:yang:1">{way}</action>'


@pytest.mark.clause("RFC 8632")
class TestSubscribers:
    """An alarm of a subscriber is raised and cleared as the function says, and names him as records do."""

    ILL = replace(WELL, degraded=(DEGRADED,))

    def test_once_each_and_without_an_address(self):
        alarms = Alarms()
        told = looks(alarms, *seconds((3, WELL), (30, self.ILL), (30, WELL)))
        assert told == [(3.0, "subscriber-degraded", False), (33.0, "subscriber-degraded", True)]
        (alarm,) = alarms.all()
        assert alarm.resource == (
            f"/snf-alarms:subscriber-alarms/degraded[subscriber='{'ab' * 16}'][class='video'][application='']"
        )
        assert alarm.text == (
            f"{'ab' * 16} has had scores of 1.50 with video, below 3.00 for 20 s. Lost in: access by delay (340)."
        )

    def test_what_stood_before_the_function_began_is_in_the_list_and_not_told_again(self):
        alarms = Alarms()
        again = replace(WELL, degraded=(replace(DEGRADED, again=True),))
        assert looks(alarms, *seconds((30, again))) == []
        assert [alarm.cleared for alarm in alarms.all()] == [False]
        assert looks(alarms, *seconds((1, WELL))) == [(0.0, "subscriber-degraded", True)]

    def test_those_beyond_the_bound_are_one(self):
        told = looks(Alarms(), *seconds((3, replace(self.ILL, more_degraded=9)), (3, self.ILL)))
        assert told[1:] == [(0.0, "many-subscribers-degraded", False), (3.0, "many-subscribers-degraded", True)]

    def test_of_a_subscriber_who_is_forgotten_there_is_none_in_the_list(self):
        alarms, events, told = Alarms(), Events(), []
        events.listen(told.append)
        other = replace(DEGRADED, subscriber="cd" * 16)
        looks(alarms, *seconds((3, replace(WELL, degraded=(DEGRADED, other)))))
        Watchman(None, alarms, events, now_s=lambda: 0.0).erase({"ab" * 16})
        assert ["cd" * 16 in alarm.resource for alarm in alarms.all()] == [True]
        assert [(event.alarm.cleared, "ab" * 16 in event.alarm.resource) for event in told] == [(True, True)]


@pytest.mark.clause("RFC 8632")
class TestTold:
    """The list and the inventory are those of ietf-alarms, and valid in another context of libyang."""

    def test_the_list(self, ask: Any, libyang_reads: Any):
        data = ask(f'<get><filter><alarms xmlns="{AL}"/></filter></get>')[0]
        libyang_reads(data)

        assert names(data, "number-of-alarms") == ["2"]
        assert names(data, "is-cleared") == ["true", "false"]
        assert names(data, "perceived-severity") == ["major", "critical"]
        resource = data.xpath("//*[local-name()='resource']")[-1]
        assert resource.text == "/ietf-interfaces:interfaces/ietf-interfaces:interface[ietf-interfaces:name='n3']"
        assert resource.nsmap["ietf-interfaces"] == IF
        assert names(data, "last-changed")[0] == names(data, "last-raised")[-1] == "2023-11-14T22:14:00Z"

    def test_each_resource_is_a_node_of_the_modules(self, ask: Any, alarms: Alarms, libyang_reads: Any):
        bad = Vitals(
            interval_s=1.0,
            rings_age_s=60.0,
            publisher_age_s=None,
            ports={"n'3": PortVitals("down", "Gone."), 'n"6': PortVitals("down", "Gone.")},
            sessions=1,
            session_room=1,
            evicted=5,
            quality={"live-video": Scores(QoeThreshold("live-video", 3.5), 100, 100)},
            degraded=tuple(replace(DEGRADED, subscriber=name) for name in ("ab" * 16, 'Anna\'s "site"', 'the "site"')),
            more_degraded=7,
        )
        for at_s in range(60):
            alarms.look(read(replace(bad, evicted=5 + at_s), bad), float(at_s), 1_700_000_000.0 + at_s)

        libyang_reads(ask(f'<get><filter><alarms xmlns="{AL}"/></filter></get>')[0])
        assert {alarm.kind for alarm in alarms.all() if not alarm.cleared} == set(KINDS)

    def test_the_inventory_has_each_kind_as_the_module_has_it(self, ask: Any, model: Any):
        data = ask(f'<get><filter><alarms xmlns="{AL}"><alarm-inventory/></alarms></filter></get>')[0]
        told = [text.partition(":")[2] for text in names(data, "alarm-type-id")]
        text = model.schema_text("snf-alarms", "", yin=False)
        assert told == list(KINDS)
        assert {name for name in KINDS if f"identity {name}" in text} == set(KINDS)
        assert text.count("identity ") == len(KINDS) + 1, "and one that is abstract"

    def test_the_library_tells_of_the_deviation(self, ask: Any):
        data = ask("<get/>")[0]
        assert "snf-alarms" in data.xpath(
            "//*[local-name()='module' and *='ietf-alarms']/*[local-name()='deviation']/text()"
        )
        entry = data.xpath("//*[local-name()='modules-state']/*[*='ietf-alarms']/*[local-name()='deviation']/*")
        assert [leaf.text for leaf in entry] == ["snf-alarms", "2026-11-29"]


class TestPurge:
    """The action purge-alarms deletes what its criteria name."""

    @pytest.mark.parametrize(
        ("criteria", "left"),
        [
            ("<alarm-clearance-status>any</alarm-clearance-status>", []),
            ("<alarm-clearance-status>cleared</alarm-clearance-status>", ["interface-not-attached"]),
            ("<alarm-clearance-status>not-cleared</alarm-clearance-status>", ["session-table-nearly-full"]),
            (
                "<alarm-clearance-status>any</alarm-clearance-status><older-than><weeks>65535</weeks></older-than>",
                ["session-table-nearly-full", "interface-not-attached"],
            ),
            (
                "<alarm-clearance-status>any</alarm-clearance-status><severity><above>major</above></severity>",
                ["session-table-nearly-full"],
            ),
            (
                "<alarm-clearance-status>any</alarm-clearance-status><severity><is>major</is></severity>",
                ["interface-not-attached"],
            ),
        ],
    )
    def test_by_criteria(self, ask: Any, alarms: Alarms, criteria: str, left: list[str]):
        reply = ask(purge(criteria))
        assert [alarm.kind for alarm in alarms.all()] == left
        assert names(reply, "purged-alarms") == [str(2 - len(left))]

    @pytest.mark.parametrize(
        ("criteria", "tag"),
        [
            ("", "missing-element"),
            ("<alarm-clearance-status>some</alarm-clearance-status>", "invalid-value"),
            ("<alarm-clearance-status>any</alarm-clearance-status><older-than/>", "missing-element"),
            (
                "<alarm-clearance-status>any</alarm-clearance-status><older-than><days>65536</days></older-than>",
                "invalid-value",
            ),
            (
                "<alarm-clearance-status>any</alarm-clearance-status><severity><is>bad</is></severity>",
                "invalid-value",
            ),
            (
                "<alarm-clearance-status>any</alarm-clearance-status>"
                "<severity><is>major</is><below>major</below></severity>",
                "bad-element",
            ),
        ],
    )
    def test_bad_criteria_delete_nothing(self, ask: Any, alarms: Alarms, criteria: str, tag: str):
        assert tag_of(ask(purge(criteria))) == tag
        assert len(alarms) == 2

    def test_one_that_lasts_is_raised_anew(self, alarms: Alarms):
        alarms.purge(lambda _: True)
        away = Reading("interface-not-attached", N3, there=True, text="n3: the device n3 is gone")
        told = [a for at_s in (50.0, 51.0, 52.0) for a in alarms.look([away], at_s, at_s)]
        assert [(a.kind, a.created_s) for a in told] == [("interface-not-attached", 52.0)]


def test_an_alarm_names_no_subscriber():
    """Its fields are a resource of the function's own, a kind, and sentences made of figures."""
    assert set(Alarm.__slots__) == {
        "changed_s", "cleared", "created_s", "kind", "raised_s", "resource", "severity", "text",
    }  # fmt: skip
