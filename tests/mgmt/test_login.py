"""Attempts to log in as somebody else: refused, logged with their source, slowed; others log in meanwhile."""

import base64
import contextlib
import logging
import os
import re
import socket
import threading
import time

import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lab.wait import slowness
from tests.mgmt.conftest import Bench
from tests.mgmt.raw import read

ATTEMPTS = int(os.environ.get("SNF_LOGINS", "300"))
SOURCES = max(20, ATTEMPTS // 50)
SECONDS = float(os.environ.get("SNF_LOGINS_S", "3"))
NAMES = [
    "../../etc/passwd",
    "alice/../bob",
    "root/../srv/evil",
    "~alice",
    "alice\x00",
    "alice\n",
    " alice",
    "ALICE",
    "",
    "none",
    "*",
    "\u202ealice",
    "a" * 10_000,
]


def transport_from(bench: Bench, source: str) -> paramiko.Transport:
    """Return a connection from another address of this host, with its keys exchanged."""
    sock = socket.create_connection(("127.0.0.1", bench.server.port), source_address=(source, 0))
    transport = paramiko.Transport(sock)
    transport.packetizer.start_handshake = lambda _timeout: None  # a timer each, for 15 s
    transport.start_client(timeout=20 * slowness())
    return transport


@contextlib.contextmanager
def attacker(bench: Bench, source: str = "127.0.2.1"):
    with contextlib.closing(transport_from(bench, source)) as transport:
        yield transport


def refusals(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if " failed: " in r.getMessage()]


def counters(bench: Bench) -> dict[str, int]:
    return dict(bench.server._audit.counts())


class TestRefused:
    """Each attempt without a key of that very user is refused and logged with name, source and key."""

    @pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
    def test_a_name_that_is_nobody_s(self, bench, caplog, name):
        with attacker(bench) as transport, pytest.raises(paramiko.SSHException):
            transport.auth_publickey(name, paramiko.PKey.from_path(bench.key))
        assert bench.settles(lambda: refusals(caplog))

        (said,) = refusals(caplog)
        fingerprint = re.escape(paramiko.PKey.from_path(bench.key).fingerprint)
        assert re.fullmatch(
            rf'login of "[ -~]{{0,64}}"(\.\.\.)? from 127\.0\.2\.1 port \d+ failed: {fingerprint}', said
        )

    def test_a_key_of_another_user(self, bench, key_pair, caplog):
        bob = key_pair("bob")
        with bench.users.open("a") as users:
            users.write("bob " + bob.with_suffix(".pub").read_text())
        with attacker(bench) as transport, pytest.raises(paramiko.AuthenticationException):
            transport.auth_publickey("alice", paramiko.PKey.from_path(bob))
        assert paramiko.PKey.from_path(bob).fingerprint in refusals(caplog)[0]

    def test_a_key_that_was_taken_out(self, bench, caplog):
        bench.users.write_text("# nobody\n")
        with attacker(bench) as transport, pytest.raises(paramiko.AuthenticationException):
            transport.auth_publickey("alice", paramiko.PKey.from_path(bench.key))
        assert len(refusals(caplog)) == 1

    @pytest.mark.parametrize("password", ["", "alice", "x" * 10_000])
    def test_a_password(self, bench, caplog, password):
        with attacker(bench) as transport, pytest.raises(paramiko.AuthenticationException):
            transport.auth_password("alice", password)
        assert [said.rpartition(": ")[2] for said in refusals(caplog)] == ["password"]

    def test_questions_and_answers(self, bench, caplog):
        with attacker(bench) as transport, pytest.raises(paramiko.AuthenticationException):
            transport.auth_interactive("alice", lambda *_: [])
        assert [said.rpartition(": ")[2] for said in refusals(caplog)] == ["keyboard-interactive"]

    def test_a_public_key_without_its_private_one(self, bench, caplog):
        """The name of a user and his public key are no secrets: the signature counts."""

        class Claimed(paramiko.PKey):
            """Says that it is alice's key, and signs with another one."""

            def __init__(self) -> None:
                self._blob = base64.b64decode(bench.key.with_suffix(".pub").read_text().split()[1])
                self._other = Ed25519PrivateKey.generate()
                self.public_blob = None

            def asbytes(self) -> bytes:
                return self._blob

            def get_name(self) -> str:
                return "ssh-ed25519"

            def sign_ssh_data(self, data: bytes, _algorithm: str | None = None) -> paramiko.Message:
                message = paramiko.Message()
                message.add_string("ssh-ed25519")
                message.add_string(self._other.sign(data))
                return message

        with attacker(bench) as transport, pytest.raises(paramiko.AuthenticationException):
            transport.auth_publickey("alice", Claimed())
        assert len(refusals(caplog)) == 1
        assert counters(bench)["failed_logins"] == 1
        assert "logins" not in counters(bench)

    def test_no_method_at_all_is_no_attempt(self, bench, caplog):
        with attacker(bench) as transport, pytest.raises(paramiko.BadAuthenticationType):
            transport.auth_none("alice")
        assert refusals(caplog) == []


class TestAccepted:
    """A login is logged, whatever comes after it."""

    def test_a_user_who_closes_at_once(self, bench, caplog):
        caplog.set_level(logging.INFO)
        with attacker(bench) as transport:
            transport.auth_publickey("alice", paramiko.PKey.from_path(bench.key))
        assert bench.settles(lambda: counters(bench).get("logins") == 1)
        assert 'login of "alice" from 127.0.2.1 port' in caplog.text
        assert bench.settles(lambda: bench.threads() == [])


class TestMany:
    """Hundreds of attempts, from some addresses at once: they are slowed, and a user at another address is not."""

    def test_they_are_slowed_and_others_are_not(self, bench, caplog, key_pair):
        evil, stop, tried = paramiko.PKey.from_path(key_pair("evil")), threading.Event(), []

        def attack(source: str) -> None:
            while not stop.is_set() and sum(tried) < ATTEMPTS:
                with (
                    contextlib.suppress(paramiko.SSHException, EOFError, OSError),
                    attacker(bench, source) as transport,
                ):
                    for _ in range(9):
                        with contextlib.suppress(paramiko.AuthenticationException):
                            if stop.is_set():
                                break
                            tried.append(1)
                            transport.auth_timeout = 60 * slowness()
                            transport.auth_publickey("alice", evil)

        logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # of the attacker
        begun = time.monotonic()
        threads = [threading.Thread(target=attack, args=(f"127.0.2.{n + 1}",)) for n in range(SOURCES)]
        for thread in threads:
            thread.start()
        took_s = []
        while any(t.is_alive() for t in threads) and time.monotonic() - begun < SECONDS:
            at_s = time.monotonic()
            with bench.channel() as channel:
                assert read(channel) is not None
            took_s.append(time.monotonic() - at_s)
        stop.set()
        passed_s = time.monotonic() - begun
        failed = counters(bench)["failed_logins"]
        print(
            f"{sum(tried)} attempts, {failed} answered in {passed_s:.0f} s, {len(took_s)} logins, {max(took_s):.2f} s"
        )

        assert max(took_s) < 1.0 * slowness()
        # Each source has five at once, then one and another one, and at last one in five seconds.
        assert failed <= SOURCES * (5 + 6 + passed_s / 2)
        assert len(refusals(caplog)) <= 10 * (passed_s + 2)
        assert all("127.0.2." in said for said in refusals(caplog))
        for transport in [t for t in threading.enumerate() if isinstance(t, paramiko.Transport) and not t.server_mode]:
            transport.close()
        for thread in threads:
            thread.join(30 * slowness())
        assert bench.settles(lambda: bench.threads() == [], 2.0)


class TestSlowed:
    """An address that fails waits for its answers; the first ones, as of an agent with some keys, come at once."""

    def test_each_answer_after_the_fifth_comes_later(self, bench, key_pair):
        evil, took_s = paramiko.PKey.from_path(key_pair("evil")), []
        with attacker(bench) as transport:
            for _ in range(8):
                begun = time.monotonic()
                with pytest.raises(paramiko.AuthenticationException):
                    transport.auth_publickey("alice", evil)
                took_s.append(time.monotonic() - begun)
        # Lower bounds only: a busy machine makes everything longer.
        assert [took >= least for took, least in zip(took_s[5:], [0.2, 0.4, 0.8], strict=True)] == [True] * 3
        assert sum(took_s[:5]) < sum(took_s[5:])

    def test_an_agent_with_four_other_keys_logs_in(self, bench, key_pair):
        for _ in range(3):
            with attacker(bench) as transport:
                for _ in range(4):
                    with pytest.raises(paramiko.AuthenticationException):
                        transport.auth_publickey("alice", paramiko.PKey.from_path(key_pair("evil")))
                transport.auth_publickey("alice", paramiko.PKey.from_path(bench.key))
                assert transport.is_authenticated()
