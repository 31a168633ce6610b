"""QUIC Initial packets: opening them, and the ClientHello in their CRYPTO frames.

The keys of an Initial follow from its destination connection id (RFC 9001, 5.2), so anybody on the
path can read it. Versions differ in the salt and the labels only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC

from nf.apps.errors import Malformed, NeedMore, NotThis
from nf.apps.tls import client_hello_name, valid_host

__all__ = ["CryptoStream", "Keys", "initial_keys", "long_header", "open_initials"]

_V1, _V2 = 0x00000001, 0x6B3343CF
_SALT_V1 = bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")  # RFC 9001, 5.2
_SALT_V2 = bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9")  # RFC 9369, 3.3.1
_SALT_29 = bytes.fromhex("afbfec289993d24c9e9786f19c6111e04390a899")  # drafts 29 to 32
_SALT_23 = bytes.fromhex("c3eef712c72ebb5a11a7d2432bb46365bef9f502")  # drafts 23 to 28
_SALT_Q50 = bytes.fromhex("504574efd066fe2f9d945cfcdbd3a7f0d3b56b45")  # Q050
_SALT_T51 = bytes.fromhex("7a4edef4e7ccee5fa4506c19124fc8ccda6e033d")  # T051
_Q050, _T051 = 0x51303530, 0x54303531
_MVFST = frozenset((0xFACEB001, 0xFACEB002))
_SAMPLE = 16
_MAX_CRYPTO = 16_384  # bytes of a ClientHello that are kept
_MAX_FRAMES = 64  # CRYPTO frames of one packet; a hello in more pieces is an attack


def _salt(version: int) -> bytes | None:
    if version == _V1 or version in (0xFF000021, 0xFF000022):  # drafts 33 and 34 have that of version 1
        return _SALT_V1
    if version == _V2:
        return _SALT_V2
    if 0xFF00001D <= version <= 0xFF000020:
        return _SALT_29
    if 0xFF000017 <= version <= 0xFF00001C or version in _MVFST:
        return _SALT_23
    return {_Q050: _SALT_Q50, _T051: _SALT_T51}.get(version)


@dataclass(frozen=True, slots=True)
class Header:
    """The clear part of a long header packet."""

    version: int
    dcid: bytes
    scid: bytes
    kind: int  # two bits of the first byte, as version 1 numbers them
    number_at: int  # offset of the protected packet number; 0 unless Initial
    end: int  # offset behind the packet


@dataclass(frozen=True, slots=True)
class Keys:
    """Packet protection of one sender's Initials."""

    key: bytes
    iv: bytes
    hp: bytes


def _varint(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise Malformed("variable-length integer")
    size = 1 << (data[at] >> 6)
    if at + size > len(data):
        raise Malformed("variable-length integer")
    return int.from_bytes(data[at : at + size], "big") & ((1 << (8 * size - 2)) - 1), at + size


def long_header(data: bytes, at: int = 0) -> Header:
    """Read the long header at an offset (RFC 8999, 5.1; RFC 9000, 17.2). Raises NotThis or Malformed."""
    if len(data) < at + 7 or not data[at] & 0x80:
        raise NotThis
    version = int.from_bytes(data[at + 1 : at + 5], "big")
    if _salt(version) is None:
        raise NotThis
    size = data[at + 5]
    dcid = data[at + 6 : at + 6 + size]
    p = at + 6 + size
    if size > 20 or p >= len(data):
        raise Malformed("connection id")
    scid = data[p + 1 : p + 1 + data[p]]
    p += 1 + data[p]
    kind = data[at] >> 4 & 3
    if version == _V2:
        kind = (kind - 1) & 3  # RFC 9369, 3.2: 1 Initial, 2 0-RTT, 3 Handshake, 0 Retry
    if kind == 3:  # Retry: no length, no number
        return Header(version, dcid, scid, kind, 0, len(data))
    if kind == 0:
        token, p = _varint(data, p)
        p += token
    length, p = _varint(data, p)
    return Header(version, dcid, scid, kind, p if kind == 0 else 0, min(len(data), p + length))


def _expand(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label with an empty context (RFC 8446, 7.1) for at most one block."""
    full = b"tls13 " + label
    mac = HMAC(secret, hashes.SHA256())
    mac.update(size.to_bytes(2, "big") + bytes([len(full)]) + full + b"\0\x01")
    return mac.finalize()[:size]


@lru_cache(maxsize=4096)
def initial_keys(version: int, dcid: bytes, sender: bytes = b"client in") -> Keys:
    """Return the keys of a sender ("client in" or "server in") for a client's first connection id."""
    salt = _salt(version)
    if salt is None:
        raise NotThis
    extract = HMAC(salt, hashes.SHA256())
    extract.update(dcid)
    secret = _expand(extract.finalize(), sender, 32)
    prefix = b"quicv2 " if version == _V2 else b"quic "
    return Keys(
        _expand(secret, prefix + b"key", 16), _expand(secret, prefix + b"iv", 12), _expand(secret, prefix + b"hp", 16)
    )


def _open(data: bytes, at: int, h: Header, keys: Keys) -> bytes:
    """Remove header protection and decrypt one Initial (RFC 9001, 5.3 and 5.4); raises Malformed."""
    sample = data[h.number_at + 4 : h.number_at + 4 + _SAMPLE]
    if len(sample) < _SAMPLE:
        raise Malformed("too short for a sample")
    mask = Cipher(algorithms.AES(keys.hp), modes.ECB()).encryptor().update(sample)  # noqa: S305  (RFC 9001, 5.4.3)
    first = data[at] ^ (mask[0] & 0x0F)
    size = (first & 3) + 1
    number = bytes(a ^ b for a, b in zip(data[h.number_at : h.number_at + size], mask[1:], strict=False))
    header = bytes([first]) + data[at + 1 : h.number_at] + number
    nonce = (int.from_bytes(keys.iv, "big") ^ int.from_bytes(number, "big")).to_bytes(12, "big")
    try:
        return AESGCM(keys.key).decrypt(nonce, data[h.number_at + size : h.end], header)
    except (InvalidTag, ValueError):
        raise Malformed("not protected with the keys of its connection id") from None


@dataclass(slots=True)
class CryptoStream:
    """The CRYPTO frames of one sender, in any order; ``dcid`` made the keys."""

    dcid: bytes = b""
    parts: dict[int, bytes] = field(default_factory=dict)
    size: int = 0

    def add(self, at: int, data: bytes) -> None:
        """Keep a piece, within bounds."""
        if at + len(data) <= _MAX_CRYPTO and len(data) > len(self.parts.get(at, b"")):
            self.parts[at] = data
            self.size += len(data)

    def name(self) -> str:
        """Return the server name as soon as the pieces from the start reach it; raises NeedMore."""
        joined = bytearray()
        for at in sorted(self.parts):
            if at > len(joined):
                break
            joined += self.parts[at][len(joined) - at :]
        if joined[:4] == b"CHLO":
            return _chlo_name(bytes(joined))
        return client_hello_name(bytes(joined))


def _chlo_name(chlo: bytes) -> str:
    """Return the SNI tag of a gQUIC CHLO message: a table of (tag, end offset), then the values."""
    if len(chlo) < 8:
        raise NeedMore
    count = int.from_bytes(chlo[4:6], "little")
    if count > 128:
        raise Malformed("number of tags")
    values, start = 8 + 8 * count, 0
    for i in range(count):
        entry = chlo[8 + 8 * i : 16 + 8 * i]
        if len(entry) < 8:
            raise NeedMore
        end = int.from_bytes(entry[4:8], "little")
        if entry[:4] == b"SNI\0":
            if values + end > len(chlo):
                raise NeedMore
            return valid_host(chlo[values + start : values + end])
        start = end
    return ""


def _crypto_frames(payload: bytes, stream: CryptoStream, crypto: int) -> None:
    """Collect frames of the type *crypto*; PADDING, PING, ACK and CONNECTION_CLOSE may stand between (RFC 9000, 12.4)."""
    at = frames = 0
    while at < len(payload):
        kind = payload[at]
        at += 1
        if kind in (0, 1):
            continue
        if kind == crypto:
            offset, at = _varint(payload, at)
            size, at = _varint(payload, at)
            stream.add(offset, payload[at : at + size])
            at += size
            frames += 1
            if frames >= _MAX_FRAMES:
                return
        elif kind in (2, 3):
            at = _skip_ack(payload, at, kind == 3)
        else:
            return  # CONNECTION_CLOSE, or Q050's STREAM: the rest is not for us


def _skip_ack(payload: bytes, at: int, ecn: bool) -> int:
    _, at = _varint(payload, at)
    _, at = _varint(payload, at)
    ranges, at = _varint(payload, at)
    if ranges > len(payload):
        raise Malformed("ACK ranges")
    for _ in range(1 + 2 * ranges + (3 if ecn else 0)):
        _, at = _varint(payload, at)
    return at


def open_initials(datagram: bytes, stream: CryptoStream) -> bool:
    """Add the CRYPTO frames of the client Initials in a datagram to *stream*; say whether there was any.

    Raises NotThis when the datagram begins with no long header of a known version.
    """
    at, found = 0, False
    while at < len(datagram):
        try:
            h = long_header(datagram, at)
        except (NotThis, Malformed):
            if at == 0:
                raise
            break
        if h.number_at:
            for dcid in dict.fromkeys((stream.dcid, h.dcid)):
                try:
                    payload = _open(datagram, at, h, initial_keys(h.version, dcid))
                except Malformed:
                    continue
                stream.dcid = dcid
                _crypto_frames(payload, stream, 8 if h.version in (_Q050, _T051) else 6)
                found = True
                break
        at = h.end
    return found


def gquic_name(datagram: bytes) -> str:
    """Return the SNI of a clear-text CHLO of Q025 to Q046; raises NotThis, NeedMore, Malformed."""
    if len(datagram) < 30:
        raise NotThis
    public = datagram[0]
    version = datagram[1:5] if public & 0x80 else datagram[9:13]
    if version[:2] != b"Q0" or not (public & 0x80 or public & 0x01):
        raise NotThis
    at = datagram.find(b"CHLO", 13, 128)
    if at < 0:
        raise NotThis
    return _chlo_name(datagram[at:])
