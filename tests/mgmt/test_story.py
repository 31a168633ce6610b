"""The end of a replay in sentences."""

from __future__ import annotations

from collections.abc import Mapping

from mgmt.cli.story import sentences
from nf.abi import COUNTERS
from nf.flows.outside import TEXTS

OF_PROGRAM = {counter.name: counter.text for counter in COUNTERS}


def told(
    counters: Mapping[str, int] | None = None,
    outside: Mapping[str, int] | None = None,
    skipped: Mapping[str, int] | None = None,
    signalling: Mapping[str, int] | None = None,
) -> list[str]:
    """Return the sentences."""
    return [*sentences(counters or {}, OF_PROGRAM, outside or {}, TEXTS, skipped or {}, signalling or {})]


class TestStory:
    """Each thing of note is a sentence with its number, and no name of a counter is in it."""

    def test_packets_and_those_in_tunnels(self) -> None:
        assert told({"frames": 9, "counted": 4787, "gtpu_gpdu": 4700}) == [
            "4,787 packets were counted for a flow, 4,700 of all in tunnels."
        ]
        assert told({"counted": 1}) == ["1 packet was counted for a flow."]

    def test_messages_of_signalling_by_protocol_and_their_faults(self) -> None:
        assert told(
            signalling={"pfcp_messages": 40, "gtpv2_messages": 2, "pfcp_not_associated": 3, "truncated": 1}
        ) == [
            "Messages of signalling that were read: 40 of PFCP, 2 of GTPv2-C.",
            "PFCP: not associated: 3 times.",
            "Signalling: truncated: once.",
        ]

    def test_every_counter_of_the_program_ends_as_a_sentence_or_is_of_its_workings(self) -> None:
        for counter in COUNTERS:
            for sentence in told({counter.name: 2}):
                assert sentence.endswith("."), counter.name
                assert sentence[0].isupper() or sentence[0] == "2"
                assert not {name for name in OF_PROGRAM if "_" in name and name in sentence} - {"flow_new"}

    def test_a_counter_without_words_of_its_own_is_told_by_its_meaning(self) -> None:
        assert told({"inner_truncated": 12}) == ["User data ends inside its IP header: 12 times."]

    def test_what_is_nobodys_and_what_was_left_out(self) -> None:
        assert told(
            outside={"n6_host_address": 1200, "n6_host_address_octets": 5}, skipped={"a.pcap ends early": 1}
        ) == [
            "1,200 packets of this host's own addresses: nobody's.",
            "a.pcap ends early: once.",
        ]

    def test_nothing_is_told_of_nothing(self) -> None:
        assert told(dict.fromkeys(OF_PROGRAM, 0)) == []
