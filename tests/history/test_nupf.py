"""Nupf_EventExposure (TS 29.564) over a feed of the real publisher, asked by a client made from the specification."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from feed import wire
from history.bridges.http2 import Request, client_context
from history.bridges.nupf import Exposure, Limits
from lab.wait import comes_true
from tests.feed.samples import flows
from tests.history.nupf_rig import IMSI, NAME, PATCH, Start, bridges, edited, sinks, usage, wanted
from tests.history.upf_client import ROOT, Sink, faults


@pytest.fixture
def start() -> Iterator[Start]:
    with bridges() as begin:
        yield begin


@pytest.fixture
def sink() -> Iterator[Callable[..., Sink]]:
    with sinks() as make:
        yield make


class TestSubscription:
    """POST makes one (6.1.3.2.3.1), PATCH changes it (6.1.3.3.3.1), DELETE ends it (6.1.3.3.3.2)."""

    def test_it_is_made_reported_and_deleted(self, start, sink):
        bridge, consumer = start(), sink()

        made = bridge.client.subscribe(wanted(consumer.uri, period_s=1))
        bridge.named()
        assert bridge.follows()
        told = bridge.notified(consumer)

        assert made.status == 201
        assert made.headers["content-type"] == "application/json"
        assert made.headers["location"] == made.json["subscriptionId"]
        assert made.headers["location"].startswith(f"http://localhost:{bridge.client.port}{ROOT}/")
        accepted = made.json["subscription"]
        assert (accepted["notifyCorrelationId"], accepted["eventNotifyUri"]) == ("c-1", consumer.uri)
        assert faults(told) == []
        assert told["correlationId"] == "c-1"
        assert consumer.heads[0].items() >= {":method": "POST", ":path": "/notify/me?x=1"}.items()
        assert consumer.heads[0]["content-type"] == "application/json"

        path = made.headers["location"].split(str(bridge.client.port))[1]
        assert bridge.client.ask("DELETE", path).status == 204
        assert bridge.client.ask("DELETE", path).json["cause"] == "SUBSCRIPTION_NOT_FOUND"
        assert comes_true(lambda: not bridge.publisher.followed(), 20)

    def test_the_imsi_goes_in_and_does_not_come_out(self, start, sink, capfd):
        bridge, consumer = start(), sink()

        made = bridge.client.subscribe(wanted(consumer.uri, usage("VOLUME_MEASUREMENT", "APPLICATION_RELATED_INFO")))
        refused = bridge.client.subscribe(wanted(consumer.uri, supi=f"imsi-{IMSI}x"))
        path = made.headers["location"].split(str(bridge.client.port))[1]
        patch = [{"op": "replace", "path": f"/imsi-{IMSI}", "value": 1}]
        odd = bridge.client.ask("PATCH", path, patch, PATCH)
        bridge.named()
        bridge.follows()
        told = bridge.notified(consumer)

        assert (made.status, refused.status, odd.status) == (201, 400, 400)
        everything = f"{made}{refused}{odd}{told}{consumer.heads}{capfd.readouterr()}{bridge.exposure._all}"
        assert IMSI not in everything

    def test_a_message_of_another_version_is_counted_and_no_end(self, start, sink):
        bridge, consumer = start(), sink()
        bridge.client.subscribe(wanted(consumer.uri, period_s=1))

        for topic, schema in (("imsi.v1/nf1/", wire.IMSI_SCHEMA), (f"sub.v1/nf1/{NAME}/", wire.FLOW_SCHEMA)):
            header = wire.Header(schema, "nf1", "b", 0, 0.0, 1.0)
            bridge.exposure.take(wire.decode(wire.encode(topic.encode(), header, {"subscriber": [NAME]})))
            bridge.named()
            assert bridge.follows()

        assert bridge.exposure.counters["foreign"] == 2
        assert faults(bridge.notified(consumer)) == []

    def test_it_ends_when_the_operator_erases_the_subscriber(self, start, sink):
        bridge = start()
        bridge.client.subscribe(wanted(sink().uri, period_s=3600))
        bridge.named()
        assert bridge.follows()

        bridge.publisher.publish_purge({"aa" * 16: 1, NAME: 2}, "opt-out", time.time())

        assert bridge.counted("erased")
        assert comes_true(lambda: not bridge.publisher.followed(), 20)

    def test_it_ends_when_it_expires(self, start, sink):
        bridge, consumer = start(), sink()
        soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
        asked = edited(wanted(consumer.uri, period_s=1), "eventReportingMode.expiry", soon)

        made = bridge.client.subscribe(asked)

        assert made.status == 201
        assert bridge.counted("expired")
        path = made.headers["location"].split(str(bridge.client.port))[1]
        assert bridge.client.ask("PATCH", path, [{"op": "remove", "path": "/dnn"}], PATCH).status == 404
        assert consumer.got == []

    def test_the_operator_says_how_long_it_may_last(self, start, sink):
        bridge = start(Limits(longest_s=600))

        late = edited(wanted(sink().uri), "eventReportingMode.expiry", "2099-01-01T00:00:00Z")
        granted = bridge.client.subscribe(late).json["subscription"]["eventReportingMode"]["expiry"]

        left_s = datetime.fromisoformat(granted).timestamp() - time.time()
        assert 0 < left_s <= 600

    def test_a_patch_changes_it_as_a_whole_or_not_at_all(self, start, sink):
        bridge, first, second = start(), sink(), sink()
        made = bridge.client.subscribe(wanted(first.uri, period_s=3600))
        path = made.headers["location"].split(str(bridge.client.port))[1]

        half = [
            {"op": "replace", "path": "/eventNotifyUri", "value": second.uri},
            {"op": "test", "path": "/notifyCorrelationId", "value": "another"},
        ]
        whole = [
            {"op": "replace", "path": "/eventReportingMode/repPeriod", "value": 1},
            {"op": "add", "path": "/eventList/-", "value": {"type": "QOS_MONITORING"}},
        ]
        assert bridge.client.ask("PATCH", path, half, PATCH).status == 400
        assert bridge.client.ask("PATCH", path, whole, PATCH).status == 204
        bridge.named()
        bridge.follows()
        told = bridge.notified(first)

        kinds = [item["eventType"] for item in told["notificationItems"]]
        assert kinds == ["USER_DATA_USAGE_MEASURES", "QOS_MONITORING"]
        assert second.got == []
        other = [{"op": "replace", "path": "/ueIpAddress", "value": {"ipv4Addr": "10.45.0.3"}}]
        refused = bridge.client.ask("PATCH", path, other, PATCH)
        assert (refused.status, refused.json["cause"]) == (403, "MODIFICATION_NOT_ALLOWED")

    def test_once_means_once(self, start, sink):
        bridge, consumer = start(), sink()

        bridge.client.subscribe(wanted(consumer.uri))
        bridge.named()
        bridge.follows()
        bridge.notified(consumer)

        assert bridge.counted("completed")
        assert comes_true(lambda: not bridge.publisher.followed(), 20)
        assert len(consumer.got) == 1


class TestReport:
    """It says what the flows did (6.1.6.2)."""

    def one(self, start, sink, *events, more=None, **columns):
        bridge, consumer = start(), sink()
        made = bridge.client.subscribe(wanted(consumer.uri, *events, **(more or {})))
        assert made.status == 201, made.body
        bridge.named()
        assert bridge.follows()
        told = bridge.notified(consumer, **columns)
        assert faults(told) == []
        return told["notificationItems"]

    def test_volume_and_throughput_of_a_session(self, start, sink):
        (item,) = self.one(start, sink, usage("VOLUME_MEASUREMENT", "THROUGHPUT_MEASUREMENT"))

        assert item["ueIpv4Addr"] == "10.45.0.2"
        assert (item["dnn"], item["snssai"]) == ("internet", {"sst": 1, "sd": "00000a"})
        (found,) = item["userDataUsageMeasurements"]
        assert (item["startTime"], item["timeStamp"]) == ("2026-07-25T17:19:59.000Z", "2026-07-25T17:20:00.000Z")
        assert found["volumeMeasurement"] == {
            **{"ulVolume": "4000 B", "dlVolume": "60000 B", "totalVolume": "64000 B"},
            **{"ulNbOfPackets": 40, "dlNbOfPackets": 60, "totalNbOfPackets": 100},
        }
        assert found["throughputMeasurement"] == {
            "ulThroughput": "32000 bps",
            "dlThroughput": "480000 bps",
            "ulPacketThroughput": "40.0 pps",
            "dlPacketThroughput": "60.0 pps",
        }

    def test_by_application_with_names(self, start, sink):
        measures = ("THROUGHPUT_MEASUREMENT", "APPLICATION_RELATED_INFO")
        event = usage(*measures, granularityOfMeasurement="PER_APPLICATION", appIds=["whatsapp"])

        (item,) = self.one(start, sink, event)

        (found,) = item["userDataUsageMeasurements"]
        assert found["appId"] == "whatsapp"
        assert found["throughputMeasurement"]["dlThroughput"] == "320000 bps"
        names = found["applicationRelatedInformation"]["domainInfoList"]
        assert names == [{"domainName": "whatsapp.net", "domainNameProtocol": "DNS_QNAME"}]

    def test_by_flow(self, start, sink):
        (item,) = self.one(start, sink, usage(granularityOfMeasurement="PER_FLOW"))

        assert [m["flowInfo"]["flowDescription"] for m in item["userDataUsageMeasurements"]] == [
            "permit out 6 from 203.0.113.7 443 to 10.45.0.2 40000",
            "permit out 17 from 203.0.113.7 443 to 10.45.0.2 40000",
        ]

    def test_delay_is_the_round_trip_in_whole_milliseconds(self, start, sink):
        (item,) = self.one(start, sink, {"type": "QOS_MONITORING"})

        assert item["qosMonitoringMeasurement"] == {
            "rtrPacketDelay": 20,  # 10 + 4 + 6 of the one flow that has all three
            "ulAveThroughput": "32000 bps",
            "dlAveThroughput": "480000 bps",
        }

    def test_delay_that_nobody_measured_is_a_failure(self, start, sink):
        (item,) = self.one(start, sink, {"type": "QOS_MONITORING"}, n3_rtt_ms=np.full(2, np.nan))

        assert item["qosMonitoringMeasurement"]["measureFailure"] is True
        assert "rtrPacketDelay" not in item["qosMonitoringMeasurement"]

    def test_sessions_of_a_ue_are_told_apart_by_address(self, start, sink):
        items = self.one(start, sink, ue=["10.45.0.2:40000", "[2001:db8::7]:40000"])

        assert [item.get("ueIpv4Addr") or item["ueIpv6Prefix"] for item in items] == ["10.45.0.2", "2001:db8::/64"]

    def test_of_an_address_no_other_session_is_told(self, start, sink):
        more = {"ueIpAddress": {"ipv4Addr": "10.45.0.2"}, "dnn": "internet", "snssai": {"sst": 1, "sd": "00000A"}}

        (item,) = self.one(start, sink, more=more, ue=["10.45.0.2:40000", "10.46.0.9:40000"])

        assert item["ueIpv4Addr"] == "10.45.0.2"
        assert item["userDataUsageMeasurements"][0]["volumeMeasurement"]["ulNbOfPackets"] == 10
        assert "supi" not in item

    def test_more_flows_than_fit_into_the_windows_of_http2(self, start, sink):
        n = 1000
        columns = {name: c * n if isinstance(c, list) else np.resize(c, n) for name, c in flows(1).items()}
        columns["remote"] = [f"203.0.113.7:{port}" for port in range(n)]

        (item,) = self.one(start, sink, usage(granularityOfMeasurement="PER_FLOW"), **columns)

        assert len(item["userDataUsageMeasurements"]) == n
        assert len(json.dumps(item)) > 2 * 65_535  # the first window of a connection (RFC 9113, 6.9.2)

    def test_another_data_network_is_not_told(self, start, sink):
        bridge, consumer, other = start(), sink(), sink()
        bridge.client.subscribe(wanted(consumer.uri, dnn="ims"))
        bridge.client.subscribe(wanted(other.uri, dnn="internet"))
        bridge.named()
        bridge.follows()

        bridge.notified(other)

        assert consumer.got == []


class TestNotifications:
    """One that a consumer refuses is sent again, then dropped and counted."""

    def begun(self, start, consumer):
        bridge = start()
        assert bridge.client.subscribe(wanted(consumer.uri)).status == 201
        bridge.named()
        assert bridge.follows()
        return bridge

    def test_one_that_is_refused_twice_arrives_with_the_third_try(self, start, sink):
        consumer = sink(503, 500, 204)
        bridge = self.begun(start, consumer)

        bridge.notified(consumer)

        assert bridge.counted("notifications_sent")
        assert bridge.exposure.counters["notifications_refused"] == 2
        assert consumer.got == [consumer.got[0]] * 3

    def test_one_that_is_always_refused_is_dropped(self, start, sink):
        consumer = sink(404)
        bridge = self.begun(start, consumer)

        bridge.notified(consumer)

        assert bridge.counted("notifications_dropped")
        assert len(consumer.got) == 3
        assert bridge.exposure.counters["notifications_sent"] == 0

    def test_nobody_there_is_a_refusal(self, start):
        bridge = start()
        assert bridge.client.subscribe(wanted("http://127.0.0.1:9/nobody")).status == 201
        bridge.named()
        assert bridge.follows()

        bridge.interval()

        assert bridge.counted("notifications_dropped")
        assert bridge.exposure.counters["notifications_refused"] == 3

    def test_a_redirection_is_followed_once(self, start, sink):
        target = sink()
        consumer = sink(308, location=target.uri)
        bridge = self.begun(start, consumer)

        bridge.notified(target)

        assert target.got == consumer.got

    def test_a_subscription_that_is_refused_ten_times_ends(self):
        exposure = Exposure(Limits(pause_s=0), "", lambda address: NAME)
        dropped(exposure, 10)

        assert exposure.counters["given_up"] == 1
        assert exposure.topics() == set()


def dropped(exposure: Exposure, times: int) -> None:
    """Have notifications of one subscription dropped."""

    async def go() -> None:
        exposure._functions.add("nf1")
        asked = wanted("http://127.0.0.1:9/", ueIpAddress={"ipv4Addr": "10.45.0.2"}, period_s=1)
        body = json.dumps({"subscription": asked})
        made = await exposure.answer(Request("POST", ROOT, {"content-type": "application/json"}, body.encode()))
        assert made.status == 201, made.body
        number = made.headers["location"].rpartition("/")[2]
        assert exposure.topics() == {f"sub.v1/nf1/{NAME}/"}
        for _ in range(times):
            await exposure.notify(number, "http://127.0.0.1:9/", b"{}", client_context(None))

    asyncio.run(go())
