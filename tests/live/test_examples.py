"""The function starts with the examples, on a machine that has nothing but the devices that they name."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab.net import Net, inside
from mgmt.cli.run import state_of
from mgmt.netconf.model.yang_model import yang_dir
from mgmt.netconf.store.datastore import settings_of
from nf.service import Service
from nf.settings import Mode, Settings

RUN = ("inline-pair", "upf-host")


def plug(name: str, number: int) -> None:
    """Make a device whose far end takes what is redirected to it."""
    far = f"far{number}"
    subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", far], check=True)
    subprocess.run(["ethtool", "-K", far, "gro", "on"], check=True, capture_output=True)
    for end in (name, far):
        subprocess.run(["ip", "link", "set", end, "up"], check=True)


@pytest.mark.parametrize("example", RUN)
def test_it_is_in_force(example: str) -> None:
    """Each interface is attached in its mode, the bus is bound, and what it names is known."""
    file: Path = yang_dir() / "examples" / f"{example}.xml"
    settings = settings_of(file.read_bytes(), file.name)
    with Net() as net:
        net.add("site")
        with inside(net.path("site")), Service() as service:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            for number, interface in enumerate(settings.interfaces):
                plug(interface.name, number)

            service.apply(Settings(), settings)

            state = state_of(service)
            assert {name: port["oper_status"] for name, port in state["interfaces"].items()} == {
                interface.name: "up" for interface in settings.interfaces
            }
            assert all("not_attached" not in port for port in state["interfaces"].values())
            assert service.publisher.endpoint == settings.export.endpoint
            assert len(service.store) == len(settings.sessions)
            assert state["restart_needed"] == ()
            inline = [i for i in settings.interfaces if i.mode is Mode.INLINE]
            assert {i.peer for i in inline} == {i.name for i in inline}
            for policy in settings.policies:
                assert not policy.application or service.pipeline.signatures.number(policy.application)


def test_they_have_no_key_of_anybody() -> None:
    for example in RUN:
        text = (yang_dir() / "examples" / f"{example}.xml").read_text()
        assert "key>" not in text
