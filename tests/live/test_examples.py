"""The function starts with the examples, on a machine that has nothing but the devices that they name."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.net import Net, inside
from mgmt.cli.main import snf
from mgmt.cli.run import state_of
from mgmt.netconf.model.yang_model import yang_dir
from mgmt.netconf.store.datastore import settings_of
from nf.service import Service
from nf.settings import Interface, Mode, Settings

RUN = ("enterprise", "fixed-line", "inline-pair", "open5gs-host", "probe-mirror", "upf-host")

WITHOUT_A_READER = {"ogstun": "lower-layer-down"}  # a TUN has a carrier while a process has it open


def plug(interface: Interface, number: int) -> None:
    """Make the device that an interface means, by name or address; its far end takes what is redirected to it."""
    if interface.name == "lo":
        return
    if interface.name == "ogstun":
        subprocess.run(["ip", "tuntap", "add", "ogstun", "mode", "tun"], check=True)
        subprocess.run(["ip", "link", "set", "ogstun", "up"], check=True)
        return
    name, far = f"port{number}" if interface.mac else interface.name, f"far{number}"
    address = ("address", interface.mac) if interface.mac else ()
    subprocess.run(["ip", "link", "add", name, *address, "type", "veth", "peer", "name", far], check=True)
    subprocess.run(["ethtool", "-K", far, "gro", "on"], check=True, capture_output=True)
    for end in (name, far):
        subprocess.run(["ip", "link", "set", end, "up"], check=True)


@pytest.mark.parametrize("example", RUN)
def test_it_is_in_force(example: str, tmp_path: Path) -> None:
    """With keys that a command makes, each interface is attached, the bus is bound, and what it names is known."""
    made = CliRunner().invoke(snf, ["keys", str(tmp_path), "-f", str(yang_dir() / "examples" / f"{example}.xml")])
    assert made.exit_code == 0, made.output
    file = tmp_path / f"{example}.xml"
    settings = settings_of(file.read_bytes(), file.name)
    with Net() as net:
        net.add("site")
        with inside(net.path("site")), Service() as service:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            for number, interface in enumerate(settings.interfaces):
                plug(interface, number)

            service.apply(Settings(), settings)

            state = state_of(service)
            assert {name: port["oper_status"] for name, port in state["interfaces"].items()} == {
                interface.name: WITHOUT_A_READER.get(interface.name, "up") for interface in settings.interfaces
            }
            assert all("not_attached" not in port for port in state["interfaces"].values())
            assert service.publisher.age_s is not None
            assert settings.export.curve is not None
            assert len(service.store) == len(settings.sessions)
            assert state["restart_needed"] == ()
            inline = [i for i in settings.interfaces if i.mode is Mode.INLINE]
            assert {i.peer for i in inline} == {i.name for i in inline}
            for policy in settings.policies:
                assert not policy.application or service.pipeline.signatures.number(policy.application)
