"""Opinion of viewers of a video: the coefficients of the streaming score, as bench/truth/fit_mos.py fits them."""

from __future__ import annotations

from dataclasses import dataclass

from nf.qoe.inputs import Array

__all__ = ["VIEWERS", "Viewers"]

Number = float | Array


@dataclass(frozen=True, slots=True)
class Viewers:
    """Coefficients; arrays (n,) where the rows of a fit have their own.

    Fitted on the 164 MOS of the tests TR04 and TR06 of the open P.1203 data, with weak pulls to round numbers, for
    these have few conditions: see `bench.truth.fit_mos`, which fits them anew, and whose figures hold them to that.
    """

    coding: Number = 2.87  # MOS that a picture without bits loses
    coding_slope: Number = 4.43  # per root of ten bits a pixel
    upscaling: Number = 1.22  # MOS by the logarithm of display over coded pixels
    recovery_s: Number = 6.88  # a better picture is felt so slowly, a worse one at once
    recent: Number = 1.13  # the last picture counts so many times more, fading with RECENT_S
    stall: Number = 0.0902  # each stall, in the exponent
    stall_root: Number = 0.127  # by the root of its seconds
    forgotten: Number = 0.7  # by the minute played since
    waiting: Number = 0.00947  # by the second before the first picture, in the exponent
    phone: Number = 0.724  # a small screen hides so much of what a large one shows
    phones: Number = 0.0  # share of viewers on phones; 0, a screen of 1080 lines, is the stricter judge


VIEWERS = Viewers()
