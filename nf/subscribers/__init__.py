"""From the flows of an interval to one record per (subscriber, application).

    FlowBatch -> `sums` (rows) -> `lately` (last seconds) -> `estimators` (`nf.qoe`) -> `suspect` -> `records`
                                                                └─ `silent`: what stands still

Columns throughout: no loop over flows or rows. The memory between intervals is bounded.
"""

from __future__ import annotations

from nf.subscribers.labels import SubscriberNames
from nf.subscribers.records import missing_where_unseen
from nf.subscribers.stage import Subscribers

__all__ = ["SubscriberNames", "Subscribers", "missing_where_unseen"]
