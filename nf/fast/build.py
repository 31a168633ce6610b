"""The build of ``columns.so``: ``python3 -m nf.fast.build [--sanitize] [--output FILE]``.

The C compiler is ``cc``, or what CC names. Without one nothing is built, which is told, and no error: the references in
numpy run instead.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from nf import abi
from nf.errors import SnfError

__all__ = ["HERE", "SHARED_OBJECT", "SOURCE", "build", "compiler", "digest", "main", "sources"]

HERE = Path(__file__).resolve().parent
SOURCE, SHARED_OBJECT = HERE / "columns.c", HERE / "columns.so"

# Products and sums are rounded one after another, as numpy does: no fused instructions. No flag names this machine's
# processor, so that a build serves on another one.
_FLAGS = ("-std=gnu11", "-O2", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra")
_SANITIZERS = ("-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def sources() -> list[Path]:
    """Return the files that a build is made of."""
    return [SOURCE, *sorted(HERE.glob("*.h")), *abi.headers()]


def digest() -> str:
    """Return the hash of the text of a build."""
    whole = hashlib.sha256()
    for path in sources():
        whole.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()


def compiler() -> str | None:
    """Return the path of the C compiler, None where there is none."""
    return shutil.which(os.environ.get("CC") or "cc")


def build(output: Path = SHARED_OBJECT, *, sanitize: bool = False) -> None:
    """Compile to *output*, which is replaced as a whole; raises SnfError with the compiler's first complaint."""
    cc = compiler()
    if cc is None:
        raise SnfError("There is no C compiler; run: apt-get install gcc libc6-dev")
    new = output.with_suffix(f".{os.getpid()}.new")
    command = [cc, *_FLAGS, *(_SANITIZERS if sanitize else ()), f'-DSNF_FAST_BUILD="{digest()}"', "-o", str(new)]
    try:
        done = subprocess.run([*command, str(SOURCE), "-lm"], capture_output=True, text=True, check=False)
        if done.returncode:
            complaint = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[-200:])
            raise SnfError(f"{cc} cannot compile {SOURCE}: {complaint}")
        new.replace(output)  # a process that has the old file loaded keeps it
    finally:
        new.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """Build; return 0 without a compiler as well, and 1 when it fails."""
    parser = argparse.ArgumentParser(prog="python3 -m nf.fast.build", description="Build the compiled passes.")
    parser.add_argument("--output", type=Path, default=SHARED_OBJECT)
    parser.add_argument("--sanitize", action="store_true", help="with the sanitizers of addresses and of behaviour")
    asked = parser.parse_args(arguments)
    if compiler() is None:
        print("There is no C compiler: the passes run in numpy, several times slower.", file=sys.stderr)
        return 0
    try:
        build(asked.output, sanitize=asked.sanitize)
    except (SnfError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
