"""One end of a UDP stream: sends what is due, answers echoes, and writes down all that it sent and received.

    python -m lab.truth.peer --netns PATH --kind rtp --role ue --here IP:PORT --there IP:PORT --choices JSON \
        --seconds S --seed N --go FILE --truth FILE

It begins when FILE of --go is there. An echo is a datagram of 8 octets and more that comes back with its first eight
octets as they were: each end of a game asks so four times a second and answers at once. Voice has RTCP in clear.
"""

from __future__ import annotations

import argparse
import json
import select
import signal
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.message
import dns.query

from lab.net import child_of_the_lab
from lab.plan import DNS
from lab.rtcp import Receiver, is_rtcp, report
from lab.truth.streams import CODECS, Due, number_of, stream_of
from lab.wait import wait_until

__all__ = ["Peer", "main"]

_ECHO_S, _REPORT_S = 0.25, 1.0
_ASK, _BACK = b"PING", b"PONG"  # octets 8 to 11 of an echo; the first eight are its number and the end that asks


@dataclass(slots=True)
class Peer:
    """The account of one end, in times since the epoch."""

    kind: str
    role: str
    clock: int = 0
    sent: list[tuple[float, int, int]] = field(default_factory=list)  # time, number, octets
    left_out: list[tuple[float, int]] = field(default_factory=list)
    received: list[tuple[float, int, int]] = field(default_factory=list)
    echoes: list[tuple[float, float]] = field(default_factory=list)  # time asked, ms until it was back
    reports: list[dict[str, Any]] = field(default_factory=list)

    def run(self, sock: socket.socket, there: tuple[str, int], plan: list[Due], seconds: float) -> None:
        """Send a plan from now on; returns *seconds* later."""
        receiver, at = Receiver(self.clock), 0
        begun, wall = time.monotonic(), time.time()
        extra_s, asked = 0.1, 0
        while (now := time.monotonic() - begun) < seconds:
            while at < len(plan) and plan[at].at_s <= now:
                self._send(sock, there, plan[at])
                at += 1
            if extra_s <= now:
                asked += 1
                self._extra(sock, there, asked, plan, at, receiver, wall + now)
                extra_s += _REPORT_S if self.kind == "rtp" else _ECHO_S
            due = min(extra_s, plan[at].at_s if at < len(plan) else seconds, seconds)
            if select.select([sock], [], [], max(0.0, due - (time.monotonic() - begun)))[0]:
                self._take(sock, receiver)

    def _send(self, sock: socket.socket, there: tuple[str, int], due: Due) -> None:
        if due.payload:
            sock.sendto(due.payload, there)
            self.sent.append((time.time(), due.number, len(due.payload)))
        else:
            self.left_out.append((time.time(), due.number))

    def _extra(
        self, sock: socket.socket, there: tuple[str, int], n: int, plan: list[Due], at: int, r: Receiver, now_s: float
    ) -> None:
        if self.kind != "rtp":
            mark = self.role.encode()[:2] + n.to_bytes(6, "big")
            sock.sendto(mark + _ASK + int(now_s * 1e6).to_bytes(8, "big"), there)
            return
        last = next((d.payload for d in reversed(plan[:at]) if d.payload), b"")
        if last:
            ssrc, stamp = int.from_bytes(last[8:12], "big"), int.from_bytes(last[4:8], "big")
            octets = sum(length - 12 for _, _, length in self.sent)
            sock.sendto(report(ssrc, stamp, (len(self.sent), octets), r, now_s), there)
            said = {"t": now_s, "received": r.received, "highest": r.highest, "base": r.base}
            self.reports.append({**said, "jitter_ms": round(1000 * r.jitter / self.clock, 3)})

    def _take(self, sock: socket.socket, receiver: Receiver) -> None:
        payload, sender = sock.recvfrom(2048)
        now_s = time.time()
        if payload[8:12] == _ASK:
            sock.sendto(payload[:8] + _BACK + payload[12:], sender)
        elif payload[8:12] == _BACK:
            asked_us = int.from_bytes(payload[12:20], "big")
            self.echoes.append((asked_us / 1e6, round(now_s * 1000 - asked_us / 1000, 3)))
        elif self.kind == "rtp" and is_rtcp(payload):
            receiver.rtcp(payload, now_s)
        else:
            if self.kind == "rtp":
                receiver.rtp(payload, now_s)
            self.received.append((now_s, number_of(payload), len(payload)))


def _place(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    return address, int(port)


def main() -> None:
    """Run for the seconds that are given, and write the account."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for option in ("--netns", "--kind", "--role", "--here", "--there", "--choices", "--go", "--truth"):
        parser.add_argument(option, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--name", default="", help="a host's name to resolve first, as an application does")
    args = parser.parse_args()
    child_of_the_lab(args.netns)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # it ends with its account, after the seconds
    choices = json.loads(args.choices)
    clock = CODECS[choices["codec"]][1] if args.kind == "rtp" else 0
    plan = list(stream_of(args.kind, args.role, choices, args.seconds, args.seed))
    peer = Peer(args.kind, args.role, clock)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(_place(args.here))
        Path(f"{args.truth}.ready").touch()
        wait_until(Path(args.go).exists, "the set begins", 60)
        if args.name:
            dns.query.udp(dns.message.make_query(args.name, "A"), DNS, timeout=5)
        peer.run(sock, _place(args.there), plan, args.seconds)
        fields = ("sent", "left_out", "received", "echoes", "reports")
        Path(args.truth).write_text(json.dumps({name: getattr(peer, name) for name in fields}), encoding="ascii")
        signal.sigwait({signal.SIGTERM})  # a port that closes early answers by ICMP


if __name__ == "__main__":
    main()
