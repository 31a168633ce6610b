"""A session of a real player in Chromium: truth is its own account, told each 250 ms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.plan import SERVICES
from lab.truth.account import summary
from lab.truth.browser import Browser, spki
from lab.truth.choice import Conditions
from lab.truth.content import LADDERS, make
from lab.truth.network import Network, subscriber
from lab.truth.players import install, scripts

__all__ = ["quic_flags", "run"]

_PLAYERS = {
    "dash.js": "dashjs/dist/modern/umd/dash.all.min.js",
    "hls.js": "hls.js/dist/hls.min.js",
    "shaka": "shaka-player/dist/shaka-player.compiled.js",
}


def quic_flags(http: int, name: str) -> Sequence[str]:
    """Return what Chromium needs to speak a version of HTTP with a host."""
    if http == 3:
        return ("--enable-quic", f"--origin-to-force-quic-on={name}:443")
    return ("--disable-quic", *(("--disable-http2",) if http == 1 else ()))


def run(conditions: Conditions, cache: Path, out: Path) -> tuple[dict[str, Any], Network]:
    """Watch a video under *conditions*, capture into *out*; returns truth, and the network that is gone."""
    install(cache)
    options = conditions.options
    service = SERVICES[options["service"]]
    name = service.names[0]
    folder = make(cache, LADDERS[options["ladder"]], options["segment_s"])
    levels = json.loads((folder / "levels.json").read_text("ascii"))
    manifest = "master.m3u8" if options["player"] == "hls.js" else "manifest.mpd"
    place = "live/content" if options.get("live") else "content"
    job = {
        "player": options["player"],
        "manifest": f"https://{name}/{place}/{folder.name}/{manifest}",
        "buffer_s": options["buffer_s"],
        "live": bool(options.get("live")),
    }
    network = Network(
        [subscriber(options["service"], conditions.downlink, conditions.uplink)],
        root=cache, http=options["http"], seed=conditions.seed,
    )  # fmt: skip
    with network, network.recorded(out):
        flags = quic_flags(options["http"], name)
        with Browser(network, "ue1", network.folder / "browser", spki(network.folder / "lab.pem"), flags) as browser:
            browser.open(f"https://{name}/", scripts(cache, _PLAYERS[options["player"]], "player.js"))
            browser.call(f"watch({json.dumps(job)})")
            network.follow(conditions.steps, conditions.seconds)
            told = list(browser.told)
    truth = summary(told, levels)
    return {**truth, "levels": levels, "told": told}, network
