"""A download whose limit is known: the network, the receiver, the server or the application; truth is TCP_INFO."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab.plan import SERVICES
from lab.truth.choice import Conditions
from lab.truth.datagrams import accounts
from lab.truth.network import Network, subscriber

__all__ = ["run"]


def run(conditions: Conditions, cache: Path, out: Path) -> tuple[dict[str, Any], Network]:
    """Download under *conditions*, capture into *out*; returns truth, and the network that is gone."""
    service = SERVICES["download"]
    ue = subscriber("download", conditions.downlink, conditions.uplink)
    network = Network([ue], root=out, seed=conditions.seed, web=False)
    with network, network.recorded(out):
        files = {role: network.folder / f"{role}.json" for role in ("ue", "far")}
        for role, namespace in (("far", "inet"), ("ue", ue.name)):
            network.start(
                f"peer-{role}", "-m", "lab.truth.transfer", "--netns", network.net.path(namespace), "--role", role,
                "--here", service.address, "--name", service.names[0], "--choices", json.dumps(conditions.options),
                "--seconds", str(conditions.seconds), "--go", network.folder / "go", "--truth", files[role],
                "--ca", network.folder / "lab.pem", "--key", network.folder / "lab.key",
            )  # fmt: skip
        said = accounts(network, files, conditions)
    pieces = said["ue"]["pieces"]
    busy = sum(p["end"] - p["begin"] for p in pieces)
    speed = round(8 * sum(p["octets"] for p in pieces) / busy) if busy else None
    return {"limit": conditions.options["limit"], "speed_bps": speed, **said}, network
