"""Estimators are fitted on other sets than they are judged by."""

from __future__ import annotations

import pytest

from lab.truth.choice import KINDS, PLAYERS
from lab.truth.content import LADDERS
from lab.truth.sets import LISTS, listed, name


def values(which: str, key: str) -> set[object]:
    return {s[key] for s in listed(which) if key in s}


class TestLists:
    """The lists of sets share neither seeds, ladders, players nor traces."""

    @pytest.mark.parametrize("key", ["seed", "ladder", "player", "trace"])
    def test_nothing_of_one_is_in_the_other(self, key: str) -> None:
        assert values("fit", key), key
        assert values("fit", key).isdisjoint(values("judge", key))

    @pytest.mark.parametrize("which", LISTS)
    def test_every_set_can_be_made(self, which: str) -> None:
        assert values(which, "kind") <= KINDS.keys()
        assert values(which, "player") <= set(PLAYERS)
        assert values(which, "ladder") <= LADDERS.keys()

    @pytest.mark.parametrize("which", LISTS)
    def test_every_set_has_a_folder_of_its_own(self, which: str) -> None:
        names = [name(s) for s in listed(which)]
        assert len(set(names)) == len(names)

    @pytest.mark.parametrize("which", LISTS)
    def test_each_kind_is_in_both_lists(self, which: str) -> None:
        assert values(which, "kind") == KINDS.keys()
