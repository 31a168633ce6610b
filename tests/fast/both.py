"""``snf`` with both kinds of passes: each interval is counted by the compiled one and by its reference.

``python -m tests.fast.both REPORT run ...`` does what ``snf run ...`` does; at its end REPORT says, as JSON, what the
passes were given. An interval in which they differ is in the log, with the columns.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from mgmt.cli.main import main
from nf.fast import build
from nf.fast.library import ENVIRONMENT, load
from tests.fast.columns import compared


def run(report: Path, arguments: list[str]) -> None:
    """Be the function, and leave the report."""
    with compared(load(Path(os.environ.get(ENVIRONMENT) or build.SHARED_OBJECT))) as met:
        try:
            main(arguments)
        finally:
            report.write_text(json.dumps(asdict(met)), encoding="ascii")


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
