"""Pages in Chromium, one after the other: objects in chains, late ones, and polling after load; truth is the browser's.

A page of a set is HTML made from its seed, with pictures by `/bytes/N` of several hosts. Some ask for the next when
they are there, as scripts do, and some answers are late by the server's thought. After load come advertisements and
a poll, which are traffic of the page but none of its time.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab.plan import SERVICES
from lab.truth.browser import Browser, spki
from lab.truth.choice import Conditions
from lab.truth.network import Network, subscriber
from lab.truth.players import scripts
from lab.truth.video import quic_flags

__all__ = ["html", "run"]

_HOSTS = (*SERVICES["web"].names, *SERVICES["web3"].names, *SERVICES["social"].names)
_SCRIPT = """
const add = (list, at) => { if (at < list.length) { const i = new Image();
  i.onload = i.onerror = () => add(list, at + 1);
  i.src = list[at]; document.body.append(i); } };
for (const chain of CHAINS) add(chain, 0);
addEventListener("load", () => {
  setTimeout(() => { for (const url of LATE) add([url], 0); }, LATE_MS);
  if (POLL_MS) setInterval(() => fetch(POLL, { cache: "no-store" }).catch(() => {}), POLL_MS);
});
"""


def html(pick: random.Random, number: int, wait_ms: float) -> str:
    """Return a page: pictures of its own, chains of others, and what comes after load."""

    def url(i: int, host: str | None = None, most: int = 90_000) -> str:
        octets = min(most, int(pick.lognormvariate(9.6, 1.1)))
        thought = int(pick.expovariate(1 / wait_ms)) if wait_ms and pick.random() < 0.5 else 0
        return f"https://{host or pick.choice(_HOSTS)}/bytes/{octets}?n={number}.{i}&wait={thought}"

    pictures = "".join(f'<img src="{url(i)}">' for i in range(pick.randrange(4, 25)))
    chains = [[url(100 + 10 * c + i) for i in range(pick.randrange(1, 4))] for c in range(pick.randrange(0, 4))]
    late = [url(200 + i) for i in range(pick.randrange(0, 6))]
    words = {
        "POLL_MS": pick.choice((0, 500, 1000, 2000)),
        "LATE_MS": pick.randrange(200, 3000),
        "CHAINS": chains,
        "LATE": late,
        "POLL": url(300, _HOSTS[0], 3000),
    }
    script = _SCRIPT
    for name, value in words.items():
        script = script.replace(name, repr(value))
    filler = "<p>" + "word " * pick.randrange(500, 12_000) + "</p>"
    return f"<!doctype html><title>{number}</title><body>{pictures}{filler}<script>{script}</script></body>"


def run(conditions: Conditions, cache: Path, out: Path) -> tuple[dict[str, Any], Network]:
    """Open pages under *conditions*, capture into *out*; returns truth, and the network that is gone."""
    options = conditions.options
    pick = random.Random(f"page/{conditions.seed}/pages")
    root = cache / "pages" / str(conditions.seed)
    root.mkdir(parents=True, exist_ok=True)
    for n in range(options["pages"]):
        (root / f"p{n}.html").write_text(html(pick, n, options["wait_ms"]), encoding="ascii")
    network = Network(
        [subscriber("web", conditions.downlink, conditions.uplink)],
        root=root, http=options["http"], seed=conditions.seed,
    )  # fmt: skip
    pages: list[dict[str, Any]] = []
    with network, network.recorded(out):
        flags = quic_flags(options["http"], ":443,".join(_HOSTS))
        with Browser(network, "ue1", network.folder / "browser", spki(network.folder / "lab.pem"), flags) as browser:
            network.follow([s for s in conditions.steps if not s.at_s], 0.5)
            left, begun = [s for s in conditions.steps if s.at_s], time.monotonic()
            for n in range(options["pages"]):
                browser.open(f"https://{_HOSTS[n % 2]}/p{n}.html", scripts(cache, "", "page.js"))
                passed_s = time.monotonic() - begun
                now, left = [s for s in left if s.at_s <= passed_s], [s for s in left if s.at_s > passed_s]
                network.follow([replace(s, at_s=0.0) for s in now], pick.uniform(2.0, 7.0))
                pages.append(browser.call("timed()"))
    return {"pages": [{"page_s": round(p["load"] - p["begin"], 4), **p} for p in pages]}, network
