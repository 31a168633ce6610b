"""The way from the kernel's tables and rings to published records, in one process or spread over shards."""

from nf.pipeline.distribution import Distribution
from nf.pipeline.shards import Shards
from nf.pipeline.stages import DRAIN_S, IDLE_S, Pipeline, PolicyTable, Sink

__all__ = ["DRAIN_S", "IDLE_S", "Distribution", "Pipeline", "PolicyTable", "Shards", "Sink"]
