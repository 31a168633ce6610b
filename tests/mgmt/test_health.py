"""The checks of health: which values are good, and a sentence that says what to do when they are not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mgmt.vitals.health import CHECKS, check, is_healthy
from nf.apply.vitals import PortVitals, Vitals

WELL = Vitals(interval_s=1.0, endpoint="tcp://127.0.0.1:5556", ports={"n3": PortVitals("up")}, session_room=100)


@pytest.mark.clause("R-31809")
class TestVerdict:
    """All checks are made, each once, and one that is bad is enough."""

    def test_all_is_well(self):
        checks = check(WELL)
        assert [each.name for each in checks] == list(CHECKS)
        assert is_healthy(checks)

    @pytest.mark.parametrize(
        ("name", "vitals", "said"),
        [
            (
                "interfaces-attached",
                replace(WELL, ports={"n6": PortVitals("not-present", "No device.")}),
                "n6: No device.",
            ),
            ("links-up", replace(WELL, ports={"n6": PortVitals("lower-layer-down")}), "n6 is lower-layer-down."),
            ("rings-read", replace(WELL, rings_age_s=11.0), "11.0 s ago"),
            ("intervals-end", replace(WELL, interval_age_s=11.5), "of 1.0 s ended 11.5 s ago"),
            ("publisher-bound", replace(WELL, publisher_age_s=6.0), "turned 6.0 s ago"),
            ("publisher-bound", replace(WELL, publisher_age_s=None), "has ended"),
            ("state-directory-writable", replace(WELL, unwritable="No space left"), "No space left"),
            ("session-table-has-room", replace(WELL, sessions=95), "95 of 100 sessions"),
        ],
    )
    def test_one_part_that_fails_is_named_alone(self, name, vitals, said):
        checks = check(vitals)
        assert [each.name for each in checks if not each.good] == [name]
        assert not is_healthy(checks)
        (bad,) = (each for each in checks if not each.good)
        assert said in bad.text
        assert bad.text.count(". ") >= 1 or bad.name == "links-up", "what is seen, then what to do"

    @pytest.mark.parametrize(
        "vitals",
        [
            replace(WELL, interval_s=60.0, interval_age_s=61.0),  # a long interval is not late
            replace(WELL, ports={}),  # nothing is configured
            replace(WELL, sessions=94),
        ],
    )
    def test_what_is_as_it_should_be_is_not_bad(self, vitals):
        assert is_healthy(check(vitals))
