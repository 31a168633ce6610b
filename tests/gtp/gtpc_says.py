"""GTPv2-C and GTPv1-C messages in short, written by scapy: the other side of the trackers' tests."""

from __future__ import annotations

from scapy.contrib import gtp as v1
from scapy.contrib import gtp_v2 as v2

ACCEPTED, REFUSED, NOT_FOUND = 16, 73, 64  # causes of GTPv2-C: accepted, no resources, context not found
MME, SGW, PGW, ENB = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.20"
ALICE, BOB = "001010000000001", "001010000000002"
S1U_ENB, S1U_SGW, S5U_SGW, S5U_PGW, S5C_SGW, S5C_PGW, S11_MME, S11_SGW = 0, 1, 4, 5, 6, 7, 10, 11


def message(body, seq, teid=None, kind=None):
    """Return a GTPv2-C message; without a TEID the header has none."""
    more = {} if kind is None else {"gtp_type": kind}
    header = v2.GTPHeader(T=int(teid is not None), teid=teid or 0, seq=seq, SPARE3=0, **more)
    return bytes(header / body)


def fteid(interface, teid, address, instance=0):
    return v2.IE_FTEID(ipv4_present=1, InterfaceType=interface, GRE_Key=teid, ipv4=address, instance=instance)


def ebi(number, instance=0):
    return v2.IE_EPSBearerID(EBI=number, instance=instance)


def cause(number):
    return v2.IE_Cause(Cause=number)


def bearer(number, *ends, answer=None, instance=0):
    """Return a bearer context; *ends* are (interface, TEID, address)."""
    parts = [ebi(number)] + ([cause(answer)] if answer is not None else [])
    return v2.IE_BearerContext(IE_list=parts + [fteid(*end) for end in ends], instance=instance)


def uli(tac, eci, instance=0):
    """Return User Location Information with TAI and ECGI of the test network 001/01 (TS 36.508, 4.4.2)."""
    tai, ecgi = v2.ULI_TAI(MCC=b"001", MNC=b"01", TAC=tac), v2.ULI_ECGI(MCC=b"001", MNC=b"01", ECI=eci)
    return v2.IE_ULI(TAI_Present=1, ECGI_Present=1, TAI=tai, ECGI=ecgi, instance=instance)


def rat(number):
    return v2.IE_RAT(RAT_type=number)


def create_request(seq, *bearers, sender, imsi=ALICE, teid=0, apn="internet", more=()):
    elements = [v2.IE_IMSI(IMSI=imsi.encode())] if imsi else []
    elements += [fteid(*sender), v2.IE_APN(APN=apn.encode()), *more, *bearers]
    return message(v2.GTPV2CreateSessionRequest(IE_list=elements), seq, teid)


def create_response(seq, teid, *bearers, sender=None, ue="10.45.0.2", answer=ACCEPTED, more=()):
    elements = [cause(answer)] + ([fteid(*sender)] if sender else [])
    elements += [v2.IE_PAA(PDN_type=1, ipv4=ue)] if ue else []
    return message(v2.GTPV2CreateSessionResponse(IE_list=[*elements, *more, *bearers]), seq, teid)


def request(kind, seq, teid, *elements):
    """Return any other message."""
    bodies = {
        34: v2.GTPV2ModifyBearerRequest, 36: v2.GTPV2DeleteSessionRequest, 95: v2.GTPV2CreateBearerRequest,
        97: v2.GTPV2UpdateBearerRequest, 99: v2.GTPV2DeleteBearerRequest, 1: v2.GTPV2EchoRequest,
        35: v2.GTPV2ModifyBearerResponse, 37: v2.GTPV2DeleteSessionResponse, 96: v2.GTPV2CreateBearerResponse,
        98: v2.GTPV2UpdateBearerResponse, 100: v2.GTPV2DeleteBearerResponse, 2: v2.GTPV2EchoResponse,
        170: v2.GTPV2ReleaseBearerRequest, 171: v2.GTPV2ReleaseBearerResponse,
        101: v2.GTPV2EchoRequest, 102: v2.GTPV2EchoResponse, 211: v2.GTPV2ModifyBearerRequest,
        38: v2.GTPV2ModifyBearerRequest, 39: v2.GTPV2ModifyBearerResponse,
        212: v2.GTPV2ModifyBearerResponse,
    }  # fmt: skip
    return message(bodies[kind](IE_list=list(elements)), seq, teid, kind)


response = request


# -- GTPv1-C -----------------------------------------------------------------------------------------

SGSN, GGSN, RNC = "192.0.2.4", "192.0.2.5", "192.0.2.21"


def old(body, seq, teid):
    return bytes(v1.GTPHeader(S=1, seq=seq, teid=teid) / body)


def gsn(*addresses):
    return [v1.IE_GSNAddress(length=4, ipv4_address=a) for a in addresses]


def old_place(number, kind, lac, cell):
    """Return RAT Type, and User Location Information of a cell (kind 0) or service area (1) of 001/01."""
    where = {"type": kind, "MCC": b"001", "MNC": b"01", "LAC": lac, "SAC": cell}
    return v1.IE_RATType(RAT_Type=number), v1.IE_UserLocationInformation(length=8, **where)


def pdp_request(seq, *, imsi=ALICE, control=0x11, data=0x12, nsapi=5, linked=None, teid=0, sgsn=SGSN, more=()):
    elements = [v1.IE_IMSI(imsi=imsi.encode())] if imsi else []
    elements += [v1.IE_TEIDI(TEIDI=data)] + ([v1.IE_TEICP(TEICI=control)] if control else [])
    elements += [v1.IE_NSAPI(NSAPI=n) for n in (nsapi, linked) if n is not None]
    if linked is None:
        elements += [v1.IE_EndUserAddress(PDPTypeNumber=0x21), v1.IE_AccessPointName(APN=b"internet")]
    elements += [*gsn(sgsn, sgsn), v1.IE_MSInternationalNumber(length=8, digits=b"4915112345678"), *more]
    return old(v1.GTPCreatePDPContextRequest(IE_list=elements), seq, teid)


def pdp_response(seq, *, teid=0x11, control=0x21, data=0x22, ue="10.45.0.2", answer=128):
    elements = [v1.IE_Cause(CauseValue=answer), v1.IE_TEIDI(TEIDI=data), v1.IE_TEICP(TEICI=control)]
    elements += [v1.IE_EndUserAddress(length=6, PDPTypeNumber=0x21, PDPAddress=ue)] if ue else []
    return old(v1.GTPCreatePDPContextResponse(IE_list=[*elements, *gsn(GGSN, GGSN)]), seq, teid)


def pdp_update(seq, *, teid=0x21, control=None, data=0x32, nsapi=5, addresses=(SGSN, RNC), more=()):
    elements = [v1.IE_TEIDI(TEIDI=data)] + ([v1.IE_TEICP(TEICI=control)] if control else [])
    elements += [v1.IE_NSAPI(NSAPI=nsapi), *gsn(*addresses), *more]
    return old(v1.GTPUpdatePDPContextRequest(IE_list=elements), seq, teid)


def pdp_updated(seq, *, teid=0x11, answer=128):
    return old(v1.GTPUpdatePDPContextResponse(IE_list=[v1.IE_Cause(CauseValue=answer)]), seq, teid)


def info_change(seq, *more, teid=0x21):
    """Return MS Info Change Notification Request (TS 29.060, 7.5.14.1), which scapy does not know."""
    head = v1.GTPHeader(S=1, seq=seq, teid=teid, gtp_type=128)
    return bytes(head / v1.GTPUpdatePDPContextRequest(IE_list=list(more)))


def info_changed(seq, *, teid=0x11, answer=128):
    head = v1.GTPHeader(S=1, seq=seq, teid=teid, gtp_type=129)
    return bytes(head / v1.GTPUpdatePDPContextResponse(IE_list=[v1.IE_Cause(CauseValue=answer)]))


def pdp_delete(seq, *, teid=0x21, nsapi=5, teardown=False):
    elements = ([v1.IE_Teardown(indicator=255)] if teardown else []) + [v1.IE_NSAPI(NSAPI=nsapi)]
    return old(v1.GTPDeletePDPContextRequest(IE_list=elements), seq, teid)


def pdp_deleted(seq, *, teid=0x11, answer=128):
    return old(v1.GTPDeletePDPContextResponse(IE_list=[v1.IE_Cause(CauseValue=answer)]), seq, teid)


def old_echo(seq, recovery):
    return old(v1.GTPEchoResponse(IE_list=[v1.IE_Recovery(restart_counter=recovery)]), seq, 0)
