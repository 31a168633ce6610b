"""Names that the kernel learns: a DNS answer with an address names the subscriber's flows to it."""

from __future__ import annotations

import struct
from typing import Any

import dns.flags
import dns.message
import dns.rrset
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from nf.abi import SNF_BY_DNS
from tests.kernel.hellos_and_answers import (
    A_SECOND_NS,
    CLOUD,
    PLAIN,
    VIDEO,
    app_of,
    named_hello,
    over_tcp,
    quic,
    records,
    response,
    to_ue,
)
from tests.kernel.packets import SERVER, SERVER6, UE, UE6, ether
from tests.kernel.rig import Rig


class TestAnswers:
    """A DNS answer names the subscriber's next flow to that address, in economy, from the first packet on."""

    @pytest.fixture(autouse=True)
    def economy(self, named: Rig) -> None:
        named.plane.economy = True
        named.plane._maps["answers"].clear()

    @staticmethod
    def birth(rig: Rig, frame: bytes) -> Any:
        """Run the first packet of a flow; return its event."""
        rig.forget()
        rig.run(frame, "n6")
        (event,) = rig.events()
        return event

    def test_the_flow_is_named_with_its_first_packet(self, named: Rig) -> None:
        told = named.run(to_ue(PLAIN), "n6")
        (record,) = named.plane.read_names()
        event = self.birth(named, quic())

        assert {"dns_read", "dns_learned"} <= told.why
        assert (int(record["app"]), int(record["basis"])) == (VIDEO, SNF_BY_DNS)
        assert (int(event["app"]), int(event["name"])) == (VIDEO, int(record["hash"]))
        assert app_of(named) == (VIDEO, True)

    def test_nothing_of_it_goes_to_user_space(self, named: Rig) -> None:
        named.run(to_ue(PLAIN), "n6")
        outcome = named.run(quic(), "n6")

        assert "answer_used" in outcome.why
        assert len(named.plane.read_payloads()) == 0

    def test_over_tcp_the_client_hello_still_has_the_last_word(self, named: Rig) -> None:
        named.run(to_ue(PLAIN), "n6")
        named.forget()
        named.run(over_tcp(named_hello(b"cloud.test")), "n6")

        assert app_of(named) == (CLOUD, True)

    def test_a_chain_of_aliases_leads_to_the_name_that_was_asked_for(self, named: Rig) -> None:
        chain = response(
            ("www.example.org.", "CNAME", "edge.cdn.test."),
            ("edge.cdn.test.", "CNAME", "node.cdn.test."),
            ("node.cdn.test.", "A", SERVER),
        )
        named.run(to_ue(chain), "n6")

        assert int(self.birth(named, quic())["app"]) == VIDEO

    def test_an_ipv6_address(self, named: Rig) -> None:
        named.know_ue(UE, 5)
        named.know_ue(UE6, 5)
        named.run(to_ue(response(("www.example.org.", "AAAA", SERVER6))), "n6")
        named.forget()
        named.run(ether(IPv6(src=UE6, dst=SERVER6) / UDP(sport=50000, dport=443) / Raw(bytes(1200))), "n6")

        assert app_of(named) == (VIDEO, True)

    def test_each_address_of_an_answer(self, named: Rig) -> None:
        addresses = [f"192.0.2.{n}" for n in range(100, 108)]
        named.run(to_ue(response(*(("www.example.org.", "A", a) for a in addresses))), "n6")

        assert [int(self.birth(named, quic(a))["app"]) for a in addresses] == [VIDEO] * 8

    def test_of_another_subscriber_it_says_nothing(self, named: Rig) -> None:
        named.run(to_ue(PLAIN), "n6")

        assert int(self.birth(named, quic(ue="10.45.0.77"))["app"]) == 0

    def test_two_subscribers_may_be_told_different_things_of_one_address(self, named: Rig) -> None:
        named.run(to_ue(PLAIN), "n6")
        named.run(to_ue(response(("cloud.test.", "A", SERVER), name="cloud.test."), ue="10.45.0.77"), "n6")

        assert int(self.birth(named, quic())["app"]) == VIDEO
        assert int(self.birth(named, quic(ue="10.45.0.77"))["app"]) == CLOUD

    def test_an_address_of_two_applications_names_neither(self, named: Rig) -> None:
        named.run(to_ue(PLAIN), "n6")
        named.run(to_ue(response(("cloud.test.", "A", SERVER), name="cloud.test.")), "n6")

        assert int(self.birth(named, quic())["app"]) == 0
        assert app_of(named) == (0, False)

    def test_it_holds_for_an_hour_at_least_and_then_no_more(self, named: Rig) -> None:
        named.run(to_ue(PLAIN), "n6")
        named.forget()
        named.run(quic(), "n6", 3_500 * A_SECOND_NS)
        within = app_of(named)
        named.forget()
        named.run(quic(), "n6", 200 * A_SECOND_NS)

        assert (within, app_of(named)) == ((VIDEO, True), (0, False))

    def test_a_query_needs_nobody(self, named: Rig) -> None:
        query = dns.message.make_query("www.example.org.", "A").to_wire()
        outcome = named.run(ether(IP(src=UE, dst="192.0.2.53") / UDP(sport=5353 + 1, dport=53) / Raw(query)), "n6")

        assert outcome.counters.get("handed_off", 0) == 0

    @pytest.mark.parametrize(
        "payload",
        [
            pytest.param(response(name=".", ttl=1), id="the root"),
            pytest.param(response(("www.example.org.", "A", SERVER), truncated=True), id="a truncated one"),
            pytest.param(
                response(("a" * 60 + ".example.org.", "A", SERVER), name="a" * 60 + ".example.org."), id="a long name"
            ),
            pytest.param(PLAIN[:11], id="a cut header"),
            pytest.param(PLAIN[:30], id="a cut question"),
        ],
    )
    def test_what_it_does_not_read_is_handed_over(self, named: Rig, payload: bytes) -> None:
        outcome = named.run(to_ue(payload), "n6")

        assert "dns_handed_off" in outcome.why
        assert outcome.counters["handed_off"] == 1

    def test_a_name_of_32_labels(self, named: Rig) -> None:
        name = "a." * 26 + "example.org."
        named.run(to_ue(response((name, "A", SERVER), name=name)), "n6")

        assert records(named) == [(name[:-1], VIDEO, SNF_BY_DNS)]
        assert int(self.birth(named, quic())["app"]) == VIDEO

    def test_a_dot_inside_a_label_is_none_between_two(self, named: Rig) -> None:
        whole = PLAIN.replace(b"\3www\7example\3org", b"\3www\x0bexample.org")
        outcome = named.run(to_ue(whole), "n6")

        assert len(whole) == len(PLAIN)
        assert "dns_handed_off" in outcome.why
        assert records(named) == []

    def test_an_address_that_the_frame_does_not_hold_is_for_user_space(self, named: Rig) -> None:
        outcome = named.run(to_ue(PLAIN)[:-2], "n6")

        assert "dns_handed_off" in outcome.why
        assert outcome.counters.get("dns_learned", 0) == 0

    def test_an_address_behind_the_packet_is_not_learned(self, named: Rig) -> None:
        outcome = named.run(to_ue(PLAIN[:-2]) + PLAIN[-2:], "n6")

        assert outcome.counters.get("dns_learned", 0) == 0

    def test_a_record_of_another_class_is_not_learned(self, named: Rig) -> None:
        outcome = named.run(to_ue(PLAIN[:-12] + struct.pack("!H", 3) + PLAIN[-10:]), "n6")  # CH: RFC 1035, 3.2.4

        assert outcome.why >= {"dns_read"}
        assert outcome.counters.get("dns_learned", 0) == 0

    def test_every_cut_ends_well(self, named: Rig) -> None:
        for length in range(1, len(PLAIN)):
            named.forget()
            outcome = named.run(to_ue(PLAIN[:length]), "n6")
            assert {"dns_read", "dns_handed_off"} & outcome.why, length

    def test_a_name_that_points_to_itself_ends_well(self, named: Rig) -> None:
        outcome = named.run(to_ue(PLAIN[:12] + b"\xc0\x0c" + PLAIN[14:]), "n6")

        assert "dns_handed_off" in outcome.why


class TestThorough:
    """Without economy user space reads DNS and QUIC itself; that is how captures are replayed."""

    def test_dns_is_handed_over(self, named: Rig) -> None:
        outcome = named.run(to_ue(PLAIN), "n6")

        assert outcome.counters["handed_off"] == 1
