"""A configuration that is refused leaves the data plane as it was, whichever of its steps were done before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from lab.net import Net, inside
from nf.errors import BadSettings
from nf.kernel import links
from nf.kernel.source import table_sizes
from nf.service import Service
from nf.settings import Action, Export, Interface, Limits, Mode, Monitor, Policy, Role, Settings

BARE = Settings(limits=Limits(), export=Export(endpoint="ipc:///tmp/snf-refused.sock"))
PORT = Interface("n3", Role.N3)
MISSING = Interface("no-such-port", Role.N6)


@pytest.fixture(scope="module")
def home() -> Iterator[str]:
    """A namespace with a pair of devices."""
    with Net() as net:
        net.add("host")
        net.veth(("host", "n3"), ("host", "far"))
        with inside(net.path("host")):
            yield net.path("host")


@pytest.fixture(scope="module")
def made(home) -> Iterator[Service]:
    """One function for all tests of the module, because its programs take seconds."""
    with Service() as service:
        yield service


@pytest.fixture
def service(made) -> Iterator[Service]:
    """The function without interfaces, before and after the test."""
    made.apply(made.settings, BARE)
    yield made
    made.apply(made.settings, BARE)


def birth_gap_ns(service: Service) -> int:
    """Return the time between two flows of nobody, as the programs read it."""
    return int(service.plane._control["birth_gap_ns"][0])


def places(service: Service) -> int:
    """Return how many places for flows the table in the kernel has."""
    return len(service.plane._maps["flows"])


PLACES = table_sizes(BARE.limits)["flows"]


def refuse(service: Service, settings: Settings) -> None:
    with pytest.raises(BadSettings):
        service.apply(service.settings, settings)


class TestLimits:
    """Limits of a refused commit are nowhere in force."""

    @pytest.mark.parametrize("interfaces", [(), (PORT,)], ids=["idle", "attached"])
    @pytest.mark.parametrize(
        "limits",
        [Limits(unknown_flows_per_s=7), Limits(flows=4096, unknown_flows_per_s=7)],
        ids=["rate", "sizes"],
    )
    def test_the_rate_in_the_kernel_is_the_old_one(self, service, interfaces, limits):
        service.apply(service.settings, replace(BARE, interfaces=interfaces))
        before = birth_gap_ns(service)

        refuse(service, replace(BARE, limits=limits, interfaces=(*interfaces, MISSING)))

        assert birth_gap_ns(service) == before
        assert places(service) == PLACES
        assert set(service.plane.attached) == {i.name for i in interfaces}

    def test_sizes_that_the_kernel_refuses_leave_the_old_tables(self, service):
        refuse(service, replace(BARE, limits=Limits(flows=0)))

        assert places(service) == PLACES
        service.apply(service.settings, replace(BARE, interfaces=(PORT,)))
        assert set(service.plane.attached) == {"n3"}

    def test_tables_of_another_size_have_the_policies_and_the_monitor_port_of_before(self, service):
        with_policy = replace(BARE, policies=(Policy("web", Action.COUNT, app_class="web"),), monitor=Monitor("far"))
        service.apply(service.settings, with_policy)
        before = service.pipeline.action.copy()
        service.apply(service.settings, replace(with_policy, limits=Limits(flows=4096)))

        assert before.any()
        assert (service.pipeline.action == before).all()
        assert service.plane._ports._monitor == Monitor("far")


class TestInterfaces:
    """The steps of a refused commit are undone from the last to the first, so no device is ever two ports."""

    @pytest.fixture
    def by_mac(self, service) -> Interface:
        """The device as a port of another name, attached."""
        port = Interface("core", Role.N6, Mode.LOCAL, mac=links.find(PORT).mac)
        service.apply(service.settings, replace(BARE, interfaces=(port,)))
        return port

    @pytest.mark.parametrize(
        "refused",
        [
            replace(BARE, interfaces=(PORT, MISSING)),
            replace(BARE, interfaces=(PORT,), monitor=Monitor("no-such-port")),
        ],
        ids=["by another interface", "by a later step"],
    )
    def test_a_device_that_changed_its_name_has_the_old_one(self, service, by_mac, refused):
        refuse(service, refused)

        assert {name: a.interface for name, a in service.plane.attached.items()} == {"core": by_mac}
        assert links.find(PORT).xdp_program == service.plane.attached["core"].program_id

    def test_an_inverse_that_fails_keeps_no_other_from_running(self, service, by_mac, monkeypatch, caplog):
        rate = birth_gap_ns(service)

        def fails(interface: Interface) -> None:
            raise BadSettings("It is gone.", "/", "Wait.")

        taken = service.plane.attach
        monkeypatch.setattr(service.plane, "attach", lambda i: fails(i) if i == by_mac else taken(i))
        limits = Limits(unknown_flows_per_s=7)
        with pytest.raises(BadSettings, match="no-such-port"):
            service.apply(
                service.settings, replace(BARE, limits=limits, interfaces=(PORT,), monitor=Monitor("no-such-port"))
            )

        assert birth_gap_ns(service) == rate
        assert "It is gone." in caplog.text
        assert not service.plane.attached
