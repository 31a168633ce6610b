"""The same requests to this server and to netconfd of yuma123: the same outcome, or a clause that says why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import oopt_gnpy_libyang as second
import pytest
from lxml import etree

from mgmt.netconf.model.yang_model import IMPLEMENTED
from tests.mgmt.interop.differences import CONFIGURATIONS, RULES, explained, notation
from tests.mgmt.interop.rpcs import BASE, CANDIDATE, COMMIT, DISCARD, EMPTY, STORIES, config, get
from tests.mgmt.interop.servers import Ours, Yuma, outcome_of

Validator = Callable[[Iterable[etree._Element]], None]
TRIES = 3  # of a story: beside much else netconfd now and then answers an edit with the data of a read
_USED: set[str] = set()  # clauses of the rules that explained something


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ours]:
    server = Ours(tmp_path_factory.mktemp("ours"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def yuma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yuma]:
    server = Yuma(tmp_path_factory.mktemp("yuma"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def engine(ours: Ours, second_engine: Callable[[Path, tuple[str, ...]], Validator]) -> Validator:
    return second_engine(ours.folder / "yang", (*IMPLEMENTED, "neutral"))


def begin(server: Ours | Yuma) -> None:
    """Bring a server to an empty ``top``, with nothing locked."""
    for session in (1, 2):
        for target in ("candidate", "running"):
            server.ask(session, f"<unlock><target><{target}/></target></unlock>")
    server.ask(1, DISCARD)
    server.ask(1, f"<edit-config>{CANDIDATE}{config(EMPTY)}</edit-config>")
    assert outcome_of(server.ask(1, COMMIT)).kind == "ok"
    assert outcome_of(server.ask(1, get("", "running"))).data == ""


@pytest.mark.clause("RFC 6241, 7.2", "RFC 6241, 7.5", "RFC 7950, 8", "RFC 7950, 9", "R-08134")
def _differences(ours: Ours, yuma: Yuma, story: str) -> list[str]:
    """Tell a story to both; return where they differ without a clause that says why."""
    for server in (ours, yuma):
        begin(server)
    unexplained = []
    for session, request in STORIES[story]:
        mine, theirs = (notation(outcome_of(server.ask(session, request))) for server in (ours, yuma))
        rule = explained(request, mine, theirs) if mine != theirs else None
        if rule is not None:
            _USED.add(rule.clause)
        elif mine != theirs:
            unexplained.append(f"{request}\n  here:  {mine}\n  there: {theirs}")
    return unexplained


class TestTheSame:
    """Each request of a story has the same outcome, and the story leaves the same configuration."""

    @pytest.mark.parametrize("story", STORIES)
    def test_outcome(self, ours: Ours, yuma: Yuma, engine: Validator, story: str) -> None:
        for _ in range(TRIES):
            if not (unexplained := _differences(ours, yuma, story)):
                break
        assert unexplained == []
        left = [
            [outcome_of(s.ask(1, get("", source))).data for source in ("running", "candidate")] for s in (ours, yuma)
        ]
        assert (left[0] != left[1]) is (story in CONFIGURATIONS), left
        engine(ours.ask(1, get("", "running")).find(f"{{{BASE}}}data"))


class TestTheTable:
    """The table of differences says no more than what was seen."""

    def test_there_are_at_least_two_hundred_requests(self) -> None:
        assert sum(map(len, STORIES.values())) >= 200

    def test_each_rule_explains_something(self) -> None:
        if not _USED:
            pytest.fail("The table is judged after the stories: run the whole file.")
        assert [rule.clause for rule in RULES if rule.clause not in _USED] == []

    def test_each_configuration_is_of_a_story(self) -> None:
        assert set(CONFIGURATIONS) <= set(STORIES)


class TestTheSecondEngine:
    """The second engine refuses what is not valid, so that its consent means something."""

    @pytest.mark.parametrize(
        "inner",
        [
            "<limits><low>9</low><high>3</high></limits>",
            "<reference>nobody</reference>",
            "<types><int8>x</int8></types>",
        ],
    )
    def test_it_refuses(self, engine: Validator, inner: str) -> None:
        with pytest.raises(second.Error):
            engine(etree.fromstring(f'<data><top xmlns="urn:supernetflow:test:neutral">{inner}</top></data>'))
