"""One compiled data plane for all tests of the folder; each test begins with empty tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.hellos_and_answers import SUFFIXES
from tests.kernel.rig import Rig


@pytest.fixture(scope="session")
def compiled() -> Iterator[Rig]:
    """Compile and load the programs once."""
    rig = Rig()
    yield rig
    rig.close()


@pytest.fixture
def rig(compiled: Rig) -> Rig:
    """Return the data plane without a flow, a session or a policy."""
    compiled.forget()
    compiled.forget_sessions()
    compiled.plane.set_policies({})
    return compiled


@pytest.fixture
def named(rig: Rig) -> Iterator[Rig]:
    """Return the data plane with the suffixes of `SUFFIXES`, naming thoroughly."""
    rig.plane.set_suffixes(SUFFIXES, ["ask.test"])
    yield rig
    rig.plane.set_suffixes({})
    rig.plane.economy = False
