"""Commands of the programs beside the function, which are installed apart from it.

Packages of both may be on one host. Then ``snf`` is the one of the probe, and what is of the history goes on in the
environment of the collector.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from nf.errors import SnfError

__all__ = ["needed", "probe_needed"]

_COLLECTOR = Path("/usr/lib/supernetflow-collector")  # of the package, deploy/deb


def needed() -> None:
    """Go on in the environment of the collector where the history is not in this one; refuse where there is none."""
    if all(find_spec(name) for name in ("history", "duckdb")):
        return
    own = _COLLECTOR / "bin" / "snf"
    if Path(sys.prefix) != _COLLECTOR and own.exists():
        os.execv(own, [str(own), *sys.argv[1:]])
    raise SnfError(
        "The history is not installed here.",
        "Install supernetflow-collector, or pip install 'supernetflow[history]'.",
    )


def probe_needed() -> None:
    """Refuse in the environment of the collector, which has nothing that the kernel is asked with."""
    if Path(sys.prefix) == _COLLECTOR:
        raise SnfError("The probe is not installed here.", "Install supernetflow.")
