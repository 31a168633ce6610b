"""A configuration that is refused leaves the data plane as it was, whichever of its steps were done before."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lab.net import Net, inside
from lab.wait import slowness
from mgmt.cli.run import state_of
from mgmt.netconf.state import InterfaceState
from nf.errors import BadSettings
from nf.kernel import links
from nf.kernel.source import table_sizes
from nf.service import Service
from nf.settings import Action, Export, Interface, Limits, Mode, Monitor, Policy, Role, Settings, StaticSession

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


N3_PATH, MONITOR_PATH = "/ietf-interfaces:interfaces/interface[name='n3']", "/snf-policies:policies/monitor/interface"
ENDPOINT = "/snf-export:exporter/endpoint"


class TestPrepare:
    """A refusal is known before the commit, without touching traffic, and has its path."""

    @pytest.fixture
    def taken_port(self) -> Iterator[int]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield server.getsockname()[1]

    @pytest.mark.parametrize(
        ("settings", "path"),
        [
            (replace(BARE, interfaces=(MISSING,)), "/ietf-interfaces:interfaces/interface[name='no-such-port']"),
            (replace(BARE, interfaces=(replace(PORT, mac="02:00:00:00:00:99"),)), N3_PATH),
            (replace(BARE, interfaces=(Interface("lo", Role.N6),)), "/ietf-interfaces:interfaces/interface[name='lo']"),
            (replace(BARE, interfaces=(Interface("none", Role.N4),)), N3_PATH.replace("n3", "none")),
            (replace(BARE, monitor=Monitor("no-such-port")), MONITOR_PATH),
            (replace(BARE, interfaces=(PORT,), monitor=Monitor("n3")), MONITOR_PATH),
            (replace(BARE, export=Export(endpoint="tcp://192.0.2.99:5556")), ENDPOINT),
            (replace(BARE, export=Export(endpoint="tcp://127.0.0.1:70000")), ENDPOINT),
            (
                replace(BARE, policies=(Policy("p", Action.COUNT, application="no such application"),)),
                "/snf-policies:policies/policy[name='p']/application",
            ),
        ],
    )
    def test_it_is_said_with_its_path(self, service, settings, path):
        with pytest.raises(BadSettings) as said:
            service.prepare(service.settings, settings)
        with pytest.raises(BadSettings) as refused:
            service.apply(service.settings, settings)

        assert said.value.path == refused.value.path == path
        assert not service.plane.attached

    def test_a_port_of_another_process_is_in_use(self, service, taken_port):
        with pytest.raises(BadSettings) as said:
            service.prepare(service.settings, replace(BARE, export=Export(endpoint=f"tcp://127.0.0.1:{taken_port}")))
        assert said.value.path == ENDPOINT

    def test_two_interfaces_that_mean_one_device(self, service):
        by_mac = Interface("core", Role.N6, Mode.LOCAL, mac=links.find(PORT).mac)
        with pytest.raises(BadSettings, match="read already"):
            service.prepare(service.settings, replace(BARE, interfaces=(PORT, by_mac)))

    def test_a_device_that_changes_its_name_is_free_by_then(self, service):
        service.apply(service.settings, replace(BARE, interfaces=(PORT,)))
        by_mac = Interface("core", Role.N6, Mode.LOCAL, mac=links.find(PORT).mac)
        renamed = replace(BARE, interfaces=(by_mac,))
        service.prepare(service.settings, renamed)
        service.apply(service.settings, renamed)
        assert set(service.plane.attached) == {"core"}

    def test_nothing_is_touched(self, service):
        service.apply(service.settings, replace(BARE, interfaces=(PORT,)))
        before = links.links()
        service.prepare(service.settings, replace(BARE, interfaces=(replace(PORT, role=Role.N6),)))
        assert links.links() == before


class TestVerify:
    """The kernel is asked for what was written; what somebody changed behind the function's back is said."""

    SETTINGS = replace(
        BARE,
        interfaces=(PORT,),
        policies=(Policy("web", Action.COUNT, app_class="web"),),
        sessions=(StaticSession("one", ue_ipv4="10.45.0.1", uplink=(("192.0.2.2", 7),)),),
    )

    @pytest.fixture
    def applied(self, service) -> Service:
        service.apply(service.settings, self.SETTINGS)
        assert service.verify(Settings(), self.SETTINGS) == []
        return service

    def test_a_program_that_is_gone(self, applied):
        # The watcher of links would have it attached again in a moment.
        with applied.interfaces.lock:
            mode = "xdpgeneric" if applied.plane.attached["n3"].xdp_mode == "generic" else "xdp"
            subprocess.run(["ip", "link", "set", "dev", "n3", mode, "off"], check=True)
            assert applied.verify(Settings(), self.SETTINGS) == ["the program of n3 is not on n3"]

    def test_an_entry_of_a_port(self, applied):
        ports = applied.plane._maps["ports"]
        with applied.interfaces.lock:
            ports.put(applied.plane.attached["n3"].link.ifindex % len(ports), ports.zeros())
            assert applied.verify(Settings(), self.SETTINGS) == ["the programs have another entry for n3"]

    def test_actions(self, applied):
        applied.plane.set_policies({})
        (said,) = applied.verify(Settings(), self.SETTINGS)
        assert "another action" in said

    def test_tunnels(self, applied):
        applied.plane.drop_tunnels([("192.0.2.2", 7)])
        assert applied.verify(Settings(), self.SETTINGS) == [
            "1 tunnels of static sessions found no room in the kernel's table"
        ]

    def test_what_did_not_change_is_not_asked(self, applied):
        applied.plane.set_policies({})
        assert applied.verify(self.SETTINGS, replace(self.SETTINGS, nf_id="other")) == []


class TestState:
    """A read of the state does not wait for a commit that attaches interfaces."""

    def test_it_is_the_last_one(self, service):
        last: dict[str, InterfaceState] = {}
        service.apply(service.settings, replace(BARE, interfaces=(PORT,)))
        before = state_of(service, last)["interfaces"]
        found = []

        with service.interfaces.lock:
            reader = threading.Thread(target=lambda: found.append(state_of(service, last)["interfaces"]))
            reader.start()
            reader.join(60 * slowness())

        assert [sorted(f) for f in found] == [sorted(before)] == [["n3"]]


class TestRestore:
    """Settings of before come back also when their device is away: it is waited for."""

    def test_a_device_that_is_away(self, service):
        service.restore(service.settings, replace(BARE, interfaces=(MISSING,)))
        assert service.interfaces.waiting.keys() == {MISSING.name}
        assert service.verify(BARE, service.settings) == []
