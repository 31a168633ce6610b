"""Figures of speed and memory, each a ratio of one run: ``python -m bench``."""
