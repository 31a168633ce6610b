"""Whole PFCP messages as an SMF and a UPF write them, for the lab and for tests.

The dialect is that of Open5GS 2.8: a test holds it to a capture, element by element.
"""

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
_FORW, _BUFF_NOCP = b"\x02\0", b"\x0c\0"  # Apply Action, two bytes since Release 16 (8.2.26)
_N3, _N6 = b"\x0b", b"\x11"  # 3GPP Interface Type: N3 3GPP access, N6 (8.2.118)
_GTPU_UDP_IP = b"\x06"  # Outer Header Removal (8.2.64)
_SNDEM = b"\x02"  # PFCPSMReq-Flags: end markers to the old tunnel (8.2.28)
_CP_FEATURES, _UP_FEATURES = b"\0", bytes.fromhex("10211004")  # FTUP, EMPU, FRRT, MNOP, VTIME (8.2.25, 8.2.58)
_CHOOSE_ID = 5  # of the F-TEID of the access side
_LOWEST = 65_535  # precedence of the default rule
_MBR_KBPS = 1_000_000
_UPLINK_PDR, _DOWNLINK_PDR, _UPLINK_FAR, _DOWNLINK_FAR = 1, 2, 1, 2
_URR = _QER = 1
_BAR = b"\x01"


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
    features = ie.ie(Type.CP_FUNCTION_FEATURES, _CP_FEATURES)
    return write(Kind.ASSOCIATION_SETUP_REQUEST, sequence, *_node(node, recovery), features)


def association_response(sequence: int, node: str, recovery: int) -> bytes:
    """Return Association Setup Response (7.4.4.2), accepted."""
    who, since = _node(node, recovery)
    features = ie.ie(Type.UP_FUNCTION_FEATURES, _UP_FEATURES)
    return write(Kind.ASSOCIATION_SETUP_RESPONSE, sequence, who, _ACCEPTED, since, features)


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
    fteid = FTeid(plan.uplink[1], plan.uplink[0]) if plan.uplink else FTeid(choose=True, choose_id=_CHOOSE_ID)
    downlink = source is Interface.CORE
    pdi = [
        _number(Type.SOURCE_INTERFACE, source, 1),
        *([] if downlink else [ie.ie(Type.F_TEID, fteid.bytes())]),
        ie.ie(Type.INTERFACE_TYPE, _N6 if downlink else _N3),
        ie.ie(Type.NETWORK_INSTANCE, ie.labels(plan.dnn)),
        ie.ie(Type.UE_IP_ADDRESS, UeAddress(plan.ue_ipv4, destination=downlink).bytes()),
        *([] if downlink else [_number(Type.QFI, plan.qfi, 1)]),
    ]
    removal = [] if downlink else [ie.ie(Type.OUTER_HEADER_REMOVAL, _GTPU_UDP_IP)]
    return ie.ie(
        Type.CREATE_PDR,
        _number(Type.PDR_ID, pdr, 2),
        _number(Type.PRECEDENCE, _LOWEST, 4),
        ie.ie(Type.PDI, *pdi),
        *removal,
        _number(Type.FAR_ID, far, 4),
        _number(Type.URR_ID, _URR, 4),
        _number(Type.QER_ID, _QER, 4),
    )


def _to_core(dnn: str) -> bytes:
    """Return the rule that forwards the uplink."""
    parameters = ie.ie(
        Type.FORWARDING_PARAMETERS,
        _number(Type.DESTINATION_INTERFACE, Interface.CORE, 1),
        ie.ie(Type.INTERFACE_TYPE, _N6),
        ie.ie(Type.NETWORK_INSTANCE, ie.labels(dnn)),
    )
    return ie.ie(Type.CREATE_FAR, _number(Type.FAR_ID, _UPLINK_FAR, 4), ie.ie(Type.APPLY_ACTION, _FORW), parameters)


def _to_access(dnn: str, gnb: tuple[str, int] | None, *, update: bool = False, end_marker: bool = False) -> bytes:
    """Return the rule of the downlink: to (gNB address, TEID), or it buffers until there is one."""
    number = _number(Type.FAR_ID, _DOWNLINK_FAR, 4)
    outer = Type.UPDATE_FAR if update else Type.CREATE_FAR
    if gnb is None:
        return ie.ie(outer, number, ie.ie(Type.APPLY_ACTION, _BUFF_NOCP), ie.ie(Type.BAR_ID, _BAR))
    parameters = ie.ie(
        Type.UPDATE_FORWARDING_PARAMETERS if update else Type.FORWARDING_PARAMETERS,
        _number(Type.DESTINATION_INTERFACE, Interface.ACCESS, 1),
        ie.ie(Type.INTERFACE_TYPE, _N3),
        ie.ie(Type.NETWORK_INSTANCE, ie.labels(dnn)),
        ie.ie(Type.OUTER_HEADER_CREATION, OuterHeader(gnb[1], gnb[0]).bytes()),
        *([ie.ie(Type.PFCPSMREQ_FLAGS, _SNDEM)] if end_marker else []),
    )
    return ie.ie(outer, number, ie.ie(Type.APPLY_ACTION, _FORW), parameters)


def _rates_and_reports(qfi: int) -> tuple[bytes, ...]:
    """Return URR, QER and BAR of a session."""
    urr = ie.ie(
        Type.CREATE_URR,
        _number(Type.URR_ID, _URR, 4),
        ie.ie(Type.MEASUREMENT_METHOD, b"\x02"),  # VOLUM (8.2.40)
        ie.ie(Type.REPORTING_TRIGGERS, bytes(3)),
    )
    qer = ie.ie(
        Type.CREATE_QER,
        _number(Type.QER_ID, _QER, 4),
        ie.ie(Type.GATE_STATUS, b"\0"),  # open both ways (8.2.7)
        ie.ie(Type.MBR, 2 * _MBR_KBPS.to_bytes(5, "big")),
        _number(Type.QFI, qfi, 1),
    )
    return urr, qer, ie.ie(Type.CREATE_BAR, ie.ie(Type.BAR_ID, _BAR))


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
        _to_core(plan.dnn),
        _to_access(plan.dnn, plan.downlink),
        *_rates_and_reports(plan.qfi),
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


def handover_request(
    sequence: int, up_seid: int, downlink: tuple[str, int], dnn: str = "internet", *, end_marker: bool = False
) -> bytes:
    """Return Session Modification Request (7.5.4) that moves the downlink to another (gNB address, TEID).

    *end_marker*: the old tunnel gets end markers (TS 23.501, 5.8.2.9).
    """
    far = _to_access(dnn, downlink, update=True, end_marker=end_marker)
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
