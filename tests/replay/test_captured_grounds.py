"""All captures end to end, as one network sees them: what is inferred must not contradict what is a fact."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nf.apps.signatures import Signatures
from nf.kernel.dataplane import DataPlane
from nf.privacy import Pseudonymiser
from nf.replay.records import Collector
from nf.replay.run import Replay
from tests.replay.conftest import KEY, empty

FACTS = ("sni", "http_host", "dns_answer", "dns_query")
FLOW = ("file", "proto", "src", "sport", "dst", "dport")


@pytest.fixture(scope="module")
def rows(plane: DataPlane, shared: Path) -> Iterator[list[dict[str, Any]]]:
    empty(plane)
    captures = sorted((shared / "captures" / "pcap").iterdir())
    replay = Replay(Signatures.load(), Pseudonymiser(KEY, 1), Collector(), plane=plane)
    yield replay.run(captures, [None] * len(captures)).flows
    empty(plane)


class TestTogether:
    """105 captures of many networks in one run, each at its own time."""

    def test_no_honest_name_is_doubted(self, rows: list[dict[str, Any]]) -> None:
        assert [r["name"] for r in rows if r["app_basis"] == "contradicted"] == []

    def test_what_is_inferred_is_never_another_application_than_the_fact(
        self, rows: list[dict[str, Any]], shared: Path
    ) -> None:
        with (shared / "captures" / "expected_flows.csv").open() as file:
            facts = {
                tuple(r[n] for n in FLOW): r["truth_app"] for r in csv.DictReader(file) if r["truth_basis"] in FACTS
            }
        inferred = [r for r in rows if r["app_basis"] in ("learned", "model") and r["app"]]
        wrong = [
            (r["file"], r["app"], fact)
            for r in inferred
            if (fact := facts.get(tuple(str(r[n]) for n in FLOW))) not in (None, r["app"])
        ]
        assert wrong == []

    def test_most_named_flows_say_their_name(self, rows: list[dict[str, Any]]) -> None:
        met = Counter(r["app_basis"] for r in rows)

        assert met["sni"] >= 446  # host names that tshark found in ClientHellos
        assert met["model"] <= 0.03 * len(rows)  # hardly any flow of a capture is long enough
