"""A refused set of interfaces is undone from the last step to the first: no device is ever two ports."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from nf.apply.interfaces import Interfaces
from nf.errors import BadSettings, SnfError
from nf.sessions.restart.lanes import Lanes
from nf.settings import Interface, Mode, Role, Settings

A, B, C = (Interface(name, Role.N3) for name in "abc")
B_LOCAL = Interface("b", Role.N3, Mode.LOCAL)
MISSING = Interface("missing", Role.N6)


class Plane:
    """Writes down which programs come and go; it takes no interface that is called missing."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.attached: dict[str, SimpleNamespace] = {}

    def attach(self, interface: Interface) -> SimpleNamespace:
        if interface == MISSING:
            raise SnfError("There is no such device.")
        self.did.append(f"attach {interface.name} {interface.mode.value}")
        link = SimpleNamespace(name=interface.name, ifindex=0)
        attached = self.attached[interface.name] = SimpleNamespace(interface=interface, link=link, xdp_mode="native")
        return attached

    def detach(self, name: str) -> None:
        self.did.append(f"detach {name}")
        del self.attached[name]

    def change(self, interface: Interface) -> bool:
        """Change the port c in place, and nothing else."""
        if interface.name != "c":
            return False
        self.did.append(f"change c {interface.mode.value}")
        return True

    def check(self, read: object) -> dict[str, str]:
        return {}

    def forget(self, name: str) -> None: ...

    def release_left_behind(self) -> None: ...


@pytest.fixture
def plane() -> Plane:
    return Plane()


@pytest.fixture
def interfaces(plane: Plane) -> Iterator[Interfaces]:
    """The ports a, b and c."""
    made = Interfaces(plane, lambda events: None, lambda: 0.0, Lanes())  # type: ignore[arg-type]
    made.apply(Settings(), Settings(interfaces=(A, B, C)))
    plane.did.clear()
    yield made
    made.close()


C_LOCAL = Interface("c", Role.N3, Mode.LOCAL)
DONE = [f"change c {Mode.LOCAL.value}", "detach a", "detach b", f"attach b {Mode.LOCAL.value}"]
UNDONE = ["detach b", f"attach b {B.mode.value}", f"attach a {A.mode.value}", f"change c {C.mode.value}"]


class TestWayBack:
    """The inverses of what was done, in the reverse order."""

    def test_an_interface_that_cannot_be_attached(self, interfaces, plane):
        with pytest.raises(BadSettings) as refused:
            interfaces.apply(Settings(interfaces=(A, B, C)), Settings(interfaces=(B_LOCAL, C_LOCAL, MISSING)))

        assert refused.value.path == "/ietf-interfaces:interfaces/interface[name='missing']"
        assert plane.did == [*DONE[:3], *UNDONE[1:]], "what comes anew comes before what comes back, and is not there"

    def test_a_later_part_that_is_refused(self, interfaces, plane):
        undo = interfaces.apply(Settings(interfaces=(A, B, C)), Settings(interfaces=(B_LOCAL, C_LOCAL)))
        assert plane.did == DONE
        plane.did.clear()

        undo()

        assert plane.did == UNDONE
