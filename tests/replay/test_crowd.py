"""A crowd's flows with the truth about each, through a replay: a name is right, or there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench import crowd
from bench.crowd import Score
from nf.apps.signatures import Signatures

FLOWS = 6000


@pytest.fixture(scope="module")
def seen(replay: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Score, list[dict[str, Any]]]:
    path = tmp_path_factory.mktemp("crowd") / "crowd.pcap"
    truth = crowd.make(path, FLOWS, 3, Signatures.load())
    rows = replay(path).flows
    return crowd.score(rows, truth), rows


class TestCrowd:
    """One flow in ten says no name; half of the traffic of fifty applications shares ten addresses."""

    def test_ninety_nine_of_a_hundred_names_are_right(self, seen: tuple[Score, list[dict[str, Any]]]) -> None:
        score, _ = seen
        assert score.named + score.unnamed == FLOWS
        assert score.precision >= 0.99
        assert score.named_wrong == 0

    def test_what_says_no_name_is_named_by_a_server_of_its_own_or_not(
        self, seen: tuple[Score, list[dict[str, Any]]]
    ) -> None:
        score, _ = seen
        assert score.unnamed_right >= 0.5 * score.unnamed
        assert score.unnamed_wrong <= 0.02 * score.unnamed
        assert score.shared_wrong == score.unnamed_wrong

    def test_no_server_of_the_content_network_is_learned(self, seen: tuple[Score, list[dict[str, Any]]]) -> None:
        learned = [r for r in seen[1] if r["app_basis"] == "learned"]
        assert len(learned) > 50
        assert [r["dst"] for r in learned if r["dst"].startswith("203.0.113.")] == []
