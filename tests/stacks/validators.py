"""The validators' own environments, made by the first test that asks for one."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from tests.test_house import ROOT


@cache
def environment(name: str) -> Path:
    """Return the folder of a validator's environment. Making one takes a minute or two, and says so."""
    made = subprocess.run([ROOT / "scripts" / "validators", name], stdout=subprocess.PIPE, text=True, check=False)
    assert made.returncode == 0, f"scripts/validators {name} failed, see above"
    return Path(made.stdout.strip())


def verdicts(name: str, script: str, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give cases to a script of this folder that runs in a validator's environment, and return what it says of each."""
    python = environment(name) / "bin" / "python"
    asked = subprocess.run(
        [python, ROOT / "tests" / "stacks" / script],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    said: list[dict[str, Any]] = json.loads(asked.stdout)
    return said
