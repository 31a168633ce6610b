"""Protocols of payloads without a name, recognised by their first bytes.

Each rule names the fields that must agree, and so how often bytes of another protocol pass by
chance. A doubtful protocol is no behaviour: STUN alone, for one, is also spoken by games, VPNs
and file sharing.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Hashable
from dataclasses import dataclass, field

from nf.apps.parsers.errors import NoName
from nf.apps.parsers.tls import DtlsHello

__all__ = ["Kind", "Watcher", "rtp_header", "stun_message"]

_COOKIE = b"\x21\x12\xa4\x42"  # RFC 8489, 5
_STUN_METHODS = frozenset((1, *range(3, 10), 0x00A, 0x00B, 0x00C, 0x080))  # IANA STUN Methods, GOOG-PING
_USERNAME, _PRIORITY, _CONTROLLED, _CONTROLLING = 0x0006, 0x0024, 0x8029, 0x802A  # RFC 8445, 16.1
_ALLOCATE, _CHANNEL_BIND = 3, 9  # TURN: RFC 8656, 17
# MS-Candidate-Identifier and MS-Implementation-Version ([MS-ICE2], 2.2.2), which no other vendor was given
_OF_MICROSOFT = frozenset((0x8054, 0x8070))
_STEAM = b"\xff\xff\xff\xff\x21\x4c\x5f\xa0"  # discovery of In-Home Streaming: Wireshark, packet-steam-ihs-discovery.c
_KCP_LOGIN = bytes.fromhex("000000ff"), bytes.fromhex("499602d2ffffffff")  # in the captures; 1234567890 is a constant
_KCP_LOGIN_BYTES = 20
_SIP = re.compile(rb"(?:[A-Z]{3,9} (?:sips?|tel):\S+ SIP/2\.0|SIP/2\.0 [1-6]\d\d )", re.IGNORECASE)
_RTSP = re.compile(rb"[A-Z_]{5,13} (?:rtsp://\S+|\*) RTSP/1\.0\r\n")
_BITTORRENT = b"\x13BitTorrent protocol"  # BEP 3
_DHT = re.compile(rb"d1:(?:ad2:id20:|rd2:id20:|eli20)")  # BEP 5
_SPEECH = frozenset((0, 3, 4, 7, 8, 9, 12, 15, 18))  # static payload types of speech codecs (RFC 3551, table 4)
# WireGuard, 5.4 (Donenfeld, NDSS 2017): type, three zero bytes, and the length of a message of that type.
_WIREGUARD = {b"\1\0\0\0": 148, b"\2\0\0\0": 92}
_OPENVPN_RESETS = frozenset((0x38, 0x50))  # P_CONTROL_HARD_RESET_CLIENT_V2, _CLIENT_V3, key 0
_OPENVPN_LENGTHS = frozenset((14, 42, 54, 86))  # alone; with tls-auth and HMAC-SHA1, -SHA256, -SHA512
_OPENVPN_CRYPT = 54  # with tls-crypt
_IKE_FIRST = frozenset(((33, 0x20, 34), (1, 0x10, 2), (1, 0x10, 4)))  # next payload SA, version, exchange
_MAX_STEP = 64  # most that an RTP sequence number may grow to the next packet seen (loss, and packets not seen)


class Kind(enum.StrEnum):
    """A protocol, as the signature file calls it under ``behaviour``."""

    CALL = "call"  # ICE, TURN or DTLS-SRTP: media of a call with any codec
    SPEECH = "speech"  # RTP with a static payload type of a speech codec
    SIP = "sip"
    RTSP = "rtsp"
    RTMP = "rtmp"
    BITTORRENT = "bittorrent"
    WIREGUARD = "wireguard"
    OPENVPN = "openvpn"
    IPSEC = "ipsec"
    MS_TURN = "ms-turn"  # calls of Teams and Skype
    WHATSAPP = "whatsapp"
    STEAM = "steam"  # a host of Steam that looks for others
    KCP_LOGIN = "kcp-login"  # the handshake before KCP of the games of miHoYo


@dataclass(slots=True)
class Watcher:
    """State of one flow between its payloads; ``last`` is the last RTP header of each sender."""

    last: dict[Hashable, tuple[int, int, int]] = field(default_factory=dict)  # sender to (type, sequence, ssrc)
    hellos: dict[Hashable, DtlsHello] = field(default_factory=dict)  # by sender

    def udp(self, data: bytes, sender: Hashable) -> Kind | None:
        """Return the protocol that a datagram shows, with the ones before it."""
        if stun := stun_message(data):
            return _stun_kind(*stun)
        if _SIP.match(data):
            return Kind.SIP
        if _DHT.match(data):
            return Kind.BITTORRENT
        if self._srtp_hello(data, sender):
            return Kind.CALL
        if data.startswith(_STEAM):
            return Kind.STEAM
        if len(data) == _KCP_LOGIN_BYTES and data.startswith(_KCP_LOGIN[0]) and data.endswith(_KCP_LOGIN[1]):
            return Kind.KCP_LOGIN
        if tunnel := _tunnel(data):
            return tunnel
        return self._rtp(data, sender)

    def tcp(self, data: bytes) -> Kind | None:
        """Return the protocol that a segment shows."""
        if _SIP.match(data):
            return Kind.SIP
        if _RTSP.match(data):
            return Kind.RTSP
        if data.startswith(_BITTORRENT):
            return Kind.BITTORRENT
        if _rtmp(data):
            return Kind.RTMP
        if _whatsapp(data):
            return Kind.WHATSAPP
        if len(data) > 2 and int.from_bytes(data[:2], "big") == len(data) - 2 and _openvpn(data[2:]):
            return Kind.OPENVPN  # over TCP a packet stands behind its length
        if stun := stun_message(data, stream=True):
            return _stun_kind(*stun)
        # STUN and RTP over TCP stand behind a length of two bytes (RFC 4571)
        if len(data) > 22 and (stun := stun_message(data[2:], stream=True)):
            return _stun_kind(*stun)
        return None

    def _srtp_hello(self, data: bytes, sender: Hashable) -> bool:
        try:
            return self.hellos.setdefault(sender, DtlsHello()).feed(data).srtp
        except NoName:
            return False

    def _rtp(self, data: bytes, sender: Hashable) -> Kind | None:
        """Recognise two packets of one sender that agree in type and source and follow each other (RFC 3550, A.1).

        Random bytes pass in one of 2**50 pairs. A protocol with a constant header of 12 bytes and a counter
        in bytes 2 and 3 could pass; none is known to us.
        """
        header = rtp_header(data)
        if header is None:
            return None
        before, self.last[sender] = self.last.get(sender), header
        if before is None or before[0] != header[0] or before[2] != header[2]:
            return None
        if not 0 < (header[1] - before[1]) & 0xFFFF <= _MAX_STEP:
            return None
        return Kind.SPEECH if header[0] in _SPEECH else Kind.CALL


def stun_message(data: bytes, *, stream: bool = False) -> tuple[int, frozenset[int]] | None:
    """Return (method, attributes) of a STUN message (RFC 8489, 5): cookie, length and method agree, 64 bits."""
    if len(data) < 20 or data[0] & 0xC0 or data[4:8] != _COOKIE:
        return None
    kind, length = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
    if length % 4 or (length + 20 > len(data) if stream else length + 20 != len(data)):
        return None
    method = kind & 0xF | kind >> 1 & 0x70 | kind >> 2 & 0xF80
    if method not in _STUN_METHODS:
        return None
    at, attributes = 20, set()
    while at + 4 <= 20 + length:
        attributes.add(int.from_bytes(data[at : at + 2], "big"))
        at += 4 + (int.from_bytes(data[at + 2 : at + 4], "big") + 3 & ~3)
    return method, frozenset(attributes)


def _of_a_call(method: int, attributes: frozenset[int]) -> bool:
    """Recognise an ICE connectivity check (RFC 8445, 7.1) or a TURN relay: media follows."""
    ice = attributes & {_PRIORITY, _CONTROLLED, _CONTROLLING} and _USERNAME in attributes
    return bool(ice) or _ALLOCATE <= method <= _CHANNEL_BIND


def _stun_kind(method: int, attributes: frozenset[int]) -> Kind | None:
    if not attributes.isdisjoint(_OF_MICROSOFT):
        return Kind.MS_TURN
    return Kind.CALL if _of_a_call(method, attributes) else None


def rtp_header(data: bytes) -> tuple[int, int, int] | None:
    """Return (payload type, sequence number, SSRC) if it may be RTP (RFC 3550, 5.1) and not RTCP (RFC 5761, 4).

    Types 35 to 95 are assigned to nothing, or kept free for RTCP (RFC 3551, tables 4 and 5).
    """
    if len(data) < 13 or data[0] >> 6 != 2:
        return None
    kind = data[1] & 0x7F
    if 34 < kind < 96 or len(data) < 12 + 4 * (data[0] & 15):
        return None
    return kind, int.from_bytes(data[2:4], "big"), int.from_bytes(data[8:12], "big")


def _tunnel(data: bytes) -> Kind | None:
    """Return the VPN protocol if a datagram begins a session of one."""
    if data[:4] in _WIREGUARD and len(data) == _WIREGUARD[data[:4]]:
        return Kind.WIREGUARD
    if _openvpn(data):
        return Kind.OPENVPN
    if _ike(data) or (data[:4] == bytes(4) and _ike(data[4:])):  # RFC 3948, 2.2: the non-ESP marker
        return Kind.IPSEC
    return None


def _openvpn(data: bytes) -> bool:
    """Recognise the first packet of a client: a hard reset, which acknowledges no packet and is number 0.

    With tls-auth a check sum stands between, with tls-crypt its own packet number 1 (OpenVPN, ssl_pkt.h).
    """
    if not data or data[0] not in _OPENVPN_RESETS or len(data) not in _OPENVPN_LENGTHS:
        return False
    return not any(data[-5:]) or (len(data) == _OPENVPN_CRYPT and data[9:13] == b"\0\0\0\1")


def _ike(data: bytes) -> bool:
    """Recognise the first message of IKEv2 (RFC 7296, 3.1) or IKEv1 (RFC 2408, 3.1), with its own length."""
    if len(data) < 28 or any(data[8:16]) or not any(data[:8]) or int.from_bytes(data[24:28], "big") != len(data):
        return False
    return (data[16], data[17], data[18]) in _IKE_FIRST


def _whatsapp(data: bytes) -> bool:
    """Recognise the first bytes of WhatsApp: "WA" and a version, or a routing hint "ED" before them.

    Both are seen in the captures, the hint as a segment of its own; a length of three bytes follows. 32 bits agree.
    """
    if data[:4] == b"ED\0\1":
        return not any(data[4:5])
    return data[:2] == b"WA" and len(data) >= 7 and data[2] < 8 and data[3] < 8 and data[4] == 0


def _rtmp(data: bytes) -> bool:
    """Recognise C0 and the begin of C1: version 3, a time, and four zero bytes (Adobe RTMP 1.0, 5.2.2 and 5.2.3)."""
    return len(data) >= 64 and data[0] == 3 and data[5:9] == b"\0\0\0\0" and data[9:64].count(0) < 8
