"""Tunnels: they have no score, as their content is not known."""

from __future__ import annotations

from nf.qoe.unknown import score

__all__ = ["score"]
