"""Generated and damaged signalling through our codecs, as many as asked.

``python -m tests.gtp.fuzz --messages 100000 --mutations 1000000`` ends with 0 when scapy and we read the same in every
message of the other, and when every cut and every damaged message is a value or a codec error within 10 ms.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.gtp.generate import by_scapy, by_us, complaint, decoders, samples

SEED, SLOW_S, SHOWN = 29_244, 0.01, 20


def cuts() -> list[str]:
    """Cut every sample at every byte; return what is wrong."""
    read = decoders()
    found = []
    for kind, whole in samples(random.Random(SEED)):
        found += [
            f"{kind} {whole[:n].hex()}: {text}" for n in range(len(whole)) if (text := complaint(read[kind], whole[:n]))
        ]
    return found


def mutations(chance: random.Random, count: int) -> tuple[list[str], float]:
    """Damage samples; return what is wrong and the CPU seconds of the slowest."""
    read, all_of_them = decoders(), list(samples(chance))
    found: list[str] = []
    slowest = 0.0
    for _ in range(count):
        kind, whole = chance.choice(all_of_them)
        raw = bytearray(whole)
        for _ in range(chance.randint(1, 5)):
            at = chance.randrange(len(raw))
            match chance.randrange(8):
                case 0:
                    del raw[at : at + chance.randint(1, 4)]
                case 1:
                    raw[at:at] = chance.randbytes(chance.randint(1, 4))
                case _:
                    raw[at] = chance.randrange(256)
            raw = raw or bytearray(1)
        began = time.thread_time()
        text = complaint(read[kind], bytes(raw))
        slowest = max(slowest, time.thread_time() - began)
        if text and len(found) < SHOWN:
            found.append(f"{kind} {raw.hex()}: {text}")
    return found, slowest


def main(arguments: list[str] | None = None) -> int:
    """Run as many as asked; return 1 when anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--mutations", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args(arguments)
    began, chance = time.monotonic(), random.Random(asked.seed)
    by_scapy(chance, asked.messages)
    by_us(chance, asked.messages // 10)
    print(f"{asked.messages:,} messages of scapy and {asked.messages // 10:,} of ours are read as they were meant")
    wrong = cuts()
    more, slowest = mutations(chance, asked.mutations)
    for text in (wrong + more)[:SHOWN]:
        print(text)
    print(
        f"every cut and {asked.mutations:,} damaged messages of seed {asked.seed} in {time.monotonic() - began:.0f} s:",
        f"{len(wrong + more)} wrong" if wrong or more else "a value or a codec error each",
        f"the slowest took {slowest * 1e3:.2f} ms",
    )
    return 1 if wrong or more or slowest > SLOW_S else 0


if __name__ == "__main__":
    sys.exit(main())
