"""The way from the kernel's tables and rings to published records, in one process or spread over shards."""

from nf.pipeline.stages import IDLE_S, Pipeline, PolicyTable, Sink

__all__ = ["IDLE_S", "Pipeline", "PolicyTable", "Sink"]
