"""A refusal, or the end of many sessions at once, is an event of a replay."""

from __future__ import annotations

import json
from typing import Any

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from gtp.events import Identity
from gtp.pfcp import build
from gtp.pfcp.build import SessionPlan

SMF, UPF, STRANGER, OTHER = "192.0.2.1", "192.0.2.10", "203.0.113.9", "203.0.113.10"
IMSIS = ("001010000000001", "001010000000002")
ETHER, PORTS = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02"), UDP(sport=8805, dport=8805)


def plan(seid: int, imsi: str) -> SessionPlan:
    return SessionPlan(SMF, seid, Identity(imsi=imsi), f"10.45.0.{seid}", (UPF, seid), ("192.0.2.20", seid))


def exchange(one: str, other: str, request: bytes, response: bytes) -> list[Any]:
    return [ETHER / IP(src=one, dst=other) / PORTS / request, ETHER / IP(src=other, dst=one) / PORTS / response]


def association(sequence: int, stamp: int) -> tuple[bytes, bytes]:
    return build.association_request(sequence, SMF, stamp), build.association_response(sequence, UPF, 5)


def established(sequence: int, seid: int, imsi: str) -> tuple[bytes, bytes]:
    request = build.establishment_request(sequence, plan(seid, imsi))
    return request, build.establishment_response(sequence, seid, UPF, seid + 100)


def test_a_stranger_and_a_restart(tmp_path: Any, replay: Any) -> None:
    frames = [
        *exchange(SMF, UPF, *association(1, 100)),
        *exchange(SMF, UPF, *established(2, 2, IMSIS[0])),
        *exchange(SMF, UPF, *established(3, 3, IMSIS[1])),
        *exchange(STRANGER, OTHER, *established(4, 4, IMSIS[0])),
        *exchange(SMF, UPF, *association(1, 101)),
    ]
    for number, frame in enumerate(frames):
        frame.time = 1_700_000_000 + number
    wrpcap(str(tmp_path / "peers.pcap"), frames)

    replayed = replay(tmp_path / "peers.pcap")

    told = [e for e in replayed.result.events if e["peers"]]
    assert [(e["event"], e["reason"], e["peers"], e["number"]) for e in told] == [
        ("PeersRefused", "kept apart", f"{OTHER} {STRANGER}", 1),
        ("SessionsEnded", "restarted", f"{SMF} {UPF}", 2),
    ]
    assert {row["imsi"]: row["ended_by"] for row in replayed.sessions} == dict.fromkeys(IMSIS, "restarted")
    assert replayed.result.signalling["pfcp_not_associated"] == 1
    assert replayed.result.signalling["pfcp_apart"] == 1
    assert not any(imsi in json.dumps(replayed.result.events) for imsi in IMSIS)
