"""The distribution of delays beside a UPF, live: the running function publishes each delay that the kernel timed."""

from __future__ import annotations

import threading

import pytest

from feed.consumer import Subscriber
from feed.wire import Message
from tests.live.conftest import wait_until
from tests.live.test_beside_a_upf import MIRROR, Start, start, upf  # noqa: F401
from tests.live.upf_host import GNB, UES, conversation


class TestOfTheUpf:
    """Packets that pass N3 and N6 are told by the gNB of their session, within a minute."""

    def test_the_rows_are_all_that_was_timed(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
        monkeypatch.setattr("nf.service._DELAYS_S", 0.1)  # the minute
        probe = start(*MIRROR)
        service = probe.service
        turning = threading.Thread(target=service.run)
        turning.start()
        heard: list[Message] = []

        def all_heard(bus: Subscriber) -> bool:
            heard.extend(message for message in bus.messages(0.2) if message)
            timed = service.plane.read_counters()["transit_measured"]
            return sum(int(message.columns["n"].sum()) for message in heard) >= timed >= 2 * len(UES)

        try:
            with Subscriber(service.settings.export.endpoint, ["delay.v1/"]) as bus:
                wait_until(lambda: bus.receive(0.1) or bus.heard_s, "a heartbeat came")
                wait_until(lambda: len(service.plane.sessions.places()), "sessions have their places")
                for ue in UES:
                    for is_up, packet in conversation(ue):
                        (probe.host.up if is_up else probe.host.down)(ue, packet)
                wait_until(lambda: all_heard(bus), "all delays came")
        finally:
            service.stop()
            turning.join()

        assert {measure for message in heard for measure in message.columns["measure"]} == {"upf_ul_ms", "upf_dl_ms"}
        assert {gnb for message in heard for gnb in message.columns["gnb"]} == {GNB}
        assert sum(int(m.columns["n"].sum()) for m in heard) == service.plane.read_counters()["transit_measured"]
