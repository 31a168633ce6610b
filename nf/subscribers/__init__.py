"""From the flows of an interval to one record per (subscriber, application).

    FlowBatch -> `sums` (rows) -> `fading` (last seconds) -> `nf.qoe` (scores) -> `suspect` -> RecordBatch

Columns throughout: no loop over flows or rows. The memory between intervals is bounded.
"""

from __future__ import annotations

from nf.subscribers.labels import SubscriberNames
from nf.subscribers.stage import Subscribers, missing_where_unseen

__all__ = ["SubscriberNames", "Subscribers", "missing_where_unseen"]
