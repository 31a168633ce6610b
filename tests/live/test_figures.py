"""The figures of the heartbeat are those of the records, of the configuration and of the kernel."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from feed.consumer import Subscriber
from lab.net import inside
from nf.kernel.rtnetlink import LinkTable
from nf.service import Service
from nf.settings import Export, Interface, Limits, Role, Settings
from tests.live.conftest import wait_until
from tests.live.upf_host import UES, UpfHost, conversation, upf_host

KNOWN = UES[0]
UNKNOWN_TYPE = 0x88B5  # local experimental (IEEE 802): no protocol of this kernel reads it
UNREAD = 5
SESSIONS = 1000


@pytest.fixture(scope="module")
def host() -> Iterator[UpfHost]:
    with upf_host() as made:
        made.begin()
        yield made


@pytest.fixture(scope="module")
def heard(host: UpfHost, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """The last heartbeat after the conversations of three UEs, one of them known; the bytes of records beside it."""
    endpoint = f"ipc://{tmp_path_factory.mktemp('bus')}/bus"
    settings = Settings(
        interfaces=(Interface("t3", Role.N3),),
        sessions=(KNOWN.configured,),
        export=Export(endpoint=endpoint, batch_ms=100, interval_ms=1000),
        limits=Limits(sessions=SESSIONS),
    )
    with Service() as service:
        service.apply(Settings(), settings)
        loop = threading.Thread(target=service.run)
        loop.start()
        try:
            with Subscriber(endpoint, ["qoe.v1/", "health.v1/"]) as bus:
                return _listen(bus, host)
        finally:
            service.stop()
            loop.join()


def _listen(bus: Subscriber, host: UpfHost) -> dict[str, int]:
    wait_until(lambda: bus.receive(0.1) or bus.heard_s, "a heartbeat came")
    for steps in zip(*map(conversation, UES), strict=True):
        for ue, (is_up, packet) in zip(UES, steps, strict=True):
            (host.up if is_up else host.down)(ue, packet)
    sent = sum(counted[f"{way}_bytes"] for counted in host.truth.values() for way in ("ul", "dl"))
    sums: Counter[str] = Counter()
    beat: dict[str, int] = {}

    def complete() -> bool:
        for message in bus.messages(0.1):
            if message and message.topic.startswith("health.v1/"):
                numbers = {n: c for n, c in message.columns.items() if isinstance(c, np.ndarray) and n != "next_seq"}
                beat.update({name: int(column[0]) for name, column in numbers.items()})
            elif message:
                octets = np.nansum([message.columns["ul_bytes"], message.columns["dl_bytes"]], axis=0)
                sums["all"] += int(octets.sum())
                sums["nobody"] += int(octets[np.array(message.columns["identity_source"]) == "none"].sum())
        return sums["all"] >= sent and beat.get("recorded_bytes", 0) >= sent

    wait_until(complete, "all bytes are in records, and a heartbeat tells of them")
    return {**beat, "of records": sums["all"], "of nobody": sums["nobody"]}


class TestHeartbeat:
    """Each heartbeat has what an alarm needs."""

    def test_bytes_of_records_and_of_nobody_are_those_that_the_records_have(self, heard, host):
        of_known = sum(host.truth[KNOWN][f"{way}_bytes"] for way in ("ul", "dl"))

        assert heard["recorded_bytes"] == heard["of records"]
        assert heard["unowned_bytes"] == heard["of nobody"] == heard["of records"] - of_known > 0

    def test_sessions_are_told_by_source_and_with_their_room(self, heard):
        by_source = {name: n for name, n in heard.items() if name.startswith("sessions_")}

        assert by_source.pop("sessions_netconf") == heard["sessions"] == 1
        assert set(by_source.values()) == {0}
        assert heard["session_room"] == SESSIONS

    def test_the_table_has_a_flow_for_each_conversation_of_a_protocol(self, heard):
        """The UEs had a connection, a flow of UDP and an echo each."""
        assert heard["flows"] == 3 * len(UES)
        assert heard["flows"] < heard["flow_room"] >= Limits().flows
        assert heard["details"] <= heard["detail_room"]

    def test_nothing_was_lost(self, heard):
        lost = ("ring_lost", "evicted_flows", "undetailed_packets", "dropped_signalling", "dropped_frames")
        assert {heard[name] for name in lost} == {0}


class TestDevice:
    """Frames that a device dropped are those that /proc/net/dev says it dropped."""

    def test_frames_of_a_protocol_that_nobody_reads(self, host):
        frame = bytes(12) + UNKNOWN_TYPE.to_bytes(2, "big") + bytes(46)
        with inside(host.path):
            links, before = LinkTable(), dropped("n6")
            try:
                for _ in range(UNREAD):
                    host.sockets["dn"].send(b"\xff" * 6 + frame[6:])
                wait_until(lambda: dropped("n6") >= before + UNREAD, "the kernel dropped them")
                assert links.dropped(socket.if_nametoindex("n6")) == dropped("n6")
            finally:
                links.close()

    def test_a_device_that_is_not_there_is_said(self):
        links = LinkTable()
        try:
            with pytest.raises(OSError, match="No such device"):
                links.dropped((1 << 31) - 1)
        finally:
            links.close()


def dropped(device: str) -> int:
    """Return the fourth number behind a device in this namespace's /proc/net/dev: frames received and dropped."""
    text = Path("/proc/thread-self/net/dev").read_text()
    (numbers,) = (line.split(":")[1].split() for line in text.splitlines() if line.strip().startswith(f"{device}:"))
    return int(numbers[3])
