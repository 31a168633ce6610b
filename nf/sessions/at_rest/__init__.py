"""Bindings at rest: a record of bytes each, and the maps that find it."""
