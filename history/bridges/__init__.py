"""Ways of the feed into what others speak: IPFIX (`ipfix`), TS 29.564 (`nupf`).

Each reads the feed and tells what its standard has words for; docs/bridges.md lists what it has none for.
"""
