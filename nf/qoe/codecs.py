"""The codec of a voice stream, from its RTP payload type, clock and packet size; and what the E-model knows of it.

Static payload types are those of RFC 3551, 6. A dynamic one says nothing by itself: the clock rate tells the family
(8, 16, 48 kHz), and the payload of 20 ms the member. AMR-WB and EVS have modes of one size, so that their names are
guesses, and `certain` says so. An encrypted payload (SRTP) is ten bytes longer (RFC 3711, 9.5), which stays within the
distance of neighbouring modes only for the larger ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.qoe.emodel import FULL, NARROW, WIDE, Band, mos, rating
from nf.qoe.inputs import Array
from nf.qoe.realtime import Counts

__all__ = ["BANDS", "CODECS", "NAMES", "Codec", "codec_of", "listening", "look_ahead_ms", "sure"]


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec, or a mode of one, as the E-model takes it."""

    name: str
    band: Band
    ie: float  # impairment without loss, on the scale of its band
    bpl: float  # robustness against loss
    look_ahead_ms: float
    certain: float  # 0..1: how sure the constants are


_ACELP_BPL = 10.0  # G.113, appendix I has it for GSM-EFR (AMR 12.2); taken for the wider ones as well (own)

CODECS = (
    # Not known: as G.711 with concealment, the reference of G.107.
    Codec("", NARROW, 0.0, 25.1, 5.0, 0.5),
    Codec("G.711", NARROW, 0.0, 25.1, 5.0, 1.0),  # G.113, appendix I: with concealment
    Codec("G.729", NARROW, 11.0, 19.0, 5.0, 1.0),  # G.113, appendix I: G.729A with VAD
    Codec("AMR", NARROW, 5.0, _ACELP_BPL, 5.0, 0.8),  # 12.2 kbit/s; G.113, appendix I: GSM-EFR
    Codec("AMR", NARROW, 10.0, _ACELP_BPL, 5.0, 0.6),  # 7.4 and less; Ie of IS-641, which is AMR 7.4
    Codec("G.722", WIDE, 13.0, _ACELP_BPL, 1.5, 0.6),  # Ie,wb at 64 kbit/s: G.113, appendix IV
    Codec("AMR-WB", WIDE, 41.0, _ACELP_BPL, 5.0, 0.6),  # 6.6 kbit/s; Ie,wb of G.722.2: G.113, appendix IV
    Codec("AMR-WB", WIDE, 26.0, _ACELP_BPL, 5.0, 0.6),  # 8.85 kbit/s
    Codec("AMR-WB", WIDE, 13.0, _ACELP_BPL, 5.0, 0.6),  # 12.65 kbit/s
    Codec("AMR-WB", WIDE, 8.0, _ACELP_BPL, 5.0, 0.6),  # 14.25 to 23.85 kbit/s: those of 10, 7, 5, 3, 1 and 8
    # Values for fullband were not at hand: those of the best wideband mode on the scale of G.107.2 (own).
    Codec("EVS", FULL, 15.0, _ACELP_BPL, 12.0, 0.4),
    Codec("Opus", FULL, 15.0, 15.0, 6.5, 0.4),
)
NAMES = tuple(codec.name for codec in CODECS)
"""Published names by index; "" is not known. One name may stand for several modes."""

BANDS = (NARROW, WIDE, FULL)
_UNKNOWN, _G711, _G729, _AMR, _AMR_LOW, _G722, _WB_660, _WB_885, _WB_1265, _WB_HIGH, _EVS, _OPUS = range(len(CODECS))

_PT_PCMU, _PT_PCMA, _PT_G722, _PT_G729 = 0, 8, 9, 18  # RFC 3551, table 4
_PT_DYNAMIC = 96  # RFC 3551, 6

# Payload bytes of 20 ms, at most, of the modes of a clock: octet-aligned AMR has two bytes of header (RFC 4867, 4.4),
# bandwidth-efficient AMR ten bits (4.3). EVS in its compact format has the primary sizes of TS 26.445, A.2.1, of which
# 48 kbit/s and more are longer than any mode of AMR-WB.
_NARROW_SIZES = ((21.5, _AMR_LOW), (36.0, _AMR))  # 7.4 kbit/s: 21 bytes; 12.2 kbit/s: 32 or 33
_WIDE_SIZES = ((19.5, _WB_660), (26.0, _WB_885), (35.5, _WB_1265), (64.0, _WB_HIGH), (np.inf, _EVS))
_SPEECH_LEAST = 12.0  # bytes: a shorter mean is that of comfort noise (SID: 5 to 8 bytes), which tells no mode

_IE, _BPL, _AHEAD, _CERTAIN = (
    np.array([getattr(codec, name) for codec in CODECS]) for name in ("ie", "bpl", "look_ahead_ms", "certain")
)
_BAND = np.array([BANDS.index(codec.band) for codec in CODECS])


def codec_of(payload_type: Counts, clock_hz: Counts, payload_bytes: Array) -> NDArray[np.uint8]:
    """Return the index in CODECS of streams; 0 where it cannot be told.

    *payload_bytes* is the mean behind the RTP header, of packets of 20 ms. Shapes are those of the arguments.
    """
    dynamic = payload_type >= _PT_DYNAMIC
    speech = dynamic & (payload_bytes >= _SPEECH_LEAST)
    conditions = [
        (payload_type == _PT_PCMU) | (payload_type == _PT_PCMA),
        payload_type == _PT_G722,
        payload_type == _PT_G729,
        dynamic & (clock_hz == 48_000),  # RFC 7587, 4.1: always so for Opus, whatever the bandwidth
    ]
    choices = [_G711, _G722, _G729, _OPUS]
    for clock, sizes in ((8000, _NARROW_SIZES), (16_000, _WIDE_SIZES)):  # RFC 4867, 3 and 4; TS 26.445, A.3
        for most, index in sizes:
            conditions.append(speech & (clock_hz == clock) & (payload_bytes <= most))
            choices.append(index)
    return np.select(conditions, choices, _UNKNOWN).astype(np.uint8)


def look_ahead_ms(codec: NDArray[np.integer]) -> Array:
    """Return the delay of the encoder beyond its frame."""
    ahead: Array = _AHEAD[codec]
    return ahead


def sure(codec: NDArray[np.integer]) -> Array:
    """Return how sure the constants of a codec are, 0..1."""
    certain: Array = _CERTAIN[codec]
    return certain


def listening(codec: NDArray[np.integer], delay_ms: Array, loss: Array, burst: Array) -> Array:
    """Return the MOS, 1..4.5, of a delay (ms), a loss *ratio* and BurstR on the scale of each codec."""
    of_band = [
        mos(
            rating(delay_ms, 100 * loss, codec=(_IE[codec], _BPL[codec]), burst_ratio=burst, band=band),
            band,
        )
        for band in BANDS
    ]
    chosen: Array = np.choose(_BAND[codec], of_band)
    return chosen
