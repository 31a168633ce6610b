"""The gNB process: two radio sites, one TUN device for each UE in the UE's namespace.

    python -m lab.gnb --netns PATH --control SOCKET --seed N --ue NAME=PATH --ue ...

Control (`lab.loop.ask`): ``setup`` a UE's tunnel at a site, ``release`` a tunnel, ``impair`` a UE, ``stats``.
"""

from __future__ import annotations

import argparse
from typing import Any

from lab.gtpu_endpoint import Gnb, n3_socket, open_tun
from lab.loop import Loop, serve_control
from lab.net import child_of_the_lab
from lab.plan import GNB_SITES, UE_DEVICE

__all__ = ["main"]


def _handle(gnb: Gnb, request: dict[str, Any]) -> dict[str, Any]:
    do = request.pop("do")
    if do == "setup":
        return {"ok": True, "teid": gnb.setup(**request)}
    if do == "release":
        gnb.release(**request)
        return {"ok": True}
    if do == "impair":
        return {"ok": True, "is": gnb.impair(**request)}
    if do == "stats":
        return {"ok": True, **gnb.stats()}
    return {"ok": False, "error": f"the gNB cannot {do}"}


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--netns", required=True)
    parser.add_argument("--control", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ue", action="append", default=[], help="NAME=NAMESPACE")
    args = parser.parse_args()
    child_of_the_lab(args.netns)
    loop = Loop()
    gnb = Gnb(loop, {site: n3_socket(site) for site in GNB_SITES}, args.seed)
    for word in args.ue:
        name, _, namespace = word.partition("=")
        gnb.admit(name, open_tun(namespace, UE_DEVICE))
    serve_control(loop, args.control, lambda request: _handle(gnb, request))
    loop.run()


if __name__ == "__main__":
    main()
