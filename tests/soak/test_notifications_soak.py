"""Many subscribers of the stream of events, some of which never read, over many events."""

from __future__ import annotations

import os
import re
import resource
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import paramiko
import pytest
from lxml import etree

from lab.wait import comes_true
from mgmt.netconf.served import Function
from mgmt.netconf.ssh.listener import NetconfServer
from mgmt.netconf.store.datastore import Datastore
from tests.mgmt.conftest import Bench, Recorder
from tests.mgmt.raw import HELLO_10, read

EVENTS = int(os.environ.get("SNF_EVENTS", "100000"))
READERS, SILENT = 12, 3
AHEAD = 300  # events that the publisher may be before the slowest reader, twice; the log has a thousand
SUBSCRIBE = '<create-subscription xmlns="urn:ietf:params:xml:ns:netconf:notification:1.0"/>'
SPACE = "urn:ietf:params:xml:ns:netmod:notification"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    key, recorder = tmp_path / "alice", Recorder()
    paramiko.ECDSAKey.generate().write_private_key_file(str(key))
    public = paramiko.ECDSAKey.from_private_key_file(str(key))
    (tmp_path / "users").write_text(f"alice {public.get_name()} {public.get_base64()}\n")
    datastore = Datastore(tmp_path / "state", recorder)
    with NetconfServer(datastore, Function(dict), port=0, users_file=tmp_path / "users") as server:
        yield Bench(server, datastore, recorder, tmp_path / "users", key)


class Reader:
    """Reads notifications as they come and keeps the numbers in them."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self.channel, self.next, self.wrong = channel, 0, 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        rest = b""
        while data := self.channel.recv(65536):
            *whole, rest = (rest + data).split(b"]]>]]>")
            for number in (int(n) for m in whole for n in re.findall(rb">(\d+)</replayComplete>", m)):
                self.wrong += number != self.next
                self.next = number + 1


def subscribed(bench: Bench, stack: ExitStack) -> paramiko.Channel:
    channel = stack.enter_context(bench.channel())
    read(channel)
    channel.sendall(HELLO_10)
    channel.sendall(
        f'<rpc xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="1">{SUBSCRIBE}</rpc>]]>]]>'.encode()
    )
    read(channel)
    channel.settimeout(None)
    return channel


class TestMany:
    """Each reader gets each event in its order; whoever does not read is ended; nothing is left behind."""

    @pytest.mark.timeout(3600)
    def test_order_bounds_and_memory(self, bench: Bench) -> None:
        notifications, memory = bench.server.notifications, [0, 0]
        with ExitStack() as stack:
            silent = [subscribed(bench, stack) for _ in range(SILENT)]
            readers = [Reader(subscribed(bench, stack)) for _ in range(READERS)]
            asked = stack.enter_context(bench.manager())
            for number in range(EVENTS):
                event = etree.Element(f"{{{SPACE}}}replayComplete", pad="x" * 3000, nsmap={None: SPACE})
                event.text = str(number)
                notifications.publish(event)
                if number % AHEAD == 0:
                    assert comes_true(lambda at=number: min(r.next for r in readers) >= at - AHEAD, 60)
                    asked.get_config(source="running")
                if number == EVENTS // 2:
                    memory[0] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            assert comes_true(lambda: min(r.next for r in readers) == EVENTS, 60)
            memory[1] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            open_ones = len(notifications.subscriptions())
            assert len(silent) == SILENT
        print(f"\n{EVENTS} events to {READERS} readers: {memory[1] // 1024} MB, {open_ones} subscriptions at the end")
        assert [r.wrong for r in readers] == [0] * READERS
        assert open_ones == READERS
        assert memory[1] - memory[0] < 20_000  # kB; the buffers of clients are of this process too
        names = ("netconf-publish", "netconf-notify")
        assert comes_true(lambda: not [t for t in threading.enumerate() if t.name in names], 60)
