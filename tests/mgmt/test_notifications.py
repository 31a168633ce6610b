"""The stream of events as a client sees it (RFC 5277), and the events of the server in it (RFC 6470)."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import libyang
import pytest
from libyang.util import DataType
from lxml import etree
from ncclient import manager as ncclient_manager
from netconf_client.error import RpcError as ClientError

from lab.wait import slowness
from mgmt.netconf.caller import Caller
from mgmt.netconf.events import AlarmChange, RestartNeeded
from mgmt.netconf.model.yang_model import IMPLEMENTED, yang_dir
from mgmt.netconf.notify.log import EventLog
from mgmt.netconf.notify.stream import StreamSubscription
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.ssh.outbox import Outbox
from mgmt.vitals.alarms import Alarm
from tests.mgmt.raw import BASE, HELLO_10, NM, P, ask, names, read, wrapped

NOTIFICATION = "urn:ietf:params:xml:ns:netconf:notification:1.0"
OF_6470 = "urn:ietf:params:xml:ns:yang:ietf-netconf-notifications"
MANAGE = "urn:ietf:params:xml:ns:netmod:notification"
SUBSCRIBE = f'<create-subscription xmlns="{NOTIFICATION}">%s</create-subscription>'
PRIVATE = (
    '<privacy xmlns="urn:supernetflow:yang:snf-privacy"><key>c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I=</key>'
    "<opt-out>001010000000001</opt-out></privacy>"
)


@pytest.fixture
def client(bench):
    with bench.manager() as client:
        client.get_config(source="running")  # its begin is told before it has the reply
        yield client


@pytest.fixture(scope="module")
def read_by_libyang():
    context = libyang.Context(f"{yang_dir()}:{yang_dir() / 'ietf'}")
    for module in IMPLEMENTED:
        context.load_module(module)

    def check(message: etree._Element) -> None:
        context.parse_op_mem("xml", etree.tostring(message, encoding="unicode"), DataType.NOTIF_NETCONF).free()

    return check


def take(client):
    """Return the next notification: its element."""
    found = client.take_notification(timeout=20 * slowness())
    assert found is not None, "no notification came"
    return found.notification_ele


def event(message):
    return etree.QName(message[1]).localname


def leaf(message, name):
    return names(message[1], name)[0] if names(message[1], name) else None


def example(text="a"):
    element = etree.Element(f"{{{MANAGE}}}replayComplete", nsmap={None: MANAGE})
    element.text = text
    return element


def moment(seconds):
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


@pytest.mark.clause("RFC 6470", "R-22700")
class TestSessions:
    """Sessions that begin and end are told (RFC 6470, 2)."""

    def test_begin_and_end(self, bench, client, read_by_libyang):
        client.create_subscription()
        with bench.manager() as other:
            other.close_session()

        begun, ended = take(client), take(client)
        read_by_libyang(begun)
        read_by_libyang(ended)
        assert (event(begun), event(ended)) == ("netconf-session-start", "netconf-session-end")
        leaves = ("username", "session-id", "source-host", "termination-reason")
        assert [leaf(ended, name) for name in leaves] == ["alice", "2", "127.0.0.1", "closed"]

    def test_a_kill_names_who_did_it(self, bench, client, read_by_libyang):
        client.create_subscription()
        with bench.channel() as channel:
            ask(channel, "<get-config><source><running/></source></get-config>")
            take(client)
            client.kill_session("2")
            ended = take(client)

        read_by_libyang(ended)
        assert (leaf(ended, "termination-reason"), leaf(ended, "killed-by")) == ("killed", "1")


@pytest.mark.clause("RFC 6470", "R-22700")
class TestChanges:
    """A commit is told with its user and the nodes that it changed (RFC 6470, 2)."""

    def change(self, client, xml):
        client.edit_config(wrapped(xml), target="candidate")
        client.commit()
        return take(client)

    def test_who_and_what(self, client, policy, read_by_libyang):
        client.create_subscription()
        message = self.change(client, policy("a"))

        read_by_libyang(message)
        assert (event(message), leaf(message, "session-id")) == ("netconf-config-change", "1")
        assert (leaf(message, "datastore"), leaf(message, "operation")) == ("running", "create")
        (target,) = message.iter(f"{{{OF_6470}}}target")
        data = etree.fromstring(policy("a"))
        prefixes = {k: v for k, v in target.nsmap.items() if k}
        (found,) = data.getroottree().xpath(target.text, namespaces=prefixes)
        assert found.tag == f"{{{P}}}policy"

    def test_a_change_and_a_deletion(self, client, policy):
        client.create_subscription()
        self.change(client, policy("a"))
        assert leaf(self.change(client, policy("a", action="count")), "operation") == "replace"
        gone = (
            f'<policies xmlns="{P}"><policy xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete">'
        )
        assert leaf(self.change(client, f"{gone}<name>a</name></policy></policies>"), "operation") == "delete"

    def test_a_secret_shows_without_its_value(self, client, read_by_libyang):
        client.create_subscription()
        message = self.change(client, PRIVATE)

        read_by_libyang(message)
        targets = names(message[1], "target")
        assert targets == ["/snf-privacy:privacy/snf-privacy:key"]  # the opt-out would have to name its value
        assert b"001010000000001" not in etree.tostring(message)

    def test_of_very_many_the_top_is_named(self, client):
        client.create_subscription()
        leaves = "<name>p{0}</name><application>a{0}</application><action>inspect</action>"
        many = "".join(f"<policy>{leaves.format(n)}</policy>" for n in range(201))
        message = self.change(client, f'<policies xmlns="{P}">{many}</policies>')

        assert names(message[1], "target") == ["/snf-policies:policies"]


@pytest.mark.clause("RFC 6470", "R-22700")
class TestConfirmedCommits:
    """Each step of a confirmed commit is told (RFC 6470, 2)."""

    def steps(self, client, number):
        """Return the steps of confirmed commits in the next notifications, which are valid."""
        found = [take(client) for _ in range(number)]
        return [(leaf(m, "confirm-event"), leaf(m, "username")) for m in found if event(m).endswith("confirmed-commit")]

    def test_start_extension_and_completion(self, client, policy, read_by_libyang):
        client.create_subscription()
        client.edit_config(wrapped(policy("a")), target="candidate")
        client.commit(confirmed=True, confirm_timeout=600)
        started = next(m for m in iter(lambda: take(client), None) if event(m) == "netconf-confirmed-commit")
        read_by_libyang(started)
        assert (leaf(started, "confirm-event"), leaf(started, "timeout")) == ("start", "600")
        client.commit(confirmed=True, confirm_timeout=600)
        client.commit()
        assert self.steps(client, 2) == [("extend", "alice"), ("complete", "alice")]

    def test_a_cancelled_one(self, client, policy):
        client.create_subscription()
        client.edit_config(wrapped(policy("a")), target="candidate")
        client.commit(confirmed=True, confirm_timeout=600)
        client.cancel_commit()
        assert self.steps(client, 4) == [("start", "alice"), ("cancel", "alice")]

    def test_one_that_is_late_names_nobody(self, client, policy, read_by_libyang):
        client.create_subscription()
        client.edit_config(wrapped(policy("a")), target="candidate")
        client.commit(confirmed=True, confirm_timeout=1)
        late = next(m for m in iter(lambda: take(client), None) if leaf(m, "confirm-event") == "timeout")
        read_by_libyang(late)
        assert leaf(late, "username") is None


class TestOfTheFunction:
    """Alarms, and settings that wait for a restart, are told as events of the function's own modules."""

    def test_an_alarm_that_is_raised_and_cleared(self, bench, client, read_by_libyang):
        client.create_subscription()
        port = "/ietf-interfaces:interfaces/interface[name='n3']"
        alarm = Alarm(port, "interface-down", "major", "n3 is down.", 1_700_000_000.0, 1_700_000_000.0, 1_700_000_000.0)
        for each in (alarm, replace(alarm, cleared=True, changed_s=1_700_000_010.0)):
            bench.datastore.events.tell(AlarmChange(each))

        raised, cleared = take(client), take(client)
        for each in (raised, cleared):
            read_by_libyang(each)
            assert event(each) == "alarm-notification"
            assert leaf(each, "resource").endswith("interface[ietf-interfaces:name='n3']")
            assert leaf(each, "alarm-type-id") == "snf-alarms:interface-down"
        assert [leaf(each, "perceived-severity") for each in (raised, cleared)] == ["major", "cleared"]
        assert [leaf(each, "time") for each in (raised, cleared)] == ["2023-11-14T22:13:20Z", "2023-11-14T22:13:30Z"]

    def test_limits_that_wait(self, bench, client, read_by_libyang):
        client.create_subscription()
        bench.datastore.events.tell(RestartNeeded(("flows", "shards")))

        told = take(client)
        read_by_libyang(told)
        assert event(told) == "restart-needed"
        assert names(told[1], "leaf-name") == ["flows", "shards"]


@pytest.mark.clause("RFC 5277", "R-13800")
class TestFilters:
    """A filter says which events are of interest (RFC 5277, 3.6)."""

    @pytest.mark.parametrize(
        "wanted",
        [
            f'<filter><netconf-config-change xmlns="{OF_6470}"/></filter>',
            f'<filter type="subtree"><netconf-config-change xmlns="{OF_6470}"><datastore>running</datastore>'
            "</netconf-config-change></filter>",
            f'<filter type="xpath" xmlns:n="{OF_6470}" select="/n:netconf-config-change[n:edit]"/>',
        ],
    )
    def test_others_are_not_sent(self, bench, client, policy, wanted):
        client.create_subscription(filter=wanted)
        with bench.manager() as other:  # its begin is not wanted
            other.edit_config(wrapped(policy("a")), target="candidate")
            other.commit()
        message = take(client)

        assert event(message) == "netconf-config-change"
        assert leaf(message, "username") == "alice"  # it is whole

    def test_one_that_is_none_is_refused(self, client):
        with pytest.raises(ClientError) as caught:
            client.create_subscription(filter='<filter type="xpath" select="/["/>')
        assert caught.value.tag == "invalid-value"


@pytest.mark.clause("RFC 5277", "R-13800")
class TestReplay:
    """Past events are sent when a start is given, and the end of the past is told (RFC 5277, 2.1.1 and 3.3)."""

    def test_past_then_present(self, bench, client):
        bench.server.notifications.publish(example())
        with bench.manager() as other:
            other.create_subscription(start_time=moment(-3600))
            seen = [event(take(other)) for _ in range(4)]
            assert seen == ["netconf-session-start", "replayComplete", "netconf-session-start", "replayComplete"]
            with bench.manager():
                assert event(take(other)) == "netconf-session-start"

    def test_the_order_and_time_of_what_was(self, bench, client):
        client.create_subscription(start_time=moment(-3600))
        times = [take(client)[0].text for _ in range(2)]
        assert times == sorted(times)

    def test_events_before_the_start_are_not_sent(self, bench, client):
        for text in ("old", "new"):
            begin = datetime.now(UTC).isoformat()
            bench.server.notifications.publish(example(text))
        client.create_subscription(start_time=begin)
        assert [take(client)[1].text for _ in range(2)] == ["new", None]

    def test_a_stop_in_the_past(self, client):
        client.create_subscription(start_time=moment(-7200), stop_time=moment(-3600))
        assert [event(take(client)) for _ in range(2)] == ["replayComplete", "notificationComplete"]

    def test_a_stop_to_come(self, bench, client):
        client.create_subscription(start_time=moment(-1), stop_time=moment(1))
        seen = []
        while not seen or seen[-1] != "notificationComplete":
            seen.append(event(take(client)))
        assert seen == ["netconf-session-start", "replayComplete", "notificationComplete"]
        bench.server.notifications.publish(example())
        client.create_subscription()  # the one before is over

    @pytest.mark.parametrize(
        ("given", "tag", "element"),
        [
            ({"stop_time": "2026-01-01T00:00:00Z"}, "missing-element", "startTime"),
            ({"start_time": "2099-01-01T00:00:00Z"}, "bad-element", "startTime"),
            ({"start_time": "2026-01-02T00:00:00Z", "stop_time": "2026-01-01T00:00:00Z"}, "bad-element", "stopTime"),
            ({"start_time": "yesterday"}, "bad-element", "startTime"),
            ({"stream": "SYSLOG"}, "bad-element", "stream"),
        ],
    )
    def test_what_is_refused(self, client, given, tag, element):
        with pytest.raises(ClientError) as caught:
            client.create_subscription(**given)
        assert (caught.value.tag, names(caught.value.reply_ele, "bad-element")) == (tag, [element])


@pytest.mark.clause("RFC 5277", "R-13800")
class TestInterleave:
    """Operations go on beside a subscription (RFC 5277, 6)."""

    def test_requests_are_answered(self, client):
        client.create_subscription()
        assert len(client.get_config(source="running").data_ele) == 0

    def test_a_second_subscription_is_refused(self, client):
        client.create_subscription()
        with pytest.raises(ClientError) as caught:
            client.create_subscription()
        assert caught.value.tag == "in-use"

    def test_the_reply_comes_first(self, bench):
        subscribe = SUBSCRIBE % f"<startTime>{moment(-3600)}</startTime>"
        with bench.channel() as channel:
            read(channel)
            channel.sendall(HELLO_10 + f'<rpc xmlns="{BASE}" message-id="1">{subscribe}</rpc>]]>]]>'.encode())
            data = b""
            while data.count(b"]]>]]>") < 2:
                data += channel.recv(65536)
        first, second, *_ = data.split(b"]]>]]>")
        assert [etree.QName(etree.fromstring(m)).localname for m in (first, second)] == ["rpc-reply", "notification"]


@pytest.mark.clause("RFC 5277", "R-13800")
class TestStream:
    """The stream and its log are told (RFC 5277, 3.4), notifications are counted (RFC 6022)."""

    def test_streams(self, client, libyang_reads):
        data = client.get(filter=f'<filter><netconf xmlns="{MANAGE}"/></filter>').data_ele
        libyang_reads(data)
        assert (names(data, "name"), names(data, "replaySupport")) == (["NETCONF"], ["true"])
        assert names(data, "replayLogAgedTime") == []

    def test_the_log_says_what_has_left_it(self, bench, client):
        for _ in range(1001):
            bench.server.notifications.publish(example())
        data = client.get(filter=f'<filter><netconf xmlns="{MANAGE}"/></filter>').data_ele
        assert len(names(data, "replayLogAgedTime")) == 1

    def test_they_are_counted(self, bench, client):
        client.create_subscription(start_time=moment(-1))
        take(client), take(client)
        data = client.get(filter=f'<filter><netconf-state xmlns="{NM}"/></filter>').data_ele
        assert names(data, "out-notifications") == ["2", "2"]


@pytest.mark.clause("RFC 8341")
class TestRights:
    """Whoever knows the rights of users is asked before an event goes to a session (RFC 8341, 3.4.6)."""

    def test_what_is_not_permitted_is_not_sent(self, bench, client):
        bench.server.notifications.permits = lambda caller, event: event if event.text == caller.user else None
        client.create_subscription()
        for text in ("bob", "alice"):
            bench.server.notifications.publish(example(text))
        assert take(client)[1].text == "alice"

    def test_a_part_may_be_left_out(self, bench, client):
        bench.server.notifications.permits = lambda _caller, event: etree.Element(event.tag)
        client.create_subscription()
        bench.server.notifications.publish(example("secret"))
        assert take(client)[1].text is None


class TestBounds:
    """Nobody who subscribes costs more than a bounded queue, and a publisher waits for nobody."""

    def test_a_reader_that_does_not_read_is_ended(self, bench, client):
        big = etree.Element(f"{{{MANAGE}}}replayComplete")
        big.text = "x" * 500_000
        with bench.channel() as channel:
            ask(channel, SUBSCRIBE % "")

            def ended():
                bench.server.notifications.publish(big)
                return not bench.datastore.has_session(2)

            assert bench.settles(ended, 60)
            assert bench.settles(lambda: bench.server.notifications.subscriptions() == [])
        assert len(client.get_config(source="running").data_ele) == 0

    @pytest.mark.parametrize(("number", "over"), [(2, False), (3, True)])
    def test_a_filter_that_takes_too_long_ends_its_subscription(self, number, over):
        def late(_tree):
            raise RpcError("resource-denied", "The filter takes more than a second.")

        events, sent = EventLog(), []
        ended = etree.Element(f"{{{MANAGE}}}notificationComplete")
        one = StreamSubscription(Caller(1), events, late, replayed=ended, completed=ended)
        for _ in range(number):
            events.append(example())
        one.step(lambda session, message: sent.append((session, message)), lambda _caller, event: event)

        assert (one.over, len(sent)) == (over, over)

    def test_no_thread_is_left(self, bench):
        with bench.manager() as client:
            client.create_subscription(start_time=moment(-1))
            take(client)
        mine = ("netconf-publish", "netconf-notify")
        assert bench.settles(lambda: not [t for t in threading.enumerate() if t.name in mine])

    def test_the_log_is_bounded_by_number_and_size(self):
        log = EventLog(records=3, size=1000)
        for text in "abcd":
            log.append(example(text))
        assert [log.at(n).element.text for n in range(4)] == ["b", "b", "c", "d"]
        log.append(example("x" * 2000))
        assert log.at(0) is None
        assert log.next == 5

    def test_an_outbox_that_is_full_ends_its_session_once(self):
        may_go, ends = threading.Event(), []
        outbox = Outbox(lambda _message: may_go.wait(20), lambda: ends.append(1))
        taken = [outbox.put(b"x" * 1_000_000) for _ in range(20)]
        may_go.set()
        assert (taken[0], taken[-1], ends) == (True, False, [1])

    def test_an_outbox_keeps_the_order_and_waits_for_the_reply(self):
        sent, done = [], threading.Event()
        outbox = Outbox(lambda m: (sent.append(m), m == b"3" and done.set()), lambda: None)
        with outbox.held():
            for message in (b"1", b"2", b"3"):
                outbox.put(message)
            sent.append(b"reply")
        assert done.wait(20 * slowness())
        outbox.close()
        assert sent == [b"reply", b"1", b"2", b"3"]


class TestNcclient:
    """The client that most orchestrators are built on takes notifications as well."""

    def test_they_come(self, bench, client):
        login = {"username": "alice", "key_filename": str(bench.key), "hostkey_verify": False}
        quiet = {"allow_agent": False, "look_for_keys": False}
        with ncclient_manager.connect(host="127.0.0.1", port=bench.server.port, **login, **quiet) as session:
            session.create_subscription(filter=("subtree", f'<netconf-config-change xmlns="{OF_6470}"/>'))
            client.edit_config(wrapped(PRIVATE), target="candidate")
            client.commit()
            told = session.take_notification(timeout=20 * slowness())
        assert names(told.notification_ele, "username") == ["alice"]
