"""Beside a UPF, live: each UE has to the byte what it sent and received, and nobody else has anything."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import numpy as np
import pytest
from scapy.layers.inet import IP, UDP

from feed.consumer import Subscriber
from feed.records import RecordBatch
from feed.wire import Message
from lab import plan
from lab.lab import Lab
from lab.net import inside
from lab.wait import comes_true, slowness
from mgmt.cli.run import state_of
from nf.service import Service
from nf.settings import Export, Interface, Mode, Privacy, Role, Settings, XdpMode
from tests.live.conftest import wait_until
from tests.live.upf_host import SERVER, UES, Ue, UpfHost, conversation, upf_host

KEY = bytes(range(32))
VOLUMES = ("ul_bytes", "ul_packets", "dl_bytes", "dl_packets")
MIRROR = (Interface("t3", Role.N3), Interface("t6", Role.N6), Interface("t4", Role.N4))
COPY = Interface("t-tun", Role.N6)
SPAN = Interface("span", Role.MIXED)
TUN = Interface("ogstun", Role.N6, Mode.LOCAL)
N3, N6, N4 = (Interface(name, Role(name), Mode.LOCAL) for name in ("n3", "n6", "n4"))
N3_BOTH, N6_BOTH, TUN_BOTH = (replace(port, sent=True) for port in (N3, N6, TUN))
DOWNLINK = {"dl_bytes", "dl_packets"}

Start = Callable[..., "Probe"]


def pseudonym(imsi: str) -> str:
    """First 16 bytes of HMAC-SHA-256 over the digits of the IMSI (design: privacy)."""
    return hmac.new(KEY, imsi.encode(), hashlib.sha256).hexdigest()[:32]


class Probe:
    """A function on some ports, whose intervals end when the test says so."""

    def __init__(self, host: UpfHost, service: Service) -> None:
        self.host, self.service = host, service
        self.batches: list[RecordBatch] = []

    def interval(self) -> None:
        """End an interval when all that was sent is counted."""
        for name, attached in self.service.plane.attached.items():
            passed = self.host.received[name] + self.host.sent[name] * attached.interface.sent
            wait_until(lambda: self.service.plane.read_counters(name)["frames"] >= passed, f"{name} has all")  # noqa: B023
        self.batches += self.service.pipeline.sweep(self.service.clock.now_s())

    def talk(self, ues: tuple[Ue, ...] = UES) -> None:
        """Play the conversation of each UE, one after the other packet by packet, over three intervals."""
        self.host.of_the_host()
        at_once = zip(*map(conversation, ues), strict=True)
        packets = [(ue, *step) for steps in at_once for ue, step in zip(ues, steps, strict=True)]
        for n, (ue, is_up, packet) in enumerate(packets):
            (self.host.up if is_up else self.host.down)(ue, packet)
            if n % (len(packets) // 3) == 0:
                self.interval()
        self.interval()

    def begin(self) -> None:
        """Forget what was so far, but for what ports go on counting."""
        self.host.truth = {ue: Counter() for ue in UES}
        for name in self.host.received.keys() - self.service.plane.attached.keys():
            del self.host.received[name]
        self.batches.clear()

    def volumes(self) -> dict[str, dict[str, Any]]:
        """Return what was published."""
        return volumes(self.batches)

    def truth(self, missing: set[str] = frozenset()) -> dict[str, dict[str, Any]]:  # type: ignore[assignment]
        """Return what the UEs counted, by their names."""
        return {
            pseudonym(ue.imsi): {name: None if name in missing else counted[name] for name in VOLUMES}
            for ue, counted in self.host.truth.items()
            if counted
        }

    def nobodys(self) -> dict[str, int]:
        """Return the packets that were nobody's, by why."""
        return {n: c for n, c in self.service.pipeline.outside.counters.items() if not n.endswith("_octets")}


def rows(batches: Sequence[Any]) -> int:
    """Return how many records there are."""
    return sum(len(batch.columns["subscriber"]) for batch in batches)


def volumes(batches: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """Return the sums of the records by subscriber; None: missing in each of them."""
    found: dict[str, list[list[float]]] = {}
    for batch in batches:
        for row, who in enumerate(batch.columns["subscriber"]):
            found.setdefault(who, []).append([float(batch.columns[name][row]) for name in VOLUMES])
    return {who: dict(zip(VOLUMES, map(total, zip(*mine, strict=True)), strict=True)) for who, mine in found.items()}


def total(values: tuple[float, ...]) -> float | None:
    """Return the sum of what is there; where one record has a volume, even 0, it is not missing."""
    return None if np.isnan(values).all() else float(np.nansum(values))


@pytest.fixture(scope="module")
def upf() -> Iterator[UpfHost]:
    """The host, with this thread in its namespace."""
    with upf_host() as made:
        yield made


@pytest.fixture
def start(upf: UpfHost, tmp_path: Any) -> Iterator[Start]:
    """Start a function that knows the sessions."""
    running: list[Service] = []

    def run(*interfaces: Interface, translated: bool = False, known: tuple[Ue, ...] = UES) -> Probe:
        upf.begin(translated=translated)
        service = Service()
        running.append(service)
        by_pfcp = any(port.role.listens for port in interfaces)
        wanted = Settings(
            interfaces=interfaces,
            sessions=tuple(ue.configured for ue in known if ":" in ue.address or not by_pfcp),
            privacy=Privacy(key=KEY, epoch=1),
            export=Export(endpoint=f"ipc://{tmp_path}/bus", batch_ms=100),
        )
        service.apply(Settings(), wanted)
        if by_pfcp:
            upf.announce(tuple(ue for ue in known if ":" not in ue.address))
            wait_until(lambda: len(service.store) == len(known), "the sessions are known")
        return Probe(upf, service)

    yield run
    for service in running:
        service.close()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab with two subscribers, whose N6 is mirrored as well."""
    with Lab(plan.subscribers((), ()), n6_port=True) as running:
        yield running


class TestMirror:
    """Copies of both directions of N3, N6 and N4."""

    @pytest.mark.parametrize("ports", [MIRROR, MIRROR[:2]], ids=["sessions of N4", "sessions of the configuration"])
    def test_each_ue_has_its_volumes_and_nobody_else_has_any(self, start: Start, ports: tuple[Interface, ...]) -> None:
        probe = start(*ports)
        probe.talk()

        assert probe.volumes() == probe.truth()
        assert probe.nobodys() == {"n6_without_session": 2, "n6_link_scope": 1, "n6_neighbours": 1}

    def test_of_a_translated_n6_as_well_and_it_is_said(self, start: Start) -> None:
        probe = start(*MIRROR, translated=True)
        probe.talk()

        assert probe.volumes() == probe.truth()
        ipv4 = sum(sum(probe.host.truth[ue][name] for name in VOLUMES if "packets" in name) for ue in UES[:2])
        assert probe.nobodys()["n6_translated"] == ipv4

    def test_n3_and_n4_are_enough(self, start: Start) -> None:
        probe = start(MIRROR[0], MIRROR[2], translated=True)
        probe.talk()

        assert probe.volumes() == probe.truth()
        assert not probe.nobodys()

    def test_the_bus_tells_the_same(self, start: Start) -> None:
        probe = start(*MIRROR)
        with Subscriber(probe.service.settings.export.endpoint, ["qoe.v1/"]) as bus:
            wait_until(lambda: bus.receive(0.1) or bus.heard_s, "a heartbeat came, so it is known what is asked for")
            probe.talk()
            heard: list[Message] = []

            def all_heard() -> bool:
                heard.extend(message for message in bus.messages(0.2) if message)
                return rows(heard) >= rows(probe.batches)

            wait_until(all_heard, "all records came")

        assert volumes(heard) == probe.truth()


class TestLocal:
    """The UPF's own ports, which see what they receive: uplink on N3, downlink on N6."""

    def test_n3_and_a_routed_n6_see_all(self, start: Start) -> None:
        probe = start(N3, N6, N4)
        probe.talk()

        assert probe.volumes() == probe.truth()
        assert probe.nobodys() == {"n6_host_address": 1, "n6_link_scope": 1, "n6_neighbours": 1}

    @pytest.mark.parametrize("ports", [(N3, N4), (N3,)], ids=["sessions of N4", "sessions of the configuration"])
    def test_of_n3_alone_the_downlink_is_missing(self, start: Start, ports: tuple[Interface, ...]) -> None:
        probe = start(*ports)
        probe.talk()

        assert probe.volumes() == probe.truth(missing=DOWNLINK)
        assert not probe.nobodys()

    def test_a_translation_to_the_host_s_own_address_is_said(self, start: Start) -> None:
        probe = start(N3, N6, N4, translated=True)
        probe.talk()

        # Of an interval that has nothing of the same conversation on N3, N6 has packets of the host's own address.
        assert probe.nobodys()["n6_translated"] > 0
        of_ipv4 = sum(probe.host.truth[ue]["dl_packets"] for ue in UES[:2])
        assert probe.nobodys()["n6_translated"] + probe.nobodys()["n6_host_address"] == of_ipv4 + 1  # and its time

    @pytest.mark.parametrize("ues", [UES[:2], UES], ids=["of IPv4", "of IPv4, and IPv6 is routed"])
    def test_of_a_translated_n6_the_downlink_is_missing(self, start: Start, ues: tuple[Ue, ...]) -> None:
        probe = start(N3, N6, N4, translated=True)
        probe.talk(ues)

        assert probe.volumes() == probe.truth(missing=DOWNLINK)

    def test_where_no_session_is_known_neither_the_server_nor_the_host_is_a_subscriber(self, start: Start) -> None:
        probe = start(N3, N6, translated=True, known=())
        probe.talk(UES[:2])

        found = probe.volumes()
        uplink = [counted["ul_bytes"] for counted in probe.host.truth.values() if counted]
        assert sorted(volume["ul_bytes"] for volume in found.values()) == sorted(uplink)
        assert {volume["dl_bytes"] for volume in found.values()} == {None}

    def test_an_n6_that_comes_again_is_looked_at_again(self, start: Start) -> None:
        probe = start(N3, N6, N4, translated=True)
        probe.talk()
        settings = probe.service.settings
        probe.service.apply(settings, replace(settings, interfaces=(N3, N4)))
        probe.begin()
        probe.interval()
        probe.host.translated = False
        probe.service.apply(probe.service.settings, settings)
        probe.talk()

        assert probe.volumes() == probe.truth()

    def test_the_downlink_is_missing_when_the_port_that_saw_it_is_taken_away(self, start: Start) -> None:
        probe = start(N3, N6)
        probe.talk()
        probe.service.apply(probe.service.settings, replace(probe.service.settings, interfaces=(N3,)))
        probe.begin()
        probe.talk()

        assert probe.volumes() == probe.truth(missing=DOWNLINK)


class TestTun:
    """The device between UPF and N6, which knows UE addresses before they are translated."""

    @pytest.mark.parametrize("translated", [False, True], ids=["routed", "translated"])
    @pytest.mark.parametrize("ports", [(N3, TUN, N4), (TUN, N4)], ids=["with N3", "alone"])
    def test_itself_receives_the_uplink(self, start: Start, ports: tuple[Interface, ...], translated: bool) -> None:
        probe = start(*ports, translated=translated)
        probe.talk()

        assert probe.volumes() == probe.truth(missing=DOWNLINK)

    def test_n6_behind_it_has_the_downlink(self, start: Start) -> None:
        probe = start(N3, TUN, N6, N4)
        probe.talk()

        assert probe.volumes() == probe.truth()

    @pytest.mark.parametrize("ports", [(N3, TUN, N6, N4), (TUN, N6, N4)], ids=["with N3", "alone"])
    def test_n6_behind_it_has_none_where_it_is_translated(self, start: Start, ports: tuple[Interface, ...]) -> None:
        probe = start(*ports, translated=True)
        probe.talk()

        assert probe.volumes() == probe.truth(missing=DOWNLINK)

    @pytest.mark.parametrize("translated", [False, True], ids=["routed", "translated"])
    @pytest.mark.parametrize("n3", [MIRROR[:1], ()], ids=["with N3", "alone"])
    def test_its_copy_has_both_directions(self, start: Start, n3: tuple[Interface, ...], translated: bool) -> None:
        probe = start(*n3, COPY, MIRROR[2], translated=translated)
        probe.talk()

        assert probe.volumes() == probe.truth()

    def test_its_copy_has_them_beside_a_translated_n6(self, start: Start) -> None:
        probe = start(COPY, *MIRROR[1:], translated=True)
        probe.talk(UES[:2])

        assert probe.volumes() == probe.truth()


class TestMixed:
    """One port has N3, N6 and the signalling: a SPAN port."""

    @pytest.mark.parametrize("xdp", [XdpMode.AUTO, XdpMode.GENERIC])
    @pytest.mark.parametrize("translated", [False, True], ids=["routed", "translated"])
    def test_each_ue_has_its_volumes_once(self, start: Start, translated: bool, xdp: XdpMode) -> None:
        probe = start(replace(SPAN, xdp=xdp), translated=translated)
        probe.talk()

        assert probe.volumes() == probe.truth()
        assert probe.service.counters("span")["signalling"] == 2 * (1 + len(UES[:2]))  # requests and answers

    def test_its_state_is_of_both(self, start: Start) -> None:
        probe = start(SPAN)
        state = state_of(probe.service)["interfaces"]["span"]

        assert state["attached_mode"] in ("native", "generic")
        assert {"n4_frames", "frames"} <= state["counters"].keys()
        assert probe.service.sources()["pfcp"].oper_status == "up"
        assert probe.service.interfaces.verify(Settings(), probe.service.settings) == []

    def test_another_role_is_taken_in_place_of_it_and_back(self, start: Start) -> None:
        probe = start(SPAN)
        settings = probe.service.settings
        probe.service.apply(settings, replace(settings, interfaces=(replace(SPAN, role=Role.N3),)))
        assert not probe.service.interfaces.listeners
        probe.service.apply(probe.service.settings, settings)
        probe.begin()
        probe.host.received.clear()
        probe.talk()

        assert probe.volumes() == probe.truth()


class TestOtherPorts:
    """A flow goes on to be counted when the port that counted it is taken away, or reads another side."""

    @pytest.mark.parametrize(
        ("first", "then"),
        [
            (MIRROR, (MIRROR[0], MIRROR[2])),
            ((SPAN,), (replace(SPAN, role=Role.N3),)),
            ((replace(SPAN, role=Role.N6),), (SPAN,)),
            ((N3_BOTH, TUN_BOTH, N4), (N3_BOTH, N4)),
        ],
        ids=["N6 goes", "mixed to N3", "N6 to mixed", "the TUN goes"],
    )
    def test_each_ue_has_its_volumes_once(
        self, start: Start, first: tuple[Interface, ...], then: tuple[Interface, ...]
    ) -> None:
        probe = start(*first)
        probe.talk()
        probe.service.apply(probe.service.settings, replace(probe.service.settings, interfaces=then))
        probe.begin()
        for name in probe.service.plane.attached.keys() & {"span"}:
            probe.host.received[name] = probe.service.plane.read_counters(name)["frames"]
        probe.talk()

        assert probe.volumes() == probe.truth()

    def test_a_port_that_reads_one_way_less_counts_it_no_more(self, start: Start) -> None:
        probe = start(N3_BOTH, TUN_BOTH, N4)
        probe.talk()
        less = replace(probe.service.settings, interfaces=(N3_BOTH, TUN, N4))
        probe.service.apply(probe.service.settings, less)
        probe.host.sent["ogstun"] = 0
        counted = probe.service.plane.read_counters("ogstun")["frames"]
        probe.host.received["ogstun"] = counted
        fades = comes_true(lambda: self._downlink_again(probe), 10)

        assert fades, "N3 counts the downlink after a moment in which the TUN saw none of it"

    @staticmethod
    def _downlink_again(probe: Probe) -> bool:
        """Send a packet to a UE; say whether it was counted."""
        before = probe.service.plane.read_counters("n3")["counted"]
        answer = IP(src=SERVER, dst=UES[0].address) / UDP(sport=9998, dport=40001) / bytes(300)
        probe.host.down(UES[0], answer)
        probe.interval()
        return bool(probe.service.plane.read_counters("n3")["counted"] > before)

    def test_the_way_through_the_upf_is_timed_once_both_sides_are_read(self, start: Start) -> None:
        probe = start(MIRROR[0], replace(MIRROR[1], role=Role.N3))
        assert not probe.service.plane.follow
        probe.service.apply(probe.service.settings, replace(probe.service.settings, interfaces=MIRROR[:2]))

        assert probe.service.plane.follow


class TestSent:
    """Ports of the UPF's host of which also is read what they send."""

    @pytest.mark.parametrize("translated", [False, True], ids=["routed", "translated"])
    @pytest.mark.parametrize(
        "ports",
        [(N3_BOTH, N4), (TUN_BOTH, N4), (N3_BOTH, TUN_BOTH, N4), (N3_BOTH, N6, N4), (N3_BOTH, TUN, N6_BOTH, N4)],
        ids=["N3", "the TUN", "both", "N3 beside N6", "all"],
    )
    def test_each_ue_has_its_volumes_once(self, start: Start, ports: tuple[Interface, ...], translated: bool) -> None:
        probe = start(*ports, translated=translated)
        probe.talk()

        assert probe.volumes() == probe.truth()

    def test_n3_and_the_tun_time_the_way_through_the_upf(self, start: Start) -> None:
        probe = start(N3_BOTH, TUN_BOTH, N4, translated=True)
        probe.talk()
        timed = {"upf_ul_ms": 0, "upf_dl_ms": 0}
        for batch in probe.batches:
            for name in timed.keys() & batch.columns.keys():
                timed[name] += int((batch.columns[name] > 0).sum())

        assert min(timed.values()) > 0
        # A SYN and its answer of each UE are followed always, of other packets one in sixteen.
        assert probe.service.plane.read_counters()["transit_measured"] >= 2 * len(UES)


class TestLab:
    """The lab's UPF, a process between its sockets and a TUN: each UE has what its own device counted."""

    @staticmethod
    def counted(lab: Lab, name: str) -> Counter[str]:
        """Return what the device of a UE sent and received."""
        shown = lab.net.run(name, "ip", "-json", "-stats", "link", "show", plan.UE_DEVICE)
        ways = {"ul": "tx", "dl": "rx"}
        stats = json.loads(shown)[0]["stats64"]
        return Counter({f"{way}_{what}": stats[ways[way]][what] for way in ways for what in ("bytes", "packets")})

    @staticmethod
    def talk(lab: Lab, name: str) -> None:
        """Send a DNS query of a UE, and a request that a server refuses because it is no TLS."""
        with inside(lab.net.path(name)):
            query = dns.message.make_query(plan.SERVICES["web"].names[0], "A")
            dns.query.udp(query, plan.DNS, timeout=20 * slowness())
            with socket.create_connection((plan.SERVICES["web"].address, 443), timeout=20 * slowness()) as s:
                s.sendall(b"GET / HTTP/1.0\r\n\r\n")
                while s.recv(2048):
                    pass

    @pytest.mark.parametrize(
        ("namespace", "ports", "missing"),
        [
            ("probe", [Interface(name, Role(name)) for name in ("n3", "n6", "n4")], set()),
            ("upf", [N3, N6, N4], set()),
            ("upf", [N3, Interface(plan.UPF_DEVICE, Role.N6, Mode.LOCAL), N4], DOWNLINK),
            ("upf", [N3_BOTH, Interface(plan.UPF_DEVICE, Role.N6, Mode.LOCAL, sent=True), N4], set()),
            ("upf", [N3_BOTH, N4], set()),
        ],
        ids=["mirror", "local", "TUN", "both ways", "N3 both ways"],
    )
    def test_each_ue_has_what_its_device_counted_and_nobody_else_has_any(
        self, lab: Lab, tmp_path: Path, namespace: str, ports: list[Interface], missing: set[str]
    ) -> None:
        before = {name: self.counted(lab, name) for name in lab.subscribers}
        batches: list[RecordBatch] = []

        def truth() -> dict[str, dict[str, float | None]]:
            moved = {name: self.counted(lab, name) - before[name] for name in lab.subscribers}
            return {
                pseudonym(lab.subscribers[name].imsi): {n: None if n in missing else m[n] for n in VOLUMES}
                for name, m in moved.items()
            }

        with inside(lab.net.path(namespace)), Service() as service:
            privacy, export = Privacy(key=KEY, epoch=1), Export(endpoint=f"ipc://{tmp_path}/bus")
            service.apply(Settings(), Settings(interfaces=tuple(ports), privacy=privacy, export=export))
            lab.announce_all()
            wait_until(lambda: len(service.store) == len(lab.subscribers), "the sessions are known")
            for name in lab.subscribers:
                self.talk(lab, name)

            def all_told() -> bool:  # connections may still be closing
                batches.extend(service.pipeline.sweep(service.clock.now_s()))
                return volumes(batches) == truth()

            agreed = comes_true(all_told)
            for name in lab.subscribers:
                lab.release(name)

        assert agreed, f"{volumes(batches)} is {truth()}"
        assert min(n for v in volumes(batches).values() for n in v.values() if n is not None) > 3  # of packets
