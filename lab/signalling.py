"""A core network's signalling in a mirror, with the truth beside it: any number of sessions, no sockets, no clock.

An SMF and a UPF speak PFCP; in the fourth generation the PFCP names nobody, and an MME and an SGW tell the
subscriber on S11. Subscribers attach, move between gNBs and detach at a rate; TEIDs, SEIDs and UE addresses are
given again soon, and from the start after a restart. Every transmission may be lost (its sender repeats it)
or not be mirrored, and the mirror brings messages in another order.

    python -m lab.signalling --folder out     writes out/signalling.pcap and out/truth.csv
"""

from __future__ import annotations

import argparse
import csv
import heapq
import ipaddress
import random
import struct
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from gtp.events import Identity
from gtp.gtpc import build as gtpc
from gtp.gtpc.build import Connection
from gtp.gtpc.v2 import FTeid
from gtp.gtpc.v2 import Kind as GtpcKind
from gtp.ip import Datagram
from gtp.pfcp import build as pfcp
from gtp.pfcp.build import SessionPlan

__all__ = ["Network", "Plan", "Subscription", "write_pcap"]

SMF, UPF, MME, SGW, PGW = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"
DNN = "internet"
_GNBS = tuple(f"198.51.100.{n}" for n in range(1, 33))
_PFCP, _GTPC = 8805, 2123
_T1_S, _N1 = 1.0, 4  # retransmission timer and transmissions (TS 29.244, 6.4; TS 29.274, 7.6: left to the operator)
_WAY_S = 0.0002  # from one node to another
_RADIO_S, _REST_S = 0.03, 0.1  # time that the radio takes to set up, and the least between two procedures of a UE
_DOWN_S = 2.0  # a restart
_RECOVERY = 3_900_000_000  # seconds since 1900
_MARGIN = 0.05  # TEIDs and addresses that are free, as a share of the sessions: few, so that they are given again soon


@dataclass(frozen=True, slots=True)
class Plan:
    """Size, rates and faults of a run. ``loss`` and ``blind`` are shares of all transmissions."""

    sessions: int = 1000  # at a time
    rate_hz: float = 500.0  # procedures: attach, handover, detach
    seconds: float = 20.0
    handovers: float = 0.5  # share of the procedures once all sessions are up
    fourth: bool = False  # 4G
    loss: float = 0.0  # does not arrive, half of it before the mirror
    blind: float = 0.0  # arrives, and is not mirrored
    jitter_s: float = 0.0  # a message is mirrored up to this much late
    restarts: int = 0
    seed: int = 1


@dataclass(slots=True, repr=False)
class Subscription:
    """A session as the network has it. No repr: it would show the subscriber."""

    imsi: str
    ue: str
    number: int  # its TEIDs and SEIDs in the core
    radio: tuple[str, int]  # gNB address and TEID
    tunnels: dict[tuple[str, int], None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """A request and the response to it, between two (address, port)."""

    asker: tuple[str, int]
    answerer: tuple[str, int]
    request: bytes
    response: bytes
    patient: bool = False  # repeated until it is answered


_Writer = Callable[[int], bytes]  # of a message, by its sequence number
# The next step: an exchange, or nothing for some seconds.
_Procedure = Generator[_Exchange | float, bool, None]


class Network:
    """A network, run by `mirrored`; then ``live`` is the truth. ``unsure`` are sessions whose two ends differ."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.chance = random.Random(plan.seed)
        self.live: dict[str, Subscription] = {}  # by IMSI
        self.unsure: list[Subscription] = []
        self.procedures = 0
        self._recovery = 0
        self._idle: list[Subscription] = []
        self._out: list[tuple[float, int, Datagram]] = []
        self._order, self._sequence = count(), count(1)
        self._homes = deque(range(round(plan.sessions * (1 + 2 * _MARGIN)) + 8))  # subscribers that are not attached
        self._begin_pools()
        step = plan.seconds / (plan.restarts + 1)
        self._restarts = deque(step * (n + 1) for n in range(plan.restarts))

    def _begin_pools(self) -> None:
        size = round(self.plan.sessions * (1 + _MARGIN)) + 8
        self._numbers = deque(range(1, size + 1))
        self._reserve = (size - self.plan.sessions) // 2  # free ones that wait, because somebody had them a moment ago
        self._ues = deque(range(1, size + 1))
        self._radios = {gnb: deque(range(1, size // 4 + 8)) for gnb in _GNBS}

    # -- the run ---------------------------------------------------------------

    def mirrored(self) -> Iterator[tuple[float, Datagram]]:
        """Yield (seconds, datagram) as the mirror delivers them, until the last procedure is over."""
        running: list[tuple[float, int, _Procedure, bool | None, int]] = []
        at_s = 0.0
        heapq.heappush(running, (0.0, next(self._order), self._associate(), None, 0))
        tick_s, quiet_until_s, epoch = 0.1, 0.1, 0
        while running or tick_s < self.plan.seconds:
            if tick_s < self.plan.seconds and (not running or tick_s <= running[0][0]):
                at_s = tick_s
                tick_s += self.chance.expovariate(self.plan.rate_hz)
                if self._restarts and at_s >= self._restarts[0]:
                    self._restarts.popleft()
                    epoch += 1
                    self._restart()
                    quiet_until_s = at_s + _DOWN_S + 1.0
                    heapq.heappush(running, (at_s + _DOWN_S, next(self._order), self._associate(), None, epoch))
                procedure = self._next() if at_s >= quiet_until_s else None
                if procedure is not None:
                    self.procedures += 1
                    heapq.heappush(running, (at_s, next(self._order), procedure, None, epoch))
            else:
                at_s, _, procedure, answer, born = heapq.heappop(running)
                if born == epoch:  # exchanges begun before a restart are over with it
                    self._resume(running, procedure, answer, at_s, epoch)
            while self._out and self._out[0][0] <= at_s - self.plan.jitter_s:
                yield self._popped()
        while self._out:
            yield self._popped()

    def _popped(self) -> tuple[float, Datagram]:
        seen_s, _, datagram = heapq.heappop(self._out)
        return seen_s, datagram

    def _resume(
        self,
        running: list[tuple[float, int, _Procedure, bool | None, int]],
        procedure: _Procedure,
        answer: bool | None,
        at_s: float,
        epoch: int,
    ) -> None:
        try:
            exchange = next(procedure) if answer is None else procedure.send(answer)
        except StopIteration:
            return
        done_s, answered = (at_s + exchange, True) if isinstance(exchange, float) else self._carry(exchange, at_s)
        heapq.heappush(running, (done_s, next(self._order), procedure, answered, epoch))

    def _carry(self, x: _Exchange, at_s: float) -> tuple[float, bool]:
        """Carry messages, with repetition; return the time at which the asker knows, and whether it was answered."""
        stop_s = self._restarts[0] if self._restarts else float("inf")
        for attempt in range(100 if x.patient else _N1):
            sent_s = at_s + attempt * _T1_S
            if sent_s >= stop_s:
                break
            if self._travels(x.asker, x.answerer, x.request, sent_s) and self._travels(
                x.answerer, x.asker, x.response, sent_s + _WAY_S
            ):
                return sent_s + 2 * _WAY_S, True
        return at_s + _N1 * _T1_S, False

    def _travels(self, src: tuple[str, int], dst: tuple[str, int], payload: bytes, sent_s: float) -> bool:
        """Send one message; True when it arrives. The mirror is half way."""
        luck = self.chance.random()
        if luck < self.plan.loss / 2:
            return False
        if self.chance.random() >= self.plan.blind:
            seen_s = sent_s + _WAY_S / 2 + self.chance.random() * self.plan.jitter_s
            heapq.heappush(self._out, (seen_s, next(self._order), Datagram(*src, *dst, payload)))
        return luck >= self.plan.loss

    # -- procedures --------------------------------------------------------------

    def _next(self) -> _Procedure | None:
        full = len(self.live) >= self.plan.sessions
        if not full and (not self._idle or self.chance.random() < 0.8):
            return self._attach() if self._homes and len(self._numbers) > self._reserve else None
        if not self._idle:
            return None
        at = self.chance.randrange(len(self._idle))
        self._idle[at], self._idle[-1] = self._idle[-1], self._idle[at]
        session = self._idle.pop()
        return self._handover(session) if self.chance.random() < self.plan.handovers else self._detach(session)

    def _n4(self, request: _Writer, response: _Writer, patient: bool = False) -> _Exchange:
        sequence = next(self._sequence)
        return _Exchange((SMF, _PFCP), (UPF, _PFCP), request(sequence), response(sequence), patient)

    def _s11(self, request: _Writer, response: _Writer, patient: bool = False) -> _Exchange:
        sequence = next(self._sequence)
        return _Exchange((MME, _GTPC), (SGW, _GTPC), request(sequence), response(sequence), patient)

    def _associate(self) -> _Procedure:
        stamp = _RECOVERY + self._recovery
        self._sequence = count(1)
        yield self._n4(
            lambda n: pfcp.association_request(n, SMF, stamp),
            lambda n: pfcp.association_response(n, UPF, _RECOVERY),
            True,
        )
        if self.plan.fourth:
            recovery = gtpc.element(3, bytes([self._recovery + 1]))
            yield self._s11(
                lambda n: gtpc.echo_request(n, self._recovery + 1),
                lambda n: gtpc.message(GtpcKind.ECHO_REQUEST + 1, None, n, recovery),
                True,
            )

    def _restart(self) -> None:
        """Begin the control plane anew: all sessions are gone, and every number is given from the start."""
        self._recovery += 60
        for session in (*self.live.values(), *self.unsure):
            self._homes.append(int(session.imsi[5:]))
        known = set(self._homes)
        self._homes.extend(n for n in range(max(known, default=0) + 1) if n not in known)  # about to attach
        self.live.clear()
        self.unsure.clear()
        self._idle.clear()
        self._begin_pools()

    def _attach(self) -> _Procedure:
        gnb = self.chance.choice(_GNBS)
        ue = str(ipaddress.IPv4Address("10.0.0.0") + self._ues.popleft())
        number = self._numbers.popleft()
        s = Subscription(f"00101{self._homes.popleft():010d}", ue, number, (gnb, self._radios[gnb].popleft()))
        core = (UPF, number)
        identity = Identity() if self.plan.fourth else Identity(imsi=s.imsi)
        plan = SessionPlan(SMF, number, identity, ue, None, s.radio, DNN)
        established = yield self._n4(
            lambda n: pfcp.establishment_request(n, plan),
            lambda n: pfcp.establishment_response(n, number, UPF, number, core),
        )
        if established and self.plan.fourth:
            c = _connection(s)
            established = yield self._s11(lambda n: gtpc.create_request(n, c), lambda n: gtpc.create_response(n, c))
            yield _RADIO_S
            if established:
                established = yield self._modify_bearer(s)
        if not established:
            self.unsure.append(s)
            return
        s.tunnels = {core: None, s.radio: None}
        self.live[s.imsi] = s
        yield _REST_S
        self._idle.append(s)

    def _modify_bearer(self, s: Subscription) -> _Exchange:
        c, end = _connection(s), FTeid(0, s.radio[1], s.radio[0])
        return self._s11(
            lambda n: gtpc.modify_request(n, c, end),
            lambda n: gtpc.response(GtpcKind.MODIFY_BEARER_REQUEST, n, s.number, gtpc.bearer(5, answer=16)),
        )

    def _handover(self, s: Subscription) -> _Procedure:
        old = s.radio
        gnb = self.chance.choice([g for g in _GNBS if g != old[0]])
        s.radio = (gnb, self._radios[gnb].popleft())
        moved = yield self._n4(
            lambda n: pfcp.handover_request(n, s.number, s.radio), lambda n: pfcp.modification_response(n, s.number)
        )
        if moved and self.plan.fourth:
            moved = yield self._modify_bearer(s)
        if not moved:
            self._lose(s)
            return
        s.tunnels = {(UPF, s.number): None, s.radio: None}
        self._radios[old[0]].append(old[1])
        yield _REST_S
        self._idle.append(s)

    def _detach(self, s: Subscription) -> _Procedure:
        ended = yield self._n4(
            lambda n: pfcp.deletion_request(n, s.number), lambda n: pfcp.deletion_response(n, s.number)
        )
        if ended and self.plan.fourth:
            c = _connection(s)
            ended = yield self._s11(
                lambda n: gtpc.delete_request(n, c),
                lambda n: gtpc.response(GtpcKind.DELETE_SESSION_REQUEST, n, s.number),
            )
        if not ended:
            self._lose(s)
            return
        del self.live[s.imsi]
        self._homes.append(int(s.imsi[5:]))
        self._numbers.append(s.number)
        self._ues.append(int(ipaddress.IPv4Address(s.ue) - int(ipaddress.IPv4Address("10.0.0.0"))))
        self._radios[s.radio[0]].append(s.radio[1])

    def _lose(self, s: Subscription) -> None:
        """Move a session to the unsure ones: the asker gave up, and nothing that the answerer has is given again."""
        self.live.pop(s.imsi, None)
        self.unsure.append(s)


def _connection(s: Subscription) -> Connection:
    control, mine = FTeid(10, s.number, MME), FTeid(11, s.number, SGW)
    return Connection(s.imsi, s.ue, control, mine, FTeid(1, s.number, UPF), FTeid(5, s.number, PGW), DNN)


def write_pcap(path: Path, messages: Iterator[tuple[float, Datagram]], began_s: float) -> int:
    """Write datagrams as a capture of raw IPv4 packets; return how many. Checksums are left zero."""
    number = 0
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101))
        for at_s, d in messages:
            udp = struct.pack("!HHHH", d.sport, d.dport, 8 + len(d.payload), 0) + d.payload
            ends = ipaddress.IPv4Address(d.src).packed + ipaddress.IPv4Address(d.dst).packed
            packet = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), number & 0xFFFF, 0, 64, 17, 0) + ends + udp
            whole, part = divmod(round((began_s + at_s) * 1e6), 1_000_000)
            out.write(struct.pack("<IIII", whole, part, len(packet), len(packet)) + packet)
            number += 1
    return number


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.signalling", description="Write signalling and its truth.")
    parser.add_argument("--folder", type=Path, required=True, help="where signalling.pcap and truth.csv go")
    for name, kind in (("sessions", int), ("rate_hz", float), ("seconds", float), ("handovers", float)):
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=getattr(Plan(), name))
    for name, kind in (("loss", float), ("blind", float), ("jitter_s", float), ("restarts", int), ("seed", int)):
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=getattr(Plan(), name))
    parser.add_argument("--fourth", action="store_true", help="4G: PFCP without identity, S11 with it")
    options = vars(parser.parse_args())
    folder: Path = options.pop("folder")
    folder.mkdir(parents=True, exist_ok=True)
    network = Network(Plan(**options))
    messages = write_pcap(folder / "signalling.pcap", network.mirrored(), 1_700_000_000)
    with (folder / "truth.csv").open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(("imsi", "ue_ipv4", "teids"))
        for s in network.live.values():
            rows.writerow((s.imsi, s.ue, " ".join(f"0x{teid:08x}@{address}" for address, teid in s.tunnels)))
    print(f"{messages} messages, {network.procedures} procedures, {len(network.live)} sessions at the end")


if __name__ == "__main__":
    _main()
