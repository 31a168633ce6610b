"""Disks from which cloud-init reads: NoCloud and ConfigDrive, made of a FAT file system without a mount."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lab.net import LabError
from tests.image.machine import MACS

__all__ = ["NETWORK", "config_drive", "disk", "no_cloud", "with_shell"]

ROOT = Path(__file__).resolve().parents[2]
_MARGIN_MB = 4
_MANAGEMENT = "fa:16:3e:00:00:30"  # of deploy/image/cloud-init
NETWORK = (ROOT / "deploy/image/cloud-init/network-config").read_text().replace(_MANAGEMENT, MACS["management"])
# A shell on the second serial port is how the test looks inside. It comes by user data: the image has no such thing.
_SHELL = """\
  - path: /etc/systemd/system/looking.service
    content: |
      [Unit]
      Description=a shell on the second serial port
      [Service]
      ExecStartPre=/bin/stty -F /dev/ttyS1 raw -echo
      Environment=PS1= PS2=
      ExecStart=/bin/sh
      StandardInput=tty-force
      StandardOutput=tty
      StandardError=tty
      TTYPath=/dev/ttyS1
      Restart=always
      [Install]
      WantedBy=multi-user.target
"""
_START = "  - [systemctl, enable, --now, --no-block, looking.service]\n"


def with_shell(user_data: str) -> str:
    """Return user data that also start a shell on the second serial port, now and at each boot."""
    found = user_data.replace("write_files:\n", f"write_files:\n{_SHELL}", 1)
    if "runcmd:\n" not in found:
        found += "runcmd:\n"
    return found.replace("runcmd:\n", f"runcmd:\n{_START}", 1)


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"`{' '.join(words)}` failed: {done.stderr.strip()}")


def disk(path: Path, label: str, files: Mapping[str, bytes | Path]) -> Path:
    """Make a FAT file system with these files, by their paths in it; returns *path*."""
    with tempfile.TemporaryDirectory(prefix="snf-seed-") as name:
        below = Path(name)
        tops = {place.partition("/")[0] for place in files}
        for place, content in files.items():
            file = below / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        size_mb = sum(file.stat().st_size for file in below.rglob("*")) // 2**20 + _MARGIN_MB
        with path.open("wb") as file:
            file.truncate(size_mb * 2**20)
        _run("mkfs.vfat", "-n", label, str(path))
        _run("mcopy", "-s", "-i", str(path), *(str(below / top) for top in sorted(tops)), "::/")
    return path


def no_cloud(path: Path, user_data: str) -> Path:
    """Make a disk as the source NoCloud reads it (its label is CIDATA)."""
    files = {"user-data": user_data, "meta-data": "instance-id: snf1\n", "network-config": NETWORK}
    return disk(path, "CIDATA", {name: text.encode() for name, text in files.items()})


def config_drive(path: Path, user_data: str) -> Path:
    """Make a disk as OpenStack attaches it (config_drive: true): user data, an identity, and the ports of the machine.

    N3 and N6 are ports without a subnet: they have a link and no network.
    """
    metadata = {"uuid": "83679162-1378-4288-a2d4-70e13ec132aa", "name": "snf2", "hostname": "snf2"}
    links = [
        {"id": name, "type": "phy", "ethernet_mac_address": mac, "mtu": 1500, "vif_id": name}
        for name, mac in MACS.items()
    ]
    network = {
        "links": links,
        "networks": [{"id": "management", "type": "ipv4_dhcp", "link": "management", "network_id": "management"}],
        "services": [],
    }
    files = {
        "openstack/latest/meta_data.json": json.dumps(metadata).encode(),
        "openstack/latest/user_data": user_data.encode(),
        "openstack/latest/network_data.json": json.dumps(network).encode(),
    }
    return disk(path, "config-2", files)
