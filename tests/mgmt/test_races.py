"""Two orchestrators race on lock, edit, commit and kill: no lost update, no stuck lock."""

import os

import pytest

from lab.wait import slowness
from tests.mgmt.races import race

RACE_S = float(os.environ.get("SNF_RACE_S", "2"))


class TestTwoOrchestrators:
    """Each reads a counter under locks and commits one more; `make soak` has ten minutes."""

    @pytest.mark.timeout(180 + RACE_S * 4)
    def test_the_counter_is_what_they_were_promised(self, bench):
        seconds = RACE_S * slowness() if RACE_S < 60 else RACE_S

        tally, counter = race(bench, seconds)

        print(f"\n{tally}, counter {counter}")
        assert tally.wrong == []
        assert tally.done
        assert tally.done <= counter <= tally.done + tally.perhaps
        with bench.manager() as client:  # whose locks these were, they are free
            for target in ("running", "candidate"):
                client.lock(target)
        assert bench.datastore.revision >= counter
