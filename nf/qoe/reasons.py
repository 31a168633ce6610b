"""Reasons for a score that is not there: the texts of the column `unmeasured`."""

from __future__ import annotations

__all__ = ["REASONS"]

REASONS = (
    "",
    "no media",
    "delay not known",
    "loss not known",
    "lag not known",
    "the probe paused",
    "no page yet",
    "no message yet",
    "no transfer",
    "one direction only",
)
"""By the numbers in `Estimates.unmeasured`; the first one is a score that was measured."""
