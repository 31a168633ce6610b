"""Prometheus reads the metrics, its alerts are right over series, and the dashboard asks for metrics that there are.

Prometheus and promtool are Debian's.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from history.metrics.exporter import Exporter, serve
from history.metrics.series import Series
from lab.wait import wait_until
from tests.history.metric_samples import published

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
DASHBOARD = ROOT / "deploy/grafana/experience.json"


def promtool(folder: Path, *words: object) -> str:
    done = subprocess.run(["promtool", *map(str, words)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def exported() -> Iterator[tuple[str, str]]:
    """Give the address of an exporter that was told of everything there is, and what it says."""
    series = Series()
    for message in published():
        series.take(message)
    server, thread, port = serve(Exporter(series, lambda: {"messages": 1.0, "lost": 0.0}), "127.0.0.1", 0)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        yield f"127.0.0.1:{port}", answer.read().decode()
    server.shutdown()
    server.server_close()
    thread.join()


class TestAlerts:
    """A bad radio is told within a minute; a quiet night, a restart and a rolling update are not."""

    @pytest.mark.parametrize("file", sorted(Path(__file__).parent.glob("alerts*_test.yml")), ids=lambda f: f.stem)
    def test_over_series(self, tmp_path, file):
        shutil.copy(ALERTS, tmp_path)
        shutil.copy(file, tmp_path)

        assert "SUCCESS" in promtool(tmp_path, "test", "rules", file.name)

    @pytest.mark.parametrize(
        ("file", "rule", "broken", "found"),
        [
            ("alerts_test.yml", "> 0.3 * sum by (gnb)", "> 0.9 * sum by (gnb)", "SnfAccessBad"),
            ("alerts_lab_test.yml", "for: 15s", "for: 90s", "all radios of a gNB turn bad"),
            (
                "alerts_lab_test.yml",
                '(snf_suspect_subscribers{gnb!=""}) >= 3',
                "(snf_suspect_subscribers) > 0",
                'got: {alertname="SnfAccessBad", alertstate="firing"',  # in the quiet night
            ),
            (
                "alerts_lab_test.yml",
                "snf_function_up == 0\n        for: 2m",
                "snf_function_up == 0",
                'got: {alertname="SnfFunctionDown", alertstate="firing"',
            ),
        ],
    )
    def test_a_test_of_them_can_fail(self, tmp_path, file, rule, broken, found):
        assert rule in ALERTS.read_text()
        (tmp_path / "alerts.yml").write_text(ALERTS.read_text().replace(rule, broken))
        shutil.copy(Path(__file__).with_name(file), tmp_path)

        with pytest.raises(AssertionError, match=found):
            promtool(tmp_path, "test", "rules", file)

    def test_each_asks_for_metrics_that_there_are(self, exported):
        rules = yaml.safe_load(ALERTS.read_text())
        asked = {name for group in rules["groups"] for rule in group["rules"] for name in names(rule["expr"])}

        assert asked
        assert asked <= set(re.findall(r"^# TYPE (\S+)", totals(exported[1]), re.MULTILINE))


class TestDashboard:
    """Each of its questions is one that Prometheus reads, of metrics that there are."""

    @staticmethod
    def asked() -> list[str]:
        panels = json.loads(DASHBOARD.read_text())["panels"]
        return [target["expr"] for panel in panels for target in panel["targets"]]

    def test_prometheus_reads_each(self, tmp_path):
        rules = [{"record": f"asked:{i}", "expr": expr} for i, expr in enumerate(self.asked())]
        (tmp_path / "asked.yml").write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))

        assert f"{len(rules)} rules found" in promtool(tmp_path, "check", "rules", "asked.yml")

    def test_each_is_of_metrics_that_there_are(self, exported):
        there = set(re.findall(r"^# TYPE (\S+)", totals(exported[1]), re.MULTILINE))

        assert {name for expr in self.asked() for name in names(expr)} <= there


class TestScrape:
    """A Prometheus that runs has what the exporter says."""

    def test_of_an_exporter(self, tmp_path, exported):
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            port = free.getsockname()[1]
        settings = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "snf", "static_configs": [{"targets": [exported[0]]}]}],
        }
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(settings))
        words = ["prometheus", "--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}"]
        with (tmp_path / "log").open("w") as log:
            running = subprocess.Popen([*words, "--storage.tsdb.path=data"], cwd=tmp_path, stdout=log, stderr=log)
        try:

            def asked(expr: str) -> list[dict]:
                query = urllib.parse.urlencode({"query": expr})
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}") as answer:
                        return json.load(answer)["data"]["result"]
                except OSError:
                    return []

            found = wait_until(lambda: asked("sum(snf_records_by_place_total)"), "Prometheus has read it", 60)
            assert float(found[0]["value"][1]) == sum(
                float(value) for value in re.findall(r"^snf_records_by_place_total\{.*\} (\S+)$", exported[1], re.M)
            )
            assert float(asked('up{job="snf"}')[0]["value"][1]) == 1
        finally:
            running.terminate()
            running.wait(30)


class TestFormat:
    """promtool has nothing to say against the text of a scrape but against names that Open5GS chose."""

    def test_of_a_scrape(self, exported):
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=exported[1], capture_output=True, text=True, check=False
        )

        assert [line for line in done.stderr.splitlines() if line and not line.startswith("fivegs_")] == []


def names(expr: str) -> set[str]:
    """Return the metrics of an expression."""
    return set(re.findall(r"\b(?:snf|fivegs)_\w+", expr))


def totals(text: str) -> str:
    """Return the text with each counter under the name of its samples."""
    return re.sub(r"^# TYPE (\S+?)(_total)? counter$", r"# TYPE \1_total counter", text, flags=re.MULTILINE)
