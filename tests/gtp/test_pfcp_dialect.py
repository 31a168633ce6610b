"""The lab's SMF and UPF write as Open5GS does: its messages and a capture of them, by scapy's elements."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.contrib.pfcp import PFCP
from scapy.layers.inet import UDP
from scapy.utils import PcapNgReader

from gtp.events import Identity
from gtp.pfcp import build
from gtp.pfcp.build import SessionPlan

SMF, UPF, GNB, NEXT_GNB = "10.100.4.1", "10.100.4.10", "10.100.3.1", "10.100.3.2"
PLAN = SessionPlan(SMF, 0x4E6, Identity(imsi="001010000000003"), "10.45.0.4", None, None, "internet", "1", 1)
ASSOCIATION, ESTABLISHMENT, MODIFICATION, DELETION = 5, 50, 52, 54  # message types of requests (table 7.3-1)

# The lab's differences, by element type, and the reason why each is no other dialect.
NUMBERS = {
    56: "numbers of detection rules are the SMF's choice: Open5GS numbers the downlink first",
    108: "numbers of forwarding rules are the SMF's choice",
    57: "SEIDs are chosen by each node",
    96: "since when a node runs",
    141: "the lab's subscribers have an IMSI and neither IMEISV nor MSISDN",
}
ABSENT = {79: "the lab's UPF has no usage reports: nobody is charged"}

Tree = tuple[tuple[int, Any], ...]


def tree(elements: list[Any]) -> Tree:
    """Return elements as (type, value), groups as (type, elements); the order of rules of a kind is the SMF's."""
    found = []
    for element in elements:
        kind = int(element.ietype)
        inside = getattr(element, "IE_list", None)
        if kind in ABSENT:
            continue
        value = tree(inside) if inside is not None else "" if kind in NUMBERS else bytes(element)[4:].hex()
        found.append((kind, value))
    groups = [n for n, (kind, _) in enumerate(found) if kind in (1, 3)]
    for place, element in zip(groups, sorted((found[n] for n in groups), key=repr), strict=True):
        found[place] = element
    return tuple(found)


def read(payload: bytes) -> tuple[int, Tree]:
    message = PFCP(payload)
    return int(message.message_type), tree(getattr(message.payload, "IE_list", []))


@pytest.fixture(scope="module")
def captured(shared: Path) -> list[tuple[int, Tree]]:
    """The messages of a real SMF's dialect and a real UPF."""

    def payloads() -> Iterator[bytes]:
        with gzip.open(shared / "realupf" / "dev-n4.pcapng.gz") as file, PcapNgReader(file) as packets:
            for packet in packets:
                if UDP in packet and 8805 in (packet[UDP].sport, packet[UDP].dport):
                    yield bytes(packet[UDP].payload)

    found = [read(payload) for payload in payloads()]
    assert len(found) == 40
    return found


def of(captured: list[tuple[int, Tree]], kind: int, *parts: str) -> Tree:
    """Return the first message of a type in which some values stand."""
    return next(t for k, t in captured if k == kind and all(part in repr(t) for part in parts))


def ipv4(text: str) -> str:
    return bytes(map(int, text.split("."))).hex()


class TestSmf:
    """Requests."""

    def test_association(self, captured: list[tuple[int, Tree]]) -> None:
        assert read(build.association_request(1, SMF, 5)) == (ASSOCIATION, of(captured, ASSOCIATION))

    def test_establishment(self, captured: list[tuple[int, Tree]]) -> None:
        """The UE has an IPv4 address alone, and its gNB has not answered yet."""
        assert read(build.establishment_request(2, PLAN)) == (
            ESTABLISHMENT,
            of(captured, ESTABLISHMENT, ipv4("10.45.0.4")),
        )

    def test_the_first_gnb(self, captured: list[tuple[int, Tree]]) -> None:
        want = of(captured, MODIFICATION, ipv4(GNB), "00000103")
        assert read(build.handover_request(3, 0x20, (GNB, 0x103))) == (MODIFICATION, want)

    def test_a_handover(self, captured: list[tuple[int, Tree]]) -> None:
        """The old tunnel is to get end markers."""
        want = of(captured, MODIFICATION, ipv4(NEXT_GNB), "00000201")
        assert read(build.handover_request(4, 0x20, (NEXT_GNB, 0x201), end_marker=True)) == (MODIFICATION, want)

    def test_deletion(self, captured: list[tuple[int, Tree]]) -> None:
        assert read(build.deletion_request(6, 0x20)) == (DELETION, of(captured, DELETION))


class TestUpf:
    """Responses."""

    def test_association(self, captured: list[tuple[int, Tree]]) -> None:
        assert read(build.association_response(1, UPF, 5)) == (ASSOCIATION + 1, of(captured, ASSOCIATION + 1))

    def test_heartbeat(self, captured: list[tuple[int, Tree]]) -> None:
        assert read(build.heartbeat_request(1, 5)) == (1, of(captured, 1))
        assert read(build.heartbeat_response(1, 5)) == (2, of(captured, 2))

    def test_establishment(self, captured: list[tuple[int, Tree]]) -> None:
        response = build.establishment_response(2, 0x4E6, UPF, 0x20, ("10.100.3.10", 0xB44A))
        assert read(response) == (ESTABLISHMENT + 1, of(captured, ESTABLISHMENT + 1, "0000b44a"))

    def test_modification(self, captured: list[tuple[int, Tree]]) -> None:
        assert read(build.modification_response(3, 0x4E6)) == (MODIFICATION + 1, of(captured, MODIFICATION + 1))

    def test_deletion(self, captured: list[tuple[int, Tree]]) -> None:
        assert read(build.deletion_response(6, 0x4E6)) == (DELETION + 1, of(captured, DELETION + 1))


def test_each_difference_has_a_reason() -> None:
    assert all(len(reason) > 10 for reason in (NUMBERS | ABSENT).values())
