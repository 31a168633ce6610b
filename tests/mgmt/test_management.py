"""The module snf-management: limits and users of the server, in force with the commit, and its state."""

import contextlib
import socket

import paramiko
import pytest

from lab.wait import slowness
from mgmt.netconf.rpcerror import RpcError
from nf.settings import Management
from tests.mgmt.raw import ask, names, read

MANAGEMENT = "urn:supernetflow:yang:snf-management"
M = "/snf-management:management"
LEAVES = {
    "max-sessions": "sessions",
    "max-unauthenticated": "unauthenticated",
    "max-unauthenticated-per-source": "per_source",
    "login-time": "login_s",
    "least-login-time": "least_login_s",
    "idle-time": "idle_s",
}


def management(inner: str) -> str:
    return f'<management xmlns="{MANAGEMENT}">{inner}</management>'


def user(name: str, key, algorithm: str = "", data: str = "") -> str:
    kind, blob, _ = key.with_suffix(".pub").read_text().split() if key else (algorithm, data, "")
    return (
        f"<user><name>{name}</name><authorized-key><name>laptop</name><algorithm>{kind}</algorithm>"
        f"<key-data>{blob}</key-data></authorized-key></user>"
    )


@pytest.fixture
def commit(datastore, config):
    """Commit an edit of the container management."""

    def run(inner: str) -> None:
        session = datastore.open_session()
        try:
            datastore.edit(session, config(management(inner)))
            datastore.commit(session)
        finally:
            datastore.close_session(session)

    return run


class TestUsers:
    """A user of the configuration logs in from the commit on, with the keys that stand there, beside the users file."""

    def test_he_logs_in_until_his_key_is_taken_out(self, bench, commit, key_pair):
        carol = key_pair("carol")
        with pytest.raises(paramiko.AuthenticationException), bench.channel("carol", carol):
            pass
        commit(user("carol", carol))
        with bench.channel("carol", carol) as open_one:
            assert read(open_one) is not None
            commit(
                user("carol", key_pair("other")).replace("<authorized-key>", '<authorized-key nc:operation="replace">')
            )
            with pytest.raises(paramiko.AuthenticationException), bench.channel("carol", carol):
                pass
        with bench.channel("carol", key_pair("other")) as channel:
            assert read(channel) is not None

    def test_keys_of_file_and_configuration_are_his(self, bench, commit, key_pair):
        commit(user("alice", key_pair("second")))
        for key in (bench.key, key_pair("second")):
            with bench.channel("alice", key) as channel:
                assert read(channel) is not None

    @pytest.mark.parametrize(
        ("algorithm", "blob"),
        [("ssh-ed25519", "AAAA"), ("ssh-rsa", "AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g")],
    )
    def test_a_key_that_is_none_is_refused_with_its_path(self, commit, algorithm, blob):
        with pytest.raises(RpcError) as caught:
            commit(user("carol", None, algorithm, blob))
        assert caught.value.path == f"{M}/user[name='carol']/authorized-key[name='laptop']/key-data"

    def test_a_short_rsa_key_is_refused(self, commit, key_pair):
        with pytest.raises(RpcError, match="2048"):
            commit(user("carol", key_pair("short", "rsa", "1024")))


class TestLimits:
    """A limit holds for connections after the commit, without a restart."""

    def test_what_is_not_configured_is_what_the_module_says(self, model):
        server = next(n for n in model.top.values() if n.name == "management").child("server")
        stated = {leaf.name: int(leaf.handle.default()) for leaf in server.children.values()}
        assert stated == {name: getattr(Management(), setting) for name, setting in LEAVES.items()}

    def test_the_session_above_the_most_is_closed(self, bench, commit):
        commit("<server><max-sessions>1</max-sessions></server>")
        with bench.channel() as first:
            assert read(first) is not None
            with pytest.raises((paramiko.SSHException, EOFError, OSError)), bench.channel() as second:
                read(second)
            commit("<server><max-sessions>2</max-sessions></server>")
            with bench.channel() as second:
                assert read(second) is not None

    def test_connections_that_are_silent_take_no_place_of_a_session(self, bench, commit):
        commit("<server><max-sessions>1</max-sessions><max-unauthenticated>2</max-unauthenticated></server>")
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                stack.enter_context(socket.create_connection(("127.0.0.1", bench.server.port)))
            with bench.channel() as channel:
                assert read(channel) is not None

    def test_the_shorter_time_is_the_shorter_one(self, commit):
        with pytest.raises(RpcError) as caught:
            commit("<server><login-time>5</login-time><least-login-time>6</least-login-time></server>")
        assert caught.value.app_tag == "least-login-time-is-less"


class TestState:
    """The operational state says who is there, and what was counted."""

    def test_it_counts_logins_sessions_and_failures(self, bench, key_pair, libyang_reads):
        with pytest.raises(paramiko.AuthenticationException), bench.channel("alice", key_pair("evil")):
            pass
        with socket.create_connection(("127.0.0.1", bench.server.port)) as sock:
            sock.settimeout(20 * slowness())
            sock.sendall(b"GET / HTTP/1.1\r\n")
            while sock.recv(100):
                pass
        with bench.channel() as channel:
            wanted = f'<get><filter><management xmlns="{MANAGEMENT}"><state/></management></filter></get>'
            assert bench.settles(lambda: names(ask(channel, wanted), "unauthenticated") == ["0"])
            reply = ask(channel, wanted)

        data = reply[0]
        libyang_reads(data)
        counted = dict(zip(names(data, "name"), map(int, names(data, "value")), strict=True))
        assert names(data, "sessions") == ["1"]
        assert counted == {
            "connections": 3,
            "logins": 1,
            "failed_logins": 1,
            "sessions": 1,
            "closed_gone": 1,
            "closed_not_ssh": 1,
        }
