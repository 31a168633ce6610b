"""All that a peer can send, leave out or hold back; a client is served meanwhile, and nothing stays behind."""

import contextlib
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest

from lab.wait import slowness
from mgmt.netconf.budget import Budget
from tests.mgmt.raw import BASE, HELLO_10, HELLO_11, NM, ask, read, tag_of

BANNER = b"SSH-2.0-nobody\r\n"
FLOOD = int(os.environ.get("SNF_FLOOD", "200"))  # connections
RATE = 100  # a second of a machine that has time
TRUNCATIONS = int(os.environ.get("SNF_TRUNCATIONS", "25"))  # of the bytes of a session
NOISES = int(os.environ.get("SNF_NOISES", "30"))  # strangers who send anything
FLOOD_BYTES = int(os.environ.get("SNF_FLOOD_BYTES", str(20 << 20)))
NESTED = "//*[count(//*[count(//*[count(//*) > 0]) > 0]) > 0]".replace(">", "&gt;")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_share(seconds: float) -> float:
    before = time.process_time()
    time.sleep(seconds)
    return (time.process_time() - before) / seconds


@contextlib.contextmanager
def flood(port: int, say: bytes, source: Callable[[int], str]) -> Iterator[threading.Event]:
    """Open FLOOD connections at RATE, each says something and stays; the event is set when all have come."""
    done, socks = threading.Event(), []

    def run() -> None:
        for n in range(FLOOD):
            with contextlib.suppress(OSError):
                socks.append(socket.create_connection(("127.0.0.1", port), source_address=(source(n), 0)))
                socks[-1].sendall(say)
            time.sleep(slowness() / RATE)
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield done
    finally:
        thread.join()
        for sock in socks:
            sock.close()


class TestFlood:
    """200 connections that never log in, 100 a second: a client is served all the time, in under a second as a rule."""

    @pytest.mark.parametrize(
        ("say", "source"),
        [
            pytest.param(b"", lambda _: "127.0.0.1", id="silent, from the client's own address"),
            pytest.param(b"", lambda n: f"127.0.1.{n % 250 + 1}", id="silent, from everywhere"),
            pytest.param(BANNER, lambda n: f"127.0.1.{n % 2 + 1}", id="with a banner, from two addresses"),
            pytest.param(BANNER, lambda _: "127.0.0.1", id="with a banner, from the client's own address"),
            pytest.param(b"x" * 100_000, lambda _: "127.0.0.1", id="no banner and no end"),
        ],
    )
    def test_a_client_is_served(self, bench, say, source, caplog):
        caplog.set_level(logging.INFO, "mgmt.netconf.audit")
        with bench.manager() as client:
            client.get_config(source="running")
        assert bench.settles(lambda: bench.threads() == [])
        before_bytes = resident_bytes()

        took_s, began_s = [], time.monotonic()
        with flood(bench.server.port, say, source) as done:
            while not done.is_set() or not took_s:
                begun = time.monotonic()
                with bench.manager() as client:
                    client.get_config(source="running")
                took_s.append(time.monotonic() - begun)

        # One in ten may wait for a processor that another test has; nobody is kept out.
        late_s = [each for each in took_s if each >= 1.0 * slowness()]
        assert len(late_s) <= max(1, len(took_s) // 10), took_s
        assert max(took_s) < 5.0 * slowness()
        assert bench.settles(lambda: bench.threads() == [], 1.0)
        assert cpu_share(0.2) < 0.5
        assert resident_bytes() - before_bytes < 16 * 2**20
        # One line a second, whatever the number of connections.
        lines = [r for r in caplog.records if "connections were closed" in r.getMessage()]
        print(f"{len(took_s)} logins, the slowest {max(took_s):.2f} s; {len(lines)} lines")
        assert 1 <= len(lines) <= 2 + time.monotonic() - began_s


class Cut:
    """A socket whose bytes end after so many, or leave one by one."""

    def __init__(self, port: int, most: int | None = None, piece: int = 1 << 20) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.left, self.piece, self.sent = most, piece, 0

    def send(self, data: bytes) -> int:
        if self.left is not None:
            data = data[: self.left]
            self.left -= len(data)
        for at in range(0, len(data), self.piece):
            self.sock.sendall(data[at : at + self.piece])
        self.sent += len(data)
        if self.left == 0:
            self.sock.close()
            raise EOFError
        return len(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self.sock, name)


def whole_session(bench, sock: Cut) -> None:
    """Log in over *sock*, ask one thing in one-byte chunks and close; without an end where the socket has one."""
    transport = paramiko.Transport(sock)
    try:
        transport.connect(username="alice", pkey=paramiko.PKey.from_path(bench.key))
        channel = transport.open_session()
        channel.settimeout(20 * slowness())
        channel.invoke_subsystem("netconf")
        rpc = f'<rpc xmlns="{BASE}" message-id="1"><close-session/></rpc>'.encode()
        channel.sendall(HELLO_11 + b"".join(b"\n#1\n%c" % byte for byte in rpc) + b"\n##\n")
        while channel.recv(65536):
            pass
    finally:
        transport.close()
        sock.close()


class TestBytes:
    """The bytes of a session may come one by one, and may end after any of them."""

    def test_one_by_one(self, bench, caplog):
        caplog.set_level(logging.INFO)
        whole_session(bench, Cut(bench.server.port, piece=1))
        assert bench.settles(lambda: "has ended: closed" in caplog.text)

    def test_each_truncation(self, bench, caplog):
        sock = Cut(bench.server.port)
        whole_session(bench, sock)

        cuts = range(1, sock.sent, max(1, sock.sent // TRUNCATIONS))
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # of the client
        for most in cuts:
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                whole_session(bench, Cut(bench.server.port, most))

        assert len(cuts) >= min(TRUNCATIONS, sock.sent - 1)
        assert bench.settles(lambda: bench.threads() == [], 2.0)
        assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []
        with bench.manager() as client:
            client.get_config(source="running")

    def test_a_peer_that_only_listens_after_its_request(self, bench):
        with bench.channel() as channel:
            ask(channel, "<get-config><source><running/></source></get-config>")
            channel.get_transport().sock.shutdown(socket.SHUT_WR)
            assert bench.settles(lambda: bench.threads() == [])


class TestStrangers:
    """A peer that has not logged in is closed at its first byte that is wrong, before anything of size is kept."""

    @pytest.mark.parametrize(
        "said",
        [
            pytest.param(b"GET / HTTP/1.1\r\n", id="another protocol"),
            pytest.param(b"\n" * 300, id="empty lines"),
            pytest.param(b"SSH-2.0-" + b"x" * 300, id="a line without end"),
            pytest.param(BANNER + b"\xff" * 64, id="a packet of four gigabytes"),
            pytest.param(BANNER + b"\x00\x04\x00\x09" + b"\x04" * 300_000, id="a packet above the bound"),
            pytest.param(BANNER + (b"\x00\x00\x80\x04\x04\x02" + b"x" * 32770) * 9, id="packets above the bound"),
            pytest.param(BANNER.replace(b"2.0", b"1.5"), id="an old version"),
        ],
    )
    def test_is_closed(self, bench, said):
        with socket.create_connection(("127.0.0.1", bench.server.port)) as sock:
            sock.settimeout(5 * slowness())
            with contextlib.suppress(ConnectionError):
                sock.sendall(said)
                while sock.recv(65536):
                    pass
        assert bench.settles(lambda: bench.threads() == [])

    def test_random_bytes_are_closed(self, bench, caplog):
        noise = random.Random(4253)
        for _ in range(NOISES):
            with socket.create_connection(("127.0.0.1", bench.server.port)) as sock, contextlib.suppress(OSError):
                sock.sendall(BANNER + noise.randbytes(noise.randrange(1, 200)))
        assert bench.settles(lambda: bench.threads() == [], 2.0)
        assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []
        with bench.manager() as client:
            client.get_config(source="running")


class TestMessages:
    """A message that is too big, or is no plain XML, gets an error or the end of its session, and costs little."""

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param('<!DOCTYPE rpc SYSTEM "file:///etc/passwd"><rpc/>', id="DTD"),
            pytest.param('<!DOCTYPE r [<!ENTITY a "b">]><rpc message-id="&a;"/>', id="entity"),
            pytest.param(
                "<!DOCTYPE r ["
                + "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "x" * 100}">' for n in range(9))
                + "]><rpc>&e8;</rpc>",
                id="entity bomb",
            ),
        ],
    )
    def test_a_doctype_is_refused(self, bench, body):
        with bench.channel() as channel:
            assert tag_of(ask(channel, "", raw=body.encode())) == "operation-failed"
            assert tag_of(ask(channel, "<get-config><source><running/></source></get-config>")) == "data"

    def test_a_hundred_megabytes_are_refused_when_they_are_claimed(self, bench):
        before_bytes = resident_bytes()
        with bench.channel() as channel:
            read(channel)
            channel.sendall(HELLO_11 + b"\n#104857600\n<rpc")
            said = b""
            while piece := channel.recv(65536):
                said += piece
        assert b"too-big" in said
        assert resident_bytes() - before_bytes < 16 * 2**20

    def test_a_hundred_megabytes_are_refused_when_they_come(self, bench):
        before_bytes = resident_bytes()
        with bench.channel() as channel, contextlib.suppress(OSError, EOFError):
            read(channel)
            channel.sendall(HELLO_10)
            for _ in range(FLOOD_BYTES >> 20):
                channel.sendall(b"x" * 2**20)
        assert bench.settles(lambda: bench.threads() == [])
        assert resident_bytes() - before_bytes < 64 * 2**20


class TestFilters:
    """A filter has a thousand nodes and a second, whatever it is made of (RFC 6241, appendix A)."""

    def ask(self, channel, inner: str, kind: str = "subtree") -> str:
        return tag_of(ask(channel, f'<get><filter type="{kind}" {inner}</filter></get>'))

    def test_a_thousand_nodes_are_answered_and_one_more_is_not(self, bench):
        with bench.channel() as channel:
            assert self.ask(channel, f">{'<a/>' * 1000}") == "data"
            assert self.ask(channel, f">{'<a/>' * 1001}") == "too-big"

    def test_a_million(self, bench):
        with bench.channel() as channel:
            assert self.ask(channel, f">{'<a/>' * 1_000_000}") == "too-big"
            assert self.ask(channel, f">{'<a>' * 5000}{'</a>' * 5000}") == "operation-failed"
            assert self.ask(channel, ">") == "data"

    def test_nested_xpath_ends_after_its_second_and_others_are_served(self, bench):
        with bench.channel() as channel, bench.manager() as other:
            assert self.ask(channel, f'xmlns:nm="{NM}" select="/nm:netconf-state">', "xpath") == "data"
            replies = []
            thread = threading.Thread(target=lambda: replies.append(self.ask(channel, f'select="{NESTED}">', "xpath")))
            before_s = os.times()
            thread.start()
            answered = 0
            while thread.is_alive():
                other.get_config(source="running")
                answered += 1
            assert replies == ["resource-denied"]
            after_s = os.times()
            assert after_s.children_user - before_s.children_user < 2.0
            assert answered > 5
            assert self.ask(channel, 'select="/*">', "xpath") == "data"

    @pytest.mark.parametrize("how", ["kill-session", "closed"])
    def test_it_ends_with_its_session(self, bench, how, monkeypatch):
        monkeypatch.setattr(Budget, "SECONDS", 600.0)
        with bench.manager() as killer:
            with bench.channel() as channel:
                ask(channel, "<get-config><source><running/></source></get-config>")
                wanted = f'<get><filter type="xpath" select="{NESTED}"/></get>'
                channel.sendall(f'<rpc xmlns="{BASE}" message-id="2">{wanted}</rpc>]]>]]>'.encode())
                assert bench.settles(lambda: busy_workers() == 1)
                if how == "kill-session":
                    killer.kill_session("2")
                    assert bench.settles(lambda: busy_workers() == 0, 1.0)
            assert bench.settles(lambda: busy_workers() == 0, 1.0)
        assert bench.settles(lambda: bench.threads() == [])

    @pytest.mark.parametrize(
        ("inside", "tag"),
        [
            pytest.param("<name>s{}</name>", "data", id="by key, five hundred of four thousand"),
            pytest.param("<uplink/>", "resource-denied", id="all of them, again and again"),
        ],
    )
    def test_a_subtree_filter_of_a_long_list(self, bench, config, inside, tag):
        entries = "".join(f"<static-session><name>s{n}</name></static-session>" for n in range(4000))
        space = 'xmlns="urn:supernetflow:yang:snf-subscribers"'
        bench.datastore.edit(bench.datastore.open_session(), config(f"<subscribers {space}>{entries}</subscribers>"))
        wanted = "".join(f"<static-session>{inside.format(n)}</static-session>" for n in range(499))
        with bench.channel() as channel:
            before_s = time.process_time()
            asked = f"<source><candidate/></source><filter><subscribers {space}>{wanted}</subscribers></filter>"
            reply = ask(channel, f"<get-config>{asked}</get-config>")
        assert tag_of(reply) == tag
        assert time.process_time() - before_s < 3.0  # a second is the filter's


def busy_workers() -> int:
    """Count the processes that evaluate XPath for this one and have spent time on it just now."""

    def ticks() -> dict[str, int]:
        found = {}
        for pid in " ".join(p.read_text() for p in Path("/proc/self/task").glob("*/children")).split():
            with contextlib.suppress(OSError):
                if "xpath_worker" in Path(f"/proc/{pid}/cmdline").read_text():
                    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                    found[pid] = int(fields[11])
        return found

    before = ticks()
    time.sleep(0.1)
    return sum(after > before.get(pid, after) for pid, after in ticks().items())
