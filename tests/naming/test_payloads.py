"""From payloads to verdicts."""

from __future__ import annotations

import itertools

import pytest

from nf.abi import SNF_HANDOFF
from nf.apps.basis import Basis
from nf.apps.signatures import TCP, UDP, Signatures
from nf.naming import dns_answers as answers_module
from nf.naming.payloads import Namer, Payload, Verdict
from nf.settings import Application
from tests.apps.hellos import openssl_hello, quic_flight
from tests.apps.test_dns_http import answer, framed
from tests.apps.test_first_bytes import ICE, rtp

UE, SERVER, RESOLVER = "10.45.0.2", "198.51.100.7", "10.45.0.1"
YOUTUBE, NETFLIX = "rr4---sn-4g5e6nez.googlevideo.com", "www.netflix.com"
T0 = 1_700_000_000.0
SIGNATURES = Signatures.load()
OPAQUE = bytes(range(200, 256)) * 3  # no protocol that anybody knows


@pytest.fixture
def namer() -> Namer:
    return Namer(SIGNATURES)


def payload(data: bytes, **fields: object) -> Payload:
    """Return a payload from UE to SERVER port 443 over TCP, but for *fields*."""
    values: dict[str, object] = {
        "flow_id": 1,
        "session": 7,
        "proto": TCP,
        "src": UE,
        "sport": 40_000,
        "dst": SERVER,
        "dport": 443,
        "data": data,
        "seq": 1,
        "at_s": T0,
    }
    return Payload(**(values | fields))  # type: ignore[arg-type]


def told(
    namer: Namer, name: str, address: str, *, ttl: int = 60, session: int = 7, client: str = UE, at_s: float = T0
) -> None:
    """Note that a subscriber's resolver told it an address."""
    wire = answer(f"{name}.", (f"{name}.", ttl, "A", address))
    flow = 1_000_000 + len(namer._flows)
    namer.feed(
        payload(
            wire,
            flow_id=flow,
            session=session,
            proto=UDP,
            src=RESOLVER,
            sport=53,
            dst=client,
            dport=5353 + 1,
            at_s=at_s,
        )
    )


def app(verdict: Verdict | None) -> tuple[str, Basis, str, bool] | None:
    """Return a verdict with the application by name."""
    return None if verdict is None else (SIGNATURES.name(verdict.app), verdict.basis, verdict.name, verdict.final)


class TestNamesInPackets:
    """A name in the packets ends the matter."""

    def test_tls(self, namer: Namer) -> None:
        assert app(namer.feed(payload(openssl_hello(YOUTUBE)))) == ("YouTube", Basis.SNI, YOUTUBE, True)

    def test_quic(self, namer: Namer) -> None:
        (datagram,) = quic_flight(NETFLIX)

        assert app(namer.feed(payload(datagram, proto=UDP, seq=0))) == ("Netflix", Basis.SNI, NETFLIX, True)

    def test_http(self, namer: Namer) -> None:
        request = b"GET / HTTP/1.1\r\nHost: releases.ubuntu.com:80\r\n\r\n"

        assert app(namer.feed(payload(request, dport=80))) == (
            "Ubuntu",
            Basis.HTTP_HOST,
            "releases.ubuntu.com",
            True,
        )

    def test_a_name_that_nobody_owns_is_a_name_still(self, namer: Namer) -> None:
        assert app(namer.feed(payload(openssl_hello("host.invalid")))) == ("", Basis.SNI, "host.invalid", True)

    def test_segments_of_a_large_hello_in_any_order(self) -> None:
        hello = openssl_hello(YOUTUBE, alpn_bytes=3000)
        parts = [(1000 + i, hello[i : i + 1400]) for i in range(0, len(hello), 1400)]
        assert len(parts) == SNF_HANDOFF
        for order in itertools.permutations(parts):
            namer = Namer(SIGNATURES)
            verdicts = [namer.feed(payload(data, seq=seq)) for seq, data in order]

            assert app([v for v in verdicts if v][-1]) == ("YouTube", Basis.SNI, YOUTUBE, True)

    def test_segments_over_the_end_of_the_sequence_numbers(self, namer: Namer) -> None:
        hello = openssl_hello(YOUTUBE)
        namer.feed(payload(hello[:100], seq=2**32 - 50))

        assert app(namer.feed(payload(hello[100:], seq=50))) == ("YouTube", Basis.SNI, YOUTUBE, True)

    def test_datagrams_of_a_large_quic_hello(self, namer: Namer) -> None:
        flight = quic_flight(YOUTUBE, alpn_bytes=1500)
        verdicts = [namer.feed(payload(d, proto=UDP, seq=0)) for d in reversed(flight)]

        assert app(verdicts[-1]) == ("YouTube", Basis.SNI, YOUTUBE, True)

    def test_a_hello_behind_another_protocol(self, namer: Namer) -> None:
        namer.feed(payload(b"STARTTLS\r\n", seq=1))

        assert app(namer.feed(payload(openssl_hello(YOUTUBE), seq=11))) == ("YouTube", Basis.SNI, YOUTUBE, True)

    def test_a_request_with_bytes_missing_before_its_host(self, namer: Namer) -> None:
        namer.feed(payload(b"GET /" + b"a" * 1419, seq=1, dport=80))
        rest = b"aaa HTTP/1.1\r\nHost: www.youtube.com\r\n\r\n"

        assert app(namer.feed(payload(rest, seq=1441, dport=80))) == (
            "YouTube",
            Basis.HTTP_HOST,
            "www.youtube.com",
            True,
        )

    def test_after_the_final_verdict_nothing_more_is_said(self, namer: Namer) -> None:
        namer.feed(payload(openssl_hello(YOUTUBE)))

        assert namer.feed(payload(openssl_hello(NETFLIX), seq=5000)) is None

    def test_after_forget_a_flow_begins_again(self, namer: Namer) -> None:
        namer.feed(payload(openssl_hello(YOUTUBE)))
        namer.forget(1)

        assert app(namer.feed(payload(openssl_hello(NETFLIX)))) == ("Netflix", Basis.SNI, NETFLIX, True)

    def test_payloads_without_a_name_are_no_last_word(self, namer: Namer) -> None:
        for i in range(SNF_HANDOFF):
            assert namer.feed(payload(OPAQUE, seq=1 + i * len(OPAQUE))) is None

        assert app(namer.feed(payload(openssl_hello(NETFLIX), seq=10_000))) == ("Netflix", Basis.SNI, NETFLIX, True)

    def test_new_signatures_are_in_force_with_the_next_packet(self, namer: Namer) -> None:
        namer.signatures = Signatures.load((Application("Mine", "voice", ("host.invalid",)),))

        verdict = namer.feed(payload(openssl_hello("host.invalid")))

        assert verdict is not None
        assert namer.signatures.name(verdict.app) == "Mine"


PREFACES = [
    pytest.param([b"EHLO client.example\r\n", b"STARTTLS\r\n"], id="SMTP, RFC 3207"),
    pytest.param([b"EHLO c\r\n", b"NOOP\r\n", b"HELP\r\n", b"STARTTLS\r\n"], id="SMTP that asks for more"),
    pytest.param([b"a1 CAPABILITY\r\n", b"a2 STARTTLS\r\n"], id="IMAP, RFC 9051, 6.2.1"),
    pytest.param([b"CAPA\r\n", b"STLS\r\n"], id="POP3, RFC 2595, 4"),
    pytest.param([b"FEAT\r\n", b"AUTH TLS\r\n"], id="FTP, RFC 4217"),
    pytest.param([bytes.fromhex("040101bbc6336407") + b"me\0"], id="SOCKS4"),
    pytest.param([b"\5\2\0\2", b"\1\2me\4word", b"\5\1\0\1\xc6\x33\x64\7\1\xbb"], id="SOCKS5, RFC 1928 and 1929"),
    pytest.param([b"CONNECT 198.51.100.7:443 HTTP/1.1\r\n\r\n"], id="HTTP CONNECT, RFC 9110, 9.3.6"),
]


class TestPrefaces:
    """Lines of two sides before a hello take nothing of the payloads that the hello needs."""

    @pytest.mark.parametrize("lines", PREFACES)
    @pytest.mark.parametrize("size", [3000, 700])
    def test_the_hello_behind_it_names_the_flow(self, namer: Namer, lines: list[bytes], size: int) -> None:
        hello, seq = openssl_hello(YOUTUBE, alpn_bytes=2000), 1
        for line in lines:
            namer.feed(payload(line, seq=seq))
            namer.feed(payload(b"250 or another answer\r\n", src=SERVER, sport=443, dst=UE, dport=40_000, seq=seq))
            seq += len(line)
        verdicts = [namer.feed(payload(hello[i : i + size], seq=seq + i)) for i in range(0, len(hello), size)]

        assert app([v for v in verdicts if v][-1]) == ("YouTube", Basis.SNI, YOUTUBE, True)

    def test_what_a_proxy_is_asked_for_is_a_name_until_the_hello_says_more(self, namer: Namer) -> None:
        first = namer.feed(payload(b"CONNECT www.netflix.com:443 HTTP/1.1\r\nHost: www.netflix.com:443\r\n\r\n"))
        second = namer.feed(payload(openssl_hello(YOUTUBE), seq=500))

        assert app(first) == ("Netflix", Basis.HTTP_HOST, NETFLIX, False)
        assert app(second) == ("YouTube", Basis.SNI, YOUTUBE, True)

    def test_a_reading_that_begins_amid_a_connection_has_its_budget_left(self, namer: Namer) -> None:
        for i in range(10):
            namer.feed(payload(OPAQUE * 5, seq=i * 840))

        assert app(namer.feed(payload(openssl_hello(YOUTUBE), seq=9_000)))[0] == "YouTube"  # type: ignore[index]


class TestPort53:
    """Each message may be about another name, and each is read."""

    def test_two_families_asked_from_one_socket(self, namer: Namer) -> None:
        ends = {"flow_id": 9, "proto": UDP, "src": RESOLVER, "sport": 53, "dst": UE, "dport": 40_053, "seq": 0}
        for n in range(20):
            namer.feed(payload(answer(f"n{n}.example.", (f"n{n}.example.", 60, "A", f"192.0.2.{n}")), **ends))
        namer.feed(payload(answer(f"{NETFLIX}.", (f"{NETFLIX}.", 60, "A", SERVER)), **ends))
        namer.feed(payload(answer(f"{NETFLIX}.", (f"{NETFLIX}.", 60, "AAAA", "2001:db8::7")), **ends))

        netflix = (SIGNATURES.number("Netflix"), NETFLIX)
        assert namer.dns_name(7, UE, SERVER, T0) == namer.dns_name(7, UE, "2001:db8::7", T0) == netflix
        assert namer.dns_name(7, UE, "192.0.2.19", T0) == (0, "n19.example")

    def test_answers_behind_each_other_over_tcp(self, namer: Namer) -> None:
        ends = {"flow_id": 9, "src": RESOLVER, "sport": 53, "dst": UE, "dport": 40_053}
        names = [(f"n{n}.example.", f"192.0.2.{n}") for n in range(30)] + [(f"{NETFLIX}.", SERVER)]
        stream = framed(*(answer(name, (name, 60, "A", address)) for name, address in names))
        for at in range(0, len(stream), 700):
            namer.feed(payload(stream[at : at + 700], seq=at, **ends))

        assert namer.dns_name(7, UE, SERVER, T0) == (SIGNATURES.number("Netflix"), NETFLIX)
        assert [namer.dns_name(7, UE, address, T0) for name, address in names[:-1]] == [
            (0, name.rstrip(".")) for name, _ in names[:-1]
        ]


class TestDnsAnswers:
    """A flow without a name goes by what its subscriber was told of the address."""

    def test_it_names_the_flow_from_its_first_payload(self, namer: Namer) -> None:
        told(namer, NETFLIX, SERVER)

        assert app(namer.feed(payload(OPAQUE))) == ("Netflix", Basis.DNS_ANSWER, NETFLIX, False)

    def test_also_when_the_server_speaks_first(self, namer: Namer) -> None:
        told(namer, NETFLIX, SERVER)
        from_server = payload(OPAQUE, src=SERVER, sport=443, dst=UE, dport=40_000)

        assert app(namer.feed(from_server)) == ("Netflix", Basis.DNS_ANSWER, NETFLIX, False)

    def test_a_name_in_a_later_packet_beats_it(self, namer: Namer) -> None:
        told(namer, NETFLIX, SERVER)
        hello = openssl_hello(YOUTUBE)

        assert app(namer.feed(payload(hello[:50]))) == ("Netflix", Basis.DNS_ANSWER, NETFLIX, False)
        assert app(namer.feed(payload(hello[50:], seq=51))) == ("YouTube", Basis.SNI, YOUTUBE, True)

    def test_it_is_not_said_twice(self, namer: Namer) -> None:
        told(namer, NETFLIX, SERVER)
        verdicts = [namer.feed(payload(OPAQUE, seq=1 + i * len(OPAQUE))) for i in range(SNF_HANDOFF)]

        assert [v and v.final for v in verdicts] == [False, None, None]

    def test_what_one_subscriber_was_told_names_nothing_of_another(self, namer: Namer) -> None:
        told(namer, NETFLIX, SERVER, session=8, client="10.45.0.9")

        assert namer.feed(payload(OPAQUE)) is None

    def test_without_a_session_the_client_address_is_the_subscriber(self, namer: Namer) -> None:
        told(namer, NETFLIX, SERVER, session=0)

        assert namer.dns_name(0, UE, SERVER, T0) == (SIGNATURES.number("Netflix"), NETFLIX)
        assert namer.dns_name(0, "10.45.0.9", SERVER, T0) is None

    def test_what_was_told_before_the_session_was_known_holds(self, namer: Namer) -> None:
        told(namer, NETFLIX, SERVER, session=0)

        assert namer.dns_name(7, UE, SERVER, T0) == (SIGNATURES.number("Netflix"), NETFLIX)

    def test_one_session_has_two_addresses(self, namer: Namer) -> None:
        told(namer, NETFLIX, SERVER)

        assert namer.dns_name(7, "2001:db8::2", SERVER, T0) == (SIGNATURES.number("Netflix"), NETFLIX)

    def test_an_address_of_two_applications_names_neither(self, namer: Namer) -> None:
        told(namer, NETFLIX, SERVER)
        told(namer, YOUTUBE, SERVER)

        assert namer.dns_name(7, UE, SERVER, T0) is None
        assert namer.counters["dns_ambiguous"] == 1

    def test_two_names_of_one_application_agree_on_the_latest(self, namer: Namer) -> None:
        told(namer, "codex.nflxext.com", SERVER)
        told(namer, NETFLIX, SERVER)

        assert namer.dns_name(7, UE, SERVER, T0) == (SIGNATURES.number("Netflix"), NETFLIX)

    @pytest.mark.parametrize(
        ("ttl", "after_s", "holds"),
        [
            (30, 3_500, True),
            (30, 3_700, False),
            (7_200, 7_100, True),
            (7_200, 7_300, False),
            (10**9, 86_500, False),
        ],
    )
    def test_it_holds_for_its_time(self, namer: Namer, ttl: int, after_s: float, holds: bool) -> None:
        told(namer, NETFLIX, SERVER, ttl=ttl)

        assert (namer.dns_name(7, UE, SERVER, T0 + after_s) is not None) is holds

    def test_a_query_teaches_nothing(self, namer: Namer) -> None:
        wire = answer(f"{NETFLIX}.", (f"{NETFLIX}.", 60, "A", SERVER))
        namer.feed(payload(wire, proto=UDP, dport=53))  # an answer that a client sends is none

        assert namer.dns_name(7, SERVER, SERVER, T0) is None
        assert namer.dns_name(7, RESOLVER, SERVER, T0) is None

    def test_memory_is_bounded_and_what_leaves_is_counted(self) -> None:
        table = answers_module.Answers(most=100)
        for i in range(1_000):
            table.learn(7, UE, f"192.0.2.{i}", NETFLIX, 60, T0)

        assert len(table) == 100
        assert table.evicted == 900
        assert table.names(7, UE, "192.0.2.999", T0) == (NETFLIX,)
        assert table.names(7, UE, "192.0.2.0", T0) == ()

    def test_one_address_with_very_many_names_stays_small(self) -> None:
        table = answers_module.Answers()
        for i in range(1_000):
            table.learn(7, UE, SERVER, f"{i}.example", 60, T0)

        assert len(table.names(7, UE, SERVER, T0)) <= 8

    def test_by_server_names_a_flow_that_handed_nothing_over(self, namer: Namer) -> None:
        told(namer, NETFLIX, SERVER)

        assert app(namer.by_server(5, 7, UE, SERVER, T0)) == ("Netflix", Basis.DNS_ANSWER, NETFLIX, False)
        assert app(namer.by_server(5, 7, UE, "149.154.167.51", T0)) == ("Telegram", Basis.ADDRESS, "", False)
        assert namer.by_server(5, 7, UE, "192.0.2.1", T0) is None

    def test_the_outer_name_of_an_encrypted_hello_gives_way(self, namer: Namer) -> None:
        told(namer, "www.whatsapp.com", SERVER)

        verdict = namer.feed(payload(openssl_hello("cloudflare-ech.com")))

        assert app(verdict) == ("WhatsApp", Basis.DNS_ANSWER, "www.whatsapp.com", True)


class TestDnsFlows:
    """A flow of DNS goes by the name it asks for, and never ends."""

    def test_a_query_and_its_answer(self, namer: Namer) -> None:
        wire = answer(f"{NETFLIX}.", (f"{NETFLIX}.", 60, "A", SERVER))
        query = wire[:2] + b"\x01\0" + wire[4:6] + bytes(6) + wire[12 : 12 + len(NETFLIX) + 2 + 4]

        asked = namer.feed(payload(query, proto=UDP, dst=RESOLVER, dport=53))
        answered = namer.feed(payload(wire, proto=UDP, src=RESOLVER, sport=53, dst=UE, dport=40_000))

        assert app(asked) == ("Netflix", Basis.NONE, NETFLIX, False)
        assert app(answered) == ("Netflix", Basis.DNS_ANSWER, NETFLIX, False)

    def test_over_tcp_in_two_segments(self, namer: Namer) -> None:
        wire = answer(f"{NETFLIX}.", (f"{NETFLIX}.", 60, "A", SERVER))
        stream = len(wire).to_bytes(2, "big") + wire
        for at, part in ((9, stream[:20]), (29, stream[20:])):
            namer.feed(payload(part, seq=at, src=RESOLVER, sport=53, dst=UE, dport=40_000))

        assert namer.dns_name(7, UE, SERVER, T0) == (SIGNATURES.number("Netflix"), NETFLIX)

    def test_hostile_bytes_are_counted(self, namer: Namer) -> None:
        assert namer.feed(payload(b"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", proto=UDP, dport=53)) is None
        assert namer.counters["dns_malformed"] == 1


class TestGroundsWithoutAName:
    """Address before behaviour, and a port only where nothing else speaks."""

    def test_an_address_that_one_application_owns(self, namer: Namer) -> None:
        assert app(namer.feed(payload(OPAQUE, dst="149.154.167.51"))) == ("Telegram", Basis.ADDRESS, "", False)

    def test_a_call_without_a_name_is_conferencing(self, namer: Namer) -> None:
        verdict = namer.feed(payload(ICE, proto=UDP, dport=50_000))

        assert app(verdict) == ("WebRTC", Basis.BEHAVIOUR, "", False)
        assert verdict is not None
        assert SIGNATURES.app_class(verdict.app) == "conferencing"

    def test_speech_by_rtp_is_voice(self, namer: Namer) -> None:
        first = namer.feed(payload(rtp(8, 1), proto=UDP, dport=50_000))
        second = namer.feed(payload(rtp(8, 2), proto=UDP, dport=50_000))

        assert first is None
        assert second is not None
        assert SIGNATURES.app_class(second.app) == "voice"

    def test_sip_is_voice(self, namer: Namer) -> None:
        verdict = namer.feed(payload(b"REGISTER sip:example.com SIP/2.0\r\n", proto=UDP, dport=5070))

        assert app(verdict) == ("SIP", Basis.BEHAVIOUR, "", False)

    def test_a_port_names_a_game(self, namer: Namer) -> None:
        assert app(namer.feed(payload(OPAQUE, proto=UDP, dport=22_023))) == ("AmongUs", Basis.BEHAVIOUR, "", False)

    def test_a_port_that_contradicts_what_is_spoken_is_not_believed(self, namer: Namer) -> None:
        assert app(namer.feed(payload(ICE, proto=UDP, dport=3074))) == ("WebRTC", Basis.BEHAVIOUR, "", False)

    def test_a_port_that_agrees_with_what_is_spoken_says_more(self, namer: Namer) -> None:
        assert app(namer.feed(payload(ICE, proto=UDP, dport=8801))) == ("Zoom", Basis.BEHAVIOUR, "", False)

    def test_an_answer_beats_behaviour_even_when_it_comes_later(self, namer: Namer) -> None:
        namer.feed(payload(ICE, proto=UDP, dport=50_000))
        told(namer, "meet.google.com", SERVER)

        assert app(namer.feed(payload(ICE, proto=UDP, dport=50_000))) == (
            "GoogleMeet",
            Basis.DNS_ANSWER,
            "meet.google.com",
            False,
        )

    def test_a_name_that_nobody_owns_leaves_the_application_to_behaviour(self, namer: Namer) -> None:
        told(namer, "relay.invalid", SERVER)

        assert app(namer.feed(payload(ICE, proto=UDP, dport=50_000))) == (
            "WebRTC",
            Basis.BEHAVIOUR,
            "relay.invalid",
            False,
        )


class TestBounds:
    """State is bounded whatever comes."""

    def test_flows_beyond_the_most_leave_and_are_counted(self, namer: Namer) -> None:
        for i in range(40_000):
            namer.feed(payload(b"\x16\x03\x01", flow_id=i))

        assert len(namer._flows) == 32_768
        assert namer.counters["flows_evicted"] == 40_000 - 32_768

    def test_other_protocols_and_empty_payloads_say_nothing(self, namer: Namer) -> None:
        assert namer.feed(payload(OPAQUE, proto=132)) is None
        assert namer.feed(payload(b"")) is None

    def test_a_flow_that_feeds_garbage_for_ever_keeps_its_last_segments(self, namer: Namer) -> None:
        beginning = openssl_hello(NETFLIX)[:60]
        for i in range(1_000):
            namer.feed(payload(beginning, seq=i * 5_000))

        ((_, pieces),) = namer._flows[1].streams.values()
        assert len(pieces) == 8
        assert namer.counters["tls_incomplete"] <= 8 * 48  # payloads that the kernel hands over of two directions


class TestBasis:
    """Grounds have an order and a text."""

    def test_texts_are_those_of_the_published_column(self) -> None:
        texts = ["none", "sni", "http_host", "dns_answer", "address", "behaviour", "learned", "model", "contradicted"]
        assert [b.text for b in Basis] == texts  # their numbers are in the kernel, too, and do not change

    def test_any_ground_beats_none_and_the_stronger_beats_the_weaker(self) -> None:
        order = [Basis.SNI, Basis.HTTP_HOST, Basis.DNS_ANSWER, Basis.LEARNED, Basis.ADDRESS, Basis.BEHAVIOUR,
                 Basis.MODEL, Basis.NONE]  # fmt: skip
        for a, b in itertools.combinations(order, 2):
            assert a.beats(b)
            assert not b.beats(a)
