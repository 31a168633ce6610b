"""What the program says of one frame, by the table, by the twin, and of damaged frames without end."""

from __future__ import annotations

import pytest

from tests.kernel.mutate import damaged, sound
from tests.kernel.rig import TABLES, Outcome, Rig
from tests.kernel.table import INNER, TABLE, Row
from tests.kernel.twin import Truth, observe

DAMAGED = 4000
SEED = 29_281


def complaint(frame: bytes, role: str, truth: Truth, outcome: Outcome) -> str:
    """Return an empty text when twin and kernel agree, else both with the frame."""
    kernel = Truth(outcome.verdict, outcome.why - TABLES, outcome.flow)
    return "" if kernel == truth else f"{role} {frame.hex()}\n  standard {truth}\n  kernel   {kernel}"


def by_sentence(row: Row) -> str:
    """Return the name of a row for pytest."""
    return row.says.replace(" ", "-")


class TestTable:
    """Each row of the table holds."""

    @pytest.mark.parametrize("row", TABLE, ids=by_sentence)
    def test_the_kernel_says_so(self, rig: Rig, row: Row) -> None:
        outcome = rig.run(row.frame, row.role)

        due = set(row.why) | ({"gtpu_gpdu", "tunnel_unknown"} if row.flow and row.flow.gtpu else set())
        due |= {"gtpu_gpdu"} if row in INNER else set()
        assert (outcome.verdict, outcome.why, outcome.flow) == (row.verdict, frozenset(due), row.flow)

    @pytest.mark.parametrize("row", TABLE, ids=by_sentence)
    def test_the_twin_says_so(self, row: Row) -> None:
        truth = observe(row.frame, row.role)

        due = set(row.why) | ({"gtpu_gpdu"} if (row.flow and row.flow.gtpu) or row in INNER else set())
        assert truth == Truth(row.verdict, frozenset(due), row.flow)

    def test_no_two_rows_say_the_same(self) -> None:
        assert len({row.says for row in TABLE}) == len(TABLE)


class TestCuts:
    """A frame that is cut at any byte is counted for what is left of it."""

    @pytest.mark.parametrize("number", range(len(sound())))
    def test_at_every_byte(self, rig: Rig, number: int) -> None:
        frame = sound()[number]
        wrong = []
        for length in range(14, len(frame)):
            rig.forget()
            outcome = rig.run(frame[:length], "any")
            wrong.append(complaint(frame[:length], "any", observe(frame[:length], "any"), outcome))

        assert not "\n".join(filter(None, wrong))


class TestDamage:
    """Twin and kernel agree on frames with flipped bits, lying lengths, lost and repeated bytes."""

    @pytest.mark.parametrize("role", ["n3", "n6", "any"])
    def test_both_say_the_same(self, rig: Rig, role: str) -> None:
        count = DAMAGED if role == "n3" else DAMAGED // 4
        wrong = []
        for frame in damaged(SEED, count):
            outcome = rig.run(frame, role)
            if outcome.flow is not None:
                rig.forget()
            wrong.append(complaint(frame, role, observe(frame, role), outcome))

        found = [text for text in wrong if text]
        assert not found, f"{len(found)} of {count}, the first:\n" + "\n".join(found[:5])

    def test_it_reaches_every_reason_of_the_parser(self) -> None:
        """A generator that never meets a reason proves nothing of it."""
        met = {reason for frame in damaged(SEED, DAMAGED) for reason in observe(frame, "n3").why}

        assert met >= {
            *("l2_truncated", "vlan_too_deep", "not_ip", "ip_truncated", "ip_malformed"),
            *("outer_fragment", "not_gtpu", "gtpu_truncated", "gtpu_version", "gtpu_length", "gtpu_ext_malformed"),
            *("inner_not_ip", "inner_truncated", "inner_malformed", "inner_l4_truncated", "inner_fragment"),
        }
