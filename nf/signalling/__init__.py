"""What signalling says of sessions: packets of a mirror in, session events out."""
