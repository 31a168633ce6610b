"""The UPF process: N3 to N6 through a TUN device, controlled by PFCP.

    python -m lab.upf --netns PATH --control SOCKET --seed N

Control (`lab.loop.ask`): ``impair`` a session, named by its UE address, and ``stats``. Sessions come by N4 only.
"""

from __future__ import annotations

import argparse
from typing import Any

from lab.gtpu_endpoint import UpfPlane, n3_socket, open_tun
from lab.loop import Loop, serve_control
from lab.net import child_of_the_lab
from lab.plan import N4_UPF, UPF_DEVICE, UPF_N3
from lab.upf_n4 import N4

__all__ = ["main"]


def _handle(plane: UpfPlane, request: dict[str, Any]) -> dict[str, Any]:
    do = request.pop("do")
    if do == "impair":
        return {"ok": True, "is": plane.impair(**request)}
    if do == "stats":
        return {"ok": True, **plane.stats()}
    return {"ok": False, "error": f"the UPF cannot {do}"}


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--netns", required=True)
    parser.add_argument("--control", required=True)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    child_of_the_lab(args.netns)
    loop = Loop()
    plane = UpfPlane(loop, UPF_N3, n3_socket(UPF_N3), open_tun(args.netns, UPF_DEVICE), args.seed)
    N4(loop, plane, N4_UPF)
    serve_control(loop, args.control, lambda request: _handle(plane, request))
    loop.run()


if __name__ == "__main__":
    main()
