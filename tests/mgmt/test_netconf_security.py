"""Access, and the harm that a peer can do: one class for each known defect of the package's server.

The defects S1 to S8 were found in the server of the package `netconf`, version 2.1.0, of which only
the session is used. That its kill-session ends the caller: `test_netconf_operations.py`.
"""

import contextlib
import logging
import math
import os
import random
import select
import socket
import time
from pathlib import Path

import paramiko
import pytest

from lab.wait import slowness
from mgmt.netconf.served import Function
from mgmt.netconf.ssh.listener import NetconfServer
from mgmt.netconf.store.datastore import Datastore
from nf.errors import SnfError
from tests.mgmt.conftest import Bench

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
HELLO_10 = (
    f'<hello xmlns="{BASE}"><capabilities><capability>{BASE.replace("xml:ns:", "")}</capability></capabilities>'
    "</hello>]]>]]>"
).encode()
HELLO_11 = HELLO_10.replace(b"base:1.0</cap", b"base:1.1</cap")


def login(bench, user: str, key: Path) -> None:
    with bench.channel(user, key):
        pass


def busy_s(seconds: float) -> float:
    """CPU seconds that this process takes in so many seconds of doing nothing."""
    before = time.process_time()
    time.sleep(seconds)
    return time.process_time() - before


class TestUserNames:
    """S1: a user name is no path. A name that leads to a key file of its owner's logged in."""

    @pytest.mark.parametrize("name", ["root/../{}", "../{}", "{}", "/{}", "alice/../{}"])
    def test_a_name_that_leads_to_a_folder_with_keys(self, bench, key_pair, tmp_path, name):
        folder = tmp_path / "evil" / ".ssh"
        folder.mkdir(parents=True)
        evil = key_pair("evil")
        (folder / "authorized_keys").write_text(evil.with_suffix(".pub").read_text())
        with pytest.raises(paramiko.AuthenticationException):
            login(bench, name.format(str(tmp_path / "evil").lstrip("/")), evil)

    @pytest.mark.parametrize("name", ["", "root", "ALICE", "alice ", "alice\n", "a" * 10_000, "\x00"])
    def test_a_name_that_is_not_in_the_file(self, bench, name):
        with pytest.raises(paramiko.SSHException):
            login(bench, name, bench.key)
        login(bench, "alice", bench.key)


class TestUsersFile:
    """S2, S8: the file is what decides, about each key of each user, at each login."""

    def test_a_key_of_another_user(self, bench, key_pair):
        bob = key_pair("bob")
        with bench.users.open("a") as users:
            users.write("bob " + bob.with_suffix(".pub").read_text())
        login(bench, "bob", bob)
        with pytest.raises(paramiko.AuthenticationException):
            login(bench, "alice", bob)

    @pytest.mark.parametrize(("kind", "bits"), [("ed25519", ""), ("ecdsa", "256"), ("ecdsa", "521"), ("rsa", "2048")])
    @pytest.mark.clause("RFC 4253")
    def test_kinds_of_keys(self, bench, key_pair, kind, bits):
        key = key_pair(f"{kind}{bits}", kind, bits)
        with bench.users.open("a") as users:
            users.write("carol " + key.with_suffix(".pub").read_text())
        login(bench, "carol", key)

    def test_a_line_that_is_taken_out_ends_the_access(self, bench):
        login(bench, "alice", bench.key)
        bench.users.write_text("# nobody\n")
        with pytest.raises(paramiko.AuthenticationException):
            login(bench, "alice", bench.key)

    @pytest.mark.parametrize("what", ["gone", "damaged"])
    def test_a_file_that_cannot_be_read_lets_nobody_in(self, bench, what, caplog):
        if what == "gone":
            bench.users.unlink()
        else:
            bench.users.write_text(f"{bench.users.read_text()}alice ssh-ed25519 !!!\n")
        with pytest.raises(paramiko.AuthenticationException):
            login(bench, "alice", bench.key)
        assert "users file" in caplog.text

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("alice", "Line 1"),
            ("# x\nalice ssh-ed25519 AAAA\n", "Line 2"),
            ("alice ssh-dss AAAAB3NzaC1kc3M=\n", "ssh-ed25519"),
            ("../x ssh-ed25519 AAAA\n", "name"),
        ],
    )
    def test_a_line_that_is_wrong_is_said_at_start(self, datastore, tmp_path, text, said):
        users = tmp_path / "users"
        users.write_text(text)
        with pytest.raises(SnfError, match=said):
            NetconfServer(datastore, Function(dict), port=0, users_file=users)

    def test_a_short_rsa_key_is_refused_at_start(self, datastore, tmp_path, key_pair):
        users = tmp_path / "users"
        users.write_text("alice " + key_pair("short", "rsa", "1024").with_suffix(".pub").read_text())
        with pytest.raises(SnfError, match="2048"):
            NetconfServer(datastore, Function(dict), port=0, users_file=users)

    def test_a_file_that_others_can_write_is_refused_at_start(self, datastore, tmp_path):
        users = tmp_path / "users"
        users.write_text("")
        users.chmod(0o666)
        with pytest.raises(SnfError, match="chmod go-w"):
            NetconfServer(datastore, Function(dict), port=0, users_file=users)

    def test_there_are_no_passwords(self, bench):
        transport = paramiko.Transport(("127.0.0.1", bench.server.port))
        with contextlib.closing(transport):
            transport.start_client(timeout=20 * slowness())
            with pytest.raises(paramiko.BadAuthenticationType) as caught:
                transport.auth_password("alice", "alice")
        assert caught.value.allowed_types == ["publickey"]

    def test_a_login_is_for_netconf_only(self, bench):
        transport = paramiko.Transport(("127.0.0.1", bench.server.port))
        with contextlib.closing(transport):
            transport.connect(username="alice", pkey=paramiko.PKey.from_path(bench.key))
            channel = transport.open_session()
            with pytest.raises(paramiko.SSHException):
                channel.exec_command("id")
            with pytest.raises(paramiko.SSHException):
                transport.open_channel("direct-tcpip", ("127.0.0.1", 22), ("127.0.0.1", 1))
            with pytest.raises(paramiko.SSHException):
                transport.open_session()


class TestSilentPeers:
    """S3: a peer that says nothing delays nobody. Three of them delayed a login by 45 seconds."""

    def test_ten_silent_peers(self, bench):
        with contextlib.ExitStack() as stack:
            here = ("127.0.0.1", bench.server.port)
            silent = [stack.enter_context(socket.create_connection(here)) for _ in range(10)]
            login(bench, "alice", bench.key)
            # The silent ones are still there: nobody waited for their deadline.
            assert all(select.select([s], [], [], 0)[0] == [] or s.recv(1, socket.MSG_PEEK) for s in silent)


class TestDeadlines:
    """S5: who does not log in is closed in time, and only so many may try at once."""

    @pytest.fixture
    def limits(self):
        seconds = math.ceil(0.8 * slowness())
        return (
            f"<max-unauthenticated>3</max-unauthenticated><login-time>{seconds}</login-time>"
            f"<least-login-time>{seconds}</least-login-time>"
        )

    def test_a_silent_peer_is_closed(self, bench):
        with socket.create_connection(("127.0.0.1", bench.server.port)) as sock:
            sock.settimeout(20 * slowness())
            assert sock.recv(100).startswith(b"SSH-2.0-")
            while sock.recv(4096):
                pass
        assert bench.settles(lambda: bench.threads() == [])

    def test_a_peer_without_a_key_is_closed(self, bench):
        transport = paramiko.Transport(("127.0.0.1", bench.server.port))
        with contextlib.closing(transport):
            transport.start_client(timeout=20 * slowness())
            assert bench.settles(lambda: not transport.is_active())

    def test_a_login_without_hello_is_closed(self, bench):
        with bench.channel() as channel:
            while channel.recv(4096):
                pass
        assert bench.settles(lambda: bench.threads() == [])

    def test_the_oldest_of_those_above_the_cap_are_closed_at_once_and_a_user_comes_in(self, bench):
        with contextlib.ExitStack() as stack:
            here = ("127.0.0.1", bench.server.port)
            socks = [stack.enter_context(socket.create_connection(here)) for _ in range(6)]
            assert all(sock.recv(100).startswith(b"SSH-2.0-") for sock in socks)
            for sock in socks[:3]:
                sock.settimeout(20 * slowness())
                assert sock.recv(1) == b""
            login(bench, "alice", bench.key)
        assert bench.settles(lambda: bench.threads() == [])


class TestPeersThatGo:
    """S4: a session that goes without a word leaves no thread and takes no time. It took a CPU for ever."""

    @pytest.mark.parametrize(
        "last_words",
        [
            b"",
            HELLO_10,
            HELLO_10 + b"<rpc",
            HELLO_11,
            HELLO_11 + b"\n",
            HELLO_11 + b"\n#10",
            HELLO_11 + b"\n#1000\n<rpc",
            HELLO_11 + b"\n#4\n<rpc",
            HELLO_11 + b"garbage",
            HELLO_11 + b"\n#4294967295\n",
            b"<hello/>]]>]]>",
            b"garbage]]>]]>",
        ],
    )
    def test_a_connection_that_is_dropped(self, bench, last_words, caplog):
        with bench.channel() as channel:
            channel.sendall(last_words + b"")
            time.sleep(0.05)
            channel.get_transport().sock.close()
        assert bench.settles(lambda: bench.threads() == [])
        assert busy_s(0.2) < 0.1
        # A peer that goes is no failure of the function.
        assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR and r.name != "root"] == []

    def test_two_hundred_sessions_of_noise(self, bench, caplog):
        caplog.set_level(logging.INFO)
        noise = random.Random(6242)
        pieces = [
            HELLO_10,
            HELLO_11,
            b"\n#",
            b"\n##\n",
            b"]]>]]>",
            b"<rpc>",
            b"4\n",
            b"<",
            b"\xff\x00",
            b"\n#9\n<rpc a='b",
        ]
        for _ in range(20):
            with bench.channel() as channel, contextlib.suppress(OSError):
                for _ in range(10):
                    channel.sendall(b"".join(noise.choices(pieces, k=noise.randrange(1, 8))))
        assert bench.settles(lambda: bench.threads() == [], 10)
        assert busy_s(0.3) < 0.1
        assert "Traceback" not in caplog.text
        login(bench, "alice", bench.key)

    def test_a_reader_that_does_not_read_holds_nobody_else(self, bench, config):
        entries = "".join(
            f"<static-session><name>s{i}</name><ue-ipv4>10.0.{i >> 8}.{i & 255}</ue-ipv4></static-session>"
            for i in range(8000)
        )
        owner = bench.datastore.open_session()
        bench.datastore.edit(
            owner, config(f'<subscribers xmlns="urn:supernetflow:yang:snf-subscribers">{entries}</subscribers>')
        )
        with bench.channel() as channel:
            channel.sendall(HELLO_10)
            ask = f'<rpc xmlns="{BASE}" message-id="1"><get-config><source><candidate/></source></get-config></rpc>'
            for _ in range(10):
                channel.sendall(ask.encode() + b"]]>]]>")
            with bench.manager() as client:
                client.lock(target="running")


@pytest.mark.clause("R-73468")
class TestAddress:
    """S6: it listens where it is told to, and nowhere else."""

    def test_loopback_is_loopback(self, bench):
        found = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        listening = [line.split()[1] for line in found.splitlines() if line.split()[3] == "0A"]
        assert [a for a in listening if a.endswith(f":{bench.server.port:04X}")] == [
            f"0100007F:{bench.server.port:04X}"
        ]

    def test_an_address_in_use_is_a_sentence(self, bench, tmp_path, recorder):
        other = NetconfServer(
            Datastore(tmp_path / "other", recorder), Function(dict), port=bench.server.port, users_file=bench.users
        )
        with pytest.raises(SnfError, match=f"port {bench.server.port}: Address already in use"):
            other.start()
        other.stop()


@pytest.mark.clause("R-73468")
class TestHostKey:
    """S7: there is a host key, or a sentence why not."""

    @pytest.fixture
    def users(self, tmp_path):
        path = tmp_path / "users"
        path.write_text("")
        return path

    def test_it_is_made_once_and_for_the_owner_only(self, datastore, users):
        first, second = (NetconfServer(datastore, Function(dict), port=0, users_file=users) for _ in range(2))
        assert first.host_key_fingerprint == second.host_key_fingerprint
        assert (datastore.state_dir / "ssh_host_key").stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize(("kind", "bits"), [("ed25519", ""), ("ecdsa", "256"), ("rsa", "2048")])
    def test_one_of_ones_own(self, datastore, users, key_pair, kind, bits):
        key = key_pair(f"{kind}{bits}", kind, bits)
        server = NetconfServer(datastore, Function(dict), port=0, users_file=users, host_key_file=key)
        assert server.host_key_fingerprint == paramiko.PKey.from_path(key).fingerprint

    @pytest.mark.parametrize(
        ("content", "mode", "said"),
        [
            (None, 0, "No such file"),
            (b"not a key", 0o600, "not a private key"),
            (b"", 0o600, "not a private key"),
            (
                b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
                0o600,
                "not a private key",
            ),
            (b"x", 0o644, "chmod 600"),
        ],
    )
    def test_one_that_is_none_is_refused(self, datastore, users, tmp_path, content, mode, said):
        path = tmp_path / "key"
        if content is not None:
            path.write_bytes(content)
            os.chmod(path, mode)
        with pytest.raises(SnfError, match=said):
            NetconfServer(datastore, Function(dict), port=0, users_file=users, host_key_file=path)


class TestStop:
    """stop() ends every session and leaves no thread."""

    def test_with_open_sessions(self, datastore, key_pair, tmp_path):
        users = tmp_path / "users"
        users.write_text("alice " + key_pair("alice").with_suffix(".pub").read_text())
        server = NetconfServer(datastore, Function(dict), port=0, users_file=users)
        bench = Bench(server, datastore, None, users, key_pair("alice"))
        server.start()
        with bench.channel() as channel, bench.manager() as client:
            client.lock(target="candidate")
            server.stop()
            assert channel.recv(65536) is not None
        assert datastore.lock_owner("candidate")[0] is None
        assert bench.settles(lambda: bench.threads() == [])
