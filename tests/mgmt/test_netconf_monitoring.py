"""The state of the server itself: its sessions, and counts since its start (RFC 6022)."""

from contextlib import suppress

import pytest
from netconf_client.error import RpcError as ClientError

from mgmt.netconf.caller import Caller
from mgmt.netconf.roster import Counts, Roster
from tests.mgmt.raw import NM, ask, read

N = {"n": NM}
STATE = f'<netconf-state xmlns="{NM}"/>'


@pytest.fixture
def client(bench):
    with bench.manager() as client:
        yield client


def state(client):
    return client.get(filter=f"<filter>{STATE}</filter>").data_ele


def counts(entry):
    names = ("in-rpcs", "in-bad-rpcs", "out-rpc-errors", "out-notifications")
    return [int(entry.findtext(f"{{{NM}}}{name}")) for name in names]


def statistic(client, name):
    return int(state(client).xpath(f"//n:statistics/n:{name}/text()", namespaces=N)[0])


@pytest.mark.clause("RFC 6022")
class TestSessions:
    """Each open session is listed with who has it (RFC 6022, 2.1.4)."""

    def test_it_is_valid(self, client, libyang_reads):
        libyang_reads(state(client))

    def test_who(self, client):
        (session,) = state(client).iter(f"{{{NM}}}session")
        leaves = ("session-id", "transport", "username", "source-host")
        assert [session.findtext(f"{{{NM}}}{leaf}") for leaf in leaves] == ["1", "netconf-ssh", "alice", "127.0.0.1"]
        assert session.findtext(f"{{{NM}}}login-time").endswith("Z")

    def test_messages_are_counted(self, bench, client):
        with bench.channel() as channel:
            ask(channel, "<get-config><source><running/></source></get-config>")
            ask(channel, "<lock><target><startup/></target></lock>")  # a correct rpc with an error
            ask(channel, "", raw=b"<rpc")  # none
            _, session = state(client).iter(f"{{{NM}}}session")
        assert counts(session) == [2, 1, 2, 0]

    def test_one_that_has_ended_is_not_listed(self, bench, client):
        with bench.manager() as other:
            other.close_session()
        assert bench.settles(lambda: len(state(client).xpath("//n:session", namespaces=N)) == 1)


@pytest.mark.clause("RFC 6022")
class TestStatistics:
    """Counts of all sessions since the start of the server (RFC 6022, 2.1.5)."""

    def test_counts_outlive_their_session(self, bench, client):
        with bench.channel() as channel:
            ask(channel, "", raw=b"<rpc")
        assert bench.settles(lambda: statistic(client, "dropped-sessions") == 1)
        assert (statistic(client, "in-bad-rpcs"), statistic(client, "in-sessions")) == (1, 2)

    def test_a_bad_hello(self, bench, client):
        with bench.channel() as channel, suppress(AssertionError):
            read(channel)
            channel.sendall(b"<hello/>]]>]]>")
            read(channel)
        assert bench.settles(lambda: statistic(client, "in-bad-hellos") == 1)
        assert statistic(client, "dropped-sessions") == 0

    @pytest.mark.parametrize("end", ["close", "kill"])
    def test_an_orderly_end_is_no_drop(self, bench, client, end):
        with bench.manager() as other:
            if end == "close":
                other.close_session()
            else:
                client.kill_session("2")
                with suppress(ClientError, OSError):
                    other.get()
        assert bench.settles(lambda: len(state(client).xpath("//n:session", namespaces=N)) == 1)
        assert statistic(client, "dropped-sessions") == 0


class TestRoster:
    """Counts of sessions that come and go."""

    def test_sums(self):
        roster = Roster()
        for number in (1, 2):
            roster.enter(Caller(number), lambda _message: True)
            roster.answered(number, bad=False, error=True)
        roster.leave(1)

        assert roster.statistics().counts == Counts(in_rpcs=2, out_rpc_errors=2)

    def test_a_notification_that_a_session_does_not_take_is_not_counted(self):
        roster = Roster()
        roster.enter(Caller(1), lambda message: message == b"taken")
        for message in (b"taken", b"refused"):
            roster.notify(1, message)
        roster.notify(2, b"taken")

        assert roster.statistics().counts.out_notifications == 1
