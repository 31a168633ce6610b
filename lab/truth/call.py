"""A call of two Chromium pages by WebRTC: one is the subscriber's, the other in the data network; truth is getStats.

The account of each end is a list of seconds: counters of what it sent and received, and the times at which pictures
were shown. The subscriber's is ``ue``, the other's ``far``.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from lab.plan import SERVICES
from lab.truth.browser import Browser, spki
from lab.truth.choice import Conditions
from lab.truth.content import camera
from lab.truth.network import Network, subscriber
from lab.truth.players import scripts
from lab.truth.video import quic_flags
from lab.wait import wait_until

__all__ = ["run", "seconds"]


def seconds(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each second between two accounts, the differences of their counters: pictures by their times.

    ``sent`` and ``decoded`` are pictures, ``shown`` those that reached the screen, ``frozen_s`` the duration of freezes
    that ended, as the browser defines them (webrtc-stats, freezeCount).
    """
    accounts = [a for a in told if "in_video" in a and "out_video" in a]
    found = []
    for before, now in pairwise(accounts):
        was, got, sent, had = before["in_video"], now["in_video"], now["out_video"], before["out_video"]

        def grown(name: str, new: dict[str, Any] = got, old: dict[str, Any] = was) -> float:
            return round(float(new.get(name, 0)) - float(old.get(name, 0)), 4)

        found.append(
            {
                "begin": round(was["at"], 3),
                "end": round(got["at"], 3),
                "received": grown("framesReceived"),
                "decoded": grown("framesDecoded"),
                "dropped": grown("framesDropped"),
                "shown": len(now["pictures"]),
                "freezes": grown("freezeCount"),
                "frozen_s": grown("totalFreezesDuration"),
                "octets": grown("bytesReceived"),
                "lost": grown("packetsLost"),
                "key_frames": grown("keyFramesDecoded"),
                "height": got.get("frameHeight"),
                "sent": grown("framesSent", sent, had),
                "sent_octets": grown("bytesSent", sent, had),
                "round_trip_ms": round(1000 * now["pair"].get("currentRoundTripTime", 0), 1) if "pair" in now else None,
            }
        )
    return found


def run(conditions: Conditions, cache: Path, out: Path) -> tuple[dict[str, Any], Network]:
    """Hold a call under *conditions*, capture into *out*; returns truth, and the network that is gone."""
    options = conditions.options
    name = SERVICES["call"].names[0]
    job = json.dumps({k: options[k] for k in ("width", "height", "fps", "codec")})
    network = Network(
        [subscriber("call", conditions.downlink, conditions.uplink)], root=cache, http=2, seed=conditions.seed
    )
    with network, network.recorded(out):
        trusted = spki(network.folder / "lab.pem")
        picture = camera(cache, options["width"], options["height"], options["fps"])
        flags = (*quic_flags(2, name), f"--use-file-for-fake-video-capture={picture}")
        ends = {"ue": "ue1", "far": "inet"}
        with (
            Browser(network, ends["ue"], network.folder / "ue", trusted, flags) as ue,
            Browser(network, ends["far"], network.folder / "far", trusted, flags) as far,
        ):
            for browser in (ue, far):
                browser.open(f"https://{name}/", scripts(cache, "", "call.js"))
            offered = ue.call(f"offer({job})")
            answered = far.call(f"answer({job}, {json.dumps(offered)})")
            ue.call(f"joined({json.dumps(answered)})")
            wait_until(lambda: any(e.get("event") == "connected" for e in ue.told), "the call is connected", 30)
            network.follow(conditions.steps, conditions.seconds)
            told = {"ue": list(ue.told), "far": list(far.told)}
    return {"seconds": {who: seconds(t) for who, t in told.items()}, "told": told}, network
