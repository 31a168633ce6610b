"""Machines that the tests of this folder boot."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines.machine import Machine, machine
from tests.machines.unit import PACKAGES, ROOT, Unit


@pytest.fixture(scope="session")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root of a minimal Debian with what the service needs."""
    place = tmp_path_factory.mktemp("debian") / "root"
    subprocess.run([ROOT / "deploy" / "base", place, *PACKAGES], check=True)
    return place


@pytest.fixture
def host(debian: Path) -> Iterator[Machine]:
    """Return a machine in which nothing is installed yet."""
    with machine(debian, [ROOT]) as made:
        yield made


@pytest.fixture
def unit(host: Machine, tmp_path: Path) -> Unit:
    """Return the unit, installed, without a configuration."""
    return Unit(host, tmp_path)
