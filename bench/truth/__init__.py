"""Figures of the QoE estimates against what players, browsers and viewers said."""
