"""Constants of streaming that classes without a picture share: what a stall costs, and the margin that a player wants.

The weights were fitted on the databases TR04 and TR06 of the P.1203 open data set (164 MOS of PC and mobile viewers).
Nothing here is P.1203, whose reference code is not free for commercial use.
"""

from __future__ import annotations

import numpy as np

__all__ = ["MARGIN", "STALLED_ONCE", "STALL_WEIGHT"]

STALL_WEIGHT = 0.1176  # in the exponent, for each tenth of the time spent stalled
STALLED_ONCE = 0.1097 * np.log(2)  # the same for having stalled at all
MARGIN = 1.2  # goodput that a player wants over the rate of its level, or its buffer does not fill (own)
