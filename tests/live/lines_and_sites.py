"""The function with an example's configuration, ports that a test sends frames into, and what each subscriber gets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner
from scapy.packet import Packet

from feed.records import RecordBatch
from lab.net import Net, inside
from mgmt.cli.main import snf
from mgmt.netconf.model.yang_model import yang_dir
from mgmt.netconf.store.datastore import settings_of
from nf.service import Service
from nf.settings import Export, Role, Settings
from tests.live.conftest import wait_until

VOLUMES = ("ul_bytes", "dl_bytes")


@dataclass
class Site:
    """A running function with the far ends of its ports."""

    service: Service
    key: bytes  # of the pseudonyms
    far: dict[str, socket.socket]
    sent: Counter[str] = field(default_factory=Counter)

    def send(self, port: str, frame: Packet) -> None:
        """Put a frame on the wire of a port."""
        self.far[port].send(bytes(frame))
        self.sent[port] += 1

    def volumes(self) -> dict[str, tuple[float, ...]]:
        """End the interval once all that was sent is counted; return uplink and downlink bytes by subscriber."""
        for port, sent in self.sent.items():
            if port in self.service.plane.attached:
                read = self.service.plane.read_counters
                wait_until(lambda: read(port)["frames"] >= sent, f"{port} has all")  # noqa: B023
        batches: list[RecordBatch] = self.service.pipeline.sweep(self.service.clock.now_s())
        found: dict[str, Any] = {}
        for batch in batches:
            columns = [batch.columns[name] for name in ("subscriber", *VOLUMES)]
            for who, *volumes in zip(*columns, strict=True):
                found[who] = found.get(who, np.zeros(len(VOLUMES))) + np.nan_to_num(np.array(volumes, np.float64))
        return {who: tuple(volumes.tolist()) for who, volumes in found.items()}

    def pseudonym(self, name: str) -> str:
        """Return the kind of a name, and 128 bits of HMAC-SHA-256 over all of it (docs/feed.md)."""
        return f"{name.partition(':')[0]}-{hmac.new(self.key, name.encode(), hashlib.sha256).hexdigest()[:32]}"


@contextmanager
def site(example: str, tmp_path: Path) -> Iterator[Site]:
    """Start a function by an example, with keys that the command makes and devices of the names in it."""
    made = CliRunner().invoke(snf, ["keys", str(tmp_path), "-f", str(yang_dir() / "examples" / f"{example}.xml")])
    assert made.exit_code == 0, made.output
    file = tmp_path / f"{example}.xml"
    settings = replace(
        settings_of(file.read_bytes(), file.name), export=Export(endpoint=f"ipc://{tmp_path}/bus", batch_ms=100)
    )
    key = base64.b64decode((tmp_path / "pseudonyms.key").read_text())
    with Net() as net:
        net.add("site")
        with inside(net.path("site")):
            far = {port.name: plug(port.name) for port in settings.interfaces}
            service = Service()
            try:
                service.apply(Settings(), settings)
                assert {port.role for port in settings.interfaces} <= {Role.N6, Role.N4}
                yield Site(service, key, far)
            finally:
                service.close()
                for each in far.values():
                    each.close()


def plug(name: str) -> socket.socket:
    """Make a device; return a packet socket at its far end."""
    subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", f"far-{name}"], check=True)
    for end in (name, f"far-{name}"):
        subprocess.run(["ip", "link", "set", end, "up"], check=True)
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sender.bind((f"far-{name}", 0))
    return sender
