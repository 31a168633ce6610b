"""Series as metrics, and the place where Prometheus reads them.

Names are those of TS 28.552 as Open5GS writes them where it measures the same; the others begin with ``snf_`` and end
with their unit, as Prometheus asks for. docs/metrics.md lists them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from feed.errors import SnfError
from history.metrics.series import MAX_APPS, MAX_PLACES, SUMS, SUSPECTS, Series

__all__ = ["Exporter", "serve"]

_DEAD_S = 3.0  # three heartbeats
_WHAT = {
    "records": ("snf_records", "records published"),
    "ul_bytes": ("snf_ul_bytes", "inner IP bytes from UEs"),
    "dl_bytes": ("snf_dl_bytes", "inner IP bytes to UEs"),
    "scores": ("snf_scores", "records with a score"),
    "score_sum": ("snf_score_points", "their scores together, 1 to 5 each"),
    "bad": ("snf_bad_scores", "scores below 3"),
    "stalls": ("snf_stalls", "stalls that began"),
    "stalled_s": ("snf_stalled_seconds", "time that pictures stood still"),
}
_OF_FUNCTION = {  # column of the heartbeat: metric, whether it is a counter, what
    "sessions": ("fivegs_upffunction_upf_sessionnbr", False, "sessions known (TS 28.552, as Open5GS names it)"),
    "partial_sessions": ("snf_partial_sessions", False, "sessions of which only tunnels are known"),
    "session_room": ("snf_session_room", False, "sessions that may be known"),
    "flows": ("snf_flows", False, "flows in the table"),
    "flow_room": ("snf_flow_room", False, "places for flows"),
    "details": ("snf_details", False, "details of media flows"),
    "detail_room": ("snf_detail_room", False, "places for details"),
    "inspected_bytes": ("snf_inspected_bytes", True, "bytes of the frames that the data plane has read"),
    "exported_bytes": ("snf_exported_bytes", True, "bytes of all messages published"),
    "recorded_bytes": ("snf_recorded_bytes", True, "inner IP bytes of all records"),
    "unowned_bytes": ("snf_unowned_bytes", True, "those of them whose subscriber nobody told"),
    "dropped_messages": ("snf_dropped_messages", True, "messages that found the publisher's queue full"),
    "dropped_frames": ("snf_dropped_frames", True, "frames that devices dropped"),
    "dropped_signalling": ("snf_dropped_signalling", True, "frames of signalling that were not read"),
    "ring_lost": ("snf_ring_lost", True, "payloads and ends of flows that found their ring full"),
    "evicted_flows": ("snf_evicted_flows", True, "flows that left a full part of the table"),
    "redirect_lost": ("snf_redirect_lost", True, "frames lost behind a pair or monitor port"),
    "intervals": ("snf_intervals", True, "intervals that ended"),
}


class Exporter(Collector):
    """The answer to a scrape. *counters* gives the collector's own counters by name."""

    def __init__(self, series: Series, counters: Callable[[], dict[str, float]]) -> None:
        self._series, self._counters = series, counters

    def collect(self) -> Iterable[Metric]:
        """Yield all metrics, of one moment."""
        with self._series.lock:
            found = [*self._sums(), *self._places(), *self._crowds(), *self._delays(), *self._functions(), *self._own()]
        yield from found

    def _sums(self) -> Iterable[Metric]:
        for number, column in enumerate(SUMS):
            name, what = _WHAT[column]
            family = CounterMetricFamily(f"{name}_by_app", what, labels=("app_class", "app"))
            for (app_class, app), values in self._series.apps.items():
                family.add_metric((app_class, app), float(values[number]))
            yield family

    def _places(self) -> Iterable[Metric]:
        for number, column in enumerate(SUMS):
            name, what = _WHAT[column]
            family = CounterMetricFamily(f"{name}_by_place", what, labels=("gnb", "slice"))
            for place, values in self._series.places.items():
                family.add_metric(place, float(values[number]))
            yield family
        family = CounterMetricFamily("snf_suspects", "records with this suspect", labels=("gnb", "slice", "suspect"))
        for place, values in self._series.places.items():
            for suspect, value in zip(SUSPECTS, values[len(SUMS) :], strict=True):
                family.add_metric((*place, suspect), float(value))
        yield family

    def _crowds(self) -> Iterable[Metric]:
        by_app, by_place = self._series.crowds()
        what = "in the last minute, estimated"
        bad = GaugeMetricFamily(
            "snf_bad_subscribers", f"subscribers with a bad score {what}", labels=("app_class", "app")
        )
        suspect = GaugeMetricFamily(
            "snf_suspect_subscribers", f"subscribers with a suspect {what}", labels=("gnb", "slice")
        )
        for family, counts in ((bad, by_app), (suspect, by_place)):
            for name, count in counts.items():
                family.add_metric(name, float(count))
            yield family

    def _delays(self) -> Iterable[Metric]:
        labels = ("gnb", "slice", "measure", "percentile")
        seconds = GaugeMetricFamily("snf_delay_seconds", "delay of five minutes, to 5 %", labels=labels)
        for gnb, slice_, measure, p50, p99 in self._series.delays():
            seconds.add_metric((gnb, slice_, measure.removesuffix("_ms"), "50"), p50)
            seconds.add_metric((gnb, slice_, measure.removesuffix("_ms"), "99"), p99)
        yield seconds

    def _functions(self) -> Iterable[Metric]:
        now_s, functions = time.monotonic(), self._series.functions
        up = GaugeMetricFamily("snf_function_up", "1 while its heart beats", labels=("nf",))
        starts = CounterMetricFamily("snf_function_starts", "that were seen", labels=("nf",))
        for nf, function in functions.items():
            up.add_metric((nf,), float(now_s - function.heard_s < _DEAD_S))
            starts.add_metric((nf,), function.starts)
        yield from (up, starts)
        for column, (name, counts, what) in _OF_FUNCTION.items():
            kind = CounterMetricFamily if counts else GaugeMetricFamily
            family = kind(name, what, labels=("nf",))
            for nf, function in functions.items():
                if column in function.numbers:
                    family.add_metric((nf,), function.numbers[column])
            yield family

    def _own(self) -> Iterable[Metric]:
        alarms = CounterMetricFamily(
            "snf_subscriber_alarms", "alarms of single subscribers", labels=("state", "app_class")
        )
        for key, number in self._series.alarms.items():
            alarms.add_metric(key, number)
        yield alarms
        for name, value in self._counters().items():
            yield CounterMetricFamily(f"snf_collector_{name}", "of the collector: docs/history.md", value=value)
        limit = GaugeMetricFamily("snf_series_limit", "most applications and places told apart", labels=("of",))
        limit.add_metric(("apps",), MAX_APPS)
        limit.add_metric(("places",), MAX_PLACES)
        yield limit


def serve(exporter: Exporter, address: str, port: int) -> tuple[WSGIServer, Thread, int]:
    """Serve ``/metrics``; return the server, its thread, and the port. Raises SnfError when it cannot be bound."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(exporter)
    try:
        server, thread = start_http_server(port, address, registry)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SnfError(
            f"Metrics cannot be served at {address}:{port}: {why}.", "Give an address of this host and a free port."
        ) from None
    return server, thread, int(server.server_address[1])
