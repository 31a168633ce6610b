"""The SMF: PFCP to the UPF on UDP 8805, one request at a time, with retransmission (TS 29.244, 6.4)."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from gtp.codec import CodecError
from gtp.events import Identity
from gtp.pfcp import build
from gtp.pfcp.message import PORT, Body, Header, Kind, messages, read_body
from lab import plan
from lab.net import LabError
from lab.plan import Subscriber
from lab.wait import Patience

__all__ = ["Smf", "n4_socket", "ntp_now"]

_T1_S = 1.0  # 6.4: retransmission timer, left to the operator
_PATIENCE_S = 20.0  # time in which a quiet machine answers; 6.4 counts retransmissions (N1), and leaves the number open
_NTP_1970 = 2_208_988_800  # seconds from 1900 to 1970 (RFC 5905, figure 4); 8.2.65 counts so


def n4_socket(address: str) -> socket.socket:
    """Open the PFCP port of an address in the present namespace."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((address, PORT))
    return s


def ntp_now() -> int:
    """Return the time as a Recovery Time Stamp."""
    return int(time.time()) + _NTP_1970


@dataclass(slots=True)
class _Session:
    cp_seid: int
    up_seid: int
    uplink: tuple[str, int]  # (UPF address, TEID)
    reached: bool = False  # by a gNB


class Smf:
    """One association with one UPF; sessions by the lab's name of the subscriber.

    *check* raises when the process of the UPF has ended.
    """

    def __init__(self, sock: socket.socket, upf: str, check: Callable[[], None]) -> None:
        self._socket, self._upf, self._check = sock, upf, check
        self._sequence = 0
        self._sessions: dict[str, _Session] = {}

    def __enter__(self) -> Smf:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def associate(self) -> None:
        """Set the association up."""
        request = build.association_request(self._next(), plan.N4_SMF, ntp_now())
        self._ask(request, Kind.ASSOCIATION_SETUP_RESPONSE)

    def establish(self, ue: Subscriber) -> tuple[str, int]:
        """Establish a session whose uplink F-TEID the UPF chooses; returns it as (address, TEID)."""
        seid = len(self._sessions) + 1 + (self._sequence << 16)
        wanted = build.SessionPlan(
            smf=plan.N4_SMF,
            cp_seid=seid,
            identity=Identity(imsi=ue.imsi),
            ue_ipv4=ue.address,
            uplink=None,
            downlink=None,
            dnn=plan.DNN,
            snssai=f"{plan.SST}-{plan.SD}",
            qfi=ue.qfi,
        )
        request = build.establishment_request(self._next(), wanted)
        _, answer = self._ask(request, Kind.ESTABLISHMENT_RESPONSE)
        chosen = next((p.fteid for p in answer.created_pdrs if p.fteid), None)
        if chosen is None or answer.fseid is None:
            raise LabError("the UPF chose no F-TEID. Look at upf.log in the folder of the lab.")
        self._sessions[ue.name] = _Session(seid, answer.fseid.seid, (chosen.ipv4, chosen.teid))
        return chosen.ipv4, chosen.teid

    def uplink(self, name: str) -> tuple[str, int]:
        """Return the end of a subscriber's uplink: (UPF address, TEID)."""
        return self._sessions[name].uplink

    def modify(self, name: str, gnb: str, teid: int) -> None:
        """Send the downlink to (gNB address, TEID): the first gNB, or the one after a handover."""
        session = self._sessions[name]
        request = build.handover_request(
            self._next(), session.up_seid, (gnb, teid), plan.DNN, end_marker=session.reached
        )
        session.reached = True
        self._ask(request, Kind.MODIFICATION_RESPONSE)

    def delete(self, name: str) -> None:
        """End a session."""
        request = build.deletion_request(self._next(), self._sessions[name].up_seid)
        self._ask(request, Kind.DELETION_RESPONSE)
        del self._sessions[name]

    def _next(self) -> int:
        self._sequence = (self._sequence + 1) & 0xFF_FFFF
        return self._sequence

    def _ask(self, request: bytes, kind: Kind) -> tuple[Header, Body]:
        """Send a request until its response comes; raises LabError when it is refused or never comes."""
        patience = Patience(_PATIENCE_S)
        while patience.left_s():
            self._check()
            self._socket.sendto(request, (self._upf, PORT))
            end = time.monotonic() + _T1_S
            while (left := end - time.monotonic()) > 0:
                self._socket.settimeout(left)
                try:
                    header, reader = next(messages(self._socket.recv(4096)))
                    body = read_body(reader)
                except TimeoutError:
                    break
                except CodecError:
                    continue
                if (header.kind, header.sequence) == (kind, self._sequence):
                    if body.cause != 1:  # request accepted (8.2.1)
                        raise LabError(f"the UPF refused: {kind.name.lower()} with cause {body.cause}.")
                    return header, body
        raise LabError(
            f"the UPF did not answer on N4: no {kind.name.lower()}. Look at upf.log in the folder of the lab."
        )
