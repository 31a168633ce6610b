"""Damaged payloads through every parser of names, as many as asked.

``python -m tests.apps.fuzz --payloads 1000000 --seed 29281`` damages the samples of test_hostile_payloads.py and gives
each to a parser, in turn, three of four to one that reads the sample undamaged, and to the namer in flows of three
packets. A parser answers with a value or an error of its own family; anything else, or an answer that takes longer than
a quarter of a second, is printed as hex, and the exit is 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from itertools import cycle

from nf.abi import SNF_HANDOFF
from nf.apps.signatures import TCP, UDP, Signatures
from nf.naming.payloads import Namer, Payload
from tests.apps.test_hostile_payloads import PARSERS, SAMPLES, attempt, mutate

SEED = 29_281
SLOW_S = 0.25
_MINE = 0.75  # of the samples given to a parser: those that it reads
PORTS = (53, 80, 443, 3478, 5060, 5353)


def _one(what: str, payload: bytes, namer: Namer, number: int) -> str:
    """Give *payload* to a parser, or to the namer; return the outcome by name."""
    if what != "namer":
        return attempt(what, payload)
    flow = number // SNF_HANDOFF
    ends = ("10.0.0.1", 40_000, "198.51.100.1", PORTS[flow % len(PORTS)])
    verdict = namer.feed(Payload(flow, 1, (TCP, UDP)[flow % 2], *ends, payload, number % SNF_HANDOFF * 1200, 0.0))
    return "nothing" if verdict is None else verdict.basis.text


def fuzz(count: int, seed: int, met: Counter[str]) -> list[str]:
    """Return what went wrong; count the outcomes in *met*."""
    rng, namer, wrong = random.Random(seed), Namer(Signatures.load()), []
    read = {
        what: [s for s in SAMPLES if what == "namer" or attempt(what, s) == "value"] for what in (*PARSERS, "namer")
    }
    for number, what in zip(range(count), cycle(read), strict=False):
        payload = mutate(rng, rng.choice(read[what] if rng.random() < _MINE else SAMPLES))
        begun = time.thread_time()
        try:
            met[f"{what}: {_one(what, payload, namer, number // len(read))}"] += 1
        except Exception as error:
            wrong.append(f"{what} {payload.hex()}: {error!r}")
        if time.thread_time() - begun > SLOW_S:
            wrong.append(f"{what} {payload.hex()}: slow")
    return wrong


def main(arguments: list[str] | None = None) -> int:
    """Run as many as asked; return 1 when anything went wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--payloads", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args(arguments)
    met: Counter[str] = Counter()
    begun = time.monotonic()
    wrong = fuzz(asked.payloads, asked.seed, met)
    for text in wrong:
        print(text)
    print(", ".join(f"{what} {n}" for what, n in sorted(met.items())))
    print(f"{asked.payloads} payloads, {len(wrong)} wrong, {time.monotonic() - begun:.0f} s, seed {asked.seed}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
