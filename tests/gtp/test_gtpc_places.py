"""GTP-C tells the place of a UE: User Location Information and RAT Type; scapy writes, tshark reads the captures."""

from __future__ import annotations

import pytest
from scapy.contrib import gtp as v1
from scapy.contrib import gtp_v2 as v2

from gtp.codec import Reader
from gtp.events import NOWHERE, Place, SessionDown, SessionMoved, SessionUp, Tunnel
from gtp.gtpc.v2 import read_body
from tests.gtp import gtpc_says as says
from tests.gtp.gtpc_says import ENB, S1U_ENB, bearer, cause, rat, uli
from tests.gtp.test_captured_gtpc import follow
from tests.gtp.test_gtpc_v1_tracker import Talk as OldTalk
from tests.gtp.test_gtpc_v2_tracker import Talk

EUTRAN, NB_IOT, UTRAN, GERAN = 6, 8, 1, 2  # TS 29.274, 8.17; TS 29.060, 7.7.50
HOME = Place("EUTRA", "001-01-1a2b", "001-01-0abcd01")


@pytest.fixture
def attached():
    talk = Talk()
    talk.up(more=(rat(EUTRAN), uli(0x1A2B, 0xABCD01)))
    return talk


def place(events):
    (event,) = events
    assert isinstance(event, SessionMoved)
    return event.session.place


class TestElement:
    """User Location Information (8.21) is what scapy wrote, whatever else is in it."""

    def test_areas_of_2g_and_3g_and_enodebs_stand_between(self):
        parts = {
            "CGI": v2.ULI_CGI(MCC=b"001", MNC=b"01", LAC=1, CI=2),
            "SAI": v2.ULI_SAI(MCC=b"001", MNC=b"01", LAC=3, SAC=4),
            "RAI": v2.ULI_RAI(MCC=b"001", MNC=b"01", LAC=5, RAC=6), "TAI": v2.ULI_TAI(MCC=b"001", MNC=b"01", TAC=7),
            "ECGI": v2.ULI_ECGI(MCC=b"001", MNC=b"01", ECI=8), "LAI": v2.ULI_LAI(MCC=b"001", MNC=b"01", LAC=9),
        }  # fmt: skip
        element = v2.IE_ULI(**parts, **{f"{name}_Present": 1 for name in parts})
        body = read_body(Reader(bytes(element)))
        assert (body.tai, body.cell) == ("001-01-0007", "001-01-0000008")

    @pytest.mark.parametrize(
        ("parts", "cell"),
        [
            ({"CGI": v2.ULI_CGI(MCC=b"001", MNC=b"01", LAC=0x1A2B, CI=0xC3D4)}, "001-01-1a2bc3d4"),
            ({"SAI": v2.ULI_SAI(MCC=b"001", MNC=b"01", LAC=0x1A2B, SAC=0xC3D5)}, "001-01-1a2bc3d5"),
            ({"RAI": v2.ULI_RAI(MCC=b"001", MNC=b"01", LAC=0x1A2B, RAC=1)}, ""),
        ],
    )
    def test_cells_of_2g_and_3g(self, parts, cell):
        body = read_body(Reader(bytes(v2.IE_ULI(**parts, **{f"{name}_Present": 1 for name in parts}))))
        assert (body.tai, body.cell) == ("", cell)

    def test_that_for_the_sgw_s_own_use_counts_where_there_is_no_other(self):
        own, for_sgw = bytes(uli(0x1A2B, 1)), bytes(uli(0x1A2C, 2, instance=1))
        assert read_body(Reader(own + for_sgw)).tai == read_body(Reader(for_sgw + own)).tai == "001-01-1a2b"
        assert read_body(Reader(for_sgw)).tai == "001-01-1a2c"


class TestEps:
    """The place comes with the session and follows each message that tells of it, once that was accepted."""

    def test_create_session_tells_it(self):
        (event,) = Talk().up(more=(rat(EUTRAN), uli(0x1A2B, 0xABCD01)))
        assert isinstance(event, SessionUp)
        assert event.session.place == HOME
        assert event.session.place.at_s == 1.0

    def test_a_handover_is_one_event_with_tunnel_and_cell(self, attached):
        asked = [uli(0x1A2B, 0xABCD02), bearer(5, (S1U_ENB, 0xB2, ENB))]
        (event,) = attached.exchange(34, 2, asked, [cause(16), bearer(5, answer=16)])
        assert event.session.place == Place("EUTRA", "001-01-1a2b", "001-01-0abcd02")
        assert Tunnel(ENB, 0xB2) in event.session.tunnels

    def test_a_tracking_area_update_needs_no_tunnel(self, attached):
        """TS 23.401, 5.3.3.1: the MME tells the SGW of a new location by Modify Bearer."""
        there = attached.exchange(34, 2, [uli(0x1A2C, 0xABCD91)], [cause(16)])
        assert place(there) == Place("EUTRA", "001-01-1a2c", "001-01-0abcd91")

    def test_a_change_notification_tells_it(self, attached):
        there = attached.exchange(38, 2, [rat(EUTRAN), uli(0x1A2C, 0xABCD91)], [cause(16)])
        assert place(there) == Place("EUTRA", "001-01-1a2c", "001-01-0abcd91")

    def test_it_tells_all_connections_of_the_ue(self, attached):
        attached.up(number=6, core=0xA2, home=0xC2, ue="10.45.0.3", teid=2, apn="ims")
        events = attached.exchange(34, 2, [uli(0x1A2C, 0xABCD91)], [cause(16)])
        assert {e.session.dnn: e.session.place.cell for e in events} == {
            "internet": "001-01-0abcd91",
            "ims": "001-01-0abcd91",
        }

    def test_another_technology_without_a_cell_takes_the_cell_along(self, attached):
        assert place(attached.exchange(34, 2, [rat(NB_IOT)], [cause(16)])) == Place("NBIOT")

    def test_the_answer_to_a_request_of_the_core_tells_it_too(self, attached):
        there = attached.exchange(
            97, 1, [bearer(5)], [cause(16), bearer(5, answer=16), uli(0x1A2C, 0xABCD91)],
            src=says.SGW, dst=says.MME, answer_teid=2,
        )  # fmt: skip
        assert place(there).cell == "001-01-0abcd91"

    def test_the_same_place_again_is_no_event(self, attached):
        assert attached.exchange(34, 2, [rat(EUTRAN), uli(0x1A2B, 0xABCD01)], [cause(16)]) == []

    def test_a_refused_message_tells_nothing(self, attached):
        assert attached.exchange(38, 2, [uli(0x1A2C, 0xABCD91)], [cause(says.REFUSED)]) == []
        (event,) = attached.radio()
        assert event.session.place == HOME

    def test_an_idle_ue_keeps_its_last_place(self, attached):
        attached.radio()
        (event,) = attached.exchange(170, 2, [], [cause(16)])
        assert event.session.place == HOME

    def test_the_end_tells_the_last_one(self, attached):
        (event,) = attached.exchange(36, 2, [says.ebi(5), uli(0x1A2C, 0xABCD91)], [cause(16)])
        assert isinstance(event, SessionDown)

    def test_a_late_start_has_it(self):
        asked = [uli(0x1A2B, 0xABCD01), rat(EUTRAN), bearer(5, (S1U_ENB, 0xB2, ENB))]
        (event,) = Talk().exchange(34, 2, asked, [cause(16), bearer(5, answer=16)])
        assert event.session.place == HOME

    def test_a_notification_for_nobody_is_counted(self):
        talk = Talk()
        assert talk.exchange(38, 2, [uli(0x1A2C, 1)], [cause(16)]) == []
        assert talk.tracker.counters["gtpv2_unknown_session"] == 1


class TestGn:
    """GTPv1-C tells cell or service area, and the technology (TS 29.060, 7.7.50 and 7.7.51)."""

    CELL, AREA = says.old_place(GERAN, 0, 0x1A2B, 0xC3D4), says.old_place(UTRAN, 1, 0x1A2B, 0xC3D5)

    @pytest.fixture
    def old(self):
        talk = OldTalk()
        (event,) = talk.up(more=self.CELL)
        assert event.session.place == Place("GERA", "", "001-01-1a2bc3d4")
        return talk

    def test_another_technology_by_an_update(self, old):
        there = old.exchange(says.pdp_update(2, more=self.AREA), says.pdp_updated(2))
        assert place(there) == Place("UTRA", "", "001-01-1a2bc3d5")

    def test_a_notification_of_a_change(self, old):
        assert place(old.exchange(says.info_change(2, *self.AREA), says.info_changed(2))).cell == "001-01-1a2bc3d5"

    def test_a_refused_one_tells_nothing(self, old):
        assert old.exchange(says.info_change(2, *self.AREA), says.info_changed(2, answer=192)) == []

    def test_an_element_of_another_form_says_nothing(self):
        strange = v1.IE_UserLocationInformation(length=8, type=77, MCC=b"001", MNC=b"01", LAC=1, SAC=2)
        (event,) = OldTalk().up(more=(strange,))
        assert event.session.place == NOWHERE


class TestCaptured:
    """Places in the captures, as tshark reads them: gtpv2.rat_type, gtpv2.tai_tac, gtpv2.ecgi_eci, gtp.ext_rat_type."""

    @pytest.mark.parametrize(
        ("file", "places"),
        [
            (
                "open5gs__testattach.pcapng",
                {("EUTRA", "901-70-0001", f"901-70-{eci:07x}") for eci in (17275823, 25601, 5568064)},
            ),
            ("nextepc__srsenb.pcapng", {("EUTRA", "901-70-0007", f"901-70-{105217:07x}")}),
            ("open5gs__nonipsec_reg.pcapng", {("EUTRA", "001-01-0001", f"001-01-{411:07x}")}),
            ("magma__inbound_roaming_01_210505_130828-1.pcapng", {("EUTRA", "001-001-0001", "001-001-0000001")}),
            # Four spare bits are set in this one: tshark shows them, the identity has 28 bits.
            ("ndpi__gtp_c.pcap", {("EUTRA", "896-457-1234", f"896-457-{305419896 & 0xFFFFFFF:07x}")}),
            ("zeek__gtp_create_pdp_ctx.pcap", {("GERA", "", "")}),
        ],
    )
    def test_sessions_have_them(self, shared, file, places):
        _, events = follow(shared / "captures" / "pcap" / file)
        found = {(p.rat, p.tai, p.cell) for e in events if (p := e.session.place)}
        assert found == places
