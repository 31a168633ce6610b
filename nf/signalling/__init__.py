"""Signalling of sessions: packets of a mirror in, session events out."""
