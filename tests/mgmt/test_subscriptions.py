"""Dynamic subscriptions, to the stream of events and to state (RFC 8639, RFC 8640, RFC 8641)."""

import queue
from datetime import UTC, datetime, timedelta

import libyang
import pytest
from libyang.util import DataType
from lxml import etree
from netconf_client.error import RpcError as ClientError

from lab.wait import slowness
from mgmt.netconf.caller import Caller
from mgmt.netconf.events import SessionEnd
from mgmt.netconf.model.yang_model import FEATURES, IMPLEMENTED, yang_dir
from mgmt.netconf.notify.push import LIMIT_BYTES, Periodic
from mgmt.netconf.rpc import Dispatcher
from mgmt.netconf.served import Function
from mgmt.netconf.ssh.listener import NetconfServer
from tests.mgmt.conftest import STATE, Bench
from tests.mgmt.raw import BASE, IF, N3, names, served, tag_of, wrapped
from tests.mgmt.test_nacm import NOC, deny, permit, rules

SN = "urn:ietf:params:xml:ns:yang:ietf-subscribed-notifications"
YP = "urn:ietf:params:xml:ns:yang:ietf-yang-push"
DS = "urn:ietf:params:xml:ns:yang:ietf-datastores"
OF_6470 = "urn:ietf:params:xml:ns:yang:ietf-netconf-notifications"
SUBSCRIBERS = "urn:supernetflow:yang:snf-subscribers"
OPER = f'<yp:datastore-xpath-filter xmlns:i="{IF}">/i:interfaces/i:interface/i:oper-status</yp:datastore-xpath-filter>'


def of_stream(more="", stream="NETCONF"):
    return f'<establish-subscription xmlns="{SN}"><stream>{stream}</stream>{more}</establish-subscription>'


def of_state(trigger, wanted=OPER, store="operational", more=""):
    return (
        f'<establish-subscription xmlns="{SN}" xmlns:yp="{YP}" xmlns:ds="{DS}">'
        f"<yp:datastore>ds:{store}</yp:datastore>{wanted}{more}{trigger}</establish-subscription>"
    )


def periodic(hundredths=100):
    return f"<yp:periodic><yp:period>{hundredths}</yp:period></yp:periodic>"


def on_change(more=""):
    return f"<yp:on-change>{more}</yp:on-change>"


def by_id(operation, number, more="", space=SN):
    return f'<{operation} xmlns="{space}" xmlns:yp="{YP}" xmlns:ds="{DS}"><id>{number}</id>{more}</{operation}>'


@pytest.fixture(scope="module")
def read_by_libyang():
    context = libyang.Context(f"{yang_dir()}:{yang_dir() / 'ietf'}")
    for module in IMPLEMENTED:
        loaded = context.load_module(module)
        if module in FEATURES:
            loaded.feature_enable_all()

    def check(message: etree._Element) -> None:
        context.parse_op_mem("xml", etree.tostring(message, encoding="unicode"), DataType.NOTIF_NETCONF).free()

    return check


@pytest.fixture
def status():
    """The state of interface n3, which a test changes."""
    return {"oper_status": "up"}


@pytest.fixture
def bench(datastore, recorder, key_pair, tmp_path, status):
    key = key_pair("alice")
    users = tmp_path / "users"
    users.write_text(f"alice {key.with_suffix('.pub').read_text()}")
    interfaces = STATE["interfaces"]
    function = Function(lambda: STATE | {"interfaces": {"n3": interfaces["n3"] | status}})
    with NetconfServer(datastore, function, port=0, users_file=users) as server:
        yield Bench(server, datastore, recorder, users, key)


@pytest.fixture
def client(bench):
    with bench.manager() as client:
        client.edit_config(wrapped(N3), target="candidate")
        client.commit()
        yield client


def establish(client, asked):
    """Establish a subscription and return its number."""
    return int(etree.fromstring(client.dispatch(asked).xml).findtext(f"{{{SN}}}id"))


def refusal(client, asked):
    """Return error-tag and error-app-tag."""
    with pytest.raises(ClientError) as caught:
        client.dispatch(asked)
    return caught.value.tag, (names(caught.value.reply_ele, "error-app-tag") or [""])[0]


def take(client):
    found = client.take_notification(timeout=20 * slowness())
    assert found is not None, "no notification came"
    return found.notification_ele[1]


def kind(event):
    return etree.QName(event).localname


class TestOfTheStream:
    """A subscription to the stream NETCONF (RFC 8639, 2.4)."""

    def test_events_come(self, bench, client):
        establish(client, of_stream())
        with bench.manager():
            assert kind(take(client)) == "netconf-session-start"

    def test_a_session_has_several(self, bench, client):
        wanted = f'<stream-subtree-filter><netconf-session-%s xmlns="{OF_6470}"/></stream-subtree-filter>'
        assert [establish(client, of_stream(wanted % each)) for each in ("start", "end")] == [1, 2]
        with bench.manager():
            pass
        assert {kind(take(client)) for _ in range(2)} == {"netconf-session-start", "netconf-session-end"}

    def test_an_xpath_filter(self, bench, client):
        wanted = f'<stream-xpath-filter xmlns:n="{OF_6470}">/n:netconf-session-end</stream-xpath-filter>'
        establish(client, of_stream(wanted))
        with bench.manager():
            pass
        assert kind(take(client)) == "netconf-session-end"

    def test_replay(self, client, read_by_libyang):
        start = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        asked = of_stream(f"<replay-start-time>{start}</replay-start-time>")
        reply = etree.fromstring(client.dispatch(asked).xml)
        # The log begins later than that (RFC 8639, 2.4.2.1).
        assert reply.findtext(f"{{{SN}}}replay-start-time-revision") > start
        seen = [client.take_notification(timeout=20 * slowness()).notification_ele for _ in range(3)]
        assert [kind(m[1]) for m in seen] == ["netconf-session-start", "netconf-config-change", "replay-completed"]
        read_by_libyang(seen[-1])

    def test_a_stop_time_ends_it(self, bench, client):
        stop = (datetime.now(UTC) + timedelta(seconds=0.3)).isoformat()
        establish(client, of_stream(f"<stop-time>{stop}</stop-time>"))
        assert bench.settles(lambda: bench.server.notifications.subscriptions() == [])

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            (of_stream(stream="SYSLOG"), ("invalid-value", "")),
            (of_stream("<stream-xpath-filter>/[</stream-xpath-filter>"), ("invalid-value", "filter-unsupported")),
            (of_stream("<stream-filter-name>f</stream-filter-name>"), ("invalid-value", "filter-unsupported")),
            (of_stream("<encoding>encode-json</encoding>"), ("invalid-value", "encoding-unsupported")),
            (of_stream("<stop-time>2026-01-01T00:00:00Z</stop-time>"), ("invalid-value", "")),
            (of_stream("<replay-start-time>2099-01-01T00:00:00Z</replay-start-time>"), ("invalid-value", "")),
            (f'<establish-subscription xmlns="{SN}"/>', ("missing-element", "")),
        ],
    )
    def test_what_is_refused(self, client, asked, expected):
        tag, reason = expected
        assert refusal(client, asked) == (tag, reason and f"ietf-subscribed-notifications:{reason}")


class TestPeriodic:
    """State, whole, each period (RFC 8641, 3.1)."""

    def test_updates_come(self, client, status, read_by_libyang):
        number = establish(client, of_state(periodic()))
        first = client.take_notification(timeout=20 * slowness()).notification_ele
        read_by_libyang(first)
        status["oper_status"] = "down"
        second = take(client)
        assert [kind(first[1]), kind(second)] == ["push-update", "push-update"]
        assert first[1].findtext(f"{{{YP}}}id") == str(number)
        assert (names(first[1], "oper-status"), names(second, "oper-status")) == (["up"], ["down"])

    def test_a_subtree_filter(self, client):
        wanted = f'<yp:datastore-subtree-filter><interfaces xmlns="{IF}"/></yp:datastore-subtree-filter>'
        establish(client, of_state(periodic(), wanted))
        assert names(take(client), "role") == ["n3"]

    def test_at_an_anchor(self):
        # An update each hour at one minute before it is full, from when that was 60 s ago.
        anchor = datetime.now(UTC) - timedelta(hours=5, seconds=60)
        assert Periodic(3600.0, anchor).first_in() == pytest.approx(3540, abs=30 * slowness())
        assert Periodic(3600.0).first_in() == 0

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            (of_state(periodic(99)), ("invalid-value", "ietf-yang-push:period-unsupported")),
            (of_state(periodic(), store="running"), ("invalid-value", "ietf-yang-push:datastore-not-subscribable")),
            (of_state(periodic(), ""), ("invalid-value", "ietf-subscribed-notifications:filter-unsupported")),
            (of_state(""), ("missing-element", "")),
            (of_state(periodic("x")), ("invalid-value", "")),
            (of_state(periodic(), more="<stream>NETCONF</stream>"), ("invalid-value", "")),
            (
                of_state(
                    periodic(),
                    f'<yp:datastore-subtree-filter><subscribers xmlns="{SUBSCRIBERS}"><state><session>'
                    "<number>1</number></session></state></subscribers></yp:datastore-subtree-filter>",
                ),
                ("invalid-value", "ietf-subscribed-notifications:filter-unsupported"),
            ),
        ],
    )
    def test_what_is_refused(self, client, asked, expected):
        assert refusal(client, asked) == expected


class TestHints:
    """A refusal says what would be taken (RFC 8641, grouping hints)."""

    def test_of_a_period(self, client):
        with pytest.raises(ClientError) as caught:
            client.dispatch(of_state(periodic(1)))
        (info,) = caught.value.reply_ele.iter(f"{{{YP}}}establish-subscription-datastore-error-info")
        prefix, _, reason = info.findtext(f"{{{YP}}}reason").partition(":")
        assert (info.nsmap[prefix], reason, names(info, "period-hint")) == (YP, "period-unsupported", ["100"])

    def test_of_a_size(self, client, status):
        status["attached_mode_reason"] = "x" * LIMIT_BYTES
        wanted = f'<yp:datastore-subtree-filter><interfaces xmlns="{IF}"/></yp:datastore-subtree-filter>'
        with pytest.raises(ClientError) as caught:
            client.dispatch(of_state(periodic(), wanted))
        (estimate,), (limit,) = (names(caught.value.reply_ele, f"kilobytes-{end}") for end in ("estimate", "limit"))
        assert int(estimate) > int(limit) == 256


class TestOnChange:
    """State, whole at first, then as it changes (RFC 8641, 3.1 and 3.3)."""

    def test_a_change_is_a_patch(self, client, status, read_by_libyang):
        establish(client, of_state(on_change()))
        assert kind(take(client)) == "push-update"
        status["oper_status"] = "down"
        message = client.take_notification(timeout=20 * slowness()).notification_ele
        read_by_libyang(message)
        change = message[1]
        assert (kind(change), names(change, "operation")) == ("push-change-update", ["replace"])
        assert names(change, "target") == ["/ietf-interfaces:interfaces/interface=n3/oper-status"]
        assert names(change, "oper-status") == ["down"]

    def test_without_a_beginning(self, client, status):
        establish(client, of_state(on_change("<yp:sync-on-start>false</yp:sync-on-start>")))
        status["oper_status"] = "down"
        assert kind(take(client)) == "push-change-update"

    def test_a_change_of_the_configuration_shows(self, bench, client, policy):
        wanted = (
            '<yp:datastore-subtree-filter><policies xmlns="urn:supernetflow:yang:snf-policies"/>'
            "</yp:datastore-subtree-filter>"
        )
        establish(client, of_state(on_change(), wanted))
        take(client)
        client.edit_config(wrapped(policy("a")), target="candidate")
        client.commit()
        change = take(client)
        assert (names(change, "operation"), names(change, "application")) == (["create"], ["youtube"])
        assert names(change, "target") == ["/snf-policies:policies"]

    def test_changes_that_are_excluded(self, client, status):
        wanted = f'<yp:datastore-subtree-filter><interfaces xmlns="{IF}"/></yp:datastore-subtree-filter>'
        establish(client, of_state(on_change("<yp:excluded-change>replace</yp:excluded-change>"), wanted))
        take(client)
        status["oper_status"] = "down"
        status["mtu_limit"] = 3000
        change = take(client)
        assert (names(change, "operation"), names(change, "mtu-limit")) == (["create"], ["3000"])

    def test_resync_sends_all_again(self, client):
        number = establish(client, of_state(on_change()))
        take(client)
        client.dispatch(by_id("resync-subscription", number, space=YP))
        assert kind(take(client)) == "push-update"

    def test_one_that_is_periodic_has_no_resync(self, client):
        number = establish(client, of_state(periodic(1000)))
        asked = by_id("resync-subscription", number, space=YP)
        assert refusal(client, asked) == ("operation-not-supported", "ietf-yang-push:on-change-sync-unsupported")


class TestBounds:
    """An update is of a bounded size, and there is a bounded number of subscriptions."""

    def test_one_that_is_too_large_is_refused(self, client, status):
        status["attached_mode_reason"] = "x" * LIMIT_BYTES
        wanted = f'<yp:datastore-subtree-filter><interfaces xmlns="{IF}"/></yp:datastore-subtree-filter>'
        assert refusal(client, of_state(periodic(), wanted)) == ("too-big", "ietf-yang-push:update-too-big")

    def test_one_that_becomes_too_large_is_suspended_and_resumed(self, client, status, read_by_libyang):
        wanted = f'<yp:datastore-subtree-filter><interfaces xmlns="{IF}"/></yp:datastore-subtree-filter>'
        establish(client, of_state(on_change(), wanted))
        take(client)
        status["attached_mode_reason"] = "x" * LIMIT_BYTES
        message = client.take_notification(timeout=20 * slowness()).notification_ele
        read_by_libyang(message)
        assert (kind(message[1]), names(message[1], "reason")) == ("subscription-suspended", ["yp:update-too-big"])
        del status["attached_mode_reason"]
        assert [kind(take(client)) for _ in range(2)] == ["subscription-resumed", "push-update"]

    def test_to_state(self, bench, client):
        with bench.manager() as other:
            for each in (client, other):
                for _ in range(8):
                    establish(each, of_state(periodic(100_000)))
            expected = ("resource-denied", "ietf-subscribed-notifications:insufficient-resources")
            assert refusal(other, of_state(periodic())) == expected
            establish(other, of_stream())

    def test_of_one_session(self, client):
        for _ in range(16):
            establish(client, of_stream())
        expected = ("resource-denied", "ietf-subscribed-notifications:insufficient-resources")
        assert refusal(client, of_stream()) == expected


class TestModify:
    """modify-subscription changes filter, period and end (RFC 8639, 2.4.3)."""

    def test_a_filter_of_the_stream(self, bench, client, read_by_libyang):
        number = establish(client, of_stream())
        wanted = f'<stream-subtree-filter><netconf-session-end xmlns="{OF_6470}"/></stream-subtree-filter>'
        client.dispatch(by_id("modify-subscription", number, wanted))
        told = client.take_notification(timeout=20 * slowness()).notification_ele
        read_by_libyang(told)
        assert (kind(told[1]), names(told[1], "stream")) == ("subscription-modified", ["NETCONF"])
        with bench.manager():
            pass
        assert kind(take(client)) == "netconf-session-end"

    def test_a_period(self, client, read_by_libyang):
        number = establish(client, of_state(periodic(100_000)))
        take(client)
        more = f"<yp:datastore>ds:operational</yp:datastore>{OPER}{periodic(200)}"
        client.dispatch(by_id("modify-subscription", number, more))
        told = client.take_notification(timeout=20 * slowness()).notification_ele
        read_by_libyang(told)
        assert (kind(told[1]), names(told[1], "period")) == ("subscription-modified", ["200"])
        assert [kind(take(client)) for _ in range(2)] == ["push-update", "push-update"]

    def test_a_stream_is_no_datastore(self, client):
        number = establish(client, of_stream())
        more = f"<yp:datastore>ds:operational</yp:datastore>{OPER}{periodic()}"
        assert refusal(client, by_id("modify-subscription", number, more)) == ("invalid-value", "")

    def test_periodic_does_not_become_on_change(self, client):
        number = establish(client, of_state(periodic()))
        more = f"<yp:datastore>ds:operational</yp:datastore>{OPER}{on_change()}"
        assert refusal(client, by_id("modify-subscription", number, more)) == ("invalid-value", "")


class TestEnd:
    """A subscription ends with its session, or when it is deleted or killed (RFC 8639, 2.4.4 and 2.4.5)."""

    NONE = ("invalid-value", "ietf-subscribed-notifications:no-such-subscription")

    def test_deleted(self, bench, client):
        number = establish(client, of_stream())
        client.dispatch(by_id("delete-subscription", number))
        assert bench.server.notifications.subscriptions() == []
        assert refusal(client, by_id("delete-subscription", number)) == self.NONE

    def test_that_of_another_session_is_not_deleted(self, bench, client):
        number = establish(client, of_stream())
        with bench.manager() as other:
            assert refusal(other, by_id("delete-subscription", number)) == self.NONE
            assert refusal(other, by_id("modify-subscription", number)) == self.NONE

    def test_killed(self, bench, client, read_by_libyang):
        number = establish(client, of_state(periodic(100_000)))
        take(client)
        with bench.manager() as other:
            other.dispatch(by_id("kill-subscription", number))
        told = client.take_notification(timeout=20 * slowness()).notification_ele
        read_by_libyang(told)
        assert (kind(told[1]), names(told[1], "reason")) == ("subscription-terminated", ["sn:no-such-subscription"])

    def test_with_its_session(self, bench, client):
        with bench.manager() as other:
            establish(other, of_state(periodic()))
            establish(other, of_stream())
        assert bench.settles(lambda: bench.server.notifications.subscriptions() == [])


class TestState:
    """Streams and subscriptions are told (RFC 8639, 3)."""

    def test_in_operational(self, client, libyang_reads):
        wanted = f'<stream-subtree-filter><netconf-session-end xmlns="{OF_6470}"/></stream-subtree-filter>'
        establish(client, of_stream(wanted))
        establish(client, of_state(periodic(1000)))
        take(client)
        select = f'<subtree-filter><streams xmlns="{SN}"/><subscriptions xmlns="{SN}"/></subtree-filter>'
        data = client.get_data(filter=select).data_ele

        streams = data.find(f"{{{SN}}}streams")
        libyang_reads(etree.fromstring(f"<data>{etree.tostring(streams, encoding='unicode')}</data>"))
        entries = list(data.iter(f"{{{SN}}}subscription"))
        assert [e.findtext(f"{{{SN}}}id") for e in entries] == ["1", "2"]
        assert (names(data, "state"), names(data, "sent-event-records")) == (["active", "active"], ["0", "1"])
        (store,) = data.iter(f"{{{YP}}}datastore")
        prefix, _, name = store.text.partition(":")
        assert (store.nsmap[prefix], name) == (DS, "operational")

    @pytest.mark.parametrize("name", ["filters", "subscriptions"])
    def test_they_are_not_configured(self, client, name):
        entry = {"filters": "<stream-filter><name>a</name></stream-filter>"}
        entry["subscriptions"] = "<subscription><id>1</id><stream>NETCONF</stream></subscription>"
        client.edit_config(wrapped(f'<{name} xmlns="{SN}">{entry[name]}</{name}>'), target="candidate")
        with pytest.raises(ClientError, match="none is configured"):
            client.validate(source="candidate")


class TestRights:
    """A subscriber gets what he may read, and may not end the subscriptions of others (RFC 8641, 3.9; RFC 8639, 8)."""

    HIDDEN = "/p:policies/p:policy/p:application"

    @pytest.fixture
    def bob(self, datastore, policy):
        """Ask as bob, who may read policies but for their application, and return what he is sent."""
        root, number = datastore.open_session(), datastore.open_session()
        caller = Caller(number, "bob", groups=NOC)

        def change(xml):
            datastore.edit(root, etree.fromstring(f'<config xmlns="{BASE}">{xml}</config>'))
            datastore.commit(root)

        change(policy("a") + rules(deny(self.HIDDEN), permit("/p:policies")))
        answered = served(datastore, Function(lambda: {}), lambda _, _victim: False)
        datastore.events.listen(answered.notifications.listen)
        inbox = queue.Queue()
        answered.roster.enter(caller, lambda message: inbox.put(message) is None)
        dispatcher = Dispatcher(answered)

        def ask(operation):
            rpc = f'<rpc xmlns="{BASE}" message-id="1">{operation}</rpc>'
            return etree.fromstring(dispatcher.handle(caller, rpc.encode()).message)

        yield ask, change, lambda: inbox.get(timeout=20 * slowness())
        datastore.events.tell(SessionEnd(number, "closed"))

    def test_state_that_is_hidden_is_in_no_update(self, bob, policy):
        ask, change, sent = bob
        wanted = (
            '<yp:datastore-subtree-filter><policies xmlns="urn:supernetflow:yang:snf-policies"/>'
            "</yp:datastore-subtree-filter>"
        )
        ask(of_state(on_change(), wanted))
        whole = sent()
        change(policy("b", application="whisper", action="count"))
        later = sent()
        assert b"inspect" in whole
        assert b"count" in later
        assert b"youtube" not in whole
        assert b"whisper" not in later

    def test_a_change_that_is_hidden_is_in_no_event(self, bob, policy):
        ask, change, sent = bob
        ask(of_stream())
        change(policy("a", application="whisper", action="count"))
        told = sent()
        assert b"action" in told
        assert b"application" not in told

    def test_only_by_a_rule_one_may_kill(self, bob):
        ask, _, _ = bob
        number = ask(of_stream()).findtext(f"{{{SN}}}id")
        assert tag_of(ask(by_id("kill-subscription", number))) == "access-denied"
