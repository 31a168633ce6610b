"""The past: a collector of feeds, its files, questions to them, a page, metrics and bridges.

These are programs beside the function, on this machine or another. They know the bus (`feed`) and nothing of the
function, which never imports them; a probe is installed without them.
"""
