"""The Internet between N6 and the servers: packets pass from one TUN device to another, with an impairment each way.

    python -m lab.truth.wan --near PATH --far PATH --control SOCKET --seed N

Control (`lab.loop.ask`): ``impair`` with ``direction`` uplink or downlink, and ``stats``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from dataclasses import asdict
from typing import Any

from lab.gtpu_endpoint import open_tun
from lab.impair import CLEAN, Impairment, Shaper
from lab.loop import Loop, serve_control
from lab.net import child_of_the_lab

__all__ = ["WAN_DEVICE", "main"]

WAN_DEVICE = "wan0"
_BATCH, _MTU = 64, 2048


class _Wan:
    """The two ways between the devices."""

    def __init__(self, loop: Loop, near: int, far: int, seed: int) -> None:
        self._loop = loop
        self.ways = {"uplink": Shaper(f"{seed}/wan/uplink"), "downlink": Shaper(f"{seed}/wan/downlink")}
        loop.reader(near, lambda: self._pass(near, far, self.ways["uplink"]))
        loop.reader(far, lambda: self._pass(far, near, self.ways["downlink"]))

    def _pass(self, source: int, to: int, shaper: Shaper) -> None:
        def write(packet: bytes) -> None:
            with contextlib.suppress(OSError):  # the device's queue is full
                os.write(to, packet)

        for _ in range(_BATCH):
            try:
                packet = os.read(source, _MTU)
            except OSError:
                return
            if shaper.impairment is CLEAN:
                write(packet)
            elif (when := shaper.offer(time.monotonic(), len(packet))) is not None:
                self._loop.at(when, write, packet)

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request of the lab."""
        do = request.pop("do")
        if do == "impair":
            way = self.ways[request.pop("direction")]
            way.impairment = Impairment(**request)
            return {"ok": True}
        if do == "stats":
            return {"ok": True} | {
                d: {"passed": s.passed, "lost": s.lost, "dropped": s.dropped, "is": asdict(s.impairment)}
                for d, s in self.ways.items()
            }
        return {"ok": False, "error": f"the Internet cannot {do}"}


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for option in ("--near", "--far", "--control"):
        parser.add_argument(option, required=True)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    child_of_the_lab()
    loop = Loop()
    wan = _Wan(loop, open_tun(args.near, WAN_DEVICE), open_tun(args.far, WAN_DEVICE), args.seed)
    serve_control(loop, args.control, wan.handle)
    loop.run()


if __name__ == "__main__":
    main()
