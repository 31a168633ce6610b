"""Sets of UDP streams: a voice by RTP, a game of ticks, the pictures of a cloud game; two peers, two accounts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.plan import SERVICES
from lab.truth.choice import Conditions
from lab.truth.network import Network, subscriber
from lab.wait import wait_until

__all__ = ["accounts", "frames", "run"]

_PLACES = {"rtp": ("voice", 4000), "game": ("game", 5100), "cloud": ("game", 5200)}
_UE_PORT = 40_000


def frames(sent: list[list[float]], received: list[list[float]], first_sequence: int | None) -> list[dict[str, Any]]:
    """Return, for each second of a picture stream, the pictures that were sent and those that arrived whole.

    *sent* and *received* are rows of time, number and octets; with *first_sequence* the received numbers are RTP
    sequence numbers from there on, without it the stream has no numbers and arrivals are not told.
    """
    by_packet = (
        {(first_sequence + i) & 0xFFFF: int(n) >> 8 for i, (_, n, _) in enumerate(sent)} if first_sequence else {}
    )
    parts = Counter(int(n) >> 8 for _, n, _ in sent)
    ended: dict[int, float] = {}
    got: Counter[int] = Counter()
    for t, number, _ in received:
        frame = by_packet.get(int(number))
        if frame is not None:
            got[frame] += 1
            if got[frame] == parts[frame]:
                ended[frame] = t
    begun: dict[int, float] = {}
    for t, number, _ in sent:
        begun.setdefault(int(number) >> 8, t)
    seconds = sorted({int(t) for t in begun.values()})
    out, back = Counter(int(t) for t in begun.values()), Counter(int(t) for t in ended.values())
    return [{"second": s, "sent": out[s], "whole": back[s] if by_packet else None} for s in seconds]


def accounts(network: Network, files: Mapping[str, Path], conditions: Conditions) -> dict[str, Any]:
    """Begin when both peers are ready, follow the conditions, and return what each wrote into its file."""
    for role, file in files.items():
        ready = file.with_name(f"{file.name}.ready")
        network.wait_until(ready.exists, f"peer {role} is ready", part=f"peer-{role}")
    (network.folder / "go").touch()
    network.follow(conditions.steps, conditions.seconds)
    for role, file in files.items():
        wait_until(lambda file=file: _account(file), f"the account of {role} is there", 30)  # type: ignore[misc]
    return {role: json.loads(file.read_text("ascii")) for role, file in files.items()}


def run(conditions: Conditions, cache: Path, out: Path) -> tuple[dict[str, Any], Network]:
    """Run a stream under *conditions*, capture into *out*; returns truth, and the network that is gone."""
    kind, (use, port) = conditions.kind, _PLACES[conditions.kind]
    service = SERVICES[use]
    ue = subscriber(use, conditions.downlink, conditions.uplink)
    network = Network([ue], root=out, seed=conditions.seed, web=False)
    with network, network.recorded(out):
        files = {role: network.folder / f"{role}.json" for role in ("ue", "far")}
        places = {"ue": f"{ue.address}:{_UE_PORT}", "far": f"{service.address}:{port}"}
        for role, namespace, other in (("far", "inet", "ue"), ("ue", ue.name, "far")):
            network.start(
                f"peer-{role}", "-m", "lab.truth.peer", "--netns", network.net.path(namespace), "--kind", kind,
                "--role", role, "--here", places[role], "--there", places[other], "--go", network.folder / "go",
                "--choices", json.dumps(conditions.options), "--seconds", str(conditions.seconds),
                "--seed", str(conditions.seed), "--truth", files[role],
                *(("--name", service.names[0]) if role == "ue" else ()),
            )  # fmt: skip
        said = accounts(network, files, conditions)
    truth: dict[str, Any] = {**said}
    if kind == "cloud":
        first = None
        if conditions.options["rtp"] and said["ue"]["received"] and not said["far"]["left_out"]:
            first = int(said["ue"]["received"][0][1])
        truth["seconds"] = frames(said["far"]["sent"], said["ue"]["received"], first)
    return truth, network


def _account(file: Path) -> bool:
    try:
        json.loads(file.read_text("ascii"))
    except (OSError, ValueError):
        return False
    return True
