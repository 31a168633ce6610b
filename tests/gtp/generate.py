"""Random messages by scapy and by us, with what the other one has to read in them."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Iterator

from scapy.contrib import gtp_v2
from scapy.contrib.gtp import IE_TEIDI, GTP_U_Header, GTPPDUSessionContainer, IE_GSNAddress
from scapy.contrib.pfcp import (
    IE_APN_DNN,
    IE_FSEID,
    IE_FTEID,
    IE_PDI,
    IE_QFI,
    PFCP,
    IE_ApplyAction,
    IE_CreateFAR,
    IE_CreatePDR,
    IE_DestinationInterface,
    IE_FAR_Id,
    IE_ForwardingParameters,
    IE_NetworkInstance,
    IE_NodeId,
    IE_OuterHeaderCreation,
    IE_PDR_Id,
    IE_Precedence,
    IE_SourceInterface,
    IE_UE_IP_Address,
    IE_UserId,
    PFCPSessionEstablishmentRequest,
    PFCPSessionModificationRequest,
)
from scapy.packet import Raw

from gtp import gtpu
from gtp.codec import CodecError, Reader, tbcd
from gtp.events import Identity
from gtp.gtpc import v1, v2
from gtp.gtpc.v2 import FTeid as CFTeid
from gtp.pfcp import build
from gtp.pfcp.ie import FSeid, FTeid, OuterHeader, UeAddress
from gtp.pfcp.message import messages, read_body

__all__ = ["by_scapy", "by_us", "decoders", "samples"]


def ipv4(chance: random.Random) -> str:
    return str(ipaddress.IPv4Address(chance.getrandbits(32)))


def ipv6(chance: random.Random) -> str:
    return str(ipaddress.IPv6Address(chance.getrandbits(128)))


def digits(chance: random.Random, low: int, high: int) -> str:
    return "".join(chance.choices("0123456789", k=chance.randint(low, high)))


def name(chance: random.Random) -> str:
    labels = ("".join(chance.choices("abcdefghijklmnopqrstuvwxyz-", k=chance.randint(1, 12))) for _ in range(3))
    return ".".join(list(labels)[: chance.randint(1, 3)])


# -- written by scapy, read by us --------------------------------------------------


def _pfcp_rules(chance: random.Random) -> None:
    """Return an establishment or a modification with any number of rules."""
    rules, want = [], []
    for _ in range(chance.randint(0, 4)):
        number, far, source = chance.getrandbits(16), chance.getrandbits(32), chance.randint(0, 3)
        teid, four, six = chance.getrandbits(32), chance.random() < 0.7, chance.random() < 0.4
        a4, a6, ue, instance = ipv4(chance), ipv6(chance), ipv4(chance), name(chance)
        fteid = IE_FTEID(
            V4=int(four), V6=int(six), TEID=teid, **({"ipv4": a4} if four else {}), **({"ipv6": a6} if six else {})
        )
        down = chance.random() < 0.5
        pdi = [IE_SourceInterface(interface=source), fteid, IE_NetworkInstance(instance=instance)]
        pdi += [IE_UE_IP_Address(V4=1, SD=int(down), ipv4=ue), IE_QFI(QFI=chance.randint(0, 63))]
        chance.shuffle(pdi)
        rules.append(
            IE_CreatePDR(
                IE_list=[IE_PDR_Id(id=number), IE_Precedence(precedence=9), IE_PDI(IE_list=pdi), IE_FAR_Id(id=far)]
            )
        )
        read = FTeid(teid, a4 if four else "", a6 if six else "")
        want.append((number, far, source, read, [UeAddress(ue, "", down)], instance))
    fars, want_fars = [], []
    for _ in range(chance.randint(0, 3)):
        far, to, teid, gnb = chance.getrandbits(32), chance.randint(0, 2), chance.getrandbits(32), ipv4(chance)
        header = IE_OuterHeaderCreation(GTPUUDPIPV4=1, TEID=teid, ipv4=gnb)
        parameters = IE_ForwardingParameters(IE_list=[IE_DestinationInterface(interface=to), header])
        fars.append(IE_CreateFAR(IE_list=[IE_FAR_Id(id=far), IE_ApplyAction(FORW=1), parameters]))
        want_fars.append((far, 2, to, OuterHeader(teid, gnb)))
    imsi, seid, mine = digits(chance, 6, 15), chance.getrandbits(64), chance.getrandbits(64)
    smf, dnn = ipv4(chance), name(chance)
    raw_imsi = tbcd(imsi)
    elements = [
        IE_NodeId(id_type=0, ipv4=smf),
        IE_FSEID(v4=1, seid=mine, ipv4=smf),
        *rules,
        *fars,
        IE_UserId(IMSIF=1, imsi_length=len(raw_imsi), imsi=raw_imsi),
        IE_APN_DNN(apn_dnn=dnn),
    ]
    kind = chance.choice((PFCPSessionEstablishmentRequest, PFCPSessionModificationRequest))
    sequence = chance.getrandbits(24)
    ((header, reader),) = messages(bytes(PFCP(version=1, S=1, seid=seid, seq=sequence) / kind(IE_list=elements)))
    body = read_body(reader)
    assert (header.seid, header.sequence) == (seid, sequence)
    assert (body.fseid, body.node_id, body.dnn, body.identity) == (FSeid(mine, smf), smf, dnn, Identity(imsi))
    assert [(p.pdr_id, p.far_id, p.source, p.fteid, p.ue, p.instance) for p in body.create_pdrs] == want
    assert [(f.far_id, f.action, f.destination, f.header) for f in body.create_fars] == want_fars


def _create_session(chance: random.Random) -> None:
    imsi, mei, apn = digits(chance, 6, 15), digits(chance, 16, 16), name(chance)
    teid, sequence, a4, ue = chance.getrandbits(32), chance.getrandbits(24), ipv4(chance), ipv4(chance)
    interface = chance.randint(0, 30)
    elements = [
        gtp_v2.IE_IMSI(IMSI=imsi.encode()),
        gtp_v2.IE_MEI(MEI=mei.encode()),
        gtp_v2.IE_APN(APN=apn.encode()),
        gtp_v2.IE_FTEID(ipv4_present=1, InterfaceType=interface, GRE_Key=teid, ipv4=a4),
        gtp_v2.IE_PAA(PDN_type=1, ipv4=ue),
    ]
    chance.shuffle(elements)
    header = gtp_v2.GTPHeader(teid=teid, seq=sequence, SPARE3=0)
    ((read, reader),) = v2.messages(bytes(header / gtp_v2.GTPV2CreateSessionRequest(IE_list=elements)))
    body = v2.read_body(reader)
    assert (read.kind, read.teid, read.sequence) == (32, teid, sequence)
    assert (body.imsi, body.imei, body.apn, body.ue_ipv4) == (imsi, mei, apn, ue)
    assert body.fteids == [CFTeid(interface, teid, a4)]


def _user_data(chance: random.Random) -> None:
    teid, qfi, payload = chance.getrandbits(32), chance.randint(0, 63), chance.randbytes(chance.randint(0, 60))
    uplink = chance.random() < 0.5
    container = GTPPDUSessionContainer(type=int(uplink), QFI=qfi)
    header = GTP_U_Header(teid=teid, gtp_type=255, E=1, next_ex=0x85)
    read = gtpu.decode(bytes(header / container / Raw(payload)))
    assert (read.kind, read.teid, read.payload) == (gtpu.GPDU, teid, payload)
    assert read.container is not None
    assert (read.container.qfi, read.container.uplink) == (qfi, uplink)


def by_scapy(chance: random.Random, count: int) -> None:
    """Read *count* messages that scapy wrote; AssertionError when we read something else."""
    for _ in range(count):
        chance.choice((_pfcp_rules, _create_session, _user_data))(chance)


# -- written by us, read by scapy --------------------------------------------------


def _our_establishment(chance: random.Random) -> None:
    identity = Identity(digits(chance, 6, 15), digits(chance, 15, 16), digits(chance, 5, 15))
    uplink, downlink = (ipv4(chance), chance.getrandbits(32)), (ipv4(chance), chance.getrandbits(32))
    seid, sequence, dnn, ue = chance.getrandbits(64), chance.getrandbits(24), name(chance), ipv4(chance)
    plan = build.SessionPlan(ipv4(chance), seid, identity, ue, uplink, downlink, dnn)
    read = PFCP(build.establishment_request(sequence, plan))
    assert (read.seq, read[IE_FSEID].seid, read[IE_FSEID].ipv4) == (sequence, seid, plan.smf)
    assert (read[IE_FTEID].TEID, read[IE_FTEID].ipv4) == (uplink[1], uplink[0])
    assert (read[IE_OuterHeaderCreation].TEID, read[IE_OuterHeaderCreation].ipv4) == (downlink[1], downlink[0])
    assert (read[IE_UE_IP_Address].ipv4, read[IE_APN_DNN].apn_dnn.decode()) == (ue, dnn)
    user = read[IE_UserId]
    assert (user.imsi, user.imei, user.msisdn) == tuple(map(tbcd, (identity.imsi, identity.imei, identity.msisdn)))
    response = PFCP(build.establishment_response(sequence, seid, ipv4(chance), 5, uplink))
    assert (response.seid, response[IE_FTEID].TEID, response[IE_FTEID].ipv4) == (seid, uplink[1], uplink[0])


def _our_user_data(chance: random.Random) -> None:
    teid, qfi, payload = chance.getrandbits(32), chance.randint(0, 63), chance.randbytes(chance.randint(1, 60))
    read = GTP_U_Header(gtpu.encode_gpdu(teid, payload, qfi, uplink=chance.random() < 0.5))
    assert (read.teid, read[GTPPDUSessionContainer].QFI) == (teid, qfi)


def by_us(chance: random.Random, count: int) -> None:
    """Read *count* of our messages with scapy; AssertionError when it reads something else."""
    for _ in range(count):
        chance.choice((_our_establishment, _our_user_data))(chance)


# -- damage ------------------------------------------------------------------------


def _pfcp(raw: bytes) -> None:
    for _, reader in messages(raw):
        read_body(reader)


def _gtpv2(raw: bytes) -> None:
    for _, reader in v2.messages(raw):
        v2.read_body(reader)


def _gtpv1(raw: bytes) -> None:
    reader = Reader(raw)
    v1.read_header(reader)
    v1.read_body(reader)


def decoders() -> dict[str, Callable[[bytes], object]]:
    """Return the decoder of each kind of sample; each raises CodecError and nothing else."""
    return {"pfcp": _pfcp, "gtpv2": _gtpv2, "gtpv1": _gtpv1, "gtpu": gtpu.decode}


def samples(chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield samples of every protocol: (kind, bytes)."""
    from tests.gtp.test_gtpc_oracle import CONNECTION, old
    from tests.gtp.test_gtpc_oracle import build as gtpc
    from tests.gtp.test_pfcp_codec import PLAN, SCAPY_REQUEST

    yield "pfcp", SCAPY_REQUEST
    yield "pfcp", build.establishment_request(1, PLAN)
    yield "pfcp", build.establishment_response(1, 9, "192.0.2.10", 10, ("192.0.2.10", 0xA1))
    yield "pfcp", build.handover_request(2, 10, ("2001:db8::21", 0xC3))
    yield "pfcp", build.association_request(1, "2001:db8::1", 3_900_000_000)
    yield "gtpv2", gtpc.create_request(1, CONNECTION)
    yield "gtpv2", gtpc.create_response(1, CONNECTION)
    context = [old.IE_IMSI(imsi=b"001010000000001"), old.IE_NSAPI(NSAPI=5), old.IE_TEIDI(TEIDI=7)]
    yield "gtpv1", bytes(old.GTPHeader(S=1, seq=9) / old.GTPCreatePDPContextRequest(IE_list=context))
    yield (
        "gtpu",
        bytes(GTP_U_Header(teid=1, gtp_type=255, S=1, seq=1) / GTPPDUSessionContainer(type=1, QFI=9) / Raw(b"E")),
    )
    yield (
        "gtpu",
        bytes(
            GTP_U_Header(gtp_type=26, S=1) / IE_TEIDI(TEIDI=1) / IE_GSNAddress(ipv6_address="2001:db8::1", length=16)
        ),
    )
    del chance


def complaint(read: Callable[[bytes], object], raw: bytes) -> str:
    """Read damaged bytes; return what is wrong with the outcome, empty when it is a value or a proper error."""
    try:
        read(raw)
    except CodecError as error:
        if not 0 <= error.at <= len(raw):
            return f"the error is at {error.at}"
        need, have = getattr(error, "need", None), getattr(error, "have", None)
        if need is not None and (have is None or have < 0 or f"{error.at}" not in str(error)):
            return f"need {need}, have {have}: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""
