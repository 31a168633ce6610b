"""C files of the bench as shared libraries, built with the compiler that the set-up installs."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from nf.errors import SnfError

__all__ = ["library"]

_BUILD = Path(__file__).resolve().parent.parent / "build" / "bench"
_COMMAND = ("gcc", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared")


def library(source: Path) -> Path:
    """Return the library of a C file, built when there is none of its text; raises SnfError when it cannot be."""
    mark = hashlib.sha256(source.read_bytes() + " ".join(_COMMAND).encode()).hexdigest()[:16]
    made = _BUILD / f"{source.stem}-{mark}.so"
    if made.exists():
        return made
    _BUILD.mkdir(parents=True, exist_ok=True)
    partial = made.with_suffix(f".{os.getpid()}")
    try:
        done = subprocess.run([*_COMMAND, "-o", partial, source], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SnfError("The bench needs a C compiler, and gcc is not there.", "Run: make setup") from None
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise SnfError(f"{source.name} cannot be built: {' '.join(last)}", "The bench needs gcc and libc6-dev.")
    partial.rename(made)
    return made
