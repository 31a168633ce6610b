"""The program's result for one frame, by the table, by the twin, and of damaged frames without end."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import Dot1Q
from scapy.packet import Raw

from tests.kernel.fuzz import SEED, complaint, disagreements
from tests.kernel.mutate import anything, sound
from tests.kernel.packets import SERVER, SERVER6, UE, UE6, downlink, ether, raw, udp, uplink
from tests.kernel.rig import Outcome, Rig
from tests.kernel.table import INNER, PLAIN, Row, put
from tests.kernel.table import TABLE as PLAIN_TABLE
from tests.kernel.table_unsized import ZERO_LENGTH
from tests.kernel.table_wrapped import NONE, WRAPPED
from tests.kernel.twin import MESSAGES, Truth, observe

PACKETS = 20_000
TABLE = [*PLAIN_TABLE, *ZERO_LENGTH, *WRAPPED]
PARSER = {
    *("l2_truncated", "vlan_too_deep", "not_ip", "ip_truncated", "ip_malformed", "ip_ext_too_long", "l4_truncated"),
    *("outer_fragment", "signalling", "not_gtpu", "gtpu_truncated", "gtpu_version", "gtpu_length"),
    *("gtpu_ext_malformed", "gtpu_ext_too_long", "inner_not_ip", "inner_truncated", "inner_malformed"),
    *("inner_ext_too_long", "inner_l4_truncated", "inner_fragment", "gtpu_other", *MESSAGES.values()),
    *("psc_measured", "psc_malformed", "looked_through", "sgt_unread", "mpls_unread", "vxlan_unread", "gre_unread"),
    *("erspan_unread", "ethernet_unread", "macsec_unread", "pbb_unread"),
}


STAMP = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]


def tagged(packet: Any, tags: int) -> Any:
    """Return *packet* behind so many VLAN tags."""
    for _ in range(tags):
        packet = Dot1Q(vlan=5) / packet
    return packet


def by_sentence(row: Row) -> str:
    """Return the name of a row for pytest."""
    return row.says.replace(" ", "-")


class TestTable:
    """Each row of the table holds."""

    @pytest.mark.parametrize("row", TABLE, ids=by_sentence)
    def test_the_kernel_says_so(self, rig: Rig, row: Row) -> None:
        with rig.opens(row.opens):
            outcome = rig.run(row.frame, row.role)

        due = set(row.why) | ({"gtpu_gpdu", "tunnel_unknown"} if row.flow and row.flow.gtpu else set())
        due |= {"gtpu_gpdu"} if row in INNER else set()
        assert (outcome.verdict, outcome.why, outcome.flow) == (row.verdict, frozenset(due), row.flow)

    @pytest.mark.parametrize("row", TABLE, ids=by_sentence)
    def test_the_twin_says_so(self, row: Row) -> None:
        truth = observe(row.frame, row.role, row.opens)

        due = set(row.why) | ({"gtpu_gpdu"} if (row.flow and row.flow.gtpu) or row in INNER else set())
        assert truth == Truth(row.verdict, frozenset(due), row.flow)

    def test_no_two_rows_say_the_same(self) -> None:
        assert len({row.says for row in TABLE}) == len(TABLE)


class TestOneAfterAnother:
    """A fact about one packet is not said of the next one."""

    def test_a_cut_frame_behind_signalling_is_dropped(self, rig: Rig) -> None:
        signalling = next(row for row in TABLE if "signalling" in row.why and row.role == "n6")
        cut = next(row for row in TABLE if row.why == frozenset({"l2_truncated"}))

        assert rig.run(signalling.frame, "n6").verdict == "pass"
        assert rig.run(cut.frame, "n6").verdict == "drop"


class TestCuts:
    """A frame that is cut at any byte is counted for what is left of it."""

    @pytest.mark.parametrize("number", range(len(sound())))
    def test_at_every_byte(self, rig: Rig, number: int) -> None:
        frame = sound()[number]
        wrong = []
        for length in range(14, len(frame)):
            rig.forget()
            outcome = rig.run(frame[:length], "any")
            wrong.append(complaint(frame[:length], "any", observe(frame[:length], "any"), outcome))

        assert not "\n".join(filter(None, wrong))


class TestSnapped:
    """The rest of a frame that a capture cut is read, and its whole length is counted."""

    @pytest.mark.parametrize("snap", [72, 96])
    @pytest.mark.parametrize("transport", [UDP(sport=40000, dport=443), TCP(sport=40000, dport=443, options=STAMP)])
    @pytest.mark.parametrize("ipv6", [False, True], ids=["IPv4", "IPv6"])
    @pytest.mark.parametrize("tags", [0, 1, 2])
    def test_a_first_fragment_keeps_its_ports(self, rig: Rig, snap: int, transport: Any, ipv6: bool, tags: int) -> None:
        whole = transport / Raw(b"\x55" * 3000)
        head6 = IPv6(src=UE6, dst=SERVER6) / IPv6ExtHdrFragment(id=8)
        parts = fragment6(head6 / whole, 1400) if ipv6 else fragment(IP(src=UE, dst=SERVER, id=7) / whole, 1400)
        for part in parts:
            rig.run(ether(part if not tags else tagged(part, tags))[:snap], "n6")

        (flow,) = rig.flows()
        known = snap >= 14 + 4 * tags + (48 if ipv6 else 20) + 4
        assert (flow.sport, flow.dport) == ((40000, 443) if known else (0, 0))
        assert flow.octets == sum(len(raw(part)) for part in parts)

    @pytest.mark.parametrize("down", [False, True], ids=["uplink", "downlink"])
    @pytest.mark.parametrize("transport", [UDP(sport=40000, dport=443), TCP(sport=40000, dport=443, options=STAMP)])
    def test_a_first_fragment_in_a_tunnel_does(self, rig: Rig, transport: Any, down: bool) -> None:
        parts = fragment(IP(src=UE, dst=SERVER, id=7) / transport / Raw(b"\x55" * 3000), 1400)
        for part in parts:
            rig.run(ether(downlink(part) if down else uplink(part))[:96], "n3")

        (flow,) = rig.flows()
        assert (flow.sport, flow.dport) == (40000, 443)
        assert flow.octets == sum(len(raw(part)) for part in parts)

    def test_a_length_of_zero_is_that_of_the_whole_frame(self, rig: Rig) -> None:
        frame = put(ether(udp(60_000)), 16, 0, 0)

        outcome = rig.run(frame[:96], "n6", wire=len(frame))

        assert outcome.flow == PLAIN._replace(octets=20 + 8 + 60_000)
        assert outcome.counters["octets"] == len(frame)


class TestDamage:
    """Twin and kernel agree on packets of any make, and with flipped bits, lying lengths, lost and repeated bytes."""

    def test_both_say_the_same(self, rig: Rig) -> None:
        found = [text for _, text in disagreements(rig, PACKETS, SEED, Counter()) if text]
        assert not found, f"{len(found)} of {PACKETS}, the first:\n" + "\n".join(found[:5])

    def test_they_reach_every_reason_of_the_parser(self) -> None:
        """A generator that never meets a reason proves nothing of it."""
        met = {reason for frame in anything(SEED, PACKETS // 4) for reason in observe(frame, "any").why}
        met |= {reason for frame in anything(SEED, PACKETS // 4) for reason in observe(frame, "n3").why}
        met |= {reason for frame in anything(SEED, PACKETS // 4) for reason in observe(frame, "n3", NONE).why}

        assert met == PARSER

    def test_a_disagreement_is_told_with_the_frame(self) -> None:
        kernel = Outcome("drop", frozenset({"ip_malformed"}), None, {})

        assert complaint(b"\x01\x02", "n3", Truth("drop", frozenset({"ip_malformed"}), None), kernel) == ""
        told = complaint(b"\x01\x02", "n3", Truth("drop", frozenset({"ip_truncated"}), None), kernel)
        assert told.startswith("n3 0102\n")
        assert "ip_truncated" in told
        assert "ip_malformed" in told
