"""QUIC Initial packets: opening them, and the ClientHello in their CRYPTO frames.

The keys of an Initial follow from its destination connection id (RFC 9001, 5.2), so anybody on the
path can read it. Versions differ in the salt and the labels only. Google's older QUIC carries a
CHLO message instead, in clear text up to Q046.
"""

from __future__ import annotations

import contextlib
import hmac
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from nf.apps.parsers.cursor import Pieces, clean_name
from nf.apps.parsers.errors import Malformed, NeedMore, NotThis
from nf.apps.parsers.tls import Hello, handshake_hello

__all__ = ["CryptoStream", "Header", "Keys", "gquic_name", "initial_keys", "long_header", "open_initials"]

_V1, _V2, _V2_DRAFT = 0x00000001, 0x6B3343CF, 0x709A50C4
_SALT_V1 = bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")  # RFC 9001, 5.2; also drafts 33 and 34
_SALT_V2 = bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9")  # RFC 9369, 3.3.1
_SALT_V2_DRAFT = bytes.fromhex("a707c203a59b47184a1d62ca570406ea7ae3e5d3")  # draft-ietf-quic-v2-01, 3.1
_SALT_29 = bytes.fromhex("afbfec289993d24c9e9786f19c6111e04390a899")  # draft-ietf-quic-tls-29 to 32, 5.2
_SALT_23 = bytes.fromhex("c3eef712c72ebb5a11a7d2432bb46365bef9f502")  # drafts 23 to 28
_SALT_22 = bytes.fromhex("7fbcdb0e7c66bbe9193a96cd21519ebd7a02644a")  # drafts 21 and 22
_SALT_Q050 = bytes.fromhex("504574efd066fe2f9d945cfcdbd3a7f0d3b56b45")  # Chromium, quic/core/crypto
_SALT_T050 = bytes.fromhex("7ff579e5acd072915580304c43a2367c60488310")
_SALT_T051 = bytes.fromhex("7a4edef4e7ccee5fa4506c19124fc8ccda6e033d")
_Q050, _T050, _T051 = 0x51303530, 0x54303530, 0x54303531
_GOOGLE = frozenset((_Q050, _T050, _T051))  # have a type of their own for CRYPTO frames
_SALTS = {
    _V1: _SALT_V1,
    _V2: _SALT_V2,
    _V2_DRAFT: _SALT_V2_DRAFT,
    **dict.fromkeys(range(0xFF000021, 0xFF000023), _SALT_V1),
    **dict.fromkeys(range(0xFF00001D, 0xFF000021), _SALT_29),
    **dict.fromkeys(range(0xFF000017, 0xFF00001D), _SALT_23),
    **dict.fromkeys(range(0xFF000015, 0xFF000017), _SALT_22),
    0xFACEB001: _SALT_22,  # mvfst
    0xFACEB002: _SALT_23,
    0xFACEB00E: _SALT_23,
    _Q050: _SALT_Q050,
    _T050: _SALT_T050,
    _T051: _SALT_T051,
}
_SAMPLE, _TAG = 16, 16  # bytes (RFC 9001, 5.4.2 and 5.3)
_MAX_PACKETS = 8  # of one datagram that are read
_MAX_FRAMES = 256  # of one packet that are read; Chrome's chaos protection makes some 30
_INITIAL, _RETRY = 0, 3
# Versions whose keys are tried on an Initial of an unlisted version: reserved versions (RFC 9000, 15) provoke a version
# negotiation by a packet of the version that the client speaks, and private ones are mostly renamed.
_GUESSES = (_V1, 0xFF00001D)
_LEAST = 1200  # bytes of a datagram with an Initial of a client (RFC 9000, 14.1)


@dataclass(frozen=True, slots=True)
class Header:
    """The clear part of a long header packet."""

    version: int
    dcid: bytes
    scid: bytes
    kind: int  # as version 1 numbers them: 0 Initial, 1 0-RTT, 2 Handshake, 3 Retry
    number_at: int  # offset of the protected packet number; 0 for Retry
    end: int  # offset behind the packet; beyond the datagram when its copy was cut


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """Packet protection of one sender's Initials: AEAD key, IV, header protection key."""

    key: bytes
    iv: bytes
    hp: bytes


@dataclass(slots=True)
class CryptoStream:
    """The CRYPTO frames of one sender's Initials, in any order; ``version`` and ``dcid`` made the keys."""

    version: int = 0
    dcid: bytes = b""
    pieces: Pieces = field(default_factory=Pieces)

    def hello(self) -> Hello:
        """Return the ClientHello as soon as the pieces reach its name; raise as `handshake_hello`."""
        joined = self.pieces.start()
        return Hello(_chlo_name(joined)) if joined.startswith(b"CHLO") else handshake_hello(joined)


def long_header(data: bytes, at: int = 0) -> Header:
    """Read the long header at an offset (RFC 8999, 5.1; RFC 9000, 17.2). Raises NotThis or Malformed."""
    if len(data) < at + 7 or not data[at] & 0x80:
        raise NotThis
    version = int.from_bytes(data[at + 1 : at + 5], "big")
    if version not in _SALTS and not _may_be_initial(data, at, version):
        raise NotThis
    dcid, p = _connection_id(data, at + 5)
    scid, p = _connection_id(data, p)
    kind = data[at] >> 4 & 3
    if version in (_V2, _V2_DRAFT):
        kind = (kind - 1) & 3  # RFC 9369, 3.2: 1 Initial, 2 0-RTT, 3 Handshake, 0 Retry
    if kind == _RETRY:  # neither length nor number
        return Header(version, dcid, scid, kind, 0, len(data))
    if kind == _INITIAL:
        token, p = _varint(data, p)
        p += token
    length, p = _varint(data, p)
    return Header(version, dcid, scid, kind, p, p + length)


def _may_be_initial(data: bytes, at: int, version: int) -> bool:
    """Say of an unknown version whether its packet can be an Initial as version 1 has them (RFC 9000, 17.2.2)."""
    return version != 0 and at == 0 and data[0] & 0xF0 == 0xC0 and len(data) >= _LEAST


def _connection_id(data: bytes, at: int) -> tuple[bytes, int]:
    if at >= len(data) or data[at] > 20 or at + 1 + data[at] >= len(data):
        raise Malformed
    end = at + 1 + data[at]
    return data[at + 1 : end], end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise Malformed
    size = 1 << (data[at] >> 6)
    if at + size > len(data):
        raise Malformed
    return int.from_bytes(data[at : at + size], "big") & ((1 << (8 * size - 2)) - 1), at + size


def _expand(secret: bytes, label: bytes, size: int) -> bytes:
    """Return HKDF-Expand-Label with an empty context (RFC 8446, 7.1), at most one block of SHA-256."""
    full = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes([len(full)]) + full + b"\0\x01"
    return hmac.digest(secret, info, "sha256")[:size]


@lru_cache(maxsize=1024)
def initial_keys(version: int, dcid: bytes, sender: bytes = b"client in") -> Keys:
    """Return the keys of a sender ("client in" or "server in") for a client's first connection id."""
    if version not in _SALTS:
        raise NotThis
    secret = _expand(hmac.digest(_SALTS[version], dcid, "sha256"), sender, 32)
    prefix = b"quicv2 " if version in (_V2, _V2_DRAFT) else b"quic "
    return Keys(
        _expand(secret, prefix + b"key", 16), _expand(secret, prefix + b"iv", 12), _expand(secret, prefix + b"hp", 16)
    )


def _open(data: bytes, at: int, h: Header, keys: Keys) -> bytes:
    """Remove the protection of one Initial (RFC 9001, 5.3 and 5.4).

    Raises NotThis when it was not sealed with *keys*. A packet whose copy was cut has lost its tag:
    it is read unauthenticated, and its content must make sense by itself.
    """
    sample = data[h.number_at + 4 : h.number_at + 4 + _SAMPLE]
    if len(sample) < _SAMPLE:
        raise Malformed
    mask = Cipher(algorithms.AES(keys.hp), modes.ECB()).encryptor().update(sample)
    first = data[at] ^ (mask[0] & 0x0F)
    size = (first & 3) + 1
    number = int.from_bytes(data[h.number_at : h.number_at + size], "big") ^ int.from_bytes(mask[1 : 1 + size], "big")
    nonce = (int.from_bytes(keys.iv, "big") ^ number).to_bytes(12, "big")
    sealed = data[h.number_at + size : h.end]
    if h.end > len(data):
        if first & 0x0C or len(data) < 1200:  # reserved bits; an Initial datagram is larger (RFC 9000, 14.1)
            raise NotThis
        counter = nonce + b"\0\0\0\x02"  # of the first block after the tag's (NIST SP 800-38D, 7.1)
        return Cipher(algorithms.AES(keys.key), modes.CTR(counter)).decryptor().update(sealed)
    if len(sealed) < _TAG:
        raise Malformed
    header = bytes([first]) + data[at + 1 : h.number_at] + number.to_bytes(size, "big")
    try:
        return AESGCM(keys.key).decrypt(nonce, sealed, header)
    except InvalidTag:
        raise NotThis from None


def open_initials(datagram: bytes, stream: CryptoStream) -> bool:
    """Add the CRYPTO frames of the client Initials in a datagram to *stream*; say whether one was opened.

    The keys stay those of the first connection id while it opens packets; after a Retry they follow
    the new one (RFC 9001, 5.2). Raises NotThis or Malformed by the begin of the datagram.
    """
    at, opened = 0, False
    for _ in range(_MAX_PACKETS):
        try:
            h = long_header(datagram, at)
        except (NotThis, Malformed):
            if at == 0:
                raise
            break
        if h.kind == _INITIAL:
            opened |= _open_one(datagram, at, h, stream)
        at = h.end
        if at >= len(datagram):
            break
    return opened


def _open_one(datagram: bytes, at: int, h: Header, stream: CryptoStream) -> bool:
    guessed = h.version not in _SALTS
    if guessed and h.end > len(datagram):
        return False  # without its tag nothing tells whether the keys are right
    keys = [(v, h.dcid) for v in (_GUESSES if guessed else (h.version,))]
    if stream.dcid:
        keys.insert(0, (stream.version if guessed else h.version, stream.dcid))
    for version, dcid in dict.fromkeys(keys):
        try:
            payload = _open(datagram, at, h, initial_keys(version, dcid))
        except (NotThis, Malformed):
            continue
        if stream.dcid and (version, dcid) != (stream.version, stream.dcid):
            stream.pieces = (
                Pieces()
            )  # a client begins anew after Retry and Version Negotiation, and on ports used again
        stream.version, stream.dcid = version, dcid
        with contextlib.suppress(Malformed):  # the frames before the broken one count
            _crypto_frames(payload, stream.pieces, 8 if version in _GOOGLE else 6)
        return True
    return False


def _crypto_frames(payload: bytes, pieces: Pieces, crypto: int) -> None:
    """Collect the frames of type *crypto*; PADDING, PING and ACK may stand between (RFC 9000, 12.4, table 3)."""
    at, end = 0, len(payload)
    for _ in range(_MAX_FRAMES):
        while at < end and payload[at] <= 1:  # PADDING and PING
            at += 1
        if at >= end:
            return
        kind = payload[at]
        at += 1
        if kind == crypto:
            offset, at = _varint(payload, at)
            size, at = _varint(payload, at)
            pieces.add(offset, payload[at : at + size])
            at += size
        elif kind in (2, 3):
            at = _skip_ack(payload, at, 3 if kind == 3 else 0)
        else:
            return  # CONNECTION_CLOSE, or a copy that was cut: no CRYPTO frame follows


def _skip_ack(payload: bytes, at: int, counts: int) -> int:
    _, at = _varint(payload, at)
    _, at = _varint(payload, at)
    ranges, at = _varint(payload, at)
    if ranges > len(payload):
        raise Malformed
    for _ in range(1 + 2 * ranges + counts):
        _, at = _varint(payload, at)
    return at


def _chlo_name(chlo: bytes) -> str:
    """Return the SNI tag of a gQUIC CHLO message: a table of (tag, end offset), then the values; "" without."""
    if len(chlo) < 8:
        raise NeedMore
    count = int.from_bytes(chlo[4:6], "little")
    if count > 128:
        raise Malformed
    values, start = 8 + 8 * count, 0
    for i in range(count):
        entry = chlo[8 + 8 * i : 16 + 8 * i]
        if len(entry) < 8:
            raise NeedMore
        end = int.from_bytes(entry[4:8], "little")
        if entry[:4] == b"SNI\0":
            if end < start or end - start > 255:
                raise Malformed
            if values + end > len(chlo):
                raise NeedMore
            return clean_name(chlo[values + start : values + end])
        start = end
    return ""


def gquic_name(datagram: bytes) -> str:
    """Return the SNI of a clear-text CHLO of Q024 to Q046; raise NotThis, NeedMore, Malformed."""
    if len(datagram) < 30:
        raise NotThis
    # Long header of Q044 on: version behind the first byte. Before: flags, connection id of 8 or 0 bytes, version.
    flags = datagram[0]
    version = datagram[1:5] if flags & 0x80 else datagram[9:13] if flags & 0x08 else datagram[1:5]
    if version[:2] != b"Q0" or not (flags & 0x80 or flags & 0x01):
        raise NotThis
    at = datagram.find(b"CHLO", 5, 128)
    if at < 0:
        raise NotThis
    return _chlo_name(datagram[at:])
