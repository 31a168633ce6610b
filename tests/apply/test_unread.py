"""Frames that are not read are told with their share, their name and the setting to change."""

from __future__ import annotations

import pytest

from nf.abi import COUNTERS
from nf.apply.unread import _KINDS, _OTHERS, not_read


class TestSentences:
    """One a kind, from a hundredth of the frames on."""

    def test_its_share_its_name_and_what_to_set(self) -> None:
        said = not_read({"frames": 100, "vxlan_unread": 31, "mpls_unread": 40})

        assert said == [
            "40 % of frames are MPLS: not read. Set encapsulation to auto or mpls.",
            "31 % of frames are VXLAN: not read. Set encapsulation to auto or vxlan.",
        ]

    def test_a_replay_has_nothing_to_set(self) -> None:
        assert not_read({"frames": 100, "mpls_unread": 2}, settable=False) == [
            "2 % of frames are MPLS: not read. It is of a form that is not known."
        ]

    @pytest.mark.parametrize("told", [{}, {"frames": 0}, {"frames": 1000, "gre_unread": 9, "counted": 991}])
    def test_little_is_not_told(self, told: dict[str, int]) -> None:
        assert not_read(told) == []

    def test_each_is_a_counter_of_the_programs(self) -> None:
        assert {*_KINDS, *_OTHERS} <= {c.name for c in COUNTERS}

    def test_each_counter_that_says_so_is_told(self) -> None:
        assert {c.name for c in COUNTERS if c.text.endswith("not read")} == {*_KINDS, "macsec_unread", "pbb_unread"}
