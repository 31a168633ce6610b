"""The network of a set: the lab with one or two subscribers, its servers behind an Internet that can be impaired.

A `Network` is a `Lab` whose data network is a router only; the servers live in a namespace ``inet`` behind the
TUN devices of `lab.truth.wan`. The packet path has a higher priority than browsers and players: a host that is
somewhat short of time is late with a picture before it is late with a packet.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab import plan
from lab.impair import CLEAN, Impairment
from lab.lab import Lab
from lab.loop import ask
from lab.net import LabError
from lab.plan import Subscriber
from lab.truth.capture import Capture
from lab.truth.meter import judged
from lab.truth.schedule import Step
from lab.truth.wan import WAN_DEVICE

__all__ = ["Network"]

_WEB = Path(__file__).resolve().parent / "web"
_STEP_S = 0.02  # between two looks at the schedule


class Network(Lab):
    """The lab of a set. *root* is the folder that its web servers serve, *http* their version; *web* asks for them."""

    def __init__(
        self, subscribers: Sequence[Subscriber], *, root: Path, http: int = 1, seed: int = 1, web: bool = True
    ) -> None:
        super().__init__(subscribers, n6_port=True, seed=seed)
        self.applied: list[dict[str, Any]] = []
        self.load: dict[str, Any] = {}
        self._begun_s = self._ended_s = 0.0  # the load of parts that start or end is not that of a set
        self._root, self._http, self._web = root, http, web

    # -- parts ------------------------------------------------------------

    def _wire(self) -> None:
        super()._wire()
        net = self.net
        net.add("inet")
        addresses = sorted({plan.DNS, *(s.address for s in plan.SERVICES.values())})
        net.ip("dn", "address flush dev lo", "address add 127.0.0.1/8 dev lo")
        for namespace in ("dn", "inet"):
            net.ip(
                namespace,
                f"tuntap add mode tun name {WAN_DEVICE}",
                f"link set {WAN_DEVICE} mtu 1500 txqueuelen 5000 up",
            )
        net.ip("dn", f"route add 198.18.0.0/15 dev {WAN_DEVICE}")
        call = plan.SERVICES["call"].address  # a browser offers no address of a loopback to its peer
        net.ip("inet", *(f"address add {a}/32 dev {WAN_DEVICE if a == call else 'lo'}" for a in addresses))
        net.ip("inet", f"route add default dev {WAN_DEVICE} src {call}")
        net.call("dn", lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii"))

    def _start_servers(self) -> Sequence[Path]:
        net, folder = self.net, self.folder
        pair = ("--certificate", folder / "lab.pem", "--key", folder / "lab.key")
        words = (*pair, "--root", self._root, "--wait", folder / "wait")
        self.start(
            "wan", "-m", "lab.truth.wan", "--near", net.path("dn"), "--far", net.path("inet"),
            "--seed", str(self.seed), "--control", folder / "wan.sock",
        )  # fmt: skip
        inet = net.path("inet")
        self.start("dn", "-m", "lab.truth.servers", "--netns", inet, *words, "--ready", folder / "dn.ready")
        ready = [folder / "wan.sock", folder / "dn.ready"]
        if self._web and not shutil.which("node"):
            raise LabError("node is not installed. Run: make truth, or apt-get install nodejs")
        if self._web:
            version, up = ("--http", str(self._http)), ("--ready", folder / "web.ready")
            self.start_inside("web", "inet", "node", _WEB / "server.js", *words, *version, *up)
            ready.append(folder / "web.ready")
        return ready

    def __enter__(self) -> Network:
        super().__enter__()
        self._hurry("gnb", "upf", "wan")
        return self

    def _hurry(self, *parts: str) -> None:
        for part in parts:
            with contextlib.suppress(PermissionError):
                os.sched_setscheduler(self.pid(part), os.SCHED_RR, os.sched_param(1))

    # -- conditions -------------------------------------------------------

    def apply(self, step: Step) -> None:
        """Set the impairment of a step, for the first subscriber where it is one's own."""
        name = next(iter(self.subscribers))
        if step.segment == "server":
            (self.folder / "wait").write_text(f"{step.wait_ms}", encoding="ascii")
        elif step.segment == "radio":
            self.radio(name, uplink=step.uplink, downlink=step.downlink)
        elif step.segment == "upf":
            self.core(name, uplink=step.uplink, downlink=step.downlink)
        else:
            for direction, how in (("uplink", step.uplink), ("downlink", step.downlink)):
                if how is not None:
                    ask(self.folder / "wan.sock", "impair", direction=direction, **asdict(how))
        self.applied.append({"t": round(time.time(), 3), **step.plain()})

    def follow(self, steps: Sequence[Step], seconds: float, done: Callable[[], bool] = lambda: False) -> None:
        """Apply *steps* at their times, and return after *seconds* or when *done*; raises LabError if a part ended."""
        self._begun_s = self._begun_s or time.time()
        begun, left = time.monotonic(), sorted(steps, key=lambda s: s.at_s)
        while (now := time.monotonic() - begun) < seconds and not done():
            while left and left[0].at_s <= now:
                self.apply(left.pop(0))
            self.check()
            time.sleep(_STEP_S)
        self._ended_s = time.time()

    @contextlib.contextmanager
    def recorded(self, folder: Path, ports: tuple[str, ...] = ("n3", "n4", "n6")) -> Iterator[None]:
        """Capture into *folder* and measure the load meanwhile; the subscribers are announced inside."""
        with Capture(self, folder, ports):
            for who in ("path", "clients"):
                self.start(f"meter-{who}", "-m", "lab.truth.meter", self.folder / f"{who}.json")
            self._hurry("meter-path")
            self.announce_all()
            try:
                yield
            finally:
                self.stop("meter-path", "meter-clients")
                files = {who: self.folder / f"{who}.json" for who in ("path", "clients")}
                there = {who: json.loads(f.read_text("ascii")) for who, f in files.items() if f.exists()}
                self.load = {who: judged(load, self._begun_s, self._ended_s) for who, load in there.items()}


def subscriber(uses: str, downlink: Impairment = CLEAN, uplink: Impairment = CLEAN, number: int = 1) -> Subscriber:
    """Return a subscriber of a set, on the radio with which it begins."""
    return Subscriber(f"ue{number}", f"00101{number:010d}", f"10.45.0.{number + 1}", (uses,), uplink, downlink)
