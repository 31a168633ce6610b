"""All that a peer can send, leave out or hold back; a client is served meanwhile, and nothing stays behind."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.wait import slowness

BANNER = b"SSH-2.0-nobody\r\n"
FLOOD = int(os.environ.get("SNF_FLOOD", "200"))  # connections
RATE = 100  # a second


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
        begun = time.monotonic()
        for n in range(FLOOD):
            with contextlib.suppress(OSError):
                socks.append(socket.create_connection(("127.0.0.1", port), source_address=(source(n), 0)))
                socks[-1].sendall(say)
            time.sleep(max(0.0, begun + n / RATE - time.monotonic()))
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
    """200 connections that never log in, 100 a second: a client is served in under a second all the time."""

    @pytest.mark.parametrize(
        ("say", "source"),
        [
            pytest.param(b"", lambda _: "127.0.0.1", id="silent, from the client's own address"),
            pytest.param(b"", lambda n: f"127.0.1.{n % 250 + 1}", id="silent, from everywhere"),
            pytest.param(BANNER, lambda n: f"127.0.1.{n % 2 + 1}", id="with a banner, from two addresses"),
            pytest.param(b"x" * 100_000, lambda _: "127.0.0.1", id="no banner and no end"),
        ],
    )
    def test_a_client_is_served(self, bench, say, source, caplog):
        with bench.manager() as client:
            client.get_config(source="running")
        assert bench.settles(lambda: bench.threads() == [])
        before_bytes = resident_bytes()

        took_s = []
        with flood(bench.server.port, say, source) as done:
            while not done.is_set() or not took_s:
                begun = time.monotonic()
                with bench.manager() as client:
                    client.get_config(source="running")
                took_s.append(time.monotonic() - begun)

        assert max(took_s) < 1.0 * slowness()
        assert bench.settles(lambda: bench.threads() == [], 1.0)
        assert cpu_share(0.2) < 0.5
        assert resident_bytes() - before_bytes < 16 * 2**20
        # One line a second, whatever the number of connections.
        lines = [r for r in caplog.records if "connections were closed" in r.getMessage()]
        assert 1 <= len(lines) <= 2 + FLOOD / RATE * slowness()
