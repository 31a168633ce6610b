"""Peers of PFCP, and the notices of refused ones: configuration, log, events and operational state."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from gtp.events import EndReason, Identity, PeersRefused, SessionsEnded
from gtp.pfcp import build
from gtp.pfcp.build import SessionPlan
from mgmt.bind import bind
from mgmt.cli.run import state_of
from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.state import add_state
from mgmt.netconf.store.edit import apply_edit, empty_tree
from nf.service import Service
from nf.settings import Export, Interface, Role, Settings

IMSI, SMF, UPF, STRANGER = "001010000000001", "192.0.2.1", "192.0.2.10", "203.0.113.9"
PLAN = SessionPlan(SMF, 11, Identity(imsi=IMSI), "10.45.0.2", (UPF, 0xA1), ("192.0.2.20", 0xB2))
NS = "urn:supernetflow:yang:snf-subscribers"
WAIT_S = 20.0


def tree_of(model: Model, inner: str) -> etree._Element:
    xml = f'<config><subscribers xmlns="{NS}">{inner}</subscribers></config>'
    return apply_edit(model, empty_tree(), etree.fromstring(xml))[0]


class TestConfiguration:
    """The leaf-list pfcp-peer takes addresses and prefixes; without it peers are learned."""

    def test_addresses_and_prefixes(self, model: Model) -> None:
        peers = "".join(f"<pfcp-peer>{p}</pfcp-peer>" for p in (UPF, "192.0.2.0/29", "2001:db8::1"))
        assert bind(model.validate(tree_of(model, peers))).pfcp_peers == ("192.0.2.0/29", UPF, "2001:db8::1")

    @pytest.mark.parametrize("text", ["upf.example.net", "192.0.2.1/33", "192.0.2.1%eth0", ""])
    def test_anything_else_is_refused(self, model: Model, text: str) -> None:
        with pytest.raises(RpcError):
            model.validate(tree_of(model, f"<pfcp-peer>{text}</pfcp-peer>"))

    def test_none(self, model: Model) -> None:
        assert bind(model.validate(empty_tree())).pfcp_peers == ()


class TestState:
    """Operational state has the latest events, the oldest first."""

    def test_each_kind(self, model: Model) -> None:
        told = [
            PeersRefused(1_700_000_000.0, (SMF, STRANGER), 3, apart=True),
            PeersRefused(1_700_000_001.0, (SMF, STRANGER), 2, apart=False),
            SessionsEnded(1_700_000_002.0, (SMF, UPF), 5000, EndReason.RESTARTED),
        ]
        tree = empty_tree()
        add_state(model, tree, {"sources": {"pfcp": {"sessions": 4}}, "partial_sessions": 1, "session_events": told})
        state = tree.find(f"{{{NS}}}subscribers/{{{NS}}}state")
        assert state is not None
        assert state.findtext(f"{{{NS}}}partial-sessions") == "1"
        rows = [[child.text for child in event] for event in state.findall(f"{{{NS}}}event")]
        assert rows == [
            ["2023-11-14T22:13:20Z", "kept-apart", SMF, STRANGER, "3"],
            ["2023-11-14T22:13:21Z", "refused", SMF, STRANGER, "2"],
            ["2023-11-14T22:13:22Z", "ended-together", SMF, UPF, "5000", "restarted"],
        ]


@pytest.fixture
def ends() -> Iterator[tuple[str, str]]:
    """Both ends of a veth pair."""
    near, far = f"prsa{os.getpid()}", f"prsb{os.getpid()}"
    subprocess.run(["ip", "link", "add", near, "type", "veth", "peer", "name", far], check=True)
    for end in (near, far):
        subprocess.run(["ip", "link", "set", end, "up"], check=True)
    yield near, far
    subprocess.run(["ip", "link", "del", near], check=False)
    Path(f"/tmp/snf-peers-{near}.sock").unlink(missing_ok=True)


def say(far: str, one: str, other: str, request: bytes, response: bytes) -> None:
    ether, ports = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02"), UDP(sport=8805, dport=8805)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((far, 0))
        raw.send(bytes(ether / IP(src=one, dst=other) / ports / request))
        raw.send(bytes(ether / IP(src=other, dst=one) / ports / response))


class TestFunction:
    """A running function refuses who is not on the list, and takes a change of it while it listens."""

    def test_from_the_wire_to_the_log_and_state(self, ends: tuple[str, str], caplog: pytest.LogCaptureFixture) -> None:
        near, far = ends
        export = Export(endpoint=f"ipc:///tmp/snf-peers-{near}.sock")
        listed = Settings(interfaces=(Interface(near, Role.N4),), export=export, pfcp_peers=("192.0.2.0/24",))
        establishment = build.establishment_request(1, PLAN), build.establishment_response(1, 11, UPF, 22)
        with Service() as service, caplog.at_level(logging.WARNING):
            service.apply(Settings(), listed)
            say(far, STRANGER, UPF, *establishment)
            until = time.monotonic() + WAIT_S
            while not service.interfaces.notices and time.monotonic() < until:
                time.sleep(0.01)
            (told,) = state_of(service)["session_events"]
            assert isinstance(told, PeersRefused)
            assert (told.peers, told.apart, len(service.store)) == ((UPF, STRANGER), False, 0)

            service.apply(listed, replace(listed, pfcp_peers=()))
            say(far, SMF, UPF, *establishment)
            while not len(service.store) and time.monotonic() < until:
                time.sleep(0.01)
            assert len(service.store) == 1
        assert f"PFCP between {UPF} and {STRANGER} was refused" in caplog.text
        assert "pfcp-peer" in caplog.text
        assert IMSI not in caplog.text
