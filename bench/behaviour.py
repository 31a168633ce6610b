"""Accuracy of behaviour alone for the class of a flow: generated flows of other seeds, and the captures without names.

python -m bench.behaviour               prints the tables; takes a minute
python -m bench.behaviour --lab 60      and of the clients of the lab, at work for so many seconds

A result on generated flows proves the estimator, not the applications. The clients of the lab are programs of their
own; the ranges of the generators were widened after a look at them. The model has seen no flow of the lab and of no
capture. Few flows of the captures last long enough to be judged. Truth of these is the class of the application that
the packets name (truth_basis of expected_flows.csv).
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import behaviours
from bench.captures import SHARED
from bench.train import TEST_SEED, patterns_of
from nf.apps.signatures import Signatures
from nf.errors import SnfError
from nf.naming.class_model import CLASSES, LEAST_INTERVALS, LEAST_PACKETS, Forest
from nf.privacy import Pseudonymiser
from nf.replay.records import Collector
from nf.replay.run import Replay

__all__ = ["Told", "captured", "generated", "lab", "report"]

PER_CLASS = 60
_FACTS = ("sni", "http_host", "dns_answer", "dns_query")


@dataclass(frozen=True, slots=True)
class Told:
    """Flows that could be judged: truth and answer as indices of CLASSES; len(CLASSES) and -1 are none."""

    truth: NDArray[np.intp]
    answer: NDArray[np.intp]
    too_short: int = 0

    def coverage(self, of: int | None = None) -> float:
        """Return the share of the flows of a class, or of all classes, that got an answer."""
        mine = self.truth == of if of is not None else self.truth < len(CLASSES)
        return float((self.answer[mine] >= 0).mean()) if mine.any() else float("nan")

    def accuracy(self, of: int | None = None) -> float:
        """Return the share of right answers among the answers."""
        mine = (self.truth == of if of is not None else self.truth < len(CLASSES)) & (self.answer >= 0)
        return float((self.answer == self.truth)[mine].mean()) if mine.any() else float("nan")


def generated(per_class: int = PER_CLASS, seed: int = TEST_SEED, forest: Forest | None = None) -> Told:
    """Judge each flow once, at its end, at intervals of a second."""
    forest, truth, patterns, short = forest or Forest(), [], [], 0
    for number, kind in enumerate(behaviours.KINDS):
        rng = np.random.default_rng([seed, number])
        for _ in range(per_class):
            found = patterns_of(behaviours.make(kind, rng), 1.0, last_only=True)
            short += not len(found)
            patterns.append(found)
            truth += [number] * len(found)
    answer, _ = forest.classify(np.concatenate(patterns))
    return Told(np.array(truth), answer, short)


def captured(forest: Forest | None = None) -> tuple[Told, Counter[str]]:
    """Judge the flows of all captures whose class is a fact; also return them by class, judged or not."""
    if not SHARED.is_dir():
        raise SnfError(f"The captures are not at {SHARED}.", "Set SNF_SHARED to the folder that holds captures/.")
    signatures = Signatures.load()
    forest, truth, answers, met, short = forest or Forest(), [], [], Counter[str](), 0
    facts: dict[str, dict[tuple[str, ...], str]] = {}
    with (SHARED.parent / "expected_flows.csv").open() as file:
        for row in csv.DictReader(file):
            app = signatures.number(row["truth_app"])
            if row["truth_basis"] in _FACTS and app and signatures.app_class(app) in CLASSES and "53" not in (
                row["sport"], row["dport"]
            ):  # fmt: skip
                key = tuple(row[n] for n in ("proto", "src", "sport", "dst", "dport"))
                facts.setdefault(row["file"], {})[key] = signatures.app_class(app)
    for name, wanted in facts.items():
        rows, patterns = _watched(SHARED / name, signatures)
        for row in rows:
            app_class = wanted.get(tuple(str(row[n]) for n in ("proto", "src", "sport", "dst", "dport")))
            if app_class is None:
                continue
            met[app_class] += 1
            p = patterns[patterns["number"] == row["number"]]
            if not _can_be_judged(p):
                short += 1
                continue
            truth.append(CLASSES.index(app_class))
            answers.append(int(forest.classify(p)[0][0]))
    return Told(np.array(truth, np.intp), np.array(answers, np.intp), short), met


def lab(seconds: float, forest: Forest | None = None) -> Told:
    """Run each client of the lab, one a subscriber, and judge the flows by their service's address."""
    from lab.lab import Lab
    from lab.net import interruptible
    from lab.plan import SERVICES, subscribers

    class_of = {s.address: s.app_class for s in SERVICES.values() if s.app_class in CLASSES}
    uses = [(kind,) for kind, service in SERVICES.items() if service.app_class in CLASSES]
    with tempfile.TemporaryDirectory() as folder, interruptible():
        path = Path(folder) / "n3.pcapng"
        with Lab(subscribers(*uses)) as network:
            network.announce_all()
            words = (*network.net.prefix("probe"), "dumpcap", "-q", "-i", "n3", "-w", str(path))
            with subprocess.Popen(words, stderr=subprocess.DEVNULL) as tap:
                network.start_clients()
                time.sleep(seconds)
                tap.terminate()
        rows, patterns = _watched(path, Signatures.load())
    truth, answers, short, forest = [], [], 0, forest or Forest()
    for row in rows:
        app_class = class_of.get(row["src"]) or class_of.get(row["dst"])
        if app_class is None or not row["gtpu"]:
            continue
        p = patterns[patterns["number"] == row["number"]]
        if not _can_be_judged(p):
            short += 1
            continue
        truth.append(CLASSES.index(app_class))
        answers.append(int(forest.classify(p)[0][0]))
    return Told(np.array(truth, np.intp), np.array(answers, np.intp), short)


def _can_be_judged(pattern: NDArray[np.void]) -> bool:
    return bool(
        len(pattern) and pattern["intervals"][0] >= LEAST_INTERVALS and pattern["packets"].sum() >= LEAST_PACKETS
    )


def _watched(path: Path, signatures: Signatures) -> tuple[list[dict[str, Any]], NDArray[np.void]]:
    """Return the flows of a capture, and the patterns of all of them."""
    replay = Replay(signatures, Pseudonymiser(bytes(32), 1), Collector())
    try:
        patterns = replay.pipeline.naming.inference.patterns
        patterns.everything = True
        return replay.run([path], [None]).flows, patterns.rows
    finally:
        replay.close()


def report(told: Told) -> str:
    """Return a table: flows, coverage and accuracy by class."""
    lines = [f"{'class':14} {'flows':>6} {'coverage':>9} {'accuracy':>9}"]
    for number, name in enumerate((*CLASSES, "none")):
        flows = int((told.truth == number).sum())
        if flows:
            lines.append(f"{name:14} {flows:6} {told.coverage(number):9.1%} {told.accuracy(number):9.1%}")
    flows = int((told.truth < len(CLASSES)).sum())
    short = f"and {told.too_short} too short to be judged"
    lines.append(f"{'all classes':14} {flows:6} {told.coverage():9.1%} {told.accuracy():9.1%}   {short}")
    return "\n".join(lines)


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.behaviour")
    parser.add_argument("--lab", type=float, metavar="SECONDS", help="judge the clients of the lab as well")
    seconds = parser.parse_args().lab
    print(
        "generated flows of other seeds (the coverage of none is what it wrongly gives a class)\n" + report(generated())
    )
    try:
        told, met = captured()
    except SnfError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\ncaptures without names, {sum(met.values())} flows of known class\n" + report(told))
    if seconds:
        print(f"\nclients of the lab, {seconds:g} s\n" + report(lab(seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
