"""One subscriber of ten is degraded, each impairment in turn: its scores say so and where, nobody else's do."""

from __future__ import annotations

import pytest

from lab.degraded import HARM_S, HARMS, HEAD, play


class TestDegraded:
    """On the emulated N3, with real stacks, from the bus at a batch interval of a second."""

    @pytest.mark.timeout(1500)
    def test_score_and_cause_come_in_time_go_in_time_and_are_nobody_elses(self):
        outcomes, others = play(HARMS)

        print("\n".join(["", HEAD, *(o.line() for o in outcomes), others.line()]))
        judged = [o for o in outcomes if o.app_class in o.harm.noticed and o.void <= HARM_S / 4]
        assert judged, "the host was short of time in all of it: nothing is said"
        assert [o.line() for o in judged if not o.good] == []
        assert others.good, others.line()
