"""What the program says of one frame, by the table, by the twin, and of damaged frames without end."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.kernel.fuzz import SEED, complaint, disagreements
from tests.kernel.mutate import anything, sound
from tests.kernel.packets import ether, udp
from tests.kernel.rig import Outcome, Rig
from tests.kernel.table import INNER, PLAIN, TABLE, Row, put
from tests.kernel.twin import MESSAGES, Truth, observe

PACKETS = 20_000
PARSER = {
    *("l2_truncated", "vlan_too_deep", "not_ip", "ip_truncated", "ip_malformed", "ip_ext_too_long", "l4_truncated"),
    *("outer_fragment", "signalling", "not_gtpu", "gtpu_truncated", "gtpu_version", "gtpu_length"),
    *("gtpu_ext_malformed", "gtpu_ext_too_long", "inner_not_ip", "inner_truncated", "inner_malformed"),
    *("inner_ext_too_long", "inner_l4_truncated", "inner_fragment", "gtpu_other", *MESSAGES.values()),
    *("psc_measured", "psc_malformed"),
}


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


class TestSnapped:
    """Of a frame that a capture cut, what is left is read, and what was there is counted."""

    def test_a_length_of_zero_is_that_of_the_whole_frame(self, rig: Rig) -> None:
        frame = put(ether(udp(60_000)), 16, 0, 0)

        outcome = rig.run(frame[:96], "n6", wire=len(frame))

        assert outcome.flow == PLAIN._replace(octets=20 + 8 + 60_000)
        assert outcome.counters["octets"] == len(frame)


class TestDamage:
    """Twin and kernel agree on packets of any make, and with flipped bits, lying lengths, lost and repeated bytes."""

    def test_both_say_the_same(self, rig: Rig) -> None:
        found = [text for _, text in disagreements(rig, PACKETS, SEED, Counter()) if text]
        assert not found, f"{len(found)} of {PACKETS}, the first:\n" + "\n".join(found[:5])

    def test_they_reach_every_reason_of_the_parser(self) -> None:
        """A generator that never meets a reason proves nothing of it."""
        met = {reason for frame in anything(SEED, PACKETS // 4) for reason in observe(frame, "any").why}
        met |= {reason for frame in anything(SEED, PACKETS // 4) for reason in observe(frame, "n3").why}

        assert met == PARSER

    def test_a_disagreement_is_told_with_the_frame(self) -> None:
        kernel = Outcome("drop", frozenset({"ip_malformed"}), None, {})

        assert complaint(b"\x01\x02", "n3", Truth("drop", frozenset({"ip_malformed"}), None), kernel) == ""
        told = complaint(b"\x01\x02", "n3", Truth("drop", frozenset({"ip_truncated"}), None), kernel)
        assert told.startswith("n3 0102\n")
        assert "ip_truncated" in told
        assert "ip_malformed" in told
