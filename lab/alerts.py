"""Series of the lab for the alerts of deploy/prometheus: a bad radio, a restart, a rolling update, a quiet night.

    python -m lab.alerts [--only WORD] [--out FILE]

Builds the lab, starts ``snf run`` with the batch interval of a site that says nothing about it, and ``snf collect
--metrics`` beside it, which is scraped each five seconds. What the rules ask for is written as a test of promtool with
three tests of each scene: a scrape each 15 s, as docs/metrics.md has it, begun at one of three moments. Then promtool
runs them. Exit 1: an alert was not as the scene wants it.
"""

from __future__ import annotations

import argparse
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from lab import plan
from lab.impair import Impairment
from lab.lab import Lab
from lab.net import LabError, inside, interruptible
from lab.operator import ENDPOINT, Operator
from nf.errors import SnfError

__all__ = ["Recording", "main", "tests_of"]

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
OUT = ROOT / "tests" / "history_heavy" / "alerts_lab_test.yml"
METRICS = "127.0.0.1:9188"
EVERY_S, PHASES = 5, 3  # a scrape each 15 s begins at one of three moments
INTERVAL_S = EVERY_S * PHASES
SCENES = ("radio", "update", "restart", "collector", "night")
WITHIN_S = 60  # an alert of a bad radio comes
OVER_S = 120  # and is over
BATCH_MS = 10_000  # the default: yang/snf-export
USES = (("game", "chat"), ("voice",), ("web",), ("chat", "voice"), ("game",), ("voice",), ("chat", "web"), ("game",))
HERE, THERE = ("ue1", "ue2", "ue3", "ue4", "ue5"), ("ue6", "ue7", "ue8")  # at the first gNB, at the second one
AWAKE, EDGE = "ue7", "ue1"  # in the quiet night: one user, and one at the edge of a cell, at different gNBs
BAD = Impairment(delay_ms=150, jitter_ms=60, loss=0.08, rate_bps=1e6)  # a cell under interference
WARM_S, CALM_S, BAD_S, AWAY_S, NIGHT_S = 30, 45, 90, 120, 240


@dataclass
class Recording:
    """Scrapes of one scene: values of series by number of the scrape; and when something happened, by number."""

    name: str
    series: dict[str, dict[int, float]] = field(default_factory=dict)
    scrapes: int = 0
    turned: int | None = None  # the radio turned bad after this scrape
    mended: int | None = None  # and good again after this one

    def take(self, samples: Iterable[tuple[str, float]]) -> None:
        """Add a scrape; without a sample it failed."""
        for name, value in samples:
            self.series.setdefault(name, {})[self.scrapes] = value
        self.scrapes += 1


def asked_for() -> set[str]:
    """Return the metrics that the rules name."""
    rules = yaml.safe_load(RULES.read_text("utf-8"))
    return {
        name for g in rules["groups"] for r in g["rules"] for name in re.findall(r"\b(?:snf|fivegs)_\w+", r["expr"])
    }


def scrape(names: set[str]) -> list[tuple[str, float]]:
    """Return the samples of metrics; nothing when nobody answers. The thread is in the collector's namespace."""
    try:
        with urllib.request.urlopen(f"http://{METRICS}/metrics", timeout=EVERY_S) as answer:
            text = answer.read().decode()
    except (OSError, urllib.error.URLError):
        return []
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return [(_series(s.name, s.labels), s.value) for s in samples if s.name in names]


def _series(name: str, labels: Mapping[str, str]) -> str:
    return name + "{" + ",".join(f'{label}="{value}"' for label, value in sorted(labels.items())) + "}"


class Scraper:
    """Scrapes go on, evenly as the host allows, whatever happens meanwhile; ``into`` is where they go now."""

    def __init__(self, namespace: str) -> None:
        self.into = Recording("")
        self._names, self._stop = asked_for(), threading.Event()
        with inside(namespace):  # a thread that begins here stays here
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        next_s = time.monotonic()
        while not self._stop.wait(max(0.0, next_s - time.monotonic())):
            next_s += EVERY_S
            self.into.take(scrape(self._names))

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        self._thread.join()


class Scenes:
    """The scenes of a lab that is up, with a function and a collector."""

    def __init__(self, lab: Lab, operator: Operator, scraper: Scraper, say: Callable[[str], object]) -> None:
        self._lab, self._operator, self._scraper, self._say = lab, operator, scraper, say

    def begin(self) -> None:
        """Announce all, some at the second gNB, start their applications and the collector, and wait for series."""
        self._operator.start_function()
        self._operator.configure(secrets.token_bytes(32), batch_ms=BATCH_MS)
        self._collect()
        self._lab.announce_all()
        for name in THERE:
            self._lab.handover(name)
        self._lab.start_clients()
        self._lab.wait_until(self._scored, "scores are served", part="collect")
        self._watch(WARM_S)

    def _scored(self) -> bool:
        return any(name.startswith("snf_scores_by_place_total") for name in self._scraper.into.series)

    def _collect(self) -> None:
        words = ("collect", "--from", ENDPOINT, "--metrics", METRICS, "--folder", self._lab.folder / "history")
        self._lab.start_inside("collect", "ops", *self._operator.program, *map(str, words))

    def _watch(self, seconds: float) -> None:
        """Wait until so many seconds of scrapes have come."""
        until = self._scraper.into.scrapes + round(seconds / EVERY_S)
        while self._scraper.into.scrapes < until:
            time.sleep(0.05)
            self._lab.check()

    def _scene(self, name: str) -> Recording:
        self._say(name)
        self._scraper.into = made = Recording(name)
        self._watch(CALM_S)
        return made

    def radio(self) -> Recording:
        """Record a gNB all of whose radios turn bad, and good again."""
        made = self._scene("all radios of a gNB turn bad")
        made.turned = made.scrapes - 1
        before = {name: self._lab.subscribers[name] for name in HERE}
        for name in HERE:
            self._lab.radio(name, uplink=BAD, downlink=BAD)
        self._watch(BAD_S)
        made.mended = made.scrapes - 1
        for name, ue in before.items():
            self._lab.radio(name, uplink=ue.uplink, downlink=ue.downlink)
        self._watch(OVER_S + CALM_S)
        return made

    def restart(self) -> Recording:
        """Record a function that is stopped, takes its programs off, and is started again."""
        made = self._scene("the function is restarted")
        self._operator.stop_function()
        self._operator.start_function()
        self._watch(AWAY_S)
        return made

    def update(self) -> Recording:
        """Record a function that leaves its data plane to the next process, as an upgrade of the package does."""
        made = self._scene("the function is updated")
        self._operator.stop_function(how=signal.SIGUSR1)
        self._operator.start_function()
        self._watch(AWAY_S)
        return made

    def collector(self) -> Recording:
        """Record a collector that is restarted: its counters begin at 0."""
        made = self._scene("the collector is restarted")
        self._lab.stop("collect")
        self._watch(2 * EVERY_S)
        self._collect()
        self._watch(AWAY_S)
        return made

    def night(self) -> Recording:
        """Record few users, one of whom has a bad radio, until the next morning, which is soon."""
        self._lab.stop(*(f"{name}-apps" for name in self._lab.subscribers if name not in (AWAKE, EDGE)))
        self._lab.radio(EDGE, uplink=BAD, downlink=BAD)
        self._watch(CALM_S)  # the busy hours are over
        made = self._scene("a quiet night, in which one user of two is at the edge of a cell")
        self._watch(NIGHT_S)
        return made


def values_of(series: dict[int, float], numbers: Sequence[int]) -> str:
    """Return the values at some scrapes as promtool reads them: runs of one value as one word."""
    words = ["_" if n not in series else f"{series[n]:.10g}" for n in numbers]
    runs = [(word, len(list(run))) for word, run in groupby(words)]
    return " ".join(word if n == 1 else f"_x{n}" if word == "_" else f"{word}x{n - 1}" for word, n in runs)


def tests_of(made: Recording) -> list[dict[str, object]]:
    """Return the tests of a scene, one for each moment at which scrapes may begin."""
    return [_test(made, phase) for phase in range(PHASES)]


def _test(made: Recording, phase: int) -> dict[str, object]:
    numbers = range(phase, made.scrapes, PHASES)
    found = {name: values_of(values, numbers) for name, values in sorted(made.series.items())}
    end_s = (len(numbers) - 1) * INTERVAL_S
    test: dict[str, object] = {
        "name": f"{made.name}; scrapes begin {phase * EVERY_S} s later",
        "interval": f"{INTERVAL_S}s",
        "input_series": [{"series": name, "values": values} for name, values in found.items()],
    }
    firing = 'ALERTS{alertstate="firing"%s}'
    if made.turned is None or made.mended is None:
        return test | {"promql_expr_test": [_none(firing % "", 0, end_s)]}
    turned_s, mended_s = ((n - phase) * EVERY_S for n in (made.turned, made.mended))
    told = {
        "eval_time": f"{turned_s + WITHIN_S}s",
        "alertname": "SnfAccessBad",
        "exp_alerts": [_access_bad(plan.GNB_SITES[0])],
    }
    return test | {
        "alert_rule_test": [told],
        "promql_expr_test": [
            _none(firing % "", 0, turned_s),
            _none(firing % ',alertname!="SnfAccessBad"', 0, end_s),
            _none(firing % "", mended_s + OVER_S, end_s),
        ],
    }


def _none(expr: str, begin_s: int, end_s: int) -> dict[str, object]:
    """Return the test that nothing is found from one moment to another."""
    return {"expr": f"count_over_time({expr}[{end_s - begin_s}s])", "eval_time": f"{end_s}s"}


def _access_bad(gnb: str) -> dict[str, object]:
    (rule,) = (
        rule
        for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]
        for rule in group["rules"]
        if rule["alert"] == "SnfAccessBad"
    )
    texts = {k: v.replace("{{ $labels.gnb }}", gnb) for k, v in rule["annotations"].items()}
    return {"exp_labels": {**rule["labels"], "gnb": gnb}, "exp_annotations": texts}


def write(path: Path, scenes: Sequence[Recording]) -> None:
    """Write the tests of scenes."""
    whole = {
        "rule_files": [RULES.name],
        "evaluation_interval": f"{INTERVAL_S}s",
        "tests": [test for made in scenes for test in tests_of(made)],
    }
    head = "# Series of the lab, recorded by `python -m lab.alerts`, which says what was done; a scrape each 15 s.\n"
    path.write_text(head + yaml.safe_dump(whole, sort_keys=False, width=1000, default_flow_style=None), "utf-8")


def record(only: str, say: Callable[[str], object]) -> Iterator[Recording]:
    """Build the lab and yield the scenes with this word in their name, as they end."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(plan.subscribers(*USES), steady=True))
        operator = stack.enter_context(Operator(lab))
        scraper = Scraper(lab.net.path("ops"))
        stack.callback(scraper.stop)
        scenes = Scenes(lab, operator, scraper, say)
        scenes.begin()
        yield from (getattr(scenes, name)() for name in SCENES if only in name)


def main() -> None:
    """Record, write and try; exit 1 when promtool does not find what the scenes want."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", default="", help=f"one of: {', '.join(SCENES)}")
    parser.add_argument("--out", type=Path, default=OUT, help="the test of promtool")
    args = parser.parse_args()
    try:
        with interruptible():
            scenes = list[Recording]()
            for scene in record(args.only, lambda text: print(text, flush=True)):
                scenes.append(scene)
                write(args.out, scenes)
    except KeyboardInterrupt:
        sys.exit(130)
    except (LabError, SnfError) as error:
        sys.exit(f"alerts: {error}")
    beside = args.out.with_name(RULES.name)  # promtool looks for the rules beside their test
    beside.write_bytes(RULES.read_bytes())
    try:
        done = subprocess.run(["promtool", "test", "rules", args.out], check=False)
    finally:
        beside.unlink()
    sys.exit(min(done.returncode, 1))


if __name__ == "__main__":
    main()
