"""The life of a data plane: programs change, configurations change, processes die; packets pass and counts go on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from lab.net import child_of_the_lab
from nf.errors import AttachRefused
from nf.kernel import links
from nf.kernel.dataplane import DataPlane
from nf.kernel.routes import RouteTable
from nf.service import Service
from nf.settings import Action, Export, Limits, Mode, Policy, Role, Settings, StaticSession
from tests.live.conftest import wait_until
from tests.live.wire import N3, N6, Wire, wire

SMALL = Limits()  # the limits of a fresh service, so that it compiles once
UPF, UE, SERVER, TEID = "192.0.2.2", "10.45.0.1", "198.51.100.7", 0x100
SESSION = StaticSession("one", imsi="001010000000001", ue_ipv4=UE, dnn="internet", uplink=((UPF, TEID),))
QUIET = Export(endpoint="ipc:///tmp/snf-life.sock")
BUMP = Settings(interfaces=(N3, N6), sessions=(SESSION,), limits=SMALL, export=QUIET)
APP = 5  # any number of the signature file whose class is one of media
MAC = "02:00:00:00:00:01"

CHILD = """
import sys
import time
import numpy as np
from lab.net import child_of_the_lab
child_of_the_lab(sys.argv[1])
from nf.service import Service
from nf.settings import Settings
from tests.live.test_life import APP, BUMP
with Service() as service:
    service.apply(Settings(), BUMP)
    print("ready", flush=True)
    while not len(numbers := service.plane.read_flows()[1]["number"]):
        time.sleep(0.01)
    keys = service.plane.read_flows()[0]
    service.plane.put_verdicts(keys, numbers, np.array([APP], np.uint16), np.ones(1, np.bool_))
    print("named", flush=True)
    service.run()
"""


def uplink(teid: int = TEID) -> bytes:
    """Return a frame of a gNB to a UPF with a UDP packet of the UE."""
    outer = Ether(src=MAC, dst=MAC) / IP(src="192.0.2.1", dst=UPF) / UDP(sport=2152, dport=2152)
    tunnel = GTP_U_Header(teid=teid, gtp_type=255, E=1, next_ex=0x85) / GTPPDUSessionContainer(type=1, QFI=9)
    return bytes(outer / tunnel / IP(src=UE, dst=SERVER) / UDP(sport=40000, dport=9999) / Raw(bytes(64)))


def xdp() -> dict[str, int]:
    """Return the devices of this namespace that carry a program, with its number."""
    return {link.name: link.xdp_program for link in links.links() if link.xdp_program}


@pytest.fixture
def bump() -> Iterator[Wire]:
    """A wire, with this thread in its namespace."""
    with wire() as made:
        yield made


def answered(service: Service) -> bool:
    """Take from the rings, and say whether no payload is waiting to be read."""
    service.pipeline.drain()
    return not service.pipeline.naming.reading.status()["waiting"]


def counts(plane: DataPlane) -> dict[str, int]:
    return plane.read_counters("n3")


class TestSwap:
    """New programs and new configurations take the place of the old ones between two packets."""

    def test_swaps_and_commits_lose_no_packet_at_full_rate(self, bump):
        with Service() as service:
            service.apply(Settings(), BUMP)
            before, settings = xdp(), BUMP
            with bump.load(uplink()):
                for i in range(3):
                    service.plane.swap()
                    action = Action.COUNT if i % 2 else Action.INSPECT
                    changed = replace(
                        settings,
                        policies=(Policy("web", action, app_class="web"),),
                        sessions=(SESSION, replace(SESSION, name="two", uplink=((UPF, 0x200 + i),))),
                        interfaces=(N3, replace(N6, instance=f"internet{i}")),
                    )
                    service.apply(settings, changed)
                    settings = changed
                    passed = bump.seen()
                    wait_until(lambda passed=passed: bump.seen() > passed + 30_000, "frames pass")
            after, seen = xdp(), counts(service.plane)

        assert bump.seen() == bump.sent()
        assert seen["frames"] == seen["counted"] == seen["redirected"] == bump.sent()
        assert set(before) == set(after)
        assert before["n3"] != after["n3"]  # the program is another one

    def test_names_go_on_while_processes_that_read_them_come_and_go(self, bump):
        with Service() as service:
            service.apply(Settings(), BUMP)
            spread = replace(BUMP, naming_workers=2)
            service.apply(BUMP, spread)
            processes = [child.pid for child in multiprocessing.active_children()]
            with bump.load(uplink()):
                wait_until(lambda: service.plane.read_counters()["handed_off"] > 0, "a payload")
                wait_until(lambda: answered(service), "an answer")
                service.apply(spread, BUMP)
            seen = counts(service.plane)

        assert len(processes) == 2
        assert not any(os.path.exists(f"/proc/{number}") for number in processes)
        assert seen["frames"] == seen["counted"] == bump.sent()

    def test_a_role_and_a_mode_change_without_a_new_attach(self, bump):
        plane = DataPlane(SMALL)
        try:
            plane.attach(N3)
            bump.send(uplink(), 64)

            assert plane.change(replace(N3, role=Role.N6, mode=Mode.LOCAL, peer=""))
            bump.send(uplink(), 64)

            seen = counts(plane)
            assert (seen["frames"], seen["gtpu_gpdu"]) == (128, 64)
            assert seen["passed"] == 128  # inline without its partner passes as well
        finally:
            plane.close()


class TestKill:
    """A process that is killed leaves packets passing; the next one finds its maps, counters and flows."""

    @pytest.fixture
    def killed(self, bump) -> dict[str, int]:
        """Start a function in a process of its own, and kill it under load."""
        words = [sys.executable, "-c", CHILD, bump.path]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            with bump.load(uplink()):
                assert child.stdout.readline() == "named\n"
                passed = bump.seen()
                wait_until(lambda: bump.seen() > passed + 50_000, "frames pass")
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
                at_death = bump.seen()
                wait_until(lambda: bump.seen() > at_death + 50_000, "frames pass without a process")
        assert bump.seen() == bump.sent()
        return xdp()

    def test_counters_and_flows_go_on(self, bump, killed):
        passed = bump.sent()
        with Service() as service:
            plane = service.plane
            first = plane.read_counters()
            (flow,) = plane.read_flows()[1].copy()
            (detail,) = plane.details.present().states
            with bump.load(uplink()):
                service.apply(Settings(), BUMP)
                wait_until(lambda: bump.seen() > passed + 50_000, "frames pass")
            (later,) = plane.read_flows()[1].copy()

            assert plane.taken_over
            assert first["frames"] == passed
            assert counts(plane)["frames"] == bump.sent() == bump.seen()
            assert later["number"] == flow["number"] == 1
            there = plane.details.present()
            (more,) = there.states
            assert there.numbers.tolist() == [1]
            assert more["begun_us"] == detail["begun_us"]
            assert more["up_sizes"].sum() - detail["up_sizes"].sum() == bump.sent() - passed
            assert later["packets"].sum() == bump.sent()
            (records,) = service.pipeline.sweep(time.time())
            assert records.columns["app"] == [service.pipeline.signatures.names[APP]]
            assert records.columns["ul_packets"].tolist() == [bump.sent() - passed]
            binding = service.store.by_index(int(later["session"]))
            assert binding is not None
            assert binding.whole.identity.imsi == SESSION.imsi
        assert bump.path  # still inside
        assert set(xdp()) == {"source", "sink"}

    def test_a_flow_is_the_same_whenever_its_packets_pass_during_a_takeover(self, bump, killed, monkeypatch):
        clear = RouteTable.clear

        def clear_slowly(routes: RouteTable) -> None:
            passed = bump.seen()
            wait_until(lambda: bump.seen() > passed + 1000, "frames pass between the sessions and their routes")
            clear(routes)

        monkeypatch.setattr(RouteTable, "clear", clear_slowly)
        with ExitStack() as stack:
            with bump.load(uplink()):
                service = stack.enter_context(Service())
                service.apply(Settings(), BUMP)
                bound = bump.seen()
                wait_until(lambda: bump.seen() > bound + 50_000, "frames pass")
            (flow,) = service.plane.read_flows()[1]
            seen = counts(service.plane)
            first = service.plane.first_session

        assert (flow["number"], flow["session"]) == (1, first)
        assert (seen["flow_new"], seen["flow_restarted"]) == (1, 0)

    def test_an_old_number_is_nobodys_and_an_old_port_is_left(self, bump, killed):
        other = replace(SESSION, name="other", imsi="001010000000009", uplink=((UPF, 0x999),), ue_ipv4="10.45.0.9")
        n3_alone = replace(N3, mode=Mode.LOCAL, peer="")
        with Service() as service:
            service.apply(Settings(), replace(BUMP, sessions=(other,), interfaces=(n3_alone,)))
            bump.send(uplink(), 64)
            (flow,) = service.plane.read_flows()[1]

            assert flow["session"] == 0
            assert [b.index for b in service.store.history()] == [service.plane.first_session]
            assert service.plane.first_session > 1
            assert set(xdp()) == {"source", "sink", "n3"}

    def test_other_limits_begin_anew_and_say_so(self, bump, killed, caplog):
        plane = DataPlane(Limits(flows=8192, sessions=256))
        try:
            assert not plane.taken_over
            plane.attach(N3)
            plane.attach(N6)
            bump.send(uplink(), 64)

            assert counts(plane)["frames"] == 64
            assert {"n3" in line for line in caplog.messages if "begin anew" in line} == {True, False}
        finally:
            plane.close()


class TestEnd:
    """A clean stop leaves the interfaces as they were; a living process is never robbed."""

    def test_nothing_is_left(self, bump):
        before = set(_fdinfo("prog_id:")) | set(_fdinfo("map_id:"))
        with Service() as service:
            service.apply(Settings(), BUMP)
            assert set(xdp()) == {"source", "sink", "n3", "n6"}

        assert set(xdp()) == {"source", "sink"}
        assert set(_fdinfo("prog_id:")) | set(_fdinfo("map_id:")) <= before

    def test_a_living_data_plane_is_not_taken_over(self, bump):
        plane, second = DataPlane(SMALL), None
        try:
            plane.attach(N3)
            second = DataPlane(SMALL)

            assert not second.taken_over
            with pytest.raises(AttachRefused, match="in use"):
                second.attach(N3)
        finally:
            plane.close()
            if second is not None:
                second.close()


def _fdinfo(word: str) -> list[str]:
    """Return the lines of this process's descriptors that begin with *word*."""
    found = []
    for number in os.listdir("/proc/self/fdinfo"):
        try:
            with open(f"/proc/self/fdinfo/{number}", encoding="ascii") as file:
                found += [line for line in file if line.startswith(word)]
        except OSError:
            continue
    return found


__all__ = ["BUMP", "child_of_the_lab"]
