"""Call home (RFC 8071), with the clients that orchestrators are made of."""

import contextlib
import socket

import ncclient.manager
import pytest
from netconf_client.connect import CallhomeManager
from netconf_client.ncclient import Manager

from lab.wait import slowness

MANAGEMENT = "urn:supernetflow:yang:snf-management"


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture
def call(bench, config, port):
    """Commit a client at *port* of this host, or none."""

    def commit(inner: str = "") -> None:
        client = f"<client><name>noc</name><address>127.0.0.1</address><port>{port}</port>{inner}</client>"
        session = bench.datastore.open_session()
        bench.datastore.edit(
            session, config(f'<management xmlns="{MANAGEMENT}"><call-home>{client}</call-home></management>')
        )
        bench.datastore.commit(session)
        bench.datastore.close_session(session)

    return commit


def state(bench):
    (found,) = bench.server._call_home.states()
    return found


@pytest.mark.clause("RFC 8071")
class TestCall:
    """The function connects to the client, which then logs in as ever."""

    def test_netconf_client_is_called_and_called_again(self, bench, call, port):
        with CallhomeManager("127.0.0.1", port) as home:
            call()
            for _ in range(2):
                session = home.accept_one_ssh(username="alice", key_filename=str(bench.key))
                with Manager(session, timeout=20 * slowness()) as client:
                    assert b"noc" in client.get_config(source="running").data_xml
                    assert bench.settles(lambda: state(bench).connected)
                assert bench.settles(lambda: not state(bench).connected)

    def test_ncclient_is_called_when_it_begins_to_listen(self, bench, call, port, caplog):
        call("<max-wait>1</max-wait>")
        assert bench.settles(lambda: state(bench).attempts > 1)
        assert state(bench).error == "Connection refused"

        with ncclient.manager.call_home(
            host="127.0.0.1",
            port=port,
            username="alice",
            key_filename=str(bench.key),
            hostkey_verify=False,
            allow_agent=False,
            look_for_keys=False,
            timeout=20 * slowness(),
        ) as client:
            assert "noc" in client.get_config("running").data_xml
            assert bench.settles(lambda: state(bench).connected)
        # One line for all the attempts.
        assert len([r for r in caplog.records if "cannot be called" in r.getMessage()]) == 1


class TestStranger:
    """A client that does not log in in time is no client."""

    @pytest.fixture
    def limits(self):
        return "<login-time>1</login-time><least-login-time>1</least-login-time>"

    def test_a_client_without_a_key_gets_nothing(self, bench, call, port, key_pair):
        with CallhomeManager("127.0.0.1", port) as home:
            call()
            with (
                pytest.raises(Exception, match="Authentication"),
                contextlib.closing(home.accept_one_ssh(username="alice", key_filename=str(key_pair("evil")))),
            ):
                pass
            assert bench.settles(lambda: state(bench).error == "the client did not log in")


class TestConfiguration:
    """A client that is taken out is called no more."""

    def test_a_client_is_taken_out(self, bench, call, config, port):
        call("<max-wait>1</max-wait>")
        assert bench.settles(lambda: state(bench).attempts > 0)
        session = bench.datastore.open_session()
        gone = f'<management xmlns="{MANAGEMENT}"><call-home nc:operation="delete"/></management>'
        bench.datastore.edit(session, config(gone))
        bench.datastore.commit(session)
        assert bench.settles(lambda: not bench.server._call_home._states)

    def test_its_state_is_valid(self, bench, call, libyang_reads):
        call()
        assert bench.settles(lambda: state(bench).attempts > 0)
        with bench.manager() as client:
            libyang_reads(client.get().data_ele)
