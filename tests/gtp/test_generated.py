"""Codecs against scapy: each reads the other's messages, and errors name the damaged place; `make fuzz` runs longer."""

from __future__ import annotations

import random

from tests.gtp.fuzz import SEED, SLOW_S, cuts, mutations
from tests.gtp.generate import by_scapy, by_us


class TestBothWays:
    """PFCP, GTPv2-C and GTP-U messages with random content."""

    def test_what_scapy_writes(self):
        by_scapy(random.Random(SEED), 2000)

    def test_what_we_write(self):
        by_us(random.Random(SEED), 300)


class TestDamage:
    """A damaged message is a value or a codec error that names offset, need and have, and takes no time."""

    def test_every_cut_of_every_sample(self):
        assert cuts() == []

    def test_mutations(self):
        wrong, slowest = mutations(random.Random(SEED), 20_000)
        assert wrong == []
        assert slowest < SLOW_S
