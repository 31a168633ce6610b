"""Sans-IO codecs and trackers of the mobile core's protocols: bytes and time in, values out.

No sockets, no clock, no files, and nothing of `nf`.
"""
