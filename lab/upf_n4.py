"""The UPF's end of N4: PFCP requests become tunnels of the user plane. It never reads the subscriber's identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gtp.codec import CodecError
from gtp.pfcp import build, ie
from gtp.pfcp.ie import Interface, OuterHeader, Type
from gtp.pfcp.message import Body, Far, Header, Kind, messages, read_body, write
from lab.gtpu_endpoint import UpfPlane
from lab.loop import Loop
from lab.smf import n4_socket, ntp_now

__all__ = ["N4"]

_QFI = 9  # of the only QoS flow of a session
_SESSION_NOT_FOUND, _MANDATORY_IE_MISSING = 65, 66  # causes (TS 29.244, 8.2.1)


@dataclass(slots=True)
class _Session:
    cp_seid: int
    name: str  # the UE address
    downlink: OuterHeader | None = None


def _not_found(kind: Kind, sequence: int) -> bytes:
    return write(kind, sequence, ie.ie(Type.CAUSE, bytes([_SESSION_NOT_FOUND])), seid=0)


class N4:
    """Answers one SMF."""

    def __init__(self, loop: Loop, plane: UpfPlane, address: str) -> None:
        self._plane, self._address = plane, address
        self._socket = n4_socket(address)
        self._socket.setblocking(False)
        self._started = ntp_now()
        self._sessions: dict[int, _Session] = {}
        self._next_seid, self._next_teid = 0x10, 0x1000
        self._answered: tuple[object, bytes] = (None, b"")  # the last request and its response, for a retransmission
        loop.reader(self._socket.fileno(), self._read)

    def _read(self) -> None:
        try:
            datagram, peer = self._socket.recvfrom(4096)
            header, reader = next(messages(datagram))
            if self._answered[0] == (peer, header):
                response = self._answered[1]
            else:
                response = self._answer(header, read_body(reader))
                self._answered = (peer, header), response
        except (OSError, CodecError):
            return
        if response:
            self._socket.sendto(response, peer)

    def _answer(self, header: Header, body: Body) -> bytes:
        sequence = header.sequence
        match header.kind:
            case Kind.HEARTBEAT_REQUEST:
                return build.heartbeat_response(sequence, self._started)
            case Kind.ASSOCIATION_SETUP_REQUEST:
                return build.association_response(sequence, self._address, self._started)
            case Kind.ESTABLISHMENT_REQUEST:
                return self._establish(sequence, body)
            case Kind.MODIFICATION_REQUEST:
                return self._modify(sequence, header.seid or 0, body)
            case Kind.DELETION_REQUEST:
                return self._delete(sequence, header.seid or 0)
        return b""

    def _establish(self, sequence: int, body: Body) -> bytes:
        addresses = [ue.ipv4 for pdr in body.create_pdrs for ue in pdr.ue if ue.ipv4]
        if body.fseid is None or not addresses:
            seid = body.fseid.seid if body.fseid else 0
            return build.establishment_response(sequence, seid, self._address, 0, cause=_MANDATORY_IE_MISSING)
        self._next_seid += 1
        self._next_teid += 1
        session = self._sessions[self._next_seid] = _Session(body.fseid.seid, addresses[0])
        self._plane.session(session.name, addresses[0], self._next_teid)
        self._forward(session, body.create_fars)
        chosen = self._plane.address, self._next_teid
        return build.establishment_response(sequence, session.cp_seid, self._address, self._next_seid, chosen)

    def _forward(self, session: _Session, fars: Sequence[Far]) -> None:
        for far in fars:
            if far.destination == Interface.ACCESS and far.header and far.header != session.downlink:
                session.downlink = far.header
                self._plane.towards(session.name, far.header.ipv4, far.header.teid, _QFI)

    def _modify(self, sequence: int, seid: int, body: Body) -> bytes:
        session = self._sessions.get(seid)
        if session is None:
            return _not_found(Kind.MODIFICATION_RESPONSE, sequence)
        self._forward(session, body.update_fars)
        return build.modification_response(sequence, session.cp_seid)

    def _delete(self, sequence: int, seid: int) -> bytes:
        session = self._sessions.pop(seid, None)
        if session is None:
            return _not_found(Kind.DELETION_RESPONSE, sequence)
        self._plane.remove(session.name)
        return build.deletion_response(sequence, session.cp_seid)
