"""Coverage-guided fuzzing of the parsers of names by atheris, which is no dependency: pip install atheris (Apache-2.0).

``python -m tests.apps.guided -runs=1000000`` takes the options of libFuzzer. The first byte of an input chooses the
parser; the corpus begins with the samples of test_hostile_payloads.py. Any exception but a parser's own errors ends the
run with the input in a file.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["nf.apps"]):
    from tests.apps.test_hostile_payloads import PARSERS, SAMPLES, attempt

_NAMES = list(PARSERS)


def one(data: bytes) -> None:
    """Give an input to the parser that its first byte chooses."""
    if data:
        attempt(_NAMES[data[0] % len(_NAMES)], data[1:])


def main() -> None:
    """Fuzz until the options say that it is enough; libFuzzer ends the process."""
    with tempfile.TemporaryDirectory() as corpus:
        for which in range(len(_NAMES)):
            for number, sample in enumerate(SAMPLES):
                (Path(corpus) / f"{which}-{number}").write_bytes(bytes([which]) + sample)
        atheris.Setup([sys.argv[0], "-max_len=4096", "-timeout=2", *sys.argv[1:], corpus], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
