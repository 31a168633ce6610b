"""Protocols that show themselves without a name."""

from __future__ import annotations

import pytest
from scapy.contrib.ikev2 import IKEv2
from scapy.contrib.stun import STUN
from scapy.contrib.wireguard import Wireguard, WireguardInitiation, WireguardResponse
from scapy.layers.isakmp import ISAKMP
from scapy.layers.rtp import RTP
from scapy.packet import Raw

from nf.apps.parsers.first_bytes import Kind, Watcher, rtp_header, stun_message
from tests.apps.hellos import openssl_hello

COOKIE = b"\x21\x12\xa4\x42"


def stun(kind: int, *attributes: tuple[int, bytes]) -> bytes:
    """Return a STUN message (RFC 8489, 5 and 14)."""
    body = b"".join(a.to_bytes(2, "big") + len(v).to_bytes(2, "big") + v + bytes(-len(v) % 4) for a, v in attributes)
    return kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + COOKIE + b"t" * 12 + body


def rtp(kind: int, sequence: int, ssrc: int = 0x1234) -> bytes:
    """Return an RTP packet by scapy."""
    return bytes(
        RTP(payload_type=kind, sequence=sequence, timestamp=sequence * 160, sourcesync=ssrc) / Raw(b"\xd5" * 160)
    )


ICE = stun(1, (0x0006, b"abcd:efgh"), (0x0024, b"\x6e\0\x1e\xff"), (0x802A, bytes(8)))


class TestStun:
    """STUN is a call when it is ICE or TURN, and says nothing when it only asks for an address."""

    def test_scapy_writes_what_is_read(self) -> None:
        assert stun_message(bytes(STUN(stun_message_type=1, transaction_id=1))) == (1, frozenset())

    def test_an_ice_check_is_a_call(self) -> None:
        assert Watcher().udp(ICE, "a") is Kind.CALL

    @pytest.mark.parametrize("kind", [0x0003, 0x0103, 0x0113, 0x0008, 0x0009])
    def test_a_turn_message_is_a_call(self, kind: int) -> None:
        assert Watcher().udp(stun(kind), "a") is Kind.CALL

    @pytest.mark.parametrize("attribute", [0x8054, 0x8070])
    def test_attributes_of_microsoft_are_a_call_of_theirs(self, attribute: int) -> None:
        """[MS-ICE2] 2.2.2; also in a binding request that shows nothing else."""
        assert Watcher().udp(stun(1, (attribute, b"\0\0\0\3")), "a") is Kind.MS_TURN

    def test_a_request_for_the_own_address_is_nothing(self) -> None:
        assert Watcher().udp(stun(1, (0x8022, b"agent")), "a") is None

    def test_over_tcp_with_and_without_framing(self) -> None:
        assert Watcher().tcp(ICE) is Kind.CALL
        assert Watcher().tcp(len(ICE).to_bytes(2, "big") + ICE) is Kind.CALL

    @pytest.mark.parametrize("cut", [0, 1, 19, 20, 31])
    def test_a_cut_message_is_none(self, cut: int) -> None:
        assert stun_message(ICE[:cut]) is None

    def test_an_attribute_that_lies_about_its_length_ends_the_walk(self) -> None:
        message = stun(1, (0x0006, b"abcd"))

        assert stun_message(message[:22] + b"\xff\xff" + message[24:]) == (1, frozenset({0x0006}))


class TestRtp:
    """Two packets of one sender that follow each other are RTP; one is not."""

    def test_one_packet_is_nothing(self) -> None:
        assert Watcher().udp(rtp(8, 1), "a") is None

    @pytest.mark.parametrize("kind", [0, 3, 8, 9, 18])
    def test_a_static_speech_codec_is_speech(self, kind: int) -> None:
        w = Watcher()
        w.udp(rtp(kind, 0xFFFF), "a")

        assert w.udp(rtp(kind, 0), "a") is Kind.SPEECH

    def test_a_dynamic_type_is_a_call(self) -> None:
        w = Watcher()
        w.udp(rtp(111, 7), "a")

        assert w.udp(rtp(111, 9), "a") is Kind.CALL

    @pytest.mark.parametrize("second", [rtp(8, 1), rtp(8, 500), rtp(0, 2), rtp(8, 2, ssrc=9)])
    def test_packets_that_do_not_follow_are_nothing(self, second: bytes) -> None:
        w = Watcher()
        w.udp(rtp(8, 1), "a")

        assert w.udp(second, "a") is None

    def test_two_senders_are_two_streams(self) -> None:
        w = Watcher()
        w.udp(rtp(8, 1), "a")

        assert w.udp(rtp(8, 2), "b") is None

    @pytest.mark.parametrize("kind", [200, 201, 205])
    def test_rtcp_is_not_rtp(self, kind: int) -> None:
        assert rtp_header(b"\x80" + bytes([kind]) + bytes(30)) is None


class TestOthers:
    """First bytes that are a protocol's own."""

    @pytest.mark.parametrize(
        "data",
        [
            b"INVITE sip:bob@example.com SIP/2.0\r\n",
            b"REGISTER sips:example.com SIP/2.0\r\n",
            b"SIP/2.0 180 Ringing\r\n",
        ],
    )
    def test_sip(self, data: bytes) -> None:
        assert Watcher().udp(data, "a") is Kind.SIP
        assert Watcher().tcp(data) is Kind.SIP

    def test_bittorrent(self) -> None:
        assert Watcher().tcp(b"\x13BitTorrent protocol" + bytes(48)) is Kind.BITTORRENT
        assert Watcher().udp(b"d1:ad2:id20:" + b"x" * 20 + b"e1:q4:ping1:t2:aa1:y1:qe", "a") is Kind.BITTORRENT

    def test_rtsp(self) -> None:
        assert Watcher().tcp(b"DESCRIBE rtsp://camera.example/1 RTSP/1.0\r\n") is Kind.RTSP

    def test_rtmp(self) -> None:
        handshake = b"\x03" + bytes(4) + bytes(4) + bytes(1 + i % 255 for i in range(1528))

        assert Watcher().tcp(handshake) is Kind.RTMP

    @pytest.mark.parametrize("start", ["45440001", "454400010000040800", "5741010500001af80501a591", "57410502000114"])
    def test_whatsapp(self, start: str) -> None:
        """First segments of connections in the captures whatsapp.pcap and whatsapp_login_call.pcap."""
        assert Watcher().tcp(bytes.fromhex(start)) is Kind.WHATSAPP

    def test_a_host_of_steam(self) -> None:
        """A discovery in steam.pcapng; tshark calls it steam_ihs_discovery."""
        data = bytes.fromhex("ffffffff214c5fa01600000008fcd3f1e3b7bcbfcf761001")

        assert Watcher().udp(data, "a") is Kind.STEAM

    def test_the_login_of_genshin_impact(self) -> None:
        """The first datagram in genshin-impact.pcap."""
        data = bytes.fromhex("000000ff0000000000000000499602d2ffffffff")

        assert Watcher().udp(data, "a") is Kind.KCP_LOGIN
        assert Watcher().udp(data + b"\0", "a") is None

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"WALK 1 2 3 4",
            b"WA\x01\x05",
            b"ED\0\1\xff\0\0\0",
            b"\x00" * 200,
            b"\xff" * 200,
            b"GET / HTTP/1.1\r\n\r\n",
            openssl_hello("example.com"),
            b"\x03" + bytes(100),
        ],
    )
    def test_the_rest_is_nothing(self, data: bytes) -> None:
        w = Watcher()

        assert [w.udp(data, "a"), w.udp(data, "a"), w.tcp(data)] == [None, None, None]


def openvpn(opcode: int, check: bytes, *, crypt: bool = False) -> bytes:
    """Return a hard reset (OpenVPN, ssl_pkt.h): opcode, session, what protects it, no acknowledgement, packet 0."""
    protected = b"\0\0\0\1" + b"time" + check if crypt else check + (b"\0\0\0\1" + b"time" if check else b"")
    return bytes([opcode << 3]) + b"session8" + protected + (b"\xa5" * 5 if crypt else bytes(5))


class TestTunnels:
    """VPNs show themselves by the first message of a session."""

    @pytest.mark.parametrize(
        ("message", "kind"),
        [
            (bytes(Wireguard() / WireguardInitiation()), Kind.WIREGUARD),
            (bytes(Wireguard() / WireguardResponse()), Kind.WIREGUARD),
            (openvpn(7, b""), Kind.OPENVPN),
            (openvpn(7, b"h" * 20), Kind.OPENVPN),
            (openvpn(7, b"h" * 64), Kind.OPENVPN),
            (openvpn(7, b"h" * 32, crypt=True), Kind.OPENVPN),
            (openvpn(10, b"h" * 32), Kind.OPENVPN),
            (bytes(IKEv2(init_SPI=b"initiate", next_payload=33, exch_type=34) / Raw(b"s" * 200)), Kind.IPSEC),
            (
                bytes(4) + bytes(IKEv2(init_SPI=b"initiate", next_payload=33, exch_type=34) / Raw(b"s" * 200)),
                Kind.IPSEC,
            ),
            (bytes(ISAKMP(init_cookie=b"initiate", next_payload=1, exch_type=2) / Raw(b"s" * 100)), Kind.IPSEC),
        ],
    )
    def test_the_first_message(self, message: bytes, kind: Kind) -> None:
        assert Watcher().udp(message, "a") is kind
        assert all(Watcher().udp(message[:n], "a") is None for n in range(len(message)))

    def test_openvpn_over_tcp(self) -> None:
        reset = openvpn(7, b"h" * 32)

        assert Watcher().tcp(len(reset).to_bytes(2, "big") + reset) is Kind.OPENVPN
        assert Watcher().tcp((len(reset) + 1).to_bytes(2, "big") + reset) is None

    def test_an_answer_of_ike_and_a_later_packet_of_openvpn_are_none(self) -> None:
        answer = IKEv2(init_SPI=b"initiate", resp_SPI=b"answered", next_payload=33, exch_type=34) / Raw(b"s" * 200)

        assert Watcher().udp(bytes(answer), "a") is None
        assert Watcher().udp(b"\x38" + b"session8" + b"\1" + bytes(4) + b"\0\0\0\1"[:3] + b"x", "a") is None
