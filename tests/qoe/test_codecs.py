"""The codec of a voice stream by payload type, clock and packet size."""

from __future__ import annotations

import numpy as np
import pytest

from nf.qoe import codecs

# Payload type (RFC 3551), clock in Hz, payload bytes of 20 ms, name: the sizes by arithmetic on the bit rate.
STREAMS = [
    (0, 8000, 160, "G.711"),  # 64 kbit/s
    (8, 8000, 160, "G.711"),
    (9, 8000, 160, "G.722"),
    (18, 8000, 20, "G.729"),  # two frames of 10 bytes
    (96, 8000, 33, "AMR"),  # 12.2 kbit/s: 31 bytes and two of header (RFC 4867)
    (97, 16_000, 33, "AMR-WB"),  # 12.65 kbit/s
    (97, 16_000, 61, "AMR-WB"),  # 23.85 kbit/s
    (98, 16_000, 120, "EVS"),  # 48 kbit/s (TS 26.445)
    (111, 48_000, 80, "Opus"),  # RFC 7587: the clock is always 48 kHz
    (111, 0, 80, ""),  # a dynamic type with no clock says nothing
    (96, 8000, 7, ""),  # comfort noise alone tells no mode
    (26, 90_000, 1000, ""),  # video
]


def index_of(payload_type: int, clock_hz: int, size: float) -> np.ndarray:
    return codecs.codec_of(np.array([payload_type]), np.array([clock_hz]), np.array([float(size)]))


class TestCodec:
    """Static payload types name the codec; dynamic ones leave the clock and the size."""

    @pytest.mark.parametrize(("payload_type", "clock_hz", "size", "name"), STREAMS)
    def test_streams(self, payload_type, clock_hz, size, name):
        assert codecs.NAMES[index_of(payload_type, clock_hz, size)[0]] == name

    def test_what_size_alone_tells_is_less_sure(self):
        assert codecs.sure(index_of(97, 16_000, 33))[0] < codecs.sure(index_of(0, 8000, 160))[0]


class TestListening:
    """A stream is rated on the scale of its codec."""

    @pytest.mark.parametrize(
        ("payload_type", "clock_hz", "size", "r"),
        [
            (0, 8000, 160, 93.2 - 95 * 2 / 27.1),  # G.711 with concealment
            (18, 8000, 20, 93.2 - 11 - 84 * 2 / 21),  # G.729A
            (97, 16_000, 33, (129 - 13 - 82 * 2 / 12) / 1.29),  # AMR-WB 12.65, Ie,wb 13
        ],
    )
    def test_two_percent_at_random_by_hand(self, payload_type, clock_hz, size, r):
        got = codecs.listening(index_of(payload_type, clock_hz, size), np.array([50.0]), np.array([0.02]), np.ones(1))

        assert got[0] == pytest.approx(1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6, abs=1e-9)

    @pytest.mark.parametrize("codec", range(len(codecs.CODECS)))
    def test_loss_bursts_and_delay_never_raise_it(self, codec):
        at = np.full(4, codec)
        score = codecs.listening(
            at, np.array([50.0, 300, 300, 300]), np.array([0, 0, 0.05, 0.05]), np.array([1.0, 1, 1, 5])
        )

        assert (np.diff(score) < 0).all()
