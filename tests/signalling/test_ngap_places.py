"""NGAP tells the place of a UE and follows it through handovers; pycrate writes messages, tshark reads a capture."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
from pycrate_asn1dir import NGAP

from gtp.events import NOWHERE, Place, SessionMoved, SessionUp, Tunnel
from gtp.sctp import SctpMessage
from nf.sessions import BindingStore
from nf.signalling.ngap import NgapTracker
from tests.signalling.test_ngap import FILE, TestJoin, messages

AMF, GNB, NEW_GNB = "192.0.2.1", "192.0.2.20", "192.0.2.21"
PLMN = bytes.fromhex("00f110")  # 001/01 (TS 36.508, 4.4.2)
PDU = NGAP.NGAP_PDU_Descriptions.NGAP_PDU
UPF_END, RADIO, NEW_RADIO = ("192.0.2.10", 0xA1), (GNB, 0xB1), (NEW_GNB, 0xC1)


def nr(tac, cell):
    tai = {"pLMNIdentity": PLMN, "tAC": tac.to_bytes(3, "big")}
    return "userLocationInformationNR", {"nR-CGI": {"pLMNIdentity": PLMN, "nRCellIdentity": (cell, 36)}, "tAI": tai}


def eutra(tac, cell):
    tai = {"pLMNIdentity": PLMN, "tAC": tac.to_bytes(3, "big")}
    cgi = {"pLMNIdentity": PLMN, "eUTRACellIdentity": (cell, 28)}
    return "userLocationInformationEUTRA", {"eUTRA-CGI": cgi, "tAI": tai}


def nonradio(number, name):
    """Return a location by an extension of the choice (9.3.1.16)."""
    ip = (0xC0000201, 32)
    value = {"tNAP-ID": b"\1\2", "iPAddress": ip} if number == 244 else {"tWAP-ID": b"\1\2", "iPAddress": ip}
    return "choice-Extensions", {"id": number, "criticality": "ignore", "value": (name, value)}


HERE, THERE = nr(0x12D, 0x10001), nr(0x12E, 0x20002)
AT_HOME, AWAY = Place("NR", "001-01-00012d", "001-01-000010001"), Place("NR", "001-01-00012e", "001-01-000020002")


class Talk:
    """A tracker between an AMF and its gNBs; a UE has the ids 1 and 7."""

    ELEMENTS: ClassVar[dict[int, str]] = {
        10: "AMF-UE-NGAP-ID", 38: "NAS-PDU", 85: "RAN-UE-NGAP-ID", 100: "AMF-UE-NGAP-ID",
        121: "UserLocationInformation", 71: "PDUSessionResourceSetupListCxtReq",
        72: "PDUSessionResourceSetupListCxtRes", 73: "PDUSessionResourceSetupListHOReq",
        76: "PDUSessionResourceToBeSwitchedDLList",
        53: "PDUSessionResourceAdmittedList", 77: "PDUSessionResourceSwitchedList",
    }  # fmt: skip

    def __init__(self):
        self.tracker = NgapTracker()
        self.at_s = 0.0

    def say(self, kind, code, name, elements, gnb=GNB):
        """Return the events of a message; successful outcomes of the AMF and requests of a gNB go the other way."""
        ies = [{"id": n, "criticality": "ignore", "value": (self.ELEMENTS[n], value)} for n, value in elements.items()]
        PDU.set_val((kind, {"procedureCode": code, "criticality": "ignore", "value": (name, {"protocolIEs": ies})}))
        self.at_s += 1
        from_gnb = code in (15, 46, 11) or (code == 25) == (kind == "initiatingMessage")
        ends = (gnb, AMF) if from_gnb else (AMF, gnb)
        events = self.tracker.feed(SctpMessage(*ends, 60, PDU.to_aper()), self.at_s)
        assert not self.tracker.counters["ngap_malformed"]
        return events

    def begin(self, where=HERE):
        """Return the events of a service request and the set-up of its session."""
        assert self.say("initiatingMessage", 15, "InitialUEMessage", {85: 7, 38: b"\x7e\0", 121: where}) == []
        item = {"pDUSessionID": 5, "s-NSSAI": {"sST": b"\1"}, "pDUSessionResourceSetupRequestTransfer": asked(UPF_END)}
        self.say("initiatingMessage", 14, "InitialContextSetupRequest", {10: 1, 85: 7, 71: [item]})
        answer = {"pDUSessionID": 5, "pDUSessionResourceSetupResponseTransfer": set_up(RADIO)}
        return self.say("successfulOutcome", 14, "InitialContextSetupResponse", {10: 1, 85: 7, 72: [answer]})

    def switch(self, where):
        item = {"pDUSessionID": 5, "pathSwitchRequestTransfer": switched(NEW_RADIO)}
        self.say("initiatingMessage", 25, "PathSwitchRequest", {85: 9, 100: 1, 121: where, 76: [item]}, NEW_GNB)
        done = {"pDUSessionID": 5, "pathSwitchRequestAcknowledgeTransfer": ("PathSwitchRequestAcknowledgeTransfer", {})}
        return self.say("successfulOutcome", 25, "PathSwitchRequestAcknowledge", {10: 1, 85: 9, 77: [done]}, NEW_GNB)

    def hand_over(self, where):
        """Hand over through the AMF, which gives the UE another id (TS 23.502, 4.9.1.3)."""
        item = {"pDUSessionID": 5, "s-NSSAI": {"sST": b"\1"}, "handoverRequestTransfer": asked(UPF_END)}
        assert self.say("initiatingMessage", 13, "HandoverRequest", {10: 2, 73: [item]}, NEW_GNB) == []
        answer = {"pDUSessionID": 5, "handoverRequestAcknowledgeTransfer": acknowledged(NEW_RADIO)}
        assert (
            self.say("successfulOutcome", 13, "HandoverRequestAcknowledge", {10: 2, 85: 9, 53: [answer]}, NEW_GNB) == []
        )
        return self.say("initiatingMessage", 11, "HandoverNotify", {10: 2, 85: 9, 121: where}, NEW_GNB)


def tunnel(end):
    address, teid = end
    number = int.from_bytes(bytes(map(int, address.split("."))), "big")
    return "gTPTunnel", {"transportLayerAddress": (number, 32), "gTP-TEID": teid.to_bytes(4, "big")}


FLOW = {"qosFlowIdentifier": 9}


def asked(end):
    qos = {
        "qosCharacteristics": ("nonDynamic5QI", {"fiveQI": 9}),
        "allocationAndRetentionPriority": {
            "priorityLevelARP": 8, "pre-emptionCapability": "shall-not-trigger-pre-emption",
            "pre-emptionVulnerability": "not-pre-emptable",
        },
    }  # fmt: skip
    flows = [{**FLOW, "qosFlowLevelQosParameters": qos}]
    ies = [
        (139, "reject", "UPTransportLayerInformation", tunnel(end)), (134, "reject", "PDUSessionType", "ipv4"),
        (136, "reject", "QosFlowSetupRequestList", flows),
    ]  # fmt: skip
    elements = [{"id": n, "criticality": c, "value": (name, value)} for n, c, name, value in ies]
    return "PDUSessionResourceSetupRequestTransfer", {"protocolIEs": elements}


def set_up(end):
    per_tunnel = {"uPTransportLayerInformation": tunnel(end), "associatedQosFlowList": [FLOW]}
    return "PDUSessionResourceSetupResponseTransfer", {"dLQosFlowPerTNLInformation": per_tunnel}


def switched(end):
    return "PathSwitchRequestTransfer", {"dL-NGU-UP-TNLInformation": tunnel(end), "qosFlowAcceptedList": [FLOW]}


def acknowledged(end):
    return (
        "HandoverRequestAcknowledgeTransfer",
        {"dL-NGU-UP-TNLInformation": tunnel(end), "qosFlowSetupResponseList": [FLOW]},
    )


def last(events):
    (event,) = events
    return event


class TestPlace:
    """The place is that of the last message with User Location Information."""

    def test_a_session_begins_where_the_ue_came(self):
        up = last(Talk().begin())
        assert isinstance(up, SessionUp)
        assert (up.session.place, up.session.place.at_s) == (AT_HOME, 1.0)

    def test_a_registration_update_moves_it(self):
        """TS 38.413, 8.6.3: each UplinkNASTransport has the location."""
        talk = Talk()
        talk.begin()
        moved = last(talk.say("initiatingMessage", 46, "UplinkNASTransport", {10: 1, 85: 7, 38: b"\x7e\2", 121: THERE}))
        assert isinstance(moved, SessionMoved)
        assert moved.session.place == AWAY
        again = talk.say("initiatingMessage", 46, "UplinkNASTransport", {10: 1, 85: 7, 38: b"\x7e\2", 121: THERE})
        assert again == []

    def test_a_path_switch_moves_place_and_tunnel(self):
        talk = Talk()
        key = last(talk.begin()).session.key
        moved = talk.switch(THERE)[-1]
        assert (moved.session.key, moved.session.place) == (key, AWAY)
        assert Tunnel(*NEW_RADIO) in moved.session.tunnels
        assert Tunnel(*RADIO) not in moved.session.tunnels

    def test_a_handover_through_the_core_moves_both(self):
        talk = Talk()
        talk.begin()
        moved = last(talk.hand_over(THERE))
        assert moved.session.place == AWAY
        assert {(t.address, t.teid) for t in moved.session.tunnels} == {NEW_RADIO, UPF_END}

    @pytest.mark.parametrize("how", [Talk.switch, Talk.hand_over])
    def test_of_a_ue_that_was_there_before_we_were(self, how):
        """The core's session is known, as after a restart; the first handover says where the UE is."""
        store = BindingStore(10)
        store.apply(SessionUp(1.0, TestJoin.CORE))
        events = how(Talk(), THERE)
        if how is Talk.switch:  # the SMF tells the UPF of the gNB's end
            moved = (*TestJoin.CORE.tunnels, Tunnel(*NEW_RADIO, local=False))
            store.apply(SessionMoved(2.0, replace(TestJoin.CORE, tunnels=moved)))
        for event in events:
            store.apply(event)

        assert len(store) == 1
        assert store.label(store.by_tunnel(*UPF_END).index).place == (AWAY.rat, AWAY.tai, AWAY.cell)

    @pytest.mark.parametrize(
        ("where", "place"),
        [
            (eutra(0x12D, 0xABCD01), Place("EUTRA", "001-01-00012d", "001-01-0abcd01")),
            (
                ("userLocationInformationN3IWF-with-PortNumber", {"iPAddress": (1, 32), "portNumber": b"\1\2"}),
                Place("WLAN"),
            ),
            (nonradio(244, "UserLocationInformationTNGF"), Place("TRUSTED_N3GA")),
            (nonradio(248, "UserLocationInformationTWIF"), Place("TRUSTED_WLAN")),
        ],
    )
    def test_other_ways_in(self, where, place):
        assert last(Talk().begin(where)).session.place == place

    def test_a_network_that_is_none_says_nothing(self):
        kind, value = nr(1, 2)
        value["tAI"] = {**value["tAI"], "pLMNIdentity": b"\x0a\xf1\x10"}
        assert last(Talk().begin((kind, value))).session.place == NOWHERE


class TestCaptured:
    """Each session is where tshark says (ngap.UserLocationInformation): TAC 1, cells 0x40001 and 0xce7."""

    def test_each_session_has_a_place(self, shared):
        tracker, ups = NgapTracker(), []
        for _, message, at_s in messages(shared / "captures" / "pcap" / FILE):
            ups += [e.session for e in tracker.feed(message, at_s) if isinstance(e, SessionUp)]

        assert len(ups) > 20
        places = {s.place for s in ups}
        assert places == {Place("NR", "901-70-000001", f"901-70-{cell:09x}") for cell in (0x40001, 0xCE7)}
