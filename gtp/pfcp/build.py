"""Whole PFCP messages as an SMF and a UPF write them, for the lab and for tests."""

from __future__ import annotations

from dataclasses import dataclass

from gtp.events import Identity
from gtp.pfcp import ie
from gtp.pfcp.ie import FSeid, FTeid, Interface, OuterHeader, Type, UeAddress
from gtp.pfcp.message import Kind, write

__all__ = [
    "SessionPlan",
    "association_request",
    "association_response",
    "deletion_request",
    "deletion_response",
    "establishment_request",
    "establishment_response",
    "handover_request",
    "heartbeat_request",
    "heartbeat_response",
    "modification_response",
]

_ACCEPTED = ie.ie(Type.CAUSE, b"\x01")
_FORWARD = ie.ie(Type.APPLY_ACTION, b"\x02")
_UPLINK_PDR, _DOWNLINK_PDR, _UPLINK_FAR, _DOWNLINK_FAR = 1, 2, 1, 2


@dataclass(frozen=True, slots=True, repr=False)
class SessionPlan:
    """One PDU session as its SMF plans it. ``uplink`` None: the UPF chooses the F-TEID."""

    smf: str
    cp_seid: int
    identity: Identity
    ue_ipv4: str
    uplink: tuple[str, int] | None  # (UPF address, TEID)
    downlink: tuple[str, int] | None  # (gNB address, TEID); None until the gNB has answered
    dnn: str = "internet"
    snssai: str = "1"
    qfi: int = 9


def association_request(sequence: int, node: str, recovery: int) -> bytes:
    """Return Association Setup Request (7.4.4.1)."""
    return write(Kind.ASSOCIATION_SETUP_REQUEST, sequence, *_node(node, recovery))


def association_response(sequence: int, node: str, recovery: int) -> bytes:
    """Return Association Setup Response (7.4.4.2), accepted."""
    return write(
        Kind.ASSOCIATION_SETUP_RESPONSE, sequence, ie.ie(Type.NODE_ID, ie.node_id(node)), _ACCEPTED, _time(recovery)
    )


def heartbeat_request(sequence: int, recovery: int) -> bytes:
    """Return Heartbeat Request (7.4.2.1)."""
    return write(Kind.HEARTBEAT_REQUEST, sequence, _time(recovery))


def heartbeat_response(sequence: int, recovery: int) -> bytes:
    """Return Heartbeat Response (7.4.2.2)."""
    return write(Kind.HEARTBEAT_RESPONSE, sequence, _time(recovery))


def _time(recovery: int) -> bytes:
    return ie.ie(Type.RECOVERY_TIME_STAMP, recovery.to_bytes(4, "big"))


def _node(node: str, recovery: int) -> tuple[bytes, bytes]:
    return ie.ie(Type.NODE_ID, ie.node_id(node)), _time(recovery)


def _number(kind: Type, value: int, size: int) -> bytes:
    return ie.ie(kind, value.to_bytes(size, "big"))


def _pdr(plan: SessionPlan, pdr: int, far: int, source: Interface) -> bytes:
    fteid = FTeid(plan.uplink[1], plan.uplink[0]) if plan.uplink else FTeid(choose=True)
    downlink = source is Interface.CORE
    pdi = [
        _number(Type.SOURCE_INTERFACE, source, 1),
        *([] if downlink else [ie.ie(Type.F_TEID, fteid.bytes())]),
        ie.ie(Type.NETWORK_INSTANCE, ie.labels(plan.dnn)),
        ie.ie(Type.UE_IP_ADDRESS, UeAddress(plan.ue_ipv4, destination=downlink).bytes()),
        _number(Type.QFI, plan.qfi, 1),
    ]
    removal = [] if downlink else [ie.ie(Type.OUTER_HEADER_REMOVAL, b"\0")]
    return ie.ie(
        Type.CREATE_PDR,
        _number(Type.PDR_ID, pdr, 2),
        _number(Type.PRECEDENCE, 255, 4),
        ie.ie(Type.PDI, *pdi),
        *removal,
        _number(Type.FAR_ID, far, 4),
    )


def _far(far: int, destination: Interface, header: tuple[str, int] | None, *, update: bool = False) -> bytes:
    creation = [ie.ie(Type.OUTER_HEADER_CREATION, OuterHeader(header[1], header[0]).bytes())] if header else []
    outer = Type.UPDATE_FAR if update else Type.CREATE_FAR
    inner = Type.UPDATE_FORWARDING_PARAMETERS if update else Type.FORWARDING_PARAMETERS
    parameters = ie.ie(inner, _number(Type.DESTINATION_INTERFACE, destination, 1), *creation)
    return ie.ie(outer, _number(Type.FAR_ID, far, 4), _FORWARD, parameters)


def establishment_request(sequence: int, plan: SessionPlan) -> bytes:
    """Return Session Establishment Request (7.5.2) with one rule each way and the identity of the subscriber."""
    identity = [ie.ie(Type.USER_ID, ie.user_id(plan.identity))] if plan.identity else []
    return write(
        Kind.ESTABLISHMENT_REQUEST,
        sequence,
        ie.ie(Type.NODE_ID, ie.node_id(plan.smf)),
        ie.ie(Type.F_SEID, FSeid(plan.cp_seid, plan.smf).bytes()),
        _pdr(plan, _UPLINK_PDR, _UPLINK_FAR, Interface.ACCESS),
        _pdr(plan, _DOWNLINK_PDR, _DOWNLINK_FAR, Interface.CORE),
        _far(_UPLINK_FAR, Interface.CORE, None),
        _far(_DOWNLINK_FAR, Interface.ACCESS, plan.downlink),
        _number(Type.PDN_TYPE, 1, 1),
        *identity,
        ie.ie(Type.APN_DNN, ie.labels(plan.dnn)),
        ie.ie(Type.S_NSSAI, ie.snssai(plan.snssai)),
        seid=0,
    )


def establishment_response(
    sequence: int, cp_seid: int, upf: str, up_seid: int, chosen: tuple[str, int] | None = None, cause: int = 1
) -> bytes:
    """Return Session Establishment Response (7.5.3); *chosen* is the F-TEID (address, TEID) that the UPF chose."""
    created = []
    if chosen:
        fteid = ie.ie(Type.F_TEID, FTeid(chosen[1], chosen[0]).bytes())
        created = [ie.ie(Type.CREATED_PDR, _number(Type.PDR_ID, _UPLINK_PDR, 2), fteid)]
    return write(
        Kind.ESTABLISHMENT_RESPONSE,
        sequence,
        ie.ie(Type.NODE_ID, ie.node_id(upf)),
        _number(Type.CAUSE, cause, 1),
        ie.ie(Type.F_SEID, FSeid(up_seid, upf).bytes()),
        *created,
        seid=cp_seid,
    )


def handover_request(sequence: int, up_seid: int, downlink: tuple[str, int]) -> bytes:
    """Return Session Modification Request (7.5.4) that moves the downlink to another (gNB address, TEID)."""
    far = _far(_DOWNLINK_FAR, Interface.ACCESS, downlink, update=True)
    return write(Kind.MODIFICATION_REQUEST, sequence, far, seid=up_seid)


def modification_response(sequence: int, cp_seid: int) -> bytes:
    """Return Session Modification Response (7.5.5), accepted."""
    return write(Kind.MODIFICATION_RESPONSE, sequence, _ACCEPTED, seid=cp_seid)


def deletion_request(sequence: int, up_seid: int) -> bytes:
    """Return Session Deletion Request (7.5.6)."""
    return write(Kind.DELETION_REQUEST, sequence, seid=up_seid)


def deletion_response(sequence: int, cp_seid: int) -> bytes:
    """Return Session Deletion Response (7.5.7), accepted."""
    return write(Kind.DELETION_RESPONSE, sequence, _ACCEPTED, seid=cp_seid)
